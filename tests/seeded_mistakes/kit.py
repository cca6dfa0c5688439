"""What a seeded mistake is. They are written as a learner would write them, in torch, not copied from
the tables of the checks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Seeded", "seeded"]


class Seeded(NamedTuple):
    """Mistaken functions (as many as the check takes) and a keyword of the message they deserve."""

    keyword: str
    functions: tuple[Callable[..., Any], ...]


def seeded(keyword: str, *functions: Callable[..., Any]) -> Seeded:
    return Seeded(keyword, functions)
