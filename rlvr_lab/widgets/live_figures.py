"""Figures that are redrawn during a run, without a dashboard.

``watch`` follows a run in a plain loop and works wherever a notebook does; ``exact_dashboard``
draws a picture again when a control moves.
"""

import html
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ipywidgets as W
from IPython.display import Image, display
from matplotlib.figure import Figure

from rlvr_lab.pictures.panels import PANELS
from rlvr_lab.pictures.panels import Panel as Curves
from rlvr_lab.pictures.runs import picture_of_run
from rlvr_lab.pictures.style import show

__all__ = ["SHORTEST", "ExactDashboard", "Panel", "exact_dashboard", "sentence", "watch"]

Record = dict[str, Any]
Drawn = tuple[Figure, str]
SHORTEST = 0.4
"""Seconds between two frames of a live figure, at least."""


class Panel(W.Box):
    """A box of controls that a stored notebook shows as one plain sentence, not as ``Box(children=…``."""

    def __repr__(self) -> str:
        return "[Controls. They work while the notebook runs.]"


def sentence(error: BaseException) -> str:
    """An exception as one plain sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:1].upper() + text[1:300].rstrip(".") + "."


def watch(
    records: Iterable[Record],
    every: float = SHORTEST,
    label: str = "",
    earlier: Mapping[str, Sequence[Record]] | None = None,
    total: int | None = None,
    panels: Sequence[Curves] = PANELS["policy-gradient"],
    draw: Callable[[list[Record]], tuple[Figure, str]] | None = None,
) -> list[Record]:
    """Follow a run in a plain loop: no thread, no widget, the same figure.

    Interrupting the cell ends the run and keeps what there is.

    Args:
        records: what ``train`` returns, or any iterable of metrics records.
        every: seconds between two frames; the last frame is always drawn.
        label: the run's settings, for the legend.
        earlier: label → records of runs to compare with.
        total: number of steps planned, so that the axis stands still.
        panels: the curves to draw; ``panels.panels_of`` knows what suits a configuration.
        draw: another picture of the records, with its words; by default ``picture_of_run``.

    Returns:
        The records, up to the interruption if there was one.
    """
    seen: list[Record] = []

    def picture() -> Image:
        if draw is not None:
            return show(*draw(seen))
        return picture_of_run(seen, panels, label=label, earlier=earlier, total=total)

    handle = display(picture(), display_id=True)
    drawn = time.perf_counter()
    try:
        for record in records:
            seen.append(record)
            if time.perf_counter() - drawn >= every:
                handle.update(picture())
                drawn = time.perf_counter()
    except KeyboardInterrupt:
        print(f"Interrupted: the {len(seen)} steps so far are kept.")
    finally:
        handle.update(picture())
    return seen


class ExactDashboard:
    """A picture that is drawn again whenever a control moves.

    Drawing takes place in a thread that always takes the latest values: while one picture is being
    drawn a slider may pass over many, and only the last of them is drawn.

    Args:
        draw: called with the values of the controls by name; returns a figure and its alt text. A draw
            that takes long, because it trains, yields such pairs instead: each is shown (at most one
            every ``SHORTEST`` seconds, and the last), and a control that moves ends it.
        controls: name → widget with a ``value``.
    """

    def __init__(
        self, draw: Callable[..., Drawn | Iterator[Drawn]], /, **controls: W.ValueWidget
    ) -> None:
        self._draw = draw
        self.controls = controls
        self.status = W.HTML()
        for name, widget in controls.items():
            widget.add_class(f"rl-exact-{name.replace('_', '-')}")
            widget.observe(self._moved, "value")
        boxes = W.HBox(list(controls.values()), layout=W.Layout(flex_flow="row wrap"))
        self.panel = Panel([boxes, self.status], layout=W.Layout(flex_flow="column"))
        self.panel.add_class("rl-exact")
        self._handle: Any = None
        self._lock = threading.Lock()
        self._drawn: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None

    def show(self) -> None:
        """Display the controls and the first picture."""
        display(self.panel)
        pictures = self._pictures(self._values())
        self._handle = display(next(pictures), display_id=True)
        for picture in pictures:
            self._handle.update(picture)

    def _values(self) -> dict[str, Any]:
        return {name: widget.value for name, widget in self.controls.items()}

    def _pictures(self, values: dict[str, Any]) -> Iterator[Image]:
        """The picture for these values; several, while one that takes long grows."""
        self._drawn = values
        drawn = self._draw(**values)
        if isinstance(drawn, tuple):
            yield show(*drawn)
            return
        shown, latest = -math.inf, None
        for latest in drawn:
            if self._values() != values:
                self._drawn = None  # and not finished, should the control come back
                return
            if time.perf_counter() - shown >= SHORTEST:
                yield show(*latest)
                shown, latest = time.perf_counter(), None
        if latest is not None:
            yield show(*latest)

    def _moved(self, _: Any) -> None:
        with self._lock:
            if self._handle is not None and self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                values = self._values()
                if values == self._drawn:
                    self._thread = None
                    return
            try:
                for picture in self._pictures(values):
                    self._handle.update(picture)
                self.status.value = ""
            except Exception as error:
                self.status.value = html.escape(sentence(error))


def exact_dashboard(
    draw: Callable[..., Drawn | Iterator[Drawn]], /, **controls: W.ValueWidget
) -> None:
    """Show ``ExactDashboard(draw, **controls)``.

    >>> from ipywidgets import IntSlider
    >>> exact_dashboard(lambda n: (new_figure()[0], f"n is {n}"), n=IntSlider(3))  # doctest: +SKIP
    """
    ExactDashboard(draw, **controls).show()
