"""Which kinds of incorrect answers remain under 1/|o|, and why they are longer (notebook 07).

On the sums an answer is a direct guess, a chain, or something malformed, and each kind has its own length. The
mean length of the incorrect answers can therefore change in two ways: the mix of kinds changes, or the
answers of one kind become longer. ``decompose`` separates the two. The field ``apart`` of the configuration
gives some answers the weight of the *other* average, which tests whether those answers are the cause.

Recorded by ``python -m rlvr_lab answer-kinds``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import Average, completion_lengths
from rlvr_lab.objectives.objective import Objective
from rlvr_lab.records.runs import Run
from rlvr_lab.rewards.verifiable import accuracy_rewards
from rlvr_lab.tasks.task import Problem
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = [
    "ANSWER_KINDS",
    "AnswerKindsConfig",
    "Parts",
    "answer_kind",
    "decompose",
    "divided_by",
    "mean_parts",
]

ANSWER_KINDS = ("guess", "short_chain", "chain", "wait", "malformed")
_GUESS = re.compile(r"=[0-9]")
_CHAIN = re.compile(r"<think>([0-9]*)</think>=[0-9]")
SHORT = 3  # tokens of a direct guess: "=", a digit, and the end


def answer_kind(problem: Problem, text: str) -> str:
    """The kind of an answer, read off its text.

    ``guess``: a digit at once. ``chain``: a running sum for every digit of the problem, between tags.
    ``short_chain``: a chain with fewer. ``wait``: a chain with a second thought. ``malformed``: the rest.

    >>> problem = Problem("7+5+8.....?", 0, 2)
    >>> [answer_kind(problem, text) for text in ("=0", "<think>720</think>=0", "<think>7</think>=0")]
    ['guess', 'chain', 'short_chain']
    >>> [answer_kind(problem, text) for text in ("<think>73wait20</think>=0", "<think>720=0")]
    ['wait', 'malformed']
    """
    if _GUESS.fullmatch(text):
        return "guess"
    chain = _CHAIN.fullmatch(text.replace("wait", ""))
    if chain is None:
        return "malformed"
    if "wait" in text:
        return "wait"
    return "chain" if len(chain[1]) > problem.difficulty else "short_chain"


def divided_by(divisors: Float[Tensor, " B"]) -> Average:
    """The average 1/B · Σ_i 1/d_i · Σ_t x_it with one divisor d_i for each answer of a batch.

    With d_i = |o_i| it is ``sequence_mean``, with d_i = L it is ``constant_mean(L)``.

    >>> average = divided_by(torch.tensor([2.0, 4.0]))
    >>> average(torch.ones(2, 4), torch.tensor([[True, True, False, False], [True] * 4]))
    tensor(1.)
    """

    def average(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        return (torch.where(mask, x, 0.0).sum(dim=1) / divisors).mean()

    return average


@dataclass(frozen=True)
class AnswerKindsConfig(PolicyGradientConfig, kind="answer-kinds"):
    """GRPO on the sums; some answers can be given the weight of the other average.

    Attributes:
        apart: ``none``; ``incorrect_guesses``; or ``short_answers`` (at most 3 tokens, correct or not). These
            answers are divided by |o| if the ``average`` is ``constant``, and by the constant if it is
            ``sequence``.
        constant_length: L, in tokens. The default is the typical length of a whole chain, so that a token
            of a chain weighs about the same under both averages.

    Records add to the usual ones, for the incorrect answers of the batch: ``wrong_<kind>`` (number of
    answers) and ``length_wrong_<kind>`` (their mean length in tokens); and ``guesses`` (share of direct guesses
    among all answers).

    Raises:
        ValueError: naming the field.
    """

    apart: Literal["none", "incorrect_guesses", "short_answers"] = "none"
    constant_length: float | None = 11.0
    steps: int = field(default=15, kw_only=True)

    FIXED = (*PolicyGradientConfig.FIXED, "apart")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums: the kinds are those of its answers")
        plain = self.apart == "none"
        self.require("minibatches", plain or self.minibatches == 1, "1 with answers apart")
        self.require("average", plain or self.average != "token", "sequence or constant")

    def objective_on(self, experience: Experience) -> Objective:
        """The usual objective, with an average that knows which answers stand apart."""
        if self.apart == "none":
            return self.objective
        batch = experience.batch
        length = completion_lengths(batch.completion_mask).to(batch.old_logprobs)
        constant = torch.full_like(length, self.constant_length or self.max_new_tokens)
        apart = length <= SHORT
        if self.apart == "incorrect_guesses":
            kinds = _kinds(experience)
            correct = accuracy_rewards(experience.answers.verdicts).bool()
            apart = torch.tensor([kind == "guess" for kind in kinds]) & ~correct
        usual, other = (length, constant) if self.average == "sequence" else (constant, length)
        divisors = torch.where(apart.to(length.device), other, usual)
        return replace(self.objective, average=divided_by(divisors))

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """The usual record, and the kinds of the incorrect answers."""
        kinds, lengths = _kinds(experience), experience.batch.lengths.tolist()
        wrong = [not verdict.correct for verdict in experience.answers.verdicts]
        found: dict[str, Any] = {"guesses": kinds.count("guess") / len(kinds)}
        for kind in ANSWER_KINDS:
            own = [n for n, k, w in zip(lengths, kinds, wrong, strict=True) if w and k == kind]
            found[f"wrong_{kind}"] = len(own)
            found[f"length_wrong_{kind}"] = sum(own) / len(own) if own else None
        return {**super().measure(state, experience), **found}


def _kinds(experience: Experience) -> list[str]:
    answers, size = experience.answers, experience.batch.group_size
    return [
        answer_kind(answers.problems[row // size], text)
        for row, text in enumerate(experience.batch.texts)
    ]


class Parts(NamedTuple):
    """A difference between two mean lengths of answers and its three parts, [S], in tokens.

    ``total`` = ``guesses`` + ``mix`` + ``lengths``: the share of direct guesses, the mix of the other kinds,
    and the lengths within each kind.
    """

    total: np.ndarray
    guesses: np.ndarray
    mix: np.ndarray
    lengths: np.ndarray


def decompose(runs: Iterable[Run], others: Iterable[Run], first: int, last: int) -> Parts:
    r"""Split (mean length of incorrect answers in ``runs``) − (in ``others``), paired, steps first … last.

    The parts of each step are those of ``mean_parts``; what is returned is their mean over the steps.

    Raises:
        ValueError: when a run lacks one of the steps, or a step has no incorrect answer.
    """
    rows = []
    for run, other in zip(runs, others, strict=True):
        steps = [
            mean_parts(*_shares(run, step), *_shares(other, step))
            for step in range(first, last + 1)
        ]
        rows.append(np.mean(steps, axis=0))
    return Parts(*np.array(rows).T)


def _shares(run: Run, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and lengths (nan where there is none) of the kinds among the incorrect answers of a step."""
    found = [record for record in run.records if record["step"] == step]
    if not found:
        raise ValueError(f"step: the run of seed {run.config.seed} has no step {step}")
    counts = np.array([found[0][f"wrong_{kind}"] for kind in ANSWER_KINDS], dtype=float)
    if not counts.sum():
        raise ValueError(f"step: no incorrect answer in step {step} of seed {run.config.seed}")
    lengths = [found[0][f"length_wrong_{kind}"] for kind in ANSWER_KINDS]
    return counts / counts.sum(), np.array(lengths, dtype=float)


