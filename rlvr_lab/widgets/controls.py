"""The boxes and sliders of a training dashboard: widgets in, a configuration out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import ipywidgets as W

from rlvr_lab.objectives.objective import ALGORITHMS
from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.widgets.dial_tables import dials_of
from rlvr_lab.widgets.dials import WIDTH

__all__ = ["Controls"]

_PRESET_NAMES = {name: name.upper() for name in ALGORITHMS}
_PRESET_NAMES |= {"dr-grpo": "Dr. GRPO", "maxrl": "MaxRL"}
_TOOLTIPS = {
    "world": (
        "What is learned: sums of digits, only when to stop (the outcome is a coin), "
        "or which letters please."
    ),
    "preset": "Sets every control below as this algorithm has it.",
}
_FIRST = ("world", "preset")


class Controls:
    """Widgets that stand for a configuration; ``panel`` shows them.

    What has no widget keeps the value of the preset, or of ``config``.

    Args:
        config: the settings to start from; None takes the preset ``grpo`` (or the first).
        presets: name → config, for the drop-down; it is shown when there is more than one.
        dials: names of the dials to show (``dial_tables``; also ``world`` and ``preset``), in their order;
            None shows the usual ones.

    Attributes:
        panel: the widget to display.
        widgets: name → widget; each carries the CSS class ``rl-<name>``.
    """

    def __init__(
        self,
        config: RunConfig | None,
        presets: Mapping[str, RunConfig],
        dials: Sequence[str] | None = None,
    ) -> None:
        if not presets and config is None:
            raise ValueError("presets: need at least one, or a config")
        self._presets = dict(presets)
        if config is None:
            self._first = "grpo" if "grpo" in presets else next(iter(presets))
        else:
            same = [n for n, p in presets.items() if self._in_world(p, config) == config]
            self._first = same[0] if same else "as given"
            self._presets.setdefault(self._first, config)
        self._start = config or self._presets[self._first]
        self._base = self._start
        self._quiet = False
        self._running: RunConfig | None = None
        self._listener: Callable[[], None] = lambda: None
        own = None if dials is None else [name for name in dials if name not in _FIRST]
        self.dials = {dial.name: dial for dial in dials_of(self._start, own)}
        known = [self._start, *self._presets.values()]
        made = {name: dial.make(known) for name, dial in self.dials.items()}
        made = {**self._choices(), **made}
        self.widgets = {name: made[name] for name in (made if dials is None else dials)}
        self.panel = self._arrange(dials is None)
        for name, widget in self.widgets.items():
            widget.add_class(f"rl-{name}")
            widget.tooltip = self.dials[name].tooltip if name in self.dials else _TOOLTIPS[name]
            widget.observe(self._moved, "value")
        self._show(self._base)

    def _choices(self) -> dict[str, W.Dropdown]:
        """The world and the algorithm, where there is a choice."""
        found = {}
        wide = {"layout": W.Layout(width=WIDTH), "style": {"description_width": "96px"}}
        if isinstance(self._start, PolicyGradientConfig):
            worlds = [
                (world.title, name)
                for name, world in WORLDS.items()
                if world.ready or name == self._start.world
            ]
            look = {"value": self._start.world, "description": "world", **wide}
            found["world"] = W.Dropdown(options=worlds, **look)
        if len(self._presets) > 1 or isinstance(self._start, PolicyGradientConfig):
            names = [(_PRESET_NAMES.get(name, name), name) for name in self._presets]
            look = {"value": self._first, "description": "algorithm", **wide}
            found["preset"] = W.Dropdown(options=names, **look)
        return found

    def _arrange(self, usual: bool) -> W.Widget:
        """Two columns. What only some configurations have stands first, above world and algorithm."""
        names = list(self.widgets)
        if usual:
            plain = {dial.name for dial in dials_of(PolicyGradientConfig())}
            special = [name for name in self.dials if name not in plain]
            if special and isinstance(self._start, PolicyGradientConfig):
                names = special + [name for name in names if name not in special]
        # As many columns as there is room for.
        columns = W.Layout(grid_template_columns=f"repeat(auto-fit, {WIDTH})", grid_gap="0 4px")
        return W.GridBox([self.widgets[name] for name in names], layout=columns)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change that a user makes."""
        self._listener = listener

    def config(self) -> RunConfig:
        """What the widgets say now.

        Raises:
            ValueError: from the configuration, for a combination that makes no sense.
        """
        base = self._base
        now = SimpleNamespace(**{one.name: getattr(base, one.name) for one in fields(base)})
        for name, dial in self.dials.items():
            shown = self.widgets[name].value
            if not dial.enabled(now) or dial.read(now) == shown:
                continue
            for field, value in dial.write(now, shown).items():
                whole, _, entry = field.partition(".")
                setattr(now, whole, {**getattr(now, whole), entry: value} if entry else value)
        changes = {name: x for name, x in vars(now).items() if x != getattr(base, name)}
        return self._keep_fixed(replace(base, **changes))

    @property
    def preset(self) -> str:
        """Name of the chosen preset, as a reader knows it; empty where there is no choice."""
        name = self.widgets["preset"].value if "preset" in self.widgets else ""
        return _PRESET_NAMES.get(name, name)

    def lock(self, running: RunConfig | None) -> None:
        """Disable the settings that are fixed during the run ``running``; None enables them again."""
        self._running = running
        if "world" in self.widgets:
            self.widgets["world"].disabled = running is not None
        self._set_enabled()

    def _set_enabled(self) -> None:
        """Which dials act depends on the others: a baseline other than the group's takes the std away."""
        try:
            config = self.config()
        except ValueError:
            return
        for name, dial in self.dials.items():
            fixed = self._running is not None and dial.field.partition(".")[0] in config.FIXED
            self.widgets[name].disabled = fixed or not dial.enabled(config)

    def reset(self) -> None:
        """Back to how the dashboard opened."""
        self._quiet = True
        for name, value in zip(
            _FIRST, (getattr(self._start, "world", ""), self._first), strict=True
        ):
            if name in self.widgets:
                self.widgets[name].value = value
        self._quiet = False
        self._base = self._start
        self._show(self._base)
        self._listener()

    def _in_world(self, config: RunConfig, other: RunConfig | str) -> RunConfig:
        """The algorithm of ``config`` in another world; in its own world it stays as it is."""
        world = other if isinstance(other, str) else getattr(other, "world", None)
        if world is None or config.world == world:
            return config
        # Leave the settings of the other world behind before those of the new one are put on.
        default = PolicyGradientConfig()
        left = WORLDS[config.world].settings
        plain = {name: getattr(default, name) for name in ("base", "world_options", *left)}
        return replace(config, **{**plain, "world": world, **WORLDS[world].settings})

    def _keep_fixed(self, config: RunConfig) -> RunConfig:
        if self._running is None:
            return config
        return replace(config, **{n: getattr(self._running, n) for n in self._running.FIXED})

    def _moved(self, change: Mapping[str, Any]) -> None:
        if self._quiet:
            return
        if change["owner"] in [self.widgets.get(name) for name in _FIRST]:
            seed = self.widgets["seed"].value
            preset = self._presets[self.widgets["preset"].value]
            config = self._in_world(preset, self.widgets["world"].value)
            self._base = self._keep_fixed(replace(config, seed=seed))
            self._show(self._base)
        self._set_enabled()
        self._listener()

    def _show(self, config: RunConfig) -> None:
        """Put the widgets where ``config`` has them."""
        self._quiet = True
        for name, dial in self.dials.items():
            value = dial.read(config)
            if value is not None:  # a world without this option
                self.widgets[name].value = value
        self._quiet = False
        self.lock(self._running)
