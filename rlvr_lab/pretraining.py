"""The base models: made by one command, gated, so that a bad one is never shipped in silence."""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from rlvr_lab.length_lab import LengthLab, exact_lengths
from rlvr_lab.metrics import pass_at_k
from rlvr_lab.policy import Policy, build_tokenizer, new_policy
from rlvr_lab.rewards import grade
from rlvr_lab.rollouts import sample
from rlvr_lab.tasks import Problem, Sums, SumsMixture

__all__ = ["PretrainingFailed", "evaluate_sums", "pretrain_lab", "pretrain_sums"]

Solver = Callable[[Problem, random.Random], str]
BATCH = 128


class PretrainingFailed(RuntimeError):
    """The base did not pass its gate; nothing was written."""


def _encode(
    policy: Policy, pairs: list[tuple[str, str]], trained_from: int = 0
) -> tuple[Tensor, Tensor]:
    """Ids and labels of prompt + completion + end, right-padded; −100 where nothing is trained."""
    tokenizer, rows, labels = policy.tokenizer, [], []
    for prompt, completion in pairs:
        head = tokenizer.encode(prompt, add_special_tokens=False)
        tail = [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]
        rows.append(head + tail)
        hidden = len(head) + trained_from
        labels.append([-100] * hidden + tail[trained_from:])
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=policy.device)
    targets = torch.tensor([t + [-100] * (width - len(t)) for t in labels], device=policy.device)
    return ids, targets


def supervised_steps(
    policy: Policy,
    task,
    solve: Solver,
    steps: int,
    learning_rate: Callable[[int], float],
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    batch_size: int = BATCH,
    trained_from: int = 0,
) -> Iterator[float]:
    """Cross-entropy on worked solutions; yields the loss of each step, in nats per token."""
    for step in range(steps):
        problems = task.problems(batch_size, rng)
        pairs = [(problem.prompt, solve(problem, rng)) for problem in problems]
        ids, targets = _encode(policy, pairs, trained_from)
        logits = policy.model(ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        yield loss.item()


def evaluate_sums(
    policy: Policy, problems: int = 128, samples: int = 16, temperature: float = 1.0, seed: int = 1
) -> dict[str, float]:
    """pass@1, pass@``samples`` and mean length on fresh problems.

    Returns:
        ``{"pass@1": …, "pass@<samples>": …, "length": tokens, "chain": share of well-formed answers
        that think first, "right|chain": share of right ones among those}``.
    """
    task = Sums()
    drawn = task.problems(problems, random.Random(f"evaluation {seed}"))
    generator = torch.Generator(policy.device).manual_seed(seed)
    prompts = [problem.prompt for problem in drawn]
    batch = sample(policy, prompts, samples, 40, generator, temperature)
    verdicts = grade(task, drawn, batch.texts, batch.truncated.tolist())
    right = [
        sum(v.correct for v in verdicts[i : i + samples]) for i in range(0, len(verdicts), samples)
    ]
    chains = [
        verdict
        for text, verdict in zip(batch.texts, verdicts, strict=True)
        if text.startswith("<think>") and task.well_formed(text)
    ]
    return {
        "pass@1": sum(right) / len(verdicts),
        f"pass@{samples}": sum(pass_at_k(samples, c, samples) for c in right) / problems,
        "length": float(batch.lengths.double().mean()),
        "chain": len(chains) / len(verdicts),
        "right|chain": sum(v.correct for v in chains) / max(1, len(chains)),
    }


def _write(policy: Policy, folder: Path, card: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    policy.model.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def pretrain_sums(
    folder: str | Path, seed: int = 0, device: str = "cpu", log: Callable[[str], None] = print
) -> dict:
    """Make the sums' base model and write it to ``folder``.

    Two stages. Flawless chains at a constant rate *until* the chain is learned (it comes suddenly,
    with a delay that depends on the seed); then the mixture, which hides that skill behind direct
    answers, skipped steps and broken tags, for RL to bring out again.

    Args:
        folder: where the model goes.
        seed: of weights, problems and solutions.
        device: where to train.
        log: receives one line of progress now and then.

    Returns:
        The card that is written beside the weights: mixture, seed, steps, measured pass rates.

    Raises:
        PretrainingFailed: when the chain is not learned in 600 steps, or the result lies outside
            the gate pass@1 ∈ [.15, .40], pass@16 ≥ .90.
    """
    task, rng = Sums(), random.Random(f"pretraining {seed}")
    policy = new_policy(build_tokenizer(), seed, device=device)
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    clean_steps, accuracy = 0, 0.0
    while accuracy < 0.95:
        if clean_steps >= 600:
            raise PretrainingFailed(
                f"seed {seed}: chains are right only {accuracy:.0%} of the time after "
                f"{clean_steps} steps; try another seed"
            )
        stage = supervised_steps(
            policy, task, SumsMixture.clean().solve, 50, lambda _: 2e-3, optimizer, rng
        )
        loss = list(stage)[-1]
        clean_steps += 50
        accuracy = evaluate_sums(policy, 64, 1, seed=clean_steps)["pass@1"]
        log(f"clean chains: step {clean_steps}, loss {loss:.3f}, right {accuracy:.0%}")
    mixture, mixed_steps = SumsMixture(), 150
    cosine = lambda step: 1.5e-3 * (1 + math.cos(math.pi * step / mixed_steps)) / 2  # noqa: E731
    losses = list(
        supervised_steps(policy, task, mixture.solve, mixed_steps, cosine, optimizer, rng)
    )
    measured = evaluate_sums(policy, 256, 16)
    log(f"mixture: step {mixed_steps}, loss {losses[-1]:.3f}, measured {measured}")
    if not (0.15 <= measured["pass@1"] <= 0.40 and measured["pass@16"] >= 0.90):
        raise PretrainingFailed(f"seed {seed}: outside the gate: {measured}")
    card = {
        "task": asdict(task),
        "mixture": asdict(mixture),
        "seed": seed,
        "clean_steps": clean_steps,
        "mixture_steps": mixed_steps,
        "batch_size": BATCH,
        "measured": measured,
    }
    _write(policy, Path(folder), card)
    return card


def pretrain_lab(
    folder: str | Path, seed: int = 0, device: str = "cpu", log: Callable[[str], None] = print
) -> dict:
    """Make the length laboratory's base model and write it to ``folder``.

    Raises:
        PretrainingFailed: when a mean length is off its target 2 + (1 − stop)/stop by over 15 %.
    """
    task, rng = LengthLab(), random.Random(f"pretraining {seed}")
    policy = new_policy(build_tokenizer(), seed, hidden=48, layers=2, device=device)
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    steps = 200
    cosine = lambda step: 3e-3 * (1 + math.cos(math.pi * step / steps)) / 2  # noqa: E731
    losses = list(
        supervised_steps(
            policy, task, task.solve, steps, cosine, optimizer, rng, batch_size=256, trained_from=1
        )
    )
    measured = exact_lengths(policy, 32)
    log(f"length laboratory: step {steps}, loss {losses[-1]:.3f}, measured {measured}")
    target = 2 + (1 - task.stop) / task.stop
    if any(abs(length / target - 1) > 0.15 for length in measured.values()):
        raise PretrainingFailed(f"seed {seed}: lengths {measured} are far from {target:.2f}")
    card = {
        "stop": task.stop,
        "seed": seed,
        "steps": steps,
        "batch_size": 256,
        "measured": measured,
    }
    _write(policy, Path(folder), card)
    return card
