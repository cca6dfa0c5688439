"""The letters' world by hand: log-probabilities, samples, gold rewards."""

import math

import torch
from torch import Tensor

from rlvr_lab.tasks.letters import PreferenceWorld

LETTERS, STOP, PAD, PROMPT = 16, 16, 17, 18
Answer = list[int]


def answers(ids: Tensor, mask: Tensor) -> list[Answer]:
    """Rows of padded ids as lists without their padding."""
    return [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)]


def logits(model, rows: list[Answer]) -> list[Tensor]:
    """Logits [|y|, V] from which each answer's tokens are drawn; answers of one length in one pass."""
    found: dict[int, Tensor] = {}
    for length in sorted({len(row) for row in rows}):
        same = [i for i, row in enumerate(rows) if len(row) == length]
        read = torch.tensor([[PROMPT, *rows[i][:-1]] for i in same])
        found.update(zip(same, model(read).logits, strict=True))
    return [found[i] for i in range(len(rows))]


def logprobs(model, rows: list[Answer]) -> list[Tensor]:
    """log π of each token of each answer."""
    return [
        lines.log_softmax(1)[range(len(row)), row]
        for lines, row in zip(logits(model, rows), rows, strict=True)
    ]


def base_logprobs(world: PreferenceWorld, row: Answer) -> Tensor:
    """Stop with chance s, else one of 16 letters with equal chance."""
    stop, letter = world.stop, (1 - world.stop) / LETTERS
    return torch.tensor([math.log(stop if token == STOP else letter) for token in row])


@torch.no_grad()
def draw(model, count: int, cap: int, generator: torch.Generator) -> tuple[list[Answer], Tensor]:
    """Answers token by token, all that still go on at once; also the entropy of every draw, flat."""
    rows: list[Answer] = [[] for _ in range(count)]
    entropies = []
    for length in range(cap):
        alive = [row for row in rows if len(row) == length and STOP not in row]
        if not alive:
            break
        p = model(torch.tensor([[PROMPT, *row] for row in alive])).logits[:, -1].softmax(1)
        for row, token in zip(alive, torch.multinomial(p, 1, generator=generator), strict=True):
            row.append(int(token))
        entropies.append(-torch.xlogy(p, p).sum(1))
    return rows, torch.cat(entropies)


def counts(row: Answer) -> list[int]:
    return [row.count(letter) for letter in range(LETTERS)]


def gold(world: PreferenceWorld, row: Answer) -> float:
    """Σ_v w_v·min(c_v, 2) − Σ_v max(0, c_v − 2)."""
    return sum(
        float(w) * min(c, 2) - max(0, c - 2)
        for w, c in zip(world.weights, counts(row), strict=True)
    )


def ordered(margins: Tensor) -> float:
    """Share of positive margins, ties for one half."""
    return sum(1.0 if m > 0 else 0.5 if m == 0 else 0.0 for m in margins.tolist()) / len(margins)


def perturbed(world: PreferenceWorld, seed: int):
    """A policy near the base but not on it, so that no margin is 0 but for rounding."""
    policy = world.base_policy(seed, hidden=16, layers=1)
    head = policy.model.lm_head.weight
    head.data = 0.3 * torch.randn(head.shape, generator=torch.Generator().manual_seed(seed + 1))
    return policy
