"""A claim passes when the data agree with the page, and stops the page when they do not."""

import numpy as np
import pytest
from scipy import stats

from rlvr_lab.records.claims import ClaimError, Claims, effect_over_seeds

CLEAR = [0.9, 1.0, 1.1, 1.0]  # mean 1.0, half-width of the interval 0.13
NOISY = [-1.0, 3.0, 2.0, 0.0]  # mean 1.0, and the interval holds 0


def test_the_interval_is_students() -> None:
    x = np.random.default_rng(0).normal(size=7)
    wanted = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    found = effect_over_seeds(x)
    np.testing.assert_allclose(
        [found.mean, found.low, found.high], [x.mean(), wanted.low, wanted.high]
    )
    assert found.n == 7


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).normal(0.3, 1.0, size=(2_000, 5))
    found = [effect_over_seeds(row) for row in draws]
    covered = np.mean([effect.low < 0.3 < effect.high for effect in found])
    assert abs(covered - 0.95) < 0.02


@pytest.mark.parametrize(
    ("effect", "condition", "holds"),
    [
        (CLEAR, {"above": 0}, True),
        (CLEAR, {"above": 0.95}, False),  # the mean lies above, the interval does not
        (CLEAR, {"below": 1.2}, True),
        (CLEAR, {"below": 1.05}, False),
        (CLEAR, {"within": (0.8, 1.2)}, True),
        (CLEAR, {"within": (0.95, 1.2)}, False),
        (CLEAR, {"within": (0.8, 1.05)}, False),
        (NOISY, {"above": 0}, False),
        (CLEAR, {"above": 0.5, "every": True}, True),
        ([1.0] * 30 + [-0.1], {"above": 0}, True),
        ([1.0] * 30 + [-0.1], {"above": 0, "every": True}, False),
        (3e-16, {"below": 1e-10}, True),
        (3e-9, {"below": 1e-10}, False),
        (2.33, {"within": (2.3, 2.4)}, True),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_a_claim_raises_exactly_when_page_and_data_disagree(effect, condition, holds, seen) -> None:
    claim = Claims()
    if holds == seen:
        claim("A sentence", effect, seen=seen, **condition)
    else:
        with pytest.raises(ClaimError, match="A sentence"):
            claim("A sentence", effect, seen=seen, **condition)
    assert [made.holds for made in claim.made] == [holds]


def test_the_row_names_effect_interval_and_seeds(capsys) -> None:
    Claims()("Answers get longer", [1.0, 2.0, 3.0, -0.5], above=-3, unit="tokens")
    assert capsys.readouterr().out == (
        "✓ Answers get longer\n"
        "    +1.4 [-1.0, 3.8] tokens, n = 4, 4 of 4 seeds agree  (interval above -3)\n"
    )


def test_seeds_agree_one_by_one(capsys) -> None:
    Claims()("A sentence", NOISY, above=0, seen=False)
    assert "2 of 4 seeds agree" in capsys.readouterr().out


def test_the_table_holds_what_can_be_compared_and_counts_the_rest() -> None:
    claim = Claims()
    claim("Seen here", CLEAR, above=0, lecture="[31:40] |o| matters", paper="2.0 (arXiv:1)")
    claim("Not seen here", NOISY, above=0, seen=False, lecture="[31:50] so")
    claim("Only here", 1e-12, below=1e-9)
    *rows, blank, caption = claim.table().data.splitlines()[2:]
    assert rows == [
        "| ✓ | **Seen here** +1.00 [0.87, 1.13], n = 4, 4 of 4 seeds agree "
        "| [31:40] \\|o\\| matters | 2.0 (arXiv:1) |",
        "| ✗ undecided | **Not seen here** +1.0 [-1.9, 3.9], n = 4, 2 of 4 seeds agree | [31:50] so |  |",
    ]
    assert blank == ""
    assert caption.startswith(
        "3 claims on this page: 2 ✓, 1 ✗ (not shown by our data; 1 of them undecided"
    )


@pytest.mark.parametrize(
    ("effect", "condition", "decided"),
    [
        (NOISY, {"above": 0}, False),
        (NOISY, {"below": 0}, False),
        (NOISY, {"within": (-1, 1)}, False),
        (CLEAR, {"below": 0}, True),
        (CLEAR, {"within": (-1, 0)}, True),
    ],
)
def test_undecided_is_not_the_same_as_contradicted(effect, condition, decided, capsys) -> None:
    claim = Claims()
    claim("A sentence", effect, seen=False, replicates="tables", **condition)
    assert claim.made[0].decided is decided
    row = capsys.readouterr().out
    assert ("undecided" in row) is not decided
    assert "4 tables agree" in row


def test_a_cell_that_is_run_again_makes_no_second_row() -> None:
    claim = Claims()
    for effect in (CLEAR, [2.0, 2.1, 2.2]):
        claim("A sentence", effect, above=0)
    assert [made.effect.mean for made in claim.made] == [pytest.approx(2.1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sentence": " ", "effect": 1.0, "above": 0}, "sentence"),
        ({"sentence": "s", "effect": 1.0}, "exactly one of above, below and within"),
        ({"sentence": "s", "effect": 1.0, "above": 0, "below": 2}, "exactly one"),
        ({"sentence": "s", "effect": 1.0, "above": 0, "within": (0, 2)}, "exactly one"),
        ({"sentence": "s", "effect": 1.0, "within": (2, 0)}, "within"),
        ({"sentence": "s", "effect": [1.0], "above": 0}, "S ≥ 2"),
        ({"sentence": "s", "effect": [[1.0, 2.0]], "above": 0}, "S ≥ 2"),
        ({"sentence": "s", "effect": [1.0, float("nan")], "above": 0}, "finite"),
        ({"sentence": "s", "effect": float("nan"), "above": 0}, "finite"),
    ],
)
def test_bad_input_is_named_and_leaves_no_claim(arguments, message) -> None:
    claim = Claims()
    with pytest.raises(ValueError, match=message):
        claim(**arguments)
    assert claim.made == []


def test_the_level_has_to_be_a_probability() -> None:
    with pytest.raises(ValueError, match="level"):
        effect_over_seeds([1.0, 2.0], level=1.0)
