"""Spending tokens: each line stands where its numbers are."""

import numpy as np

from rlvr_lab.pictures.qwen3_test_time import plot_spending, plot_vote_theory
from rlvr_lab.pictures.style import COLOURS, dark


def test_accuracy_stands_over_the_mean_tokens() -> None:
    tokens = np.array([[10.0, 20.0], [20.0, 40.0]])
    lines = {"vote": (tokens, [[0.2, 0.4], [0.4, 0.6]]), "verifier": (tokens, [[0.3, 0.9]] * 2)}
    looks = {"vote": ("policy", "-o"), "verifier": ("right", "--")}
    figure = plot_spending({"Sums": lines, "Codes": {"vote": lines["vote"]}}, looks, [0.1, 0.001])
    left, right = figure.axes
    drawn = {line.get_label(): line for line in left.lines}
    vote, verifier = drawn["vote, n = 2 seeds"], drawn["verifier, n = 2 seeds"]
    assert list(vote.get_xdata()) == [15, 30]
    np.testing.assert_allclose(vote.get_ydata(), [0.3, 0.5])
    assert (vote.get_marker(), vote.get_linestyle()) == ("o", "-")
    assert (verifier.get_color(), verifier.get_linestyle()) == (COLOURS["right"], "--")
    assert verifier.get_marker() == ""
    levels = [
        [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
        for ax in (left, right)
    ]
    assert levels == [[0.1], [0.001]]
    assert (left.get_title(), right.get_title()) == ("Sums", "Codes")
    assert left.get_xscale() == "log" and left.get_ylabel() == "accuracy"
    for ax in (left, right):
        assert ax.get_xlabel() == "tokens per problem" and ax.get_ylim() == (-0.02, 1.03)
        texts = [text.get_text().replace(",", "") for text in ax.get_xticklabels()]
        assert [float(text) for text in texts] == list(ax.get_xticks())
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["vote, n = 2 seeds", "verifier, n = 2 seeds"]


def test_the_theory_is_drawn_with_its_labels() -> None:
    ax = plot_vote_theory({"up": [0.4, 0.9], "down": [0.4, 0.1]}, [1, 64],
                          {"up": ("right", "-"), "down": ("wrong", "--")})  # fmt: skip
    up, down = ax.lines
    assert list(up.get_ydata()) == [0.4, 0.9] and list(down.get_ydata()) == [0.4, 0.1]
    assert (up.get_color(), down.get_color()) == (COLOURS["right"], COLOURS["wrong"])
    assert {text.get_text() for text in ax.texts} == {"up", "down"}
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "64"]
    assert list(up.get_xdata()) == list(down.get_xdata()) == [1, 64] == list(ax.get_xticks())
    assert (up.get_linestyle(), down.get_linestyle()) == ("-", "--")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("n, answers per problem", "accuracy")
    assert ax.get_xscale() == "log" and ax.get_ylim() == (-0.02, 1.03)
    ends = {text.get_text(): text for text in ax.texts}
    assert ends["up"].xy[1] > 0.8 > 0.2 > ends["down"].xy[1]
    assert ends["up"].get_color() == dark(COLOURS["right"]) != ends["down"].get_color()
