"""A thinking budget: the chain is cut after k tokens and the model answers (notebook 10, section 2).

Qwen3 halts the thinking at a length that the user chooses, inserts a stop text that ends with ``</think>``, and lets
the model write its answer from what it has thought so far (arXiv:2505.09388, section 4.3). Here the stop text is
``</think>`` alone. A chain that ended by itself within the budget keeps its own answer.

Two predictions need no model. A chain that has reached its end leads to the correct answer, and a shorter one to a
guess: P(n ≤ k) + 0.1 · P(n > k) for n terms. Or the answer copies the last value of the cut chain: then it is correct
where the running sum, or maximum, after k terms equals the final one.

Recorded by ``python -m rlvr_lab record qwen3/budget``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.evaluated import short_record
from rlvr_lab.experiments.qwen3.checkpoints import LONGEST, fused
from rlvr_lab.experiments.qwen3.stages import GUESS, finished, questions
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.loading import Policy, encode_prompts
from rlvr_lab.policy.logprobs import prefill
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.task import Problem
from rlvr_lab.tasks.two_modes import (
    KINDS,
    PLACES,
    Kind,
    TwoModes,
    digits_of,
    kind_of,
    running,
)
from rlvr_lab.training.config import RunConfig

__all__ = [
    "BUDGETS",
    "STUDY",
    "VARIANTS",
    "BudgetConfig",
    "Cut",
    "against_need",
    "answer_probabilities",
    "at_budget",
    "budget_curves",
    "by_terms_table",
    "copied",
    "cut_answers",
    "cut_start",
    "measure",
    "of_checkpoint",
    "predicted",
]

BUDGETS = (0, 1, 2, 3, 4, 6, 8)
TERMS = range(2, PLACES + 1)
REST = (
    6  # tokens after the stop text: ``=``, a digit, ``ok``, the end, and room for what is malformed
)


# -------------------------------------------------------------------------------------- cutting


def cut_start(text: str, budget: int) -> str | None:
    """The beginning of an answer whose thinking is halted after ``budget`` tokens, with the stop text.

    None where there is nothing to halt: the thinking ended by itself within the budget, or there is none.

    >>> cut_start("<think>7203</think>=3", 2), cut_start("<think>72</think>=2", 2), cut_start("=3", 0)
    ('<think>72</think>', None, None)
    """
    if not text.startswith("<think>"):
        return None
    chain = text.removeprefix("<think>").split("</think>")[0]
    values = [piece for piece in chain if piece.isdigit()]
    if len(values) <= budget:
        return None
    return f"<think>{''.join(values[:budget])}</think>"


class Cut(NamedTuple):
    """The answers to all questions at one budget.

    Attributes:
        texts: the whole answers, B = N·G, groups contiguous.
        correct: [B].
        halted: [B], whether the stop text was inserted.
        copied: [B], whether the final digit is the last value of the halted chain; False elsewhere.
        thought: [B], tokens of thinking.
    """

    texts: list[str]
    correct: np.ndarray
    halted: np.ndarray
    copied: np.ndarray
    thought: np.ndarray


def cut_answers(
    policy: Policy,
    problems: list[Problem],
    texts: list[str],
    budget: int,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> Cut:
    """What becomes of the given answers when their thinking is halted; the policy writes what follows the stop text.

    Args:
        policy: goes on, one sample for each halted answer.
        problems: N.
        texts: N·G whole answers, groups contiguous.
        budget: tokens of thinking.
        generator: of the sampling.
        temperature: of the sampling.

    Raises:
        ValueError: for a negative budget, or when the texts do not fit the problems.
    """
    if budget < 0:
        raise ValueError(f"budget: must not be negative, got {budget}")
    if len(texts) % len(problems):
        raise ValueError(f"texts: {len(texts)} answers do not fit {len(problems)} problems")
    size, task = len(texts) // len(problems), TwoModes()
    starts = [cut_start(text, budget) for text in texts]
    rows = [row for row, start in enumerate(starts) if start is not None]
    whole, truncated = list(texts), [False] * len(texts)
    if rows:
        prompts = [problems[row // size].prompt + starts[row] for row in rows]
        rest = sample(policy, prompts, 1, REST, generator, temperature)
        for row, tail, cut in zip(rows, rest.texts, rest.truncated.tolist(), strict=True):
            whole[row], truncated[row] = starts[row] + tail, cut
    halted = np.array([start is not None for start in starts])
    verdicts = [
        task.verify(problems[row // size], text, truncated[row]) for row, text in enumerate(whole)
    ]
    copies = [
        start is not None and budget > 0 and verdict.answer == start.split("</think>")[0][-1]
        for start, verdict in zip(starts, verdicts, strict=True)
    ]
    thought = [sum(map(str.isdigit, text.split("</think>")[0])) for text in whole]
    return Cut(
        whole,
        np.array([verdict.correct for verdict in verdicts]),
        halted,
        np.array(copies),
        np.where([text.startswith("<think>") for text in whole], thought, 0),
    )


# -------------------------------------------------------------------------------------- predicting


def predicted(problems: Iterable[Problem], budget: int) -> float:
    """P(n ≤ k) + 0.1 · P(n > k): the accuracy of a model that chains without errors and guesses when it is halted.

    >>> round(predicted(questions("sums", 1, 0), 4), 4)  # 2, 3 and 4 terms of 2 … 8
    0.4857
    """
    return float(np.mean([1.0 if p.difficulty + 1 <= budget else GUESS for p in problems]))


def copied(problems: Iterable[Problem], budget: int) -> float:
    """The accuracy of a model that answers with the last value of a chain without errors; a guess at k = 0."""
    hits = []
    for problem in problems:
        chain = running(kind_of(problem.prompt), digits_of(problem.prompt))[:budget]
        hits.append(float(chain[-1] == problem.answer) if chain else GUESS)
    return float(np.mean(hits))


@torch.no_grad()
def answer_probabilities(
    policy: Policy, prompt: str, starts: list[str]
) -> Float[np.ndarray, "K 10"]:
    """P(d) for each digit d as the first token after ``=``, for each beginning of an answer; no sampling.

    Args:
        policy: is only read.
        prompt: the question.
        starts: beginnings that end with ``</think>``.
    """
    ids, mask = encode_prompts(policy, [f"{prompt}{start}=" for start in starts])
    _, logits = prefill(policy.model, ids, mask)
    digits = policy.tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)])
    return logits.double().softmax(-1)[:, digits].cpu().numpy()


# -------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class BudgetConfig(RunConfig, kind="qwen3-budget"):
    """The accuracy of one checkpoint at each budget.

    Attributes:
        after: the model's last stage: ``reasoning`` is before fusion; ``fusion_cut`` had cut chains among its
            examples; the last two are kinds of general RL.
        per_terms: questions of each task for each number of terms.
        samples: answers to each.

    The questions carry no flag, so that all checkpoints read the same prompts. There is a record for each task
    and budget, with ``step`` (its number), ``task``, ``budget``, ``accuracy``, ``halted`` (share of answers with the
    stop text), ``copied`` (share of the halted answers whose digit is the last value of their chain; None without
    any, or at k = 0), ``thought`` (mean tokens of thinking), ``by_terms`` (accuracy for 2, 3, … 8 terms), and the
    predictions ``predicted`` and ``if_copied``.
    """

    after: Literal["reasoning", "fusion", "fusion_cut", "style", "style_correct"] = "fusion"
    per_terms: int = 10
    samples: int = 16
    device: str = "auto"

    FIXED = (*RunConfig.FIXED, "after", "per_terms", "samples", "device")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "per_terms", "samples")

    def policy(self) -> Policy:
        """The checkpoint of this seed."""
        if self.after in ("fusion", "fusion_cut"):
            return fused(self.seed, self.after, self.device)
        return finished(self.after, self.seed)

    def records(self, policy: Policy) -> Iterator[dict[str, Any]]:
        """The records, task by task and budget by budget; ``step`` counts them."""
        found = (record for kind in KINDS for record in self._of(kind, policy))
        for step, record in enumerate(found):
            yield {"step": step, **record}

    def _of(self, kind: Kind, policy: Policy) -> Iterator[dict[str, Any]]:
        problems = questions(kind, self.per_terms, self.seed)
        generator = torch.Generator(policy.device).manual_seed(self.seed)
        prompts = [problem.prompt for problem in problems]
        own = sample(policy, prompts, self.samples, LONGEST, generator).texts
        for budget in BUDGETS:
            found = cut_answers(policy, problems, own, budget, generator)
            copies = found.copied[found.halted]
            by_terms = found.correct.reshape(len(TERMS), -1).mean(axis=1)
            yield {
                "task": kind,
                "budget": budget,
                "accuracy": float(found.correct.mean()),
                "halted": float(found.halted.mean()),
                "copied": float(copies.mean()) if budget and len(copies) else None,
                "thought": float(found.thought.mean()),
                "by_terms": [round(float(x), 4) for x in by_terms],
                "predicted": predicted(problems, budget),
                "if_copied": copied(problems, budget),
            }


VARIANTS: dict[str, BudgetConfig] = {
    name: BudgetConfig(name)
    for name in ("reasoning", "fusion", "fusion_cut", "style", "style_correct")
}


def measure(seeds: int, variants: Mapping[str, BudgetConfig], first: int) -> Iterator[Run]:
    """Each checkpoint of each seed.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        for config in variants.values():
            one = replace(config, seed=seed)
            yield Run(one, [short_record(record) for record in one.records(one.policy())])


