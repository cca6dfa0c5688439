"""From completions to rewards. Rewards stay raw: nothing here centres, scales or clips them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.kl import k1
from rlvr_lab.tasks import Problem, Task
from rlvr_lab.verifiers import Verdict

__all__ = ["accuracy_rewards", "format_rewards", "grade", "kl_shaped_rewards"]


def grade(
    task: Task, problems: list[Problem], texts: list[str], truncated: list[bool]
) -> list[Verdict]:
    """Verdict on each of B completions of N problems, groups contiguous.

    Raises:
        ValueError: when the number of texts is no multiple of the number of problems.
    """
    if not problems or len(texts) % len(problems) or len(texts) != len(truncated):
        raise ValueError(
            f"texts: {len(texts)} completions and {len(truncated)} flags do not fit "
            f"{len(problems)} problems"
        )
    group_size = len(texts) // len(problems)
    return [
        task.verify(problems[row // group_size], text, cut)
        for row, (text, cut) in enumerate(zip(texts, truncated, strict=True))
    ]


def accuracy_rewards(verdicts: list[Verdict]) -> Float[Tensor, " B"]:
    """1 for a right answer, 0 for anything else (DeepSeek-R1, section 2.2.2, arXiv:2501.12948).

    >>> accuracy_rewards([Verdict("right"), Verdict("truncated")])
    tensor([1., 0.])
    """
    return torch.tensor([float(verdict.correct) for verdict in verdicts])


def format_rewards(task: Task, texts: list[str], truncated: list[bool]) -> Float[Tensor, " B"]:
    """1 for a completion in the required form, 0 otherwise; a truncated one is never in form."""
    return torch.tensor(
        [
            float(task.well_formed(text) and not cut)
            for text, cut in zip(texts, truncated, strict=True)
        ]
    )


def kl_shaped_rewards(
    rewards: Float[Tensor, " B"],
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    kl_coef: float,
) -> Float[Tensor, " B"]:
    """r − β·Σ_t (log π − log π_ref): the KL penalty as part of the reward (arXiv:2009.01325).

    Its policy gradient is the gradient of −β·KL(π‖π_ref), the reverse KL (notebook 06).

    Args:
        rewards: raw rewards, left as they are.
        logprobs: log π of the sampled tokens; no gradient flows.
        ref_logprobs: log π_ref of the same tokens.
        mask: True on trained tokens.
        kl_coef: β ≥ 0.

    Raises:
        ValueError: when ``kl_coef`` is negative.

    >>> one = torch.ones(1, 2)
    >>> kl_shaped_rewards(torch.tensor([1.0]), -one, -1.5 * one, one.bool(), kl_coef=0.1)
    tensor([0.9000])
    """
    if kl_coef < 0:
        raise ValueError(f"kl_coef: β must not be negative, got {kl_coef}")
    log_ratio = torch.where(mask, k1(logprobs, ref_logprobs), 0.0).sum(dim=1)
    return rewards - kl_coef * log_ratio.detach().to(rewards)
