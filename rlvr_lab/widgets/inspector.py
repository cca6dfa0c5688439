"""The step inspector: one step of a run from inside, under any loss of the table.

The controls are native widgets, and behind every colour stands a number in a table, so keyboard and screen reader
reach all of it. Moving a control weighs the stored batch again; nothing is sampled and no network is run.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as W
from IPython.display import display
from matplotlib.figure import Figure

from rlvr_lab.objectives.token_weights import Weights
from rlvr_lab.pictures.inspection import describe_inspection, plot_inspection
from rlvr_lab.pictures.style import show
from rlvr_lab.training.group_reading import teaching_group
from rlvr_lab.training.group_weights import GroupWeights, equal_total, group_weights, nouns
from rlvr_lab.training.inspection import Boxes, InspectedStep
from rlvr_lab.widgets.inspector_html import (
    answer_html,
    group_html,
    places_html,
    said_html,
    sentences_html,
)
from rlvr_lab.widgets.live_figures import Panel

__all__ = ["StepInspector"]

_WIDE = {"style": {"description_width": "initial"}, "layout": W.Layout(width="auto")}
_NOTHING = "nothing"
PAUSE = 0.4
"""Seconds between the tables and the picture of what they show."""
_TOOLTIPS = {
    "step": "The steps that were kept: the first, then every k-th, and the latest.",
    "group": "G answers to one question, which are compared with one another.",
    "at": (
        "Before the update the policy is the one that sampled, so every ratio is 1. After it the ratios have moved: "
        "these weights are what one more pass over the batch would use, which this run does not make."
    ),
    "loss": "The same batch under another loss, each with its own advantage, ratio, clip and average.",
    "by_length": "On: each answer is divided by its own length. Off: by a constant.",
    "by_std": "On: advantages are divided by the standard deviation of their group.",
    "other": "A second loss beside the first, scaled to the same total weight, and the difference.",
    "answer": "One answer as a table, token by token.",
}


class StepInspector:
    """Shows kept steps: the answers of a group side by side, one of them token by token.

    Args:
        steps: the kept steps, or a function that returns them (``StepKeeper().steps`` of a run that goes on).
        group: which group is shown; by default, for each step, the one that shows most.
        loss: name of the first loss; by default the run's own.
        other: name of a loss to compare with.
    """

    def __init__(
        self,
        steps: Sequence[InspectedStep] | Callable[[], Sequence[InspectedStep]],
        group: int | None = None,
        loss: str = "run",
        other: str = _NOTHING,
    ) -> None:
        self._grows = callable(steps)
        self._read = steps if callable(steps) else lambda: steps
        self._steps: dict[int, InspectedStep] = {}
        self._quiet = False
        self._kept_group = group
        self._handle: Any = None
        self._drawing = threading.Lock()
        self._wanted: tuple[GroupWeights, GroupWeights | None] | None = None
        self._thread: threading.Thread | None = None
        self._build()
        self.refresh()
        chosen = {} if group is None else {"group": group}
        self._choose(chosen | {"loss": loss, "other": other})

    def _build(self) -> None:
        self.controls: dict[str, W.ValueWidget] = {
            "step": W.Dropdown(description="step", **_WIDE),
            "group": W.Dropdown(description="group", **_WIDE),
            "at": W.ToggleButtons(
                options=[("before the update", "before"), ("after it", "after")],
                style={"button_width": "auto"},
            ),
            "loss": W.Dropdown(description="loss", **_WIDE),
            "by_length": W.Checkbox(description="normalise by length", indent=False, **_WIDE),
            "by_std": W.Checkbox(description="divide by std", indent=False, **_WIDE),
            "other": W.Dropdown(description="compare with", **_WIDE),
            "answer": W.Dropdown(description="open an answer", **_WIDE),
        }
        for name, widget in self.controls.items():
            widget.tooltip = _TOOLTIPS[name]
            widget.add_class(f"rl-inspect-{name.replace('_', '-')}")
            widget.layout.margin = "2px 14px 2px 0"
            widget.observe(self._moved, "value")
        self.latest = W.Button(
            description="Latest step", icon="fast-forward", layout=W.Layout(width="120px")
        )
        self.latest.tooltip = "Show the newest step of a run that goes on."
        self.latest.add_class("rl-inspect-latest")
        self.latest.on_click(self.refresh)
        c, wrap = self.controls, W.Layout(flex_flow="row wrap", align_items="center")
        self.words, self.group, self.answer = W.HTML(), W.HTML(), W.HTML()
        for name in ("words", "group", "answer"):
            getattr(self, name).add_class(f"rl-inspected-{name}")
        rows = [
            W.HBox(
                [c["step"], *([self.latest] if self._grows else []), c["group"], c["at"]],
                layout=wrap,
            ),
            W.HBox([c["loss"], c["by_length"], c["by_std"], c["other"]], layout=wrap),
            *(self.words, self.group, c["answer"], self.answer),
        ]
        self.panel = Panel([W.VBox(rows, layout=W.Layout(max_width="100%"))])
        self.panel.add_class("rl-inspector")

    # --- what is shown -------------------------------------------------------------------------

    @property
    def step(self) -> InspectedStep | None:
        """The step that is shown."""
        return self._steps.get(self.controls["step"].value)

    def refresh(self, _: Any = None) -> None:
        """Read the kept steps again and show the latest one."""
        self._steps = {one.step: one for one in self._read()}
        self._quiet = True
        self.controls["step"].options = [(f"{number}", number) for number in self._steps]
        self.controls["step"].value = max(self._steps, default=None)
        self.controls["step"].description = _kept_steps(list(self._steps))
        self._quiet = False
        self._new_step()

    def weights(self, which: str = "loss") -> Weights:
        """The weights of the chosen loss as the boxes have it, or of the ``other`` one as it is in the table."""
        c, name = self.controls, self.controls[which].value
        boxes = Boxes(c["by_length"].value, c["by_std"].value) if which == "loss" else None
        return self.step.weigh(name, boxes, c["at"].value)

    def groups(self) -> tuple[GroupWeights, GroupWeights | None]:
        """The chosen group under the first loss, and under the second one if there is one."""
        first, group, at = self.weights(), self.controls["group"].value, self.controls["at"].value
        mine = group_weights(self.step, first, group, self._title(), at)
        name = self.controls["other"].value
        if name == _NOTHING:
            return mine, None
        second = self.weights("other")
        factor = equal_total(first, second)
        theirs = group_weights(self.step, second, group, self.step.lenses[name].title, at)
        scaled = f" (scaled by {factor:.2g})" if abs(factor - 1) > 0.005 else ""
        title = theirs.title + scaled
        return mine, replace(theirs.times(factor), title=title)

    def _title(self) -> str:
        lens, c = self.step.lenses[self.controls["loss"].value], self.controls
        changes = [
            f"{'with' if c[box].value else 'without'} {word}"
            for box, word in (("by_length", "1/|o|"), ("by_std", "division by std"))
            if getattr(lens.boxes, box) is not None and c[box].value != getattr(lens.boxes, box)
        ]
        return f"{lens.title}, {', '.join(changes)}" if changes else lens.title

    def picture(self) -> tuple[Figure, str]:
        """The static picture of what is shown, and its words."""
        mine, theirs = self.groups()
        return plot_inspection(mine, theirs), describe_inspection(mine, theirs)

    def show(self) -> None:
        """Display the controls with the tables, and the same as a picture for readers without a kernel."""
        display(self.panel)
        if self.step is not None:
            self._handle = display(show(*self.picture()), display_id=True)

    # --- what a control does -------------------------------------------------------------------

    def _choose(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            known = [option[1] for option in self.controls[name].options]
            if self.step is not None and value not in known:
                raise ValueError(
                    f"{name}: must be one of {', '.join(map(str, known))}, got {value!r}"
                )
            if known:
                self.controls[name].value = value

    def _moved(self, change: dict[str, Any]) -> None:
        if self._quiet:
            return
        if change["owner"] is self.controls["step"]:
            self._new_step()
            return
        if change["owner"] is self.controls["group"]:
            self._kept_group = change["new"]
        if change["owner"] is self.controls["loss"]:
            self._set_boxes()
        self._draw()

    def _options(self, name: str, options: list[tuple[str, Any]], usual: Any) -> None:
        """New options; the value stays if it is still there."""
        widget, before = self.controls[name], self.controls[name].value
        widget.options = options
        widget.value = before if before in [value for _, value in options] else usual

    def _new_step(self) -> None:
        step = self.step
        if step is None:
            self.words.value = said_html("No step is kept yet: press Run first.")
            self.group.value = self.answer.value = ""
            return
        self._quiet = True
        lenses = [(lens.title, name) for name, lens in step.lenses.items()]
        fresh = self.controls["loss"].value is None
        self._options("loss", lenses, next(iter(step.lenses)))
        self._options("other", [(_NOTHING, _NOTHING), *lenses], _NOTHING)
        good = [int(step.good[list(step.rows(g))].sum()) for g in range(step.groups)]
        differ, noun = len(set(step.prompts)) > 1, nouns(step)[0]
        names = [
            (
                f"{g + 1} of {step.groups}{f': {prompt}' * differ} ({good[g]} of {step.group_size} {noun})",
                g,
            )
            for g, prompt in enumerate(step.prompts)
        ]
        self._options("group", names, 0)
        wanted = self._kept_group
        if wanted is None or wanted >= step.groups:
            wanted = teaching_group(step)
        self.controls["group"].value = wanted
        if step.after is None:
            self.controls["at"].value = "before"
        self.controls["at"].disabled = step.after is None
        self._quiet = False
        if fresh:
            self._set_boxes()
        self._draw()

    def _set_boxes(self) -> None:
        """Put the boxes where the chosen loss has them; a box that it lacks is disabled."""
        boxes = self.step.lenses[self.controls["loss"].value].boxes
        self._quiet = True
        for name, value in boxes._asdict().items():
            self.controls[name].value, self.controls[name].disabled = bool(value), value is None
        self._quiet = False

    def _draw(self) -> None:
        step = self.step
        if step is None or self._quiet:
            return
        mine, theirs = self.groups()
        self._quiet = True
        names = [
            (f"answer {i}: {a.verdict}, {a.length} token{'s' if a.length > 1 else ''}", a.row)
            for i, a in enumerate(mine.answers, start=1)
        ]
        self._options("answer", names, mine.answers[0].row)
        self._quiet = False
        both = [mine, theirs] if theirs else [mine]
        self.words.value = sentences_html(both, step)
        silent = all(one.silent for one in both)
        self.controls["answer"].layout.display = "none" if silent else ""
        if silent:
            self.group.value = self.answer.value = ""
        else:
            shown = None if theirs is None or mine.same_as(theirs) else theirs
            where = places_html([mine, shown] if shown else [mine])
            self.group.value = where + group_html(mine, shown)
            first, second = self.weights(), None
            if shown is not None:
                second = self.weights("other").times(equal_total(first, self.weights("other")))
            largest = max(one.largest for one in both if not one.silent)
            self.answer.value = answer_html(
                step, first, self.controls["answer"].value, second, largest
            )
        if self._handle is not None:
            self._redraw(mine, theirs)

    def _redraw(self, mine: GroupWeights, theirs: GroupWeights | None) -> None:
        """Draw the picture again in a thread that always takes the latest values."""
        with self._drawing:
            self._wanted = (mine, theirs)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            # The tables are sent first; controls that move meanwhile share one picture.
            time.sleep(PAUSE)
            with self._drawing:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._thread = None
                    return
            picture = show(plot_inspection(*wanted), describe_inspection(*wanted))
            self._handle.update(picture)


def _kept_steps(numbers: list[int]) -> str:
    """How the drop-down of steps is called, with how often a step was kept."""
    apart = numbers[1] - numbers[0] if len(numbers) > 2 else 1
    return f"step (every {apart}th, and the latest)" if apart > 3 else "step"
