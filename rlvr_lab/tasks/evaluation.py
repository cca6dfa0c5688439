"""Evaluation of a policy on a task: pass@1, pass@k and the form of its answers."""

import math
import random

import torch

from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.task import Task, grade

__all__ = ["evaluate", "pass_at_k"]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the probability that at least one of k answers is correct.

    1 − C(n−c, k) / C(n, k), from n sampled answers of which c are correct  (arXiv:2107.03374).
    The plug-in estimate 1 − (1 − c/n)^k is too low on average.

    Raises:
        ValueError: unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.

    >>> pass_at_k(n=4, c=1, k=2)
    0.5
    """
    if not 0 <= c <= n:
        raise ValueError(f"c: need 0 <= c <= n, got c={c}, n={n}")
    if not 1 <= k <= n:
        raise ValueError(f"k: need 1 <= k <= n, got k={k}, n={n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def evaluate(
    policy: Policy,
    task: Task,
    problems: int = 128,
    samples: int = 16,
    temperature: float = 1.0,
    seed: int = 1,
    max_new_tokens: int = 40,
) -> dict[str, float]:
    """pass@1, pass@``samples`` and mean length on new problems.

    Returns:
        ``{"pass@1": …, "pass@<samples>": …, "length": tokens, "chain": share of well-formed answers
        with a chain, "right|chain": share of correct answers among these}``.
    """
    drawn = task.problems(problems, random.Random(f"evaluation {seed}"))
    generator = torch.Generator(policy.device).manual_seed(seed)
    prompts = [problem.prompt for problem in drawn]
    batch = sample(policy, prompts, samples, max_new_tokens, generator, temperature)
    verdicts = grade(task, drawn, batch.texts, batch.truncated.tolist())
    correct = [
        sum(v.correct for v in verdicts[i : i + samples]) for i in range(0, len(verdicts), samples)
    ]
    chains = [
        verdict
        for text, verdict in zip(batch.texts, verdicts, strict=True)
        if text.startswith("<think>") and task.well_formed(text)
    ]
    return {
        "pass@1": sum(correct) / len(verdicts),
        f"pass@{samples}": sum(pass_at_k(samples, c, samples) for c in correct) / problems,
        "length": float(batch.lengths.double().mean()),
        "chain": len(chains) / len(verdicts),
        "right|chain": sum(v.correct for v in chains) / max(1, len(chains)),
    }
