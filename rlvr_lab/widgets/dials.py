"""One control of a training dashboard: which field of a configuration it reads and writes.

``dial_tables`` lists the dials by kind of run; ``controls.Controls`` builds their widgets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import ipywidgets as W

from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training.config import RunConfig

__all__ = [
    "SLOW",
    "WIDTH",
    "Dial",
    "choose",
    "count",
    "dial",
    "get_setting",
    "round_to",
    "slide",
    "slide_log",
    "tick",
]

WIDTH = "278px"
OFF = "off"
_WIDE = {"layout": W.Layout(width=WIDTH), "style": {"description_width": "96px"}}
# Nothing follows the mouse: a slider acts when it is let go, or at each key.
SLOW = {**_WIDE, "continuous_update": False}


@dataclass(frozen=True)
class Dial:
    """One control.

    Attributes:
        name: its widget carries the CSS class ``rl-<name>``.
        tooltip: what it does.
        make: configurations whose values it must be able to show → the widget.
        field: of the configuration; ``field.entry`` for an entry of a dictionary.
        read: configuration → value of the widget.
        write: (settings so far, value) → settings to change, by field. The settings are those of the
            configuration, as the dials before this one have left them.
        applies: whether a dashboard that opens with this configuration has the dial.
        enabled: whether the dial acts under this configuration.
        asked: shown only where a dashboard asks for it by name.
    """

    name: str
    tooltip: str
    make: Callable[[Sequence[RunConfig]], W.Widget]
    field: str
    read: Callable[[RunConfig], Any]
    write: Callable[[Any, Any], dict[str, Any]]
    applies: Callable[[RunConfig], bool]
    enabled: Callable[[RunConfig], bool] = lambda config: True
    asked: bool = False


def get_setting(config: Any, field: str) -> Any:
    """A setting of a configuration, or of the settings so far; an option of a world has its default."""
    name, _, entry = field.partition(".")
    value = getattr(config, name)
    if not entry:
        return value
    if name == "world_options" and entry not in value:
        known = WORLDS[config.world].task.__dataclass_fields__
        return known[entry].default if entry in known else None
    return value.get(entry)


def _has(field: str) -> Callable[[RunConfig], bool]:
    name, _, entry = field.partition(".")

    def has(config: RunConfig) -> bool:
        if not hasattr(config, name):
            return False
        return name == "world_options" or not entry or entry in getattr(config, name)

    return has


def dial(name: str, field: str, tooltip: str, make: Callable[..., W.Widget], **more: Any) -> Dial:
    """A dial that reads and writes one field as it is, unless ``more`` says otherwise."""
    more.setdefault("read", lambda config: get_setting(config, field))
    more.setdefault("write", lambda config, value: {field: value})
    more.setdefault("applies", _has(field))
    return Dial(name, tooltip, make, field, **more)


def slide(
    name: str, field: str, label: str, tooltip: str, values: Sequence[Any], **more: Any
) -> Dial:
    """A slider over some values, and over those that the given configurations have. None reads "off"."""

    def make(known: Sequence[RunConfig]) -> W.Widget:
        there = {get_setting(config, field) for config in known if _has(field)(config)}
        found = sorted({*values, *there} - {None})
        options = [(f"{value:g}", value) for value in found]
        if None in {*values, *there}:
            options.insert(0, (OFF, OFF))
        return W.SelectionSlider(options=options, description=label, **SLOW)

    if None in values:  # the widget's own None means that nothing is selected
        more.setdefault(
            "read", lambda config: OFF if (x := get_setting(config, field)) is None else x
        )
        more.setdefault("write", lambda settings, value: {field: None if value == OFF else value})
    return dial(name, field, tooltip, make, **more)


def slide_log(
    name: str, field: str, label: str, tooltip: str, low: int, high: int, **more: Any
) -> Dial:
    """A slider over powers of ten; what it says is rounded to three digits."""

    def make(_: Sequence[RunConfig]) -> W.Widget:
        look = {"min": low, "max": high, "step": 0.05, "readout_format": ".2g", **SLOW}
        return W.FloatLogSlider(description=label, **look)

    more.setdefault("write", lambda config, value: {field: round_to(value)})
    return dial(name, field, tooltip, make, **more)


def round_to(value: float, digits: int = 3) -> float:
    """A number with so many significant digits: what a slider shows is what a run gets."""
    return float(f"{value:.{digits}g}")


def choose(
    name: str,
    field: str,
    label: str,
    tooltip: str,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Dial:
    """A drop-down of words → values; by default the values that the field allows."""

    def make(known: Sequence[RunConfig]) -> W.Widget:
        offered = list((options or {}).items())
        if options is None:
            (annotation,) = (one.type for one in fields(known[0]) if one.name == field)
            offered = [(str(value).replace("_", " "), value) for value in get_args(annotation)]
        return W.Dropdown(options=offered, description=label, **_WIDE)

    return dial(name, field, tooltip, make, **more)


def tick(name: str, field: str, label: str, tooltip: str, **more: Any) -> Dial:
    """A check box."""

    def make(_: Sequence[RunConfig]) -> W.Widget:
        layout = W.Layout(width=WIDTH, margin="2px 2px 2px 14px")
        return W.Checkbox(description=label, indent=False, layout=layout)

    return dial(name, field, tooltip, make, **more)


def count(
    name: str, field: str, label: str, tooltip: str, low: int, high: int, **more: Any
) -> Dial:
    """A whole number: a slider for a short range, a box to type in for a long one."""

    def make(_: Sequence[RunConfig]) -> W.Widget:
        if high - low < 20:
            return W.IntSlider(min=low, max=high, description=label, **SLOW)
        return W.BoundedIntText(min=low, max=high, description=label, **_WIDE)

    return dial(name, field, tooltip, make, **more)
