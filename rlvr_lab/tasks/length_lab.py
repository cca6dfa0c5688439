"""The length laboratory: the outcome is settled first, the length is chosen afterwards.

The environment writes ``right`` or ``wrong`` by the toss of a coin; the policy then writes filler
words until it stops. Nothing it writes changes the reward, so every movement of the length comes
from the objective alone: the question of notebook 07 in its purest form.
"""

import random
from dataclasses import dataclass

import torch

from rlvr_lab.policy.loading import Policy
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["LengthLab", "exact_lengths"]


@dataclass(frozen=True)
class LengthLab(Task):
    """Outcome first, length afterwards.

    The environment writes ``right`` (with probability ``p_right``) or ``wrong``; the policy then
    writes ``ok`` or ``hmm`` until it stops. Only the stopping is learned, and nothing it writes
    changes the reward: every movement of the length comes from the objective. The filler word
    differs by outcome so that a small network can treat the two cases apart.

    Attributes:
        p_right: chance of the outcome ``right``.
        stop: chance that the base stops after each word.

    Raises:
        ValueError: unless both lie strictly between 0 and 1.
    """

    p_right: float = 0.5
    stop: float = 0.22

    PROMPT = "?"
    FILLER = {"right": "ok", "wrong": "hmm"}

    def __post_init__(self) -> None:
        for name in ("p_right", "stop"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: must lie between 0 and 1, got {getattr(self, name)}")

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """``count`` copies of the one problem there is."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        return [Problem(self.PROMPT, 1)] * count

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """``right`` or ``wrong`` as the environment decided, truncated or not."""
        outcome = "right" if text.startswith("right") else "wrong"
        return Verdict(outcome, outcome)

    def well_formed(self, text: str) -> bool:
        """The laboratory has no format to reward."""
        return False

    def forced_words(self, rows: int, rng: random.Random) -> list[str]:
        """The outcome of each row, a coin of bias ``p_right``."""
        return ["right" if rng.random() < self.p_right else "wrong" for _ in range(rows)]

    def measure(self, policy: Policy, max_new_tokens: int, temperature: float) -> dict[str, float]:
        """``exact_length_right`` and ``exact_length_wrong``; see ``exact_lengths``."""
        lengths = exact_lengths(policy, max_new_tokens, temperature)
        return {f"exact_{name}": value for name, value in lengths.items()}

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """A completion of the base: an outcome and a geometric number of filler words.

        >>> LengthLab().solve(Problem("?", 1), random.Random(3))
        'rightokokokok'
        """
        outcome = self.forced_words(1, rng)[0]
        words = [outcome]
        while rng.random() > self.stop:
            words.append(self.FILLER[outcome])
        return "".join(words)


@torch.no_grad()
def exact_lengths(
    policy: Policy, max_new_tokens: int, temperature: float = 1.0
) -> dict[str, float]:
    """Expected completion length after each outcome, from the stop probabilities, in tokens.

    E[L] = Σ_{t≥0} P(L > t), and P(L > t) is a product of chances of going on. Only the one filler
    word and the end are counted: what a trained base gives to any other word is renormalised away.

    Args:
        policy: a policy of the laboratory.
        max_new_tokens: the cap; the outcome word and the end-of-sequence token count as tokens.
        temperature: of the sampling.

    Returns:
        ``{"length_right": …, "length_wrong": …}``.
    """
    encode = policy.tokenizer.convert_tokens_to_ids
    rows = [
        [encode(LengthLab.PROMPT), encode(outcome)] + [encode(filler)] * (max_new_tokens - 2)
        for outcome, filler in LengthLab.FILLER.items()
    ]
    logits = policy.model(torch.tensor(rows, device=policy.device)).logits[:, 1:].double()
    lengths = {}
    for row, (outcome, filler) in enumerate(LengthLab.FILLER.items()):
        two = logits[row][:, [encode(filler), policy.tokenizer.eos_token_id]] / temperature
        goes_on = two.softmax(-1)[:, 0]
        # One token for the outcome, one for whatever follows it, and one more each time it goes on.
        lengths[f"length_{outcome}"] = 2.0 + float(goes_on.cumprod(0)[: max_new_tokens - 2].sum())
    return lengths