STUDY = Study("accuracy against a thinking budget", VARIANTS, measure, 5, "qwen3/budget", first=1)


# -------------------------------------------------------------------------------------- reading them


def of_checkpoint(runs: Iterable[Run], checkpoint: str) -> list[Run]:
    """The runs of one checkpoint, in the order of their seeds.

    Raises:
        ValueError: when there is none.
    """
    same = [run for run in runs if run.config.after == checkpoint]
    if not same:
        raise ValueError(f"checkpoint: no run is of {checkpoint!r}")
    return sorted(same, key=lambda run: run.config.seed)


def budget_curves(
    runs: Iterable[Run], checkpoint: str, task: Kind, key: str = "accuracy"
) -> Float[np.ndarray, "S K"]:
    """One metric of a checkpoint at each budget of ``BUDGETS``, one row per seed; NaN where it has no value."""
    rows = [
        [np.nan if r[key] is None else r[key] for r in run.records if r["task"] == task]
        for run in of_checkpoint(runs, checkpoint)
    ]
    return np.array(rows, dtype=float)


def at_budget(
    runs: Iterable[Run], checkpoint: str, task: Kind, budget: int, key: str = "accuracy"
) -> Float[np.ndarray, " S"]:
    """One metric of a checkpoint at one budget, one number per seed.

    Raises:
        ValueError: for a budget that was not recorded.
    """
    if budget not in BUDGETS:
        raise ValueError(f"budget: must be one of {BUDGETS}, got {budget}")
    return budget_curves(runs, checkpoint, task, key)[:, BUDGETS.index(budget)]


def by_terms_table(runs: Iterable[Run], checkpoint: str, task: Kind) -> Float[np.ndarray, "S N K"]:
    """Accuracy for each number of terms, 2 … 8, at each budget of ``BUDGETS``; one table per seed."""
    return np.array(
        [
            np.transpose([r["by_terms"] for r in run.records if r["task"] == task])
            for run in of_checkpoint(runs, checkpoint)
        ]
    )


def against_need(
    runs: Iterable[Run], checkpoint: str, task: Kind, short: int
) -> Float[np.ndarray, " S"]:
    """Mean accuracy of the problems whose chain is ``short`` tokens longer than the budget; one number per seed.

    Every recorded budget of at least 1 counts for which there are such problems. ``short=0``: the chain just fits.
    """
    rows = []
    for run in of_checkpoint(runs, checkpoint):
        found = [
            record["by_terms"][record["budget"] + short - TERMS[0]]
            for record in run.records
            if record["task"] == task and record["budget"] and record["budget"] + short in TERMS
        ]
        rows.append(np.mean(found))
    return np.array(rows)
