"""The static picture of a step: every answer a row, every token its number, and no word cut off."""

import pytest
from matplotlib.colors import to_rgb

from rlvr_lab.pictures import inspection
from rlvr_lab.pictures.style import COLOURS, show
from rlvr_lab.training.group_reading import read_group
from tests.pictures.test_plots import texts, words_outside
from tests.training.test_group_weights import answer, by_length


def test_a_strip_has_a_cell_with_word_and_number_for_each_token() -> None:
    group = by_length(True)
    ax = inspection.plot_strips(group)
    words = texts(ax)
    assert len(ax.patches) == sum(len(a.words) for a in group.answers)
    assert words.count("⟨end⟩") == 5 and words.count("given") == 5
    assert words.count("−1.00") == 5  # one cell, one mean, and three whole answers
    assert "✗ wrong   r 0   A −1.00   |o| 10" in words
    assert "✓ right   r 1   A +1.00   |o| 2" in words
    assert ax.get_title(loc="left") == "GRPO"


def test_colours_say_the_sign_and_the_size() -> None:
    up, down = inspection.tint(1.0, 1.0), inspection.tint(-1.0, 1.0)
    assert inspection.tint(0.0, 1.0) == (1, 1, 1)
    near = lambda a, b: sum((x - y) ** 2 for x, y in zip(a, to_rgb(COLOURS[b]), strict=True))  # noqa: E731
    assert near(up, "policy") < near(up, "wrong") and near(down, "wrong") < near(down, "policy")
    assert sum(inspection.tint(0.2, 1.0)) > sum(up)


def test_a_long_answer_is_shown_without_its_middle() -> None:
    assert inspection.folded(20, 6) == [0, 1, 2, 3, None, 19]
    group = by_length(True)
    group.answers.append(answer(30, -0.1, False))
    ax = inspection.plot_strips(group)
    assert "+16" in texts(ax)  # 31 words, of which 15 are shown


def test_a_clipped_token_says_so() -> None:
    group = by_length(True)
    group.answers[0].weights[1], group.answers[0].clipped[1] = 0.0, True
    assert "clipped" in texts(inspection.plot_strips(group))


def test_stopping_and_going_on_stand_at_their_places() -> None:
    ax = inspection.plot_places([by_length(True)], good=False)
    goes_on, stops = (c.get_offsets().tolist() for c in ax.collections)
    assert sorted(stops) == [[1, -1.0], [4, -0.25], [10, -0.1]]
    assert len(goes_on) == 3 + 9 and [1, -0.25] in goes_on and [9, -0.1] in goes_on
    assert ax.get_title(loc="left") == "incorrect answers: stop or go on?"


@pytest.mark.parametrize("two", [False, True])
def test_the_picture_is_whole_and_said_in_words(two: bool) -> None:
    group, other = by_length(True), by_length(False)
    figure = inspection.plot_inspection(group, other if two else None, most=4)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[: 1 + 2 * two] == ["GRPO"] + ["GRPO", "GRPO − GRPO"] * two
    assert len(figure.axes) == (3 if not two else 5)
    words = inspection.describe_inspection(group, other if two else None)
    assert all(sentence in words for sentence in read_group(group))
    assert ("nothing pulls" in words) == two
    assert show(figure, words).alt == words
    assert words_outside(figure) == []


def test_where_stopping_is_no_choice_it_is_not_drawn() -> None:
    group = by_length(True)
    for one in group.answers:
        one.before[-1] = -0.001
    assert len(inspection.plot_inspection(group).axes) == 1


def test_equal_weights_are_called_equal() -> None:
    words = inspection.describe_inspection(by_length(True), by_length(True))
    assert words.endswith("GRPO: the same weights.")
