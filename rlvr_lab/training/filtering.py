"""Filtering groups by their pass rate: keep some, discard the rest, join what several rounds kept.

A group whose pass rate lies outside a band is discarded after it has been sampled, and more problems are asked
until enough groups are left. DAPO's dynamic sampling (section 3.2, arXiv:2503.14476) is the mildest such filter: it
discards only groups that are all correct or all incorrect. The discarded answers have been written, so their
tokens are paid.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from rlvr_lab.policy.batch import RolloutBatch, group_rows
from rlvr_lab.tasks.task import Answers
from rlvr_lab.training.rollouts import Experience, Reference

__all__ = ["in_band", "joined", "pass_rates", "restricted"]


def pass_rates(experience: Experience) -> Float[Tensor, " N"]:
    """The share of correct answers in each group."""
    correct = torch.tensor([float(verdict.correct) for verdict in experience.answers.verdicts])
    return correct.view(-1, experience.batch.group_size).mean(dim=1)


def in_band(rates: Float[Tensor, " N"], low: float, high: float) -> Bool[Tensor, " N"]:
    """Which pass rates lie in [low, high].

    >>> in_band(torch.tensor([0.0, 0.25, 1.0]), 0.2, 0.8).tolist()
    [False, True, False]
    """
    return (low <= rates) & (rates <= high)


def restricted(experience: Experience, groups: Sequence[int]) -> Experience:
    """The part of an experience that belongs to the given groups, in the given order."""
    answers, batch = experience.answers, experience.batch
    rows = group_rows(torch.tensor(groups, dtype=torch.long), batch.group_size)
    reference = experience.reference
    return Experience(
        Answers(
            answers.task,
            [answers.problems[group] for group in groups],
            batch.groups(list(groups)),
            [answers.verdicts[row] for row in rows.tolist()],
        ),
        {name: part[rows] for name, part in experience.parts.items()},
        experience.rewards[rows],
        Reference(reference.logprobs[rows], reference.rows[rows]),
        experience.seconds,
    )


def _wide(x: Tensor, before: int, after: int) -> Tensor:
    return pad(x, (before, after), value=0)


def joined(parts: Sequence[Experience]) -> Experience:
    """Several experiences of one step as one, in the given order; padded to the longest prompt and answer.

    Raises:
        ValueError: for no experience, or for unequal group sizes.
    """
    if not parts or len({part.batch.group_size for part in parts}) != 1:
        raise ValueError("parts: need at least one experience, all with the same group size")
    batches = [part.batch for part in parts]
    width = max(batch.prompt_ids.shape[1] for batch in batches)
    length = max(batch.completion_ids.shape[1] for batch in batches)

    def prompts(name: str) -> Tensor:
        each = [getattr(batch, name) for batch in batches]
        return torch.cat([_wide(x, width - x.shape[1], 0) for x in each])

    def completions(name: str) -> Tensor:
        each = [getattr(batch, name) for batch in batches]
        return torch.cat([_wide(x, 0, length - x.shape[1]) for x in each])

    batch = RolloutBatch(
        prompt_ids=prompts("prompt_ids"),
        prompt_mask=prompts("prompt_mask"),
        completion_ids=completions("completion_ids"),
        completion_mask=completions("completion_mask"),
        attention_mask=completions("attention_mask"),
        old_logprobs=completions("old_logprobs"),
        entropy=completions("entropy"),
        truncated=torch.cat([one.truncated for one in batches]),
        texts=[text for one in batches for text in one.texts],
        group_size=batches[0].group_size,
    )
    problems = [problem for part in parts for problem in part.answers.problems]
    verdicts = [verdict for part in parts for verdict in part.answers.verdicts]
    logprobs = [part.reference.logprobs for part in parts]
    logprobs = [_wide(x, 0, length - x.shape[1]) for x in logprobs]
    return Experience(
        Answers(parts[0].answers.task, problems, batch, verdicts),
        {name: torch.cat([part.parts[name] for part in parts]) for name in parts[0].parts},
        torch.cat([part.rewards for part in parts]),
        Reference(torch.cat(logprobs), torch.cat([part.reference.rows for part in parts])),
        {name: sum(part.seconds[name] for part in parts) for name in parts[0].seconds},
    )
