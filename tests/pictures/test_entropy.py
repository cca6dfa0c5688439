"""The pictures of the entropy show what they are given."""

import numpy as np
import pytest

from rlvr_lab.pictures import entropy as pictures


def heights(ax) -> list[list[float]]:
    return [list(map(float, line.get_ydata())) for line in ax.lines]


def test_the_law_adds_up_from_the_first_entropy() -> None:
    probability = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25] * 4])
    left, right = pictures.plot_entropy_path(probability, [1.0, 0.9, 1.1], [-0.2, 0.1])
    assert heights(left) == [list(column) for column in probability.T]
    assert heights(right)[0] == [1.0, 0.9, 1.1]
    assert heights(right)[1] == pytest.approx([1.0, 0.8, 0.9])
    names = [text.get_text() for ax in (left, right) for text in ax.texts]
    assert set(names) >= {"correct, rare", "wrong, common", "entropy", "sum of −Cov"}


def test_each_panel_has_the_measured_change_upwards() -> None:
    change, found = np.array([[-0.2, -0.1], [-0.3, 0.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    axes = pictures.plot_entropy_law(change, {"law": change, "logged": found}, equal=["law"])
    assert [ax.get_xlabel() for ax in axes] == ["law", "logged"]
    points = axes[1].lines[:2]
    assert [list(line.get_xdata()) for line in points] == [[1, 3], [2, 4]]
    assert [list(line.get_ydata()) for line in points] == [[-0.2, -0.3], [-0.1, 0.0]]
    labels = [[line.get_label() for line in ax.lines] for ax in axes]
    assert "equal" in labels[0] and "equal" not in labels[1]


def test_remedies_are_means_over_seeds_and_look_different() -> None:
    found = {"entropy": [[1.0, 0.4], [0.8, 0.2]], "pass_rate": [[0.2, 0.8], [0.4, 0.6]]}
    names = (
        "GRPO",
        "one update",
        "clip-higher 0.28",
        "clip-higher 1",
        "entropy bonus 0.03",
        "entropy bonus 0.1",
    )
    axes = pictures.plot_entropy_remedies(dict.fromkeys(names, found))
    assert heights(axes[0])[0] == pytest.approx([0.9, 0.3])
    assert heights(axes[1])[0] == pytest.approx([0.3, 0.7])
    assert list(axes[2].lines[0].get_xdata()) == pytest.approx([0.3, 0.7])
    looks = {(x.get_color(), str(x.get_linestyle()), x.get_linewidth()) for x in axes[0].lines}
    assert len(looks) == len(names)
