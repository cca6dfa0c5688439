"""Verdicts, rewards and the fields of a record, written anew from what their docstrings say."""

import torch
from torch import nn

from tests.reference.plain import END, Answer, encode, logprobs_of

# ------------------------------------------------------------------------------ verdicts, rewards

CHAIN_WORDS = [*"0123456789", "wait"]
CHAIN_WORDS += ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def is_chain(text: str) -> bool:
    """Whether the text is made of digits, number words and ``wait`` alone."""
    while text:
        word = next((w for w in CHAIN_WORDS if text.startswith(w)), None)
        if word is None:
            return False
        text = text[len(word) :]
    return True


def stated_answer(text: str) -> str | None:
    """The number of a well-formed ``<think>…</think>=7`` or ``=7``; None for any other text."""
    if text.startswith("<think>"):
        chain, closing, text = text.removeprefix("<think>").partition("</think>")
        if not closing or not is_chain(chain):
            return None
    number = text.removeprefix("=")
    digits = 1 <= len(number) <= 18 and all(c in "0123456789" for c in number)
    return number if text.startswith("=") and digits else None


def reason(world: str, answer: Answer) -> str:
    """right, wrong, malformed, no_answer or truncated."""
    if world == "lab":
        return "right" if answer.text.startswith("right") else "wrong"
    if answer.truncated:
        return "truncated"
    number = stated_answer(answer.text)
    if number is None:
        pairs = zip(answer.text, answer.text[1:], strict=False)
        return "malformed" if any(a == "=" and b in "0123456789" for a, b in pairs) else "no_answer"
    return "right" if number == str(answer.goal) else "wrong"


def accuracy(world: str, answer: Answer) -> float:
    return 1.0 if reason(world, answer) == "right" else 0.0


def form(world: str, answer: Answer) -> float:
    """1 for an answer of the required form that ended by itself; the laboratory asks for no form."""
    well = world == "sums" and not answer.truncated and stated_answer(answer.text) is not None
    return 1.0 if well else 0.0


PARTS = {
    "accuracy": accuracy,
    "format": form,
    "truncation": lambda world, answer: float(answer.truncated),
}


def reward(config, answer: Answer, given: float = 0.0) -> float:
    """The weighted sum; ``given`` is what a reward model says of this answer."""
    return sum(
        weight * (given if name == "model" else PARTS[name](config.world, answer))
        for name, weight in config.rewards.items()
    )


# -------------------------------------------------------------------------------------- the record


def describe(
    config, answers: list[Answer], reference: nn.Module, every_row: bool, scores: list | None = None
) -> dict:
    """The fields of a record that every algorithm has, times left out."""
    world, size = config.world, config.group_size
    scores = scores or [0.0] * len(answers)
    rewards = [reward(config, a, s) for a, s in zip(answers, scores, strict=True)]
    parts = {
        f"reward_{name}": mean(
            scores if name == "model" else [PARTS[name](world, a) for a in answers]
        )
        for name in config.rewards
    }
    right = [a for a in answers if accuracy(world, a) == 1]
    wrong = [a for a in answers if accuracy(world, a) == 0]
    groups = [rewards[i : i + size] for i in range(0, len(rewards), size)]
    watched = answers if every_row else answers[::4]
    entropies = [float(a.entropy[t]) for a in answers for t in a.trained]
    stride = max(1, len(answers) // 4)
    shown = list(range(0, len(answers), stride))[:4]
    return {
        "reward": mean(rewards),
        **parts,
        "pass_rate": len(right) / len(answers),
        "kl": mean([answer_kl(config, a, reference) for a in watched]),
        "entropy": mean(entropies),
        "length": mean([len(a.ids) for a in answers]),
        "length_right": mean([len(a.ids) for a in right]) if right else None,
        "length_wrong": mean([len(a.ids) for a in wrong]) if wrong else None,
        "truncated": mean([float(a.truncated) for a in answers]),
        "zero_spread": mean([float(len(set(g)) == 1) for g in groups]),
        "tokens": sum(len(a.trained) for a in answers),
        "samples": [
            {
                "prompt": answers[i].prompt,
                "completion": answers[i].text,
                "reason": reason(world, answers[i]),
                "reward": rewards[i],
            }
            for i in shown
        ],
    }


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@torch.no_grad()
def answer_kl(config, answer: Answer, reference: nn.Module) -> float:
    """Σ_t log π_old − log π_ref over the tokens that the policy chose, in nats."""
    ref = logprobs_of(reference, answer, config.temperature)
    return sum(float(answer.old[t] - ref[t]) for t in answer.trained)


@torch.no_grad()
def exact_lengths(config, model: nn.Module) -> dict[str, float]:
    """The laboratory's exact record: Σ_t P(more than t tokens), over the filler word and the end."""
    if config.world != "lab":
        return {}
    found = {}
    for outcome, filler in (("right", "ok"), ("wrong", "hmm")):
        row = encode("?" + outcome)
        length, going = 1.0, 1.0  # the outcome's own token
        for _ in range(config.max_new_tokens - 1):
            length += going  # one more token: a filler or the end
            two = model(torch.tensor([row])).logits[0, -1, [*encode(filler), END]]
            going *= float((two / config.temperature).softmax(-1)[0])
            row = row + encode(filler)
        found[f"exact_length_{outcome}"] = length
    return found


def differences(ours: dict, theirs: dict, tolerance: float) -> list[str]:
    """Which fields of two records differ; floats by more than the tolerance. Times do not count."""
    theirs = {k: v for k, v in theirs.items() if not k.startswith("seconds_")}
    lonely = [f"{key}: in one record only" for key in sorted(ours.keys() ^ theirs.keys())]
    return lonely + [
        f"{key}: {ours[key]} and {theirs[key]}"
        for key in sorted(ours.keys() & theirs.keys())
        if not alike(ours[key], theirs[key], tolerance)
    ]


def alike(a, b, tolerance: float) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(alike(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance * max(1.0, abs(a))
    return type(a) is type(b) and a == b