def mean_parts(
    s: Float[np.ndarray, " K"],
    ls: Float[np.ndarray, " K"],
    o: Float[np.ndarray, " K"],
    lo: Float[np.ndarray, " K"],
) -> list[float]:
    r"""Split the difference of two mean lengths: total, guesses, mix, lengths, as in ``Parts``.

    With shares s_k and mean lengths ℓ_k of the kinds,

        Σ s_k ℓ_k − Σ o_k ℓ'_k = Σ (s_k − o_k)·(ℓ_k + ℓ'_k)/2 + Σ (s_k + o_k)/2·(ℓ_k − ℓ'_k),

    where the first sum is the mix and the second the lengths within the kinds. The mix is split once more: the
    share of direct guesses alone, with the other kinds in the proportions of the average of both sides.
    A kind without an answer on one side takes the length of the other side.

    Args:
        s: shares of the kinds, ``ANSWER_KINDS``, on the one side.
        ls: their mean lengths, nan where there is none.
        o: shares on the other side.
        lo: lengths on the other side.

    >>> guess, chain = np.array([1.0, 0, 0, 0, 0]), np.array([0, 0, 1.0, 0, 0])
    >>> lengths = np.array([3.0, 7, 11, 13, 10])
    >>> [float(part) for part in mean_parts(chain, lengths, guess, lengths)]
    [8.0, 8.0, 0.0, 0.0]
    """
    ls, lo = np.where(np.isnan(ls), lo, ls), np.where(np.isnan(lo), ls, lo)
    ls, lo = np.nan_to_num(ls), np.nan_to_num(lo)
    length, share = (ls + lo) / 2, (s + o) / 2
    within, mix = float(share @ (ls - lo)), float((s - o) @ length)
    rest = share[1:] / share[1:].sum() if share[1:].sum() else share[1:]
    guesses = float((s[0] - o[0]) * (length[0] - rest @ length[1:]))
    return [within + mix, guesses, mix - guesses, within]
