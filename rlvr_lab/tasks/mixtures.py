"""What the training mixtures of several worlds share."""

import random
from typing import Any

__all__ = ["broken", "require_probabilities"]


def require_probabilities(mixture: Any, *names: str, shares: tuple[str, ...] = ()) -> None:
    """Refuse a field outside [0, 1], and shares of one whole that exceed it.

    Args:
        mixture: has the fields.
        names: of the fields to check.
        shares: those of them that are shares of the same whole.

    Raises:
        ValueError: naming the field, or the shares.
    """
    for name in names:
        if not 0 <= getattr(mixture, name) <= 1:
            raise ValueError(f"{name}: must lie in [0, 1], got {getattr(mixture, name)}")
    whole = sum(getattr(mixture, name) for name in shares)
    if whole > 1:
        raise ValueError(f"{', '.join(shares)}: their sum {whole} exceeds 1")


def broken(chain: str, answer: str, rng: random.Random) -> str:
    """A whole chain without its tags or without the closing one, each half of the time.

    >>> broken("720", "0", random.Random(1)), broken("720", "0", random.Random(0))
    ('720=0', '<think>720=0')
    """
    return f"{chain}={answer}" if rng.random() < 0.5 else f"<think>{chain}={answer}"
