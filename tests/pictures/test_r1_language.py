"""Pictures of language mixing: each number at its place, each policy with its own mark."""

from rlvr_lab.pictures.r1_language import plot_language_choice

SHARES = {
    "base": {"wrong in digits": [0.5, 0.6], "wrong in words": [0.4, 0.5]},
    "after RL": {"wrong in digits": [0.9, 1.0], "wrong in words": [0.0, 0.2]},
}
LOOKS = {"base": ("reference", "o"), "after RL": ("policy", "D")}


def test_each_class_has_a_row_and_each_policy_its_mark() -> None:
    ax = plot_language_choice(SHARES, LOOKS)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["wrong in words", "wrong in digits"]
    means = [line for line in ax.lines if len(line.get_xdata()) == 1]
    found = {(round(float(m.get_xdata()[0]), 3), m.get_marker()): m.get_ydata()[0] for m in means}
    assert set(found) == {(0.55, "o"), (0.45, "o"), (0.95, "D"), (0.1, "D")}
    assert found[0.55, "o"] > found[0.95, "D"] > found[0.45, "o"] > found[0.1, "D"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == list(SHARES)
