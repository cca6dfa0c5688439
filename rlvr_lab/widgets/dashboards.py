"""Buttons, boxes and sliders over pure functions: no mathematics and no training in here.

A live figure is a PNG behind a display handle, drawn beside the training and replaced at least twice a second
where steps are short enough. The last frame stays in the saved notebook, and needs no widget to be seen.
"""

import html
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import ipywidgets as W
from IPython.display import display

from rlvr_lab.pictures.panels import Panel as Curves
from rlvr_lab.pictures.panels import curves_of, panels_of
from rlvr_lab.pictures.runs import describe_run, picture_of_run
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.inspection import can_inspect
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.rollouts import RolloutConfig
from rlvr_lab.training.step_keeper import StepKeeper
from rlvr_lab.widgets.buttons import push_buttons, switches
from rlvr_lab.widgets.controls import Controls
from rlvr_lab.widgets.doctor import diagnosis_html
from rlvr_lab.widgets.inspector import StepInspector
from rlvr_lab.widgets.live_figures import Panel, sentence
from rlvr_lab.widgets.painter import Painter
from rlvr_lab.widgets.words import (
    HIDDEN,
    LiveRun,
    ending,
    log_html,
    name_runs,
    progress,
    samples_html,
)

__all__ = ["TrainingDashboard"]

Record = dict[str, Any]

PAINTER = Painter(picture_of_run)
"""Draws for every dashboard of a kernel."""
SHORTEST = 0.1
"""Seconds between two frames, at least."""
_COMPARED = 4  # earlier runs that a figure can hold and still be read


