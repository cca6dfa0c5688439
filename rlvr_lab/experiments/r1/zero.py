"""R1-Zero run small: GRPO with an accuracy and a format reward, straight on a base model (notebook 08).

Each seed has its own base model, made by the recipe of the shipped one, and its own test problems. The same
configuration serves the question why the answers become longer: the variants change the average, the reward,
or what the verifier wants, and nothing else. What is read from the recording for that question is in
``experiments.r1.longer``.

Recorded by ``python -m rlvr_lab record r1/zero``.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlvr_lab.experiments.answer_kinds import ANSWER_KINDS, answer_kind
from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, runs_from
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.records.runs import Run
from rlvr_lab.rewards.registry import make_reward
from rlvr_lab.tasks.task import Answers, Problem, Verdict
from rlvr_lab.tasks.worlds import make_task

__all__ = ["GUESS", "STUDY", "TAXES", "TAX_STUDY", "VARIANTS", "ZeroConfig", "majority_vote"]

GUESS = 0.1
"""Probability that a blind guess at one of ten digits is correct, alone or by a majority of such guesses."""
SAMPLES = 6


@dataclass(frozen=True)
class ZeroConfig(EvaluatedConfig, kind="r1-zero"):
    """GRPO on the sums with a test every second step.

    Attributes:
        constant_length: L of the constant average, in tokens. The default is the typical length of a whole
            chain, so that a token of a chain weighs about the same under both averages.

    A record holds, over the M·S test answers: ``accuracy``, ``length``, ``entropy``; ``vote`` (see
    ``majority_vote``); ``reward`` (what RL maximises) and ``format`` (share of well-formed answers);
    ``length_right``, ``length_wrong`` (None without such an answer); ``gap`` (length of the incorrect minus that
    of the correct answers *to the same problem*, mean over the problems that have both); and for each kind of
    answer its ``share_``, its mean ``length_`` and the share of correct answers ``right_`` (None without
    one). ``samples`` holds some answers as [prompt, text, verdict]: in the first and the last record only.
    """

    constant_length: float | None = 11.0
    every: int = 2
    test_problems: int = 64
    steps: int = field(default=24, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums: the kinds are those of its answers")

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """What a record says of the answers to the test."""
        answers = Answers(make_task(self.world, self.world_options), problems, batch, verdicts)
        parts = {
            name: float(make_reward(name, self.device)(answers).double().mean())
            for name in {*self.rewards, "format"}
        }
        lengths = batch.lengths.cpu().numpy().astype(float)
        right = np.array([verdict.correct for verdict in verdicts])
        asked = [problems[row // batch.group_size] for row in range(len(verdicts))]
        kinds = np.array([answer_kind(p, t) for p, t in zip(asked, batch.texts, strict=True)])
        rows = range(0, len(verdicts), max(1, len(verdicts) // SAMPLES))[:SAMPLES]
        return {
            **super().describe(problems, batch, verdicts),
            "reward": sum(weight * parts[name] for name, weight in self.rewards.items()),
            "format": parts["format"],
            "vote": majority_vote(verdicts, len(problems)),
            "length_right": _mean(lengths[right]),
            "length_wrong": _mean(lengths[~right]),
            "gap": _gap(lengths.reshape(len(problems), -1), right.reshape(len(problems), -1)),
            **_by_kind(kinds, lengths, right),
            "samples": [[asked[i].prompt, batch.texts[i], verdicts[i].reason] for i in rows],
        }


def majority_vote(verdicts: list[Verdict], problems: int) -> float:
    """Share of the problems that the commonest of S answers solves (cons@S of arXiv:2501.12948).

    Well-formed answers vote. Where several answers are commonest, the problem counts for the probability
    that one of them, drawn at random, is the correct one. A problem without a vote counts as not solved.

    Args:
        verdicts: on S answers to each problem, groups contiguous.
        problems: their number.

    Raises:
        ValueError: when the verdicts do not form groups of one size.

    >>> votes = [Verdict("right", "3"), Verdict("wrong", "4"), Verdict("right", "3"), Verdict("truncated")]
    >>> majority_vote(votes, problems=1), majority_vote(votes, problems=2)
    (1.0, 0.75)
    """
    if problems < 1 or len(verdicts) % problems:
        raise ValueError(f"problems: {len(verdicts)} verdicts do not form {problems} groups")
    size, solved = len(verdicts) // problems, 0.0
    for start in range(0, len(verdicts), size):
        voters = [v for v in verdicts[start : start + size] if v.reason in ("right", "wrong")]
        counts = Counter((voter.answer, voter.correct) for voter in voters)
        if counts:
            first = [key for key, count in counts.items() if count == max(counts.values())]
            solved += sum(correct for _, correct in first) / len(first)
    return solved / problems


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _gap(lengths: np.ndarray, right: np.ndarray) -> float | None:
    """Incorrect minus correct length within a problem, [M, S] → mean over the problems that have both."""
    both = right.any(axis=1) & ~right.all(axis=1)
    gaps = [n[~r].mean() - n[r].mean() for n, r in zip(lengths[both], right[both], strict=True)]
    return _mean(np.array(gaps))


def _by_kind(kinds: np.ndarray, lengths: np.ndarray, right: np.ndarray) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for kind in ANSWER_KINDS:
        own = kinds == kind
        found[f"share_{kind}"] = float(own.mean())
        found[f"length_{kind}"] = _mean(lengths[own])
        found[f"right_{kind}"] = _mean(right[own])
    return found


# ---------------------------------------------------------------------------------- making them


_HIDDEN = {"world_options": {"hidden_answer": True}}
_TAGS = {"rewards": {"accuracy": 1.0, "tags": 0.1}}
VARIANTS: dict[str, ZeroConfig] = {
    "sequence": ZeroConfig(),
    "constant": ZeroConfig(average="constant"),
    "hidden_sequence": ZeroConfig(**_HIDDEN),
    "hidden_constant": ZeroConfig(**_HIDDEN, average="constant"),
    "no_format": ZeroConfig(rewards={"accuracy": 1.0}),
    "format_only": ZeroConfig(rewards={"format": 0.1}),
    "tags": ZeroConfig(**_TAGS),
    "hidden_tags": ZeroConfig(**_HIDDEN, **_TAGS),
}
"""R1-Zero itself (GRPO, 1/|o|) and its controls: the constant average; a verifier that wants a hidden digit, under
both averages; no format reward; only the format reward; the paper's format rule, which asks for the tags, with the
sum and with a hidden digit."""


TAXES: dict[str, ZeroConfig] = {
    "tax 0.2": ZeroConfig(rewards={"accuracy": 1.0, "tags": -0.2}),
    "tax 0.8": ZeroConfig(rewards={"accuracy": 1.0, "tags": -0.8}),
    "hidden, tax 0.2": ZeroConfig(**_HIDDEN, rewards={"accuracy": 1.0, "tags": -0.2}),
}
"""A chain costs something: less than it brings, more than it brings, and where it brings nothing."""


def measure_zero(seeds: int, variants: Mapping[str, ZeroConfig], first: int) -> Iterator[Run]:
    """Each variant from the base of each seed; record 0 says in ``base_seed`` which pretraining made it.

    Raises:
        ValueError: for no seeds.
        PretrainingFailed: see ``sums_base``.
    """
    for seed in replicates(seeds, first):
        _, used = sums_base(seed)
        for run in runs_from(lambda own: sums_base(own)[0], variants, 1, seed):
            run.records[0]["base_seed"] = used
            for record in run.records[1:-1]:
                del record["samples"]
            yield run


STUDY = Study(
    "R1-Zero on the sums, and why it gets longer", VARIANTS, measure_zero, 5, "r1/zero", first=1
)
TAX_STUDY = Study("a tax on the chain of thought", TAXES, measure_zero, 5, "r1/tax", first=1)
