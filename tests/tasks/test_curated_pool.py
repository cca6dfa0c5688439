"""A pool that a filter has split: what a batch of it holds, and in which order."""

import random
from collections import Counter

import pytest

from rlvr_lab.tasks.curated_pool import CuratedPool
from rlvr_lab.tasks.mixed_pool import MixedPool, answer_text, kind_of

KEPT = tuple(MixedPool({"sums": 1, "differences": 1}).problems(40, random.Random(0)))
REMOVED = tuple(MixedPool({"tricks": 1, "options": 1}).problems(30, random.Random(1)))


def test_a_batch_begins_with_kept_items_and_ends_with_removed_ones() -> None:
    pool = CuratedPool(KEPT, REMOVED, 12)
    for seed in range(5):
        drawn = pool.problems(16, random.Random(seed))
        assert len(drawn) == 16
        assert set(drawn[:4]) <= set(KEPT) and set(drawn[4:]) <= set(REMOVED)


def test_batches_with_and_without_removed_items_share_their_kept_ones() -> None:
    few, full = CuratedPool(KEPT), CuratedPool(KEPT, REMOVED, 12)
    for seed in range(5):
        kept = few.problems(4, random.Random(seed))
        assert full.problems(16, random.Random(seed))[:4] == kept
        assert few.problems(16, random.Random(seed))[:4] == kept


def test_every_item_of_both_parts_can_be_drawn() -> None:
    drawn = CuratedPool(KEPT, REMOVED, 500).problems(1000, random.Random(2))
    assert set(drawn) == set(KEPT) | set(REMOVED)
    assert set(CuratedPool(KEPT, REMOVED, 300).problems(300, random.Random(2))) == set(REMOVED)


def test_the_share_of_sums_among_kept_items() -> None:
    for share in (0.0, 0.2, 0.9, 1.0):
        drawn = CuratedPool(KEPT, sums=share).problems(2000, random.Random(3))
        kinds = Counter(kind_of(item.prompt) for item in drawn)
        assert set(kinds) <= {"sums", "differences"}
        assert kinds["sums"] / 2000 == pytest.approx(share, abs=0.03)
    both = CuratedPool(KEPT + REMOVED, sums=0.5)
    assert not set(both.problems(500, random.Random(4))) & set(REMOVED)
    plain = CuratedPool(KEPT + REMOVED).problems(500, random.Random(4))
    assert set(plain) & set(REMOVED)


def test_its_verdicts_are_those_of_the_mixed_pool() -> None:
    pool = CuratedPool(KEPT, REMOVED, 1)
    for item in KEPT[:5] + REMOVED[:5]:
        text = f"={answer_text(item)}"
        assert pool.verify(item, text, False).reason == "right"
        assert pool.verify(item, "=99999", False).reason == "malformed"
        assert pool.verify(item, text, True).reason == "truncated"
        assert pool.well_formed(text) and not pool.well_formed("x")


def test_it_refuses_to_draw_from_nothing() -> None:
    with pytest.raises(ValueError, match=r"^removed"):
        CuratedPool(KEPT, (), 1)
    with pytest.raises(ValueError, match=r"^sums"):
        CuratedPool(KEPT, sums=1.5)
    with pytest.raises(ValueError, match=r"^kept"):
        CuratedPool(REMOVED, sums=0.5)
    for pool, count in (
        (CuratedPool(KEPT), 0),
        (CuratedPool(KEPT, REMOVED, 4), 3),
        (CuratedPool(()), 1),
    ):
        with pytest.raises(ValueError, match=r"^count"):
            pool.problems(count, random.Random(0))
    assert len(CuratedPool((), REMOVED, 2).problems(2, random.Random(0))) == 2
