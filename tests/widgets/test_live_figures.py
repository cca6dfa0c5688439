"""A figure that follows a run in a plain loop: which curves it draws."""

import pytest

from rlvr_lab.pictures.panels import PANELS
from rlvr_lab.widgets import live_figures
from rlvr_lab.widgets.live_figures import watch


@pytest.mark.parametrize("kind", PANELS)
def test_watch_draws_the_curves_of_a_kind_of_run(kind: str, monkeypatch) -> None:
    drawn, real = [], live_figures.show

    def show(figure, words):
        drawn.append(([ax.get_title("left") for ax in figure.axes], words))
        return real(figure, words)

    class Handle:
        def update(self, picture) -> None:
            pass

    monkeypatch.setattr("rlvr_lab.pictures.runs.show", show)
    monkeypatch.setattr(live_figures, "display", lambda *_, **__: Handle())
    watch(iter([{"step": 1}]), panels=PANELS[kind])
    titles, words = drawn[-1]
    assert titles == [panel.title for panel in PANELS[kind]]
    assert all(panel.words in words for panel in PANELS[kind])
