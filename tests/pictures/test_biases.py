"""Pictures of notebook 07: what is drawn where, and that no word is cut off."""

import numpy as np

from rlvr_lab.pictures import biases
from tests.pictures.test_plots import texts, words_outside


def test_question_curves_have_a_panel_for_each_setting() -> None:
    curves = {"easy": [0.9, 0.95], "hard": [0.1, 0.3]}
    figure = biases.plot_question_curves({"centred": curves, "divided": curves})
    assert [ax.get_title() for ax in figure.axes] == ["centred", "divided"]
    assert [line.get_ydata().tolist() for line in figure.axes[1].lines] == list(curves.values())
    assert words_outside(figure) == []


def test_bands_bear_their_names_at_the_right_end() -> None:
    bands = {"p = 0.2": np.ones((3, 6)), "p = 0.8": 4 * np.ones((3, 6))}
    figure = biases.plot_labelled_bands({"a": bands, "b": bands}, "tokens", ylim=(0, 5))
    assert texts(figure.axes[0]) == list(bands)
    assert "n = 3" in figure.axes[0].get_title()
    assert words_outside(figure) == []


def test_a_length_path_names_its_three_curves() -> None:
    ax = biases.plot_length_path(([55, 20], [55, 90], [55, 70]))
    assert sorted(texts(ax)) == ["correct", "incorrect", "mean"]
    assert words_outside(ax.figure) == []


def test_token_weights_mark_what_is_lost() -> None:
    weights = np.array([[0.5, 0.5], [-1.0, 0.0]])
    figure = biases.plot_token_weights(
        {"on": {"GRPO": weights}, "off": {"GRPO": 0 * weights}}, {"long": 2, "short": 1}
    )
    assert texts(figure.axes[0]) == ["+0.5", "+0.5", "-1.0"]
    assert texts(figure.axes[1]) == ["×"] * 3
    assert words_outside(figure) == []


def test_reward_against_length_names_both_points() -> None:
    points = {"paper": {"GRPO": (990.0, 0.6), "Dr. GRPO": (525.0, 0.62)}}
    figure = biases.plot_reward_and_length(points, {"paper": ("tokens", "reward")})
    assert {"GRPO", "Dr. GRPO"} <= set(texts(figure.axes[0]))
    assert figure.axes[0].get_xlabel() == "tokens"