class TrainingDashboard:
    """Live training: Run, Stop, Compare, Reset, and a control for every setting that matters.

    A control moved during a run acts from the next step on and leaves a numbered mark on the
    curves. Only one run is active at a time: starting one in another dashboard ends it, and so does
    running the cell again.

    One class for every kind of run: ``panels.PANELS`` has its curves, ``dial_tables.DIALS`` its controls.

    Args:
        config: the settings to start from; None takes the preset ``grpo``.
        presets: name → config, for the drop-down; by default the algorithms' table for a policy gradient, and
            none for other kinds of run.
        dials: names of the controls to show, in their order; None shows the usual ones.
        train: called as ``train(config, live_config=…, watch=…)``; yields one metrics record a step.
    """

    _all: ClassVar[weakref.WeakSet["TrainingDashboard"]] = weakref.WeakSet()
    _threads: ClassVar[list[threading.Thread]] = []

    def __init__(
        self,
        config: RunConfig | None = None,
        presets: Mapping[str, RunConfig] | None = None,
        dials: Sequence[str] | None = None,
        train: Callable[..., Iterator[Record]] = train,
    ) -> None:
        self._train = train
        if presets is None:
            presets = PRESETS if config is None or isinstance(config, PolicyGradientConfig) else {}
        self.controls = Controls(config, presets, dials)
        self._live = self.controls.config()
        self._run: LiveRun | None = None
        self._earlier: list[LiveRun] = []
        self._count = 0
        self._keeper = StepKeeper()
        self._handle: Any = None
        self._drawing = threading.Lock()
        self._switching = threading.Lock()
        self._build()
        self.controls.on_change(self._moved)
        self._refresh()
        self._say("Press Run. Every control has a tooltip.")
        TrainingDashboard._all.add(self)

    # --- what it looks like --------------------------------------------------------------------

    def _build(self) -> None:
        self.buttons = push_buttons()
        self.compare, self.inspect = switches()
        self.inspect.observe(lambda change: self._look_inside(change["new"]), "value")
        # Built when it is asked for the first time.
        self.inspector: StepInspector | None = None
        toggles = {"compare": self.compare, "inspect": self.inspect}
        for name, button in {**self.buttons, **toggles}.items():
            button.add_class(f"rl-{name}")
        self.buttons["run"].on_click(lambda _: self.run())
        self.buttons["stop"].on_click(lambda _: self.stop())
        self.buttons["reset"].on_click(lambda _: self.reset())
        self.compare.observe(lambda _: self._refresh(), "value")
        self._lock(None)
        self.status, self.samples, self.log = W.HTML(), W.HTML(), W.HTML()
        # The figure's description for a screen reader: JupyterLab drops the alt text of a PNG.
        self.figure = W.HTML()
        self.doctor = W.HTML(layout=W.Layout(width="100%"))
        for name in ("status", "samples", "log", "figure", "doctor"):
            getattr(self, name).add_class(f"rl-{name}")
        run, stop, reset = self.buttons.values()
        inspect = [self.inspect] if can_inspect(self._live) else []
        row = W.HBox(
            [run, stop, self.compare, *inspect, reset], layout=W.Layout(flex_flow="row wrap")
        )
        left = W.VBox(
            [row, self.status, self.controls.panel, self.figure],
            layout=W.Layout(flex="0 1 570px", min_width="0"),
        )
        right = W.VBox(
            [self.samples, self.log] if isinstance(self._live, RolloutConfig) else [self.log],
            layout=W.Layout(width="310px", margin="0 0 0 10px"),
        )
        self.panel = Panel([left, right, self.doctor], layout=W.Layout(flex_flow="row wrap"))
        self.panel.add_class("rl-dashboard")

    def show(self) -> None:
        """Display the controls and, below them, the figure. A run in another dashboard ends.

        While ``python -m rlvr_lab store`` executes a notebook, a run starts and ends here, so that
        the stored page shows the picture of a finished run.
        """
        self._stop_others()
        PAINTER.start()
        display(self.panel)
        self._handle = display(self._picture(), display_id=True)
        if os.environ.get("RLVR_LAB_STORE"):
            self.run()
            for thread in list(TrainingDashboard._threads):
                thread.join()

    def _picture(self) -> Any:
        run = self._run
        shown = self._earlier[-_COMPARED:] if self.compare.value else []
        # Other worlds have other scales: only runs of the same one are laid over each other.
        world = getattr(self._shown_config, "world", None)
        shown = [old for old in shown if getattr(old.config, "world", None) == world]
        names = name_runs([*shown, run] if run else shown)
        curves = [curves_of(old.records, self._curves) for old in shown]
        return PAINTER(
            curves_of(run.records if run else [], self._curves),
            self._curves,
            label=names.pop() if run else "",
            earlier=dict(zip(names, curves, strict=True)),
            total=self._shown_config.steps,
        )

    @property
    def _shown_config(self) -> RunConfig:
        return self._run.config if self._run else self._live

    @property
    def _curves(self) -> Sequence[Curves]:
        return panels_of(self._shown_config)

    def _refresh(self) -> None:
        """Draw everything again as it is now; what goes wrong is said, and ends no run."""
        with self._drawing:
            try:
                self._draw(self.records)
            except Exception as error:
                self._say(f"The picture could not be drawn. {sentence(error)}")

    def _draw(self, records: list[Record]) -> None:
        if isinstance(self._live, RolloutConfig):
            self.samples.value = samples_html(records[-1].get("samples", []) if records else [])
        self.log.value = log_html(records)
        self.doctor.value = diagnosis_html(
            records, self._live if self.running else self._shown_config
        )
        words = html.escape(describe_run(records, self._curves))
        self.figure.value = f'<span style="{HIDDEN}">{words}</span>'
        if self._handle is not None:
            self._handle.update(self._picture())

    def _look_inside(self, wanted: bool) -> None:
        """Open or close the step inspector of the latest run."""
        self._keeper.eager = wanted
        if wanted and self.inspector is None:
            self.inspector = StepInspector(lambda: self._keeper.steps)
            self.panel.children = (*self.panel.children, self.inspector.panel)
        elif wanted:
            self.inspector.refresh()
        self.inspector.panel.layout.display = "" if wanted else "none"

    def _say(self, text: str) -> None:
        self.status.value = (
            '<div role="status" aria-live="polite" style="max-width:560px;line-height:1.35;'
            f'min-height:1.4em">{html.escape(text)}</div>'
        )

    def _lock(self, running: RunConfig | None) -> None:
        self.buttons["run"].disabled = running is not None
        self.buttons["stop"].disabled = running is None
        self.controls.lock(running)

    # --- what it does --------------------------------------------------------------------------

    @property
    def records(self) -> list[Record]:
        """The records of the latest run."""
        return list(self._run.records) if self._run else []

    @property
    def running(self) -> bool:
        """Whether a run is active."""
        return self._run is not None and self._run.going

    def live_config(self) -> RunConfig:
        """The settings that hold from the next step on. Read by the training thread."""
        return self._live

    def run(self) -> None:
        """Start a run in its own thread; does nothing while one is active."""
        with self._switching:
            if self.running:
                self._say("A run is going on already: press Stop first.")
                return
            try:
                self._live = self.controls.config()
            except ValueError as error:
                self._say(f"These settings do not fit together: {error}")
                return
            waits_for = self._stop_others()
            if self._run is not None and self._run.records:
                self._earlier.append(self._run)
            self._count += 1
            run = self._run = LiveRun(self._count, self.controls.preset, self._live)
            self._keeper = StepKeeper()
            self._keeper.eager = self.inspect.value
            self._lock(run.config)
            self._say("Loading the base model…")
            thread = threading.Thread(
                target=self._work, args=(run, waits_for, self._keeper), daemon=True
            )
            TrainingDashboard._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the run after the step it is in."""
        if self.running:
            self._run.stop.set()
            self._say("Stopping after this step…")

    def reset(self) -> None:
        """End the run, forget all runs, put every control back."""
        with self._switching:
            run, self._run = self._run, None
            if run is not None:
                run.stop.set()
            self._keeper, self.inspect.value = StepKeeper(), False
            self._earlier.clear()
            self._count = 0
            self._lock(None)
            self.compare.value = True
            self.controls.reset()
        self._refresh()
        self._say("All runs forgotten; every control is back.")

    @classmethod
    def _stop_others(cls) -> list[threading.Thread]:
        """Stop every run in this kernel; returns the threads that have still to end."""
        for dashboard in list(cls._all):
            dashboard.stop()
        cls._threads[:] = [thread for thread in cls._threads if thread.is_alive()]
        return list(cls._threads)

    def _moved(self) -> None:
        try:
            self._live = self.controls.config()
        except ValueError as error:
            self._say(f"These settings do not fit together: {error}")
            return
        if not self.running and not self.records:
            self._refresh()

    def _work(self, run: LiveRun, waits_for: list[threading.Thread], keeper: StepKeeper) -> None:
        """The training thread. It touches nothing but its own run once that is no longer shown."""
        for thread in waits_for:
            thread.join()
        message = None
        run.times.append(time.perf_counter())
        drawing = threading.Thread(target=self._follow, args=(run,), daemon=True)
        drawing.start()
        try:
            for record in self._train(run.config, live_config=self.live_config, watch=keeper):
                run.records.append(record)
                run.times.append(time.perf_counter())
                run.news.set()
                if run.stop.is_set():
                    break
        except Exception as error:
            message = f"The run ended with an error. {sentence(error)} The curves up to there stay."
        run.going = False
        run.news.set()
        if run is self._run:
            self._lock(None)  # before the last frame, so that Stop feels immediate
        drawing.join()
        if run is self._run:
            self._say(message or ending(run))
            self._refresh()

    def _follow(self, run: LiveRun) -> None:
        """The thread that draws: one frame after another, each of the latest step, until the run ends."""
        while run.news.wait() and run.going:
            run.news.clear()
            if run is self._run:
                self._say(progress(run))
                self._refresh()
            time.sleep(SHORTEST)
