"""What the pictures of coverage show is what they were given."""

import numpy as np

from rlvr_lab.pictures import coverage as plots

LOOKS = {"a": ("policy", "-"), "b": ("reference", "--")}


def test_pass_at_k_stands_beside_blind_guessing() -> None:
    curves = {"a": [[0.1, 0.5], [0.3, 0.7]], "b": [[0.2, 0.2], [0.2, 0.2]]}
    ax = plots.plot_pass_at_k(curves, [1, 64], LOOKS, guess=0.5)
    a, b, blind = ax.lines
    np.testing.assert_allclose(a.get_xydata(), [[1, 0.2], [64, 0.6]])
    np.testing.assert_allclose(b.get_ydata(), 0.2)
    np.testing.assert_allclose(blind.get_ydata(), [0.5, 1.0])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "64"]
    assert "blind guessing" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_loss_and_discovery_stand_beside_their_sum() -> None:
    kept, found = np.array([[1.0, 0.4], [0.8, 0.6]]), np.array([[0.1, 0.3], [0.1, 0.5]])
    parts = {"lost": kept * 0 - 0.1, "found": found * 0 + 0.3, "net": found * 0 + 0.2}
    figure = plots.plot_balance(kept, found, parts, [0, 120], guess=0.06)
    left, right = figure.axes
    lines = [line.get_ydata() for line in left.lines]
    np.testing.assert_allclose(lines, [[0.06, 0.06], [0.9, 0.5], [0.1, 0.4]])
    drawn = [line.get_ydata()[-1] for line in right.lines if len(line.get_xdata()) == 2]
    assert {-0.1, 0.3, 0.2} <= {round(float(y), 6) for y in drawn}
    assert [text.get_text() for text in left.texts] == ["blind guessing", "neither", "words only"]
    assert [text.get_text() for text in right.texts] == ["words only", "all problems", "neither"]


def test_the_histogram_holds_every_problem_once() -> None:
    ax = plots.plot_answer_entropy({"a": [0.0, 0.0, 1.0, 2.0], "b": [0.5]}, LOOKS)
    a, b = (patch.get_data().values for patch in ax.patches)
    assert a.sum() == b.sum() == 1 and a[0] == 0.5 and a[-1] == 0.25
