"""Distillation by supervised fine-tuning: sample traces from a teacher, keep some, learn them in epochs.

DeepSeek-R1 (arXiv:2501.12948, section 2.4) distils in this way: the student takes the cross-entropy on traces
that the teacher sampled and a verifier accepted. It sees texts and no probabilities of the teacher. With traces
of the student itself it is rejection sampling. Notebook 08 compares it with RL on the student.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import torch

from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.task import Problem, Task, Verdict, grade

__all__ = ["Keep", "Traces", "epoch_batch", "sample_traces"]

Keep = Callable[[Problem, str, Verdict], bool]
"""(problem, completion, verdict) → whether the trace is kept."""


class Traces(NamedTuple):
    """Traces that were kept, and what all of the sampling took.

    Attributes:
        pairs: (prompt, completion) of each kept trace, without the end-of-sequence token.
        answers: number of answers that were sampled, kept or not.
        sampled: their tokens, end-of-sequence tokens included.
        read: tokens of the prompts that the sampler read.
    """

    pairs: list[tuple[str, str]]
    answers: int
    sampled: int
    read: int


def sample_traces(
    policy: Policy,
    task: Task,
    count: int,
    keep: Keep,
    seed: str,
    most_answers: int,
    max_new_tokens: int = 40,
    chunk: int = 1024,
) -> Traces:
    """Sample one answer, at temperature 1, to each of many problems until ``count`` traces are kept.

    Args:
        policy: the teacher.
        task: draws the problems and grades the answers.
        count: of traces to keep.
        keep: which ones.
        seed: of problems and answers.
        most_answers: sampling ends here even if fewer traces were kept.
        max_new_tokens: cap on an answer.
        chunk: answers sampled at a time.

    Raises:
        ValueError: when a number is below 1, or no trace is kept.
    """
    numbers = {"count": count, "most_answers": most_answers, "chunk": chunk}
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name}: need at least 1, got {value}")
    rng = random.Random(f"traces {seed}")
    generator = torch.Generator(policy.device).manual_seed(rng.getrandbits(62))
    pairs: list[tuple[str, str]] = []
    answers = sampled = read = 0
    while len(pairs) < count and answers < most_answers:
        problems = task.problems(min(chunk, most_answers - answers), rng)
        prompts = [problem.prompt for problem in problems]
        batch = sample(policy, prompts, 1, max_new_tokens, generator)
        verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
        drawn = zip(problems, batch.texts, verdicts, strict=True)
        pairs += [(p.prompt, text) for p, text, verdict in drawn if keep(p, text, verdict)]
        answers += len(problems)
        sampled += int(batch.lengths.sum())
        read += int(batch.prompt_mask.sum())
    if not pairs:
        raise ValueError(f"keep: none of {answers} sampled answers was kept")
    return Traces(pairs[:count], answers, sampled, read)


def epoch_batch(count: int, step: int, size: int, seed: int) -> list[int]:
    """The indices of minibatch ``step`` (from 0 on) of ``count`` items in epochs.

    Each epoch visits each item once, in an order of its own; its last minibatch may be smaller. The order
    depends on (seed, epoch) only, so a run that is resumed goes on alike.

    Raises:
        ValueError: when ``count`` or ``size`` is below 1.

    >>> sorted(epoch_batch(5, 0, 3, seed=0) + epoch_batch(5, 1, 3, seed=0))
    [0, 1, 2, 3, 4]
    """
    if count < 1 or size < 1:
        raise ValueError(f"count, size: need at least 1, got {count} and {size}")
    epoch, place = divmod(step, -(-count // size))
    order = list(range(count))
    random.Random(f"epoch {seed} {epoch}").shuffle(order)
    return order[place * size : (place + 1) * size]
