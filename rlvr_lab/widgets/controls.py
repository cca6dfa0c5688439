"""The boxes and sliders of a training dashboard: widgets in, a ``PolicyGradientConfig`` out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as W

from rlvr_lab.objectives.objective import ALGORITHMS, ESTIMATORS
from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["Controls"]

_PRESET_NAMES = {name: name.upper() for name in ALGORITHMS}
_PRESET_NAMES |= {"dr-grpo": "Dr. GRPO", "maxrl": "MaxRL"}
_TOOLTIPS = {
    "world": (
        "What is learned: sums of digits, only when to stop (the outcome is a coin), "
        "or which letters please."
    ),
    "preset": "Sets every control below as this algorithm has it.",
    "length": (
        "On: each answer counts as the mean over its own tokens (GRPO's 1/|o|). "
        "Off: the sum over tokens is divided by one constant (Dr. GRPO), "
        "or, in DAPO, by the tokens of the whole batch."
    ),
    "std": (
        "On: advantages are divided by the standard deviation of their group. "
        "Only algorithms that compare with the group mean have this choice."
    ),
    "group": "G: answers sampled for each prompt and compared with one another.",
    "beta": "β: weight of the KL to the reference policy. 0 lets the policy go where it likes.",
    "kl_in": (
        "Where the KL term stands: in the loss (GRPO), or taken off each answer's reward before "
        "the advantages are computed (PPO, RLOO)."
    ),
    "estimator": (
        "Which estimate of the KL is differentiated when it stands in the loss: k1 pulls at nothing, "
        "k2 along the reverse KL, k3 (GRPO) along the forward KL."
    ),
    "epsilon": (
        "ε: how far the probability ratio may move before it is clipped (DAPO keeps its wider "
        "upper side). It matters only with more than one update on a batch."
    ),
    "updates": "Passes over each batch of answers. Above 1 the ratio leaves 1 and ε begins to act.",
    "lr": "Learning rate of the optimiser.",
    "consistency": (
        "Weight of the language consistency reward: the share of a chain that is in the language it "
        "uses more often. 0 leaves it out."
    ),
    "length_weight": (
        "Weight of Kimi's length reward: in each group, short correct answers gain and long answers "
        "lose up to a half. 0 leaves it out."
    ),
    "length_from": "The first step at which the length reward counts (Kimi's warm-up).",
    "temperature": "Of the sampling: below 1 answers are less varied, above 1 more.",
    "steps": "Length of the run. Fixed during a run.",
    "seed": "Of problems and sampling; the same seed gives the same curve. Fixed during a run.",
}
_GROUPS = [2, 4, 8, 16, 32, 64]
_WEIGHTS = {
    "language": ("consistency", "consistency", [0.0, 0.03, 0.1, 0.3, 1.0]),
    "length": ("length_weight", "length reward", [0.0, 0.25, 0.5, 1.0, 2.0]),
}  # reward → its widget's name and description, and the weights it offers
_LENGTH_FROM = [1, 6, 11, 16, 21, 31]
_BETAS = [0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
_WIDTH = "278px"


class Controls:
    """Widgets that stand for a ``PolicyGradientConfig``; ``panel`` shows them.

    What has no widget keeps the value of the preset, or of ``config``. The weights of the consistency reward and
    of the length reward have one if ``language`` or ``length`` is among the rewards to start from, and so has the
    step from which the length reward counts if the configuration has such a field.

    Args:
        config: the settings to start from; None takes the preset ``grpo`` (or the first).
        presets: name → config, for the drop-down.

    Attributes:
        panel: the widget to display.
        widgets: name → widget; each carries the CSS class ``rl-<name>``.
    """

    def __init__(
        self, config: PolicyGradientConfig | None, presets: Mapping[str, PolicyGradientConfig]
    ) -> None:
        if not presets and config is None:
            raise ValueError("presets: need at least one, or a config")
        self._presets = dict(presets)
        if config is None:
            self._first = "grpo" if "grpo" in presets else next(iter(presets))
        else:
            same = [n for n, p in presets.items() if self._in_world(p, config.world) == config]
            self._first = same[0] if same else "as given"
            self._presets.setdefault(self._first, config)
        self._start = config or self._presets[self._first]
        self._base = self._start
        self._quiet = False
        self._running: PolicyGradientConfig | None = None
        self._listener: Callable[[], None] = lambda: None
        self.widgets = self._build()
        self.panel = self._arrange()
        for name, widget in self.widgets.items():
            widget.add_class(f"rl-{name}")
            widget.tooltip = _TOOLTIPS[name]
            widget.observe(self._moved, "value")
        self._show(self._base)

    def _build(self) -> dict[str, Any]:
        start = self._start
        wide = {"layout": W.Layout(width=_WIDTH), "style": {"description_width": "96px"}}
        # Nothing follows the mouse: a slider acts when it is let go, or at each key.
        slow = {**wide, "continuous_update": False}
        groups = sorted({*_GROUPS, *(p.group_size for p in self._presets.values())})
        betas = sorted({*_BETAS, *(p.kl_coef for p in self._presets.values())})
        names = [(_PRESET_NAMES.get(name, name), name) for name in self._presets]
        worlds = [
            (world.title, name)
            for name, world in WORLDS.items()
            if world.ready or name == start.world
        ]
        box = {"indent": False, "layout": W.Layout(width=_WIDTH, margin="2px 2px 2px 14px")}
        optional = {}
        for reward, (name, words, weights) in _WEIGHTS.items():
            if reward in start.rewards:
                known = sorted({*weights, start.rewards[reward]})
                optional[name] = W.SelectionSlider(
                    options=[(f"{weight:g}", weight) for weight in known], description=words, **slow
                )
        if hasattr(start, "length_from"):
            known = sorted({*_LENGTH_FROM, start.length_from})
            optional["length_from"] = W.SelectionSlider(
                options=known, description="from step", **slow
            )
        return {
            "world": W.Dropdown(options=worlds, value=start.world, description="world", **wide),
            "preset": W.Dropdown(options=names, value=self._first, description="algorithm", **wide),
            "length": W.Checkbox(description="normalise by length", **box),
            "std": W.Checkbox(description="divide by std", **box),
            "group": W.SelectionSlider(options=groups, description="group size G", **slow),
            "beta": W.SelectionSlider(
                options=[(f"{beta:g}", beta) for beta in betas], description="KL weight β", **slow
            ),
            "kl_in": W.Dropdown(
                options=[("loss", "loss"), ("reward", "reward")], description="KL in the", **wide
            ),
            "estimator": W.Dropdown(options=list(ESTIMATORS), description="estimator", **wide),
            "epsilon": W.FloatLogSlider(
                min=-4, max=0, step=0.05, description="clip ε", readout_format=".2g", **slow
            ),
            "updates": W.IntSlider(min=1, max=8, description="updates", **slow),
            "lr": W.FloatLogSlider(
                min=-6, max=0, step=0.05, description="learning rate", readout_format=".2g", **slow
            ),
            "temperature": W.FloatSlider(
                min=0.1, max=2, step=0.05, description="temperature", readout_format=".2f", **slow
            ),
            "steps": W.BoundedIntText(min=1, max=10_000, description="steps", **wide),
            "seed": W.BoundedIntText(min=0, max=2**31 - 1, description="seed", **wide),
            **optional,
        }

    def _arrange(self) -> W.Widget:
        order = ["world", "preset", "length", "std", "group", "temperature", "beta", "lr"]
        order += ["kl_in", "estimator", "epsilon", "updates", "steps", "seed"]
        order = [name for name in self.widgets if name not in order] + order
        columns = W.Layout(grid_template_columns=f"{_WIDTH} {_WIDTH}", grid_gap="0 4px")
        return W.GridBox([self.widgets[name] for name in order], layout=columns)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change that a user makes."""
        self._listener = listener

    def config(self) -> PolicyGradientConfig:
        """What the widgets say now.

        Raises:
            ValueError: from ``PolicyGradientConfig``, for a combination that makes no sense.
        """
        base = self._base
        value = {name: widget.value for name, widget in self.widgets.items()}
        by_sequence = base.average == "sequence"
        average = base.average
        if value["length"] != by_sequence:
            average = "sequence" if value["length"] else "constant"
        upper = base.clip_high - base.clip_low
        rewards = dict(base.rewards)
        for reward, (name, _, _) in _WEIGHTS.items():
            if name in value:
                rewards[reward] = value[name]
        later = {n: value[n] for n in ("length_from",) if n in value and hasattr(base, n)}
        config = replace(
            base,
            average=average,
            divide_by_std=bool(value["std"]) and base.baseline == "group",
            group_size=value["group"],
            kl_coef=value["beta"],
            kl_in=value["kl_in"],
            kl_estimator=value["estimator"],
            clip_low=float(f"{value['epsilon']:.3g}"),
            clip_high=float(f"{value['epsilon'] + upper:.3g}"),
            updates_per_batch=value["updates"],
            learning_rate=float(f"{value['lr']:.3g}"),
            temperature=round(value["temperature"], 4),
            steps=value["steps"],
            seed=value["seed"],
            rewards=rewards,
            **later,
        )
        return self._keep_fixed(config)

    @property
    def preset(self) -> str:
        """Name of the chosen preset, as a reader knows it."""
        name = self.widgets["preset"].value
        return _PRESET_NAMES.get(name, name)

    def lock(self, running: PolicyGradientConfig | None) -> None:
        """Disable the settings that are fixed during the run ``running``; None enables them again."""
        self._running = running
        for name in ("world", "steps", "seed"):
            self.widgets[name].disabled = running is not None

    def reset(self) -> None:
        """Back to how the dashboard opened."""
        self._quiet = True
        self.widgets["world"].value = self._start.world
        self.widgets["preset"].value = self._first
        self._quiet = False
        self._base = self._start
        self._show(self._base)
        self._listener()

    def _in_world(self, config: PolicyGradientConfig, world: str) -> PolicyGradientConfig:
        """The algorithm of ``config`` in another world; in its own world it stays as it is."""
        if config.world == world:
            return config
        # Leave the settings of the other world behind before those of the new one are put on.
        default = PolicyGradientConfig()
        left = WORLDS[config.world].settings
        plain = {name: getattr(default, name) for name in ("base", "world_options", *left)}
        return replace(config, **{**plain, "world": world, **WORLDS[world].settings})

    def _keep_fixed(self, config: PolicyGradientConfig) -> PolicyGradientConfig:
        if self._running is None:
            return config
        return replace(config, **{n: getattr(self._running, n) for n in self._running.FIXED})

    def _moved(self, change: Mapping[str, Any]) -> None:
        if self._quiet:
            return
        if change["owner"] in (self.widgets["world"], self.widgets["preset"]):
            seed = self.widgets["seed"].value
            preset = self._presets[self.widgets["preset"].value]
            config = self._in_world(preset, self.widgets["world"].value)
            self._base = self._keep_fixed(replace(config, seed=seed))
            self._show(self._base)
        self._listener()

    def _show(self, config: PolicyGradientConfig) -> None:
        """Put the widgets where ``config`` has them."""
        values = {
            "length": config.average == "sequence",
            "std": config.divide_by_std,
            "group": config.group_size,
            "beta": config.kl_coef,
            "kl_in": config.kl_in,
            "estimator": config.kl_estimator,
            "epsilon": config.clip_low,
            "updates": config.updates_per_batch,
            "lr": config.learning_rate,
            "temperature": config.temperature,
            "steps": config.steps,
            "seed": config.seed,
            "length_from": getattr(config, "length_from", 1),
            **{name: config.rewards.get(reward, 0.0) for reward, (name, _, _) in _WEIGHTS.items()},
        }
        self._quiet = True
        for name in self.widgets.keys() & values.keys():
            self.widgets[name].value = values[name]
        self._quiet = False
        self.widgets["std"].disabled = config.baseline != "group"
        self.widgets["epsilon"].disabled = config.ratio in ("none", "squared")
