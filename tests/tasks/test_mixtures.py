"""Bounds of a mixture's fields, and chains whose tags are missing."""

import random
from dataclasses import dataclass

import pytest

from rlvr_lab.tasks.mixtures import broken, require_probabilities


@dataclass
class Mixture:
    direct: float = 0.5
    malformed: float = 0.5
    slip: float = 1.0


def test_probabilities_and_shares_have_bounds() -> None:
    names, shares = ("direct", "malformed", "slip"), ("direct", "malformed")
    for fine in (Mixture(), Mixture(0.0, 1.0), Mixture(slip=0.0)):
        require_probabilities(fine, *names, shares=shares)
    for name in names:
        for bad in (-1e-9, 1 + 1e-9, float("nan")):
            with pytest.raises(ValueError, match=rf"^{name}: must lie in \[0, 1\], got"):
                require_probabilities(Mixture(**{name: bad}), *names, shares=shares)
    with pytest.raises(ValueError, match=r"^direct, malformed: their sum 1\.5 exceeds 1"):
        require_probabilities(Mixture(1.0, 0.5), *names, shares=shares)
    require_probabilities(Mixture(1.0, 0.5), *names)


def test_a_broken_chain_lacks_both_tags_or_the_closing_one() -> None:
    rng = random.Random(0)
    texts = [broken("72", "2", rng) for _ in range(4000)]
    assert set(texts) == {"72=2", "<think>72=2"} and 1880 < texts.count("72=2") < 2120
    assert broken("72", "2", random.Random(1)) == "72=2"  # 0.13: the lower half
    assert broken("72", "2", random.Random(0)) == "<think>72=2"  # 0.84
