"""The Kimi report's figures: each model at its point, slopes in the unit that they say."""

import pytest

from rlvr_lab.experiments.kimi.tables import (
    LONG,
    SHORTENED,
    Point,
    accuracy_per_token,
    long2short,
    trade,
)


def test_each_benchmark_of_figure_7_has_its_own_points() -> None:
    maths, aime = long2short("MATH500"), long2short("AIME2024")
    assert maths.keys() == aime.keys() and len(aime) == 10
    assert {LONG, *SHORTENED.values()} < aime.keys()
    assert aime[LONG] == Point(4199, 63.3) and maths["k1.5-short w/ rl"] == Point(1197, 94.6)
    with pytest.raises(ValueError, match="benchmark: Fig"):
        long2short("AIME")


def test_methods_are_named_as_in_the_figure() -> None:
    aime = {method: long2short("AIME2024")[label] for method, label in SHORTENED.items()}
    assert [point.accuracy for point in aime.values()] == [39.0, 42.9, 47.1, 60.8, 25.9]


def test_a_trade_is_a_saved_share_and_lost_points() -> None:
    assert trade(Point(200, 60), Point(150, 65)) == (0.25, -5)
    assert trade(Point(100, 60), Point(150, 50)) == (-0.5, 10)


def test_slopes_are_points_per_thousand_tokens() -> None:
    six = accuracy_per_token("6", "mid-sized k1.5")
    assert len(six) == 8 and six["MATH500"] == pytest.approx(1.36)
    small, large = (accuracy_per_token("8", f"{size} model") for size in ("small", "large"))
    assert small.keys() == large.keys()
    assert small["AIME2024"] == pytest.approx(5.9) and large["AIME2024"] == pytest.approx(8.1)
