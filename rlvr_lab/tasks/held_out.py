"""Which items are kept for the test: a rule that looks at one item alone.

A list that grows, or is put in another order, moves no item from the training problems to the test or back.
"""

import hashlib

__all__ = ["kept_for_the_test"]


def kept_for_the_test(item: str) -> bool:
    """Whether an item belongs to the test: the first byte of its SHA-256 is divisible by 4.

    For texts without a pattern this is one in four.

    >>> kept_for_the_test("cat"), kept_for_the_test("tree")
    (False, True)
    """
    return hashlib.sha256(item.encode()).digest()[0] % 4 == 0
