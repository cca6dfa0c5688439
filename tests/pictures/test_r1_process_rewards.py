"""What the picture of the choice among N answers shows is what it was given."""

import numpy as np

from rlvr_lab.pictures.r1_process_rewards import plot_choice_of_n


def test_each_way_to_choose_stands_beside_blind_guessing() -> None:
    curves = {"a": [[0.2, 0.5], [0.4, 0.7]], "b": [[0.2, 0.1], [0.2, 0.1]]}
    looks = {"a": ("policy", "-"), "b": ("reward", "--")}
    ax = plot_choice_of_n(curves, [1, 32], looks, guess=0.1)
    a, b, guess = ax.lines
    np.testing.assert_allclose(a.get_xydata(), [[1, 0.3], [32, 0.6]])
    np.testing.assert_allclose(b.get_ydata(), [0.2, 0.1])
    np.testing.assert_allclose(guess.get_ydata(), [0.1, 0.1])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "32"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "a, n = 2 seeds",
        "b, n = 2 seeds",
    ]
    assert "blind guessing" in [text.get_text() for text in ax.texts]
