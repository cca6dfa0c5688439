"""The exact dashboard of the mismatch: every slider reaches the sums."""

from rlvr_lab.exact.mismatch import ESTIMATORS
from rlvr_lab.widgets.mismatch import draw_mismatch, mismatch_dashboard


def test_on_policy_nothing_is_biased() -> None:
    figure, words = draw_mismatch(0, 0.0, 2.0)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0"] * len(ESTIMATORS)
    assert "KL 0.000 nats per token" in words


def test_every_slider_changes_the_picture() -> None:
    start = draw_mismatch(12, 0.5, 2.0)[1]
    for change in ({"lag": 8}, {"noise": 1.0}, {"cap": 1.5}):
        assert draw_mismatch(**{"lag": 12, "noise": 0.5, "cap": 2.0} | change)[1] != start


def test_the_uncapped_product_stays_unbiased() -> None:
    figure, _ = draw_mismatch(12, 1.0, 2.0)
    numbers = [text.get_text() for text in figure.axes[0].texts][::-1]
    by_name = dict(zip(ESTIMATORS, numbers, strict=True))
    assert by_name["product"] == "0"
    assert all(float(number) > 0.05 for name, number in by_name.items() if name != "product")


def test_the_dashboard_has_the_sliders_of_its_picture() -> None:
    dashboard = mismatch_dashboard()
    values = {name: widget.value for name, widget in dashboard.controls.items()}
    assert values == {"lag": 8, "noise": 0.0, "cap": 2.0}
    for name, widget in dashboard.controls.items():
        for value in (widget.min, widget.max):
            draw_mismatch(**values | {name: value})
