"""Rewards that read the language of a chain of thought, in the world of the codes (notebook 08).

DeepSeek-R1 adds to the accuracy reward a *language consistency reward*: the proportion of the words of the
chain of thought that belong to the target language (section 2.3.2, arXiv:2501.12948). The codes have two languages,
digits and number words. Without a stated target the language that the chain uses more often counts.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.tasks.code_chains import numbers
from rlvr_lab.tasks.codes import LANGUAGES
from rlvr_lab.tasks.task import Answers

__all__ = ["consistency", "language_reward", "mixed"]


def consistency(text: str, target: str | None = None) -> float:
    """Share of the numbers of the chain that are in one language.

    Args:
        text: a completion.
        target: that language, ``digits`` or ``words``; None takes the one that the chain uses more often, so
            that the share of a chain is at least one half.

    Returns:
        In [0, 1]; 0 for an answer that is malformed or has no number in a chain, since a direct answer has
        no chain to be read.

    Raises:
        ValueError: for an unknown ``target``.

    >>> consistency("<think>7twozero,378,913</think>=083") == 7 / 9
    True
    >>> consistency("<think>seventwo</think>=083", "digits"), consistency("=083")
    (0.0, 0.0)
    """
    if target is not None and target not in LANGUAGES:
        raise ValueError(f"target: must be one of {', '.join(LANGUAGES)} or None, got {target!r}")
    used = [number.language for number in numbers(text)]
    counts = {name: used.count(name) for name in LANGUAGES}
    return (counts[target] if target else max(counts.values())) / max(1, len(used))


def language_reward(target: str | None = None) -> Callable[[Answers], Float[Tensor, " B"]]:
    """The reward ``consistency`` of each answer, 0 for a truncated one.

    Args:
        target: see ``consistency``.

    Raises:
        ValueError: for an unknown ``target``.
    """
    consistency("", target)  # refuses an unknown target before a run begins

    def reward(answers: Answers) -> Float[Tensor, " B"]:
        batch = answers.batch
        pairs = zip(batch.texts, batch.truncated.tolist(), strict=True)
        return torch.tensor([0.0 if cut else consistency(text, target) for text, cut in pairs])

    return reward


def mixed(answers: Answers) -> Float[Tensor, " B"]:
    """1 for an answer whose chain uses both languages. With weight 0 it is only recorded."""
    batch = answers.batch
    pairs = zip(batch.texts, batch.truncated.tolist(), strict=True)
    return torch.tensor([float(not cut and 0 < consistency(text) < 1) for text, cut in pairs])
