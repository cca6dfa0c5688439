"""The length laboratory: the outcome is decided first, the policy chooses the length afterwards.

The environment writes ``right`` or ``wrong`` at random. The policy then writes filler words until it
stops. Nothing that it writes changes the reward, so any change of the length comes from the objective.
Notebook 07 uses this to isolate the effect of the objective on the length.
"""

import random
from dataclasses import dataclass

import torch

from rlvr_lab.policy.loading import Policy
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["LengthLab", "exact_lengths"]


@dataclass(frozen=True)
class LengthLab(Task):
    """The outcome is decided before the length.

    The environment writes ``right`` (with probability ``p_right``) or ``wrong``; the policy then
    writes ``ok`` or ``hmm`` until it stops. Only stopping is learned, and nothing that the policy
    writes changes the reward. The filler word depends on the outcome, so that a small network can
    tell the two cases apart.

    Attributes:
        p_right: probability of the outcome ``right``.
        stop: probability that the base policy stops after each word.

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
        """``count`` copies of the only problem."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        return [Problem(self.PROMPT, 1)] * count

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """``right`` or ``wrong``, as the environment decided, even if truncated."""
        outcome = "right" if text.startswith("right") else "wrong"
        return Verdict(outcome, outcome)

    def well_formed(self, text: str) -> bool:
        """False: the laboratory has no format reward."""
        return False

    def forced_words(self, rows: int, rng: random.Random) -> list[str]:
        """The outcome of each row: ``right`` with probability ``p_right``."""
        return ["right" if rng.random() < self.p_right else "wrong" for _ in range(rows)]

    def measure(self, policy: Policy, max_new_tokens: int, temperature: float) -> dict[str, float]:
        """``exact_length_right`` and ``exact_length_wrong``; see ``exact_lengths``."""
        lengths = exact_lengths(policy, max_new_tokens, temperature)
        return {f"exact_{name}": value for name, value in lengths.items()}

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """A training text of the base model: an outcome and a geometric number of filler words.

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

    E[L] = Σ_{t≥0} P(L > t), and P(L > t) is a product of probabilities of continuing. Only the filler
    word and the end-of-sequence token are considered; the probabilities are renormalised over these two.

    Args:
        policy: a policy of the laboratory.
        max_new_tokens: length limit; the outcome word and the end-of-sequence token count as tokens.
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
        # One token for the outcome, one for the next token, and one more each time the policy continues.
        lengths[f"length_{outcome}"] = 2.0 + float(goes_on.cumprod(0)[: max_new_tokens - 2].sum())
    return lengths
