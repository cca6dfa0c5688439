"""What the picture of a run shows: its panels, by kind of run, and the metrics' names in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["MIXED", "PANELS", "Panel", "curves_of", "metric_words", "panels_of"]


@dataclass(frozen=True)
class Panel:
    """One panel of ``plot_run``.

    Attributes:
        title: above the panel.
        unit: of the y axis.
        curves: metric → the label at the end of its line; "" needs none.
        name: of the panel in a sentence; by default the title in small letters.
        along: the metric on the x axis.
        aside: metrics that are drawn for the current run only, not for the earlier ones behind it.
        top: the y axis reaches at least this far; None leaves it to the data.
    """

    title: str
    unit: str
    curves: Mapping[str, str]
    name: str = ""
    along: str = "step"
    aside: frozenset[str] = frozenset()
    top: float | None = None

    @property
    def words(self) -> str:
        """The panel's name in a sentence."""
        return self.name or self.title[:1].lower() + self.title[1:]


REWARD = Panel(
    "Reward",
    "per answer",
    {"reward": "reward", "pass_rate": "pass rate"},
    aside=frozenset({"pass_rate"}),
    top=1.0,
)
KL = Panel("KL to the reference", "nats per answer", {"kl": ""}, "KL to the reference")
LENGTH = Panel(
    "Length of the answers",
    "tokens",
    {"length": "all", "length_right": "✓ right", "length_wrong": "✗ wrong"},
    "length",
    aside=frozenset({"length"}),
)
ENTROPY = Panel("Entropy", "nats per token", {"entropy": ""})
MIXED = Panel(
    "Both languages in one answer",
    "share of answers",
    {"reward_mixed": ""},
    "mixed languages",
    top=1.0,
)
CHOICES = {"chosen": "chosen", "rejected": "rejected"}

PANELS: dict[str, tuple[Panel, ...]] = {
    "policy-gradient": (REWARD, KL, LENGTH, ENTROPY),
    "ppo": (
        REWARD,
        KL,
        Panel("Explained by the value model", "share of variance", {"explained_variance": ""}),
        Panel(
            "Ratios that leave 1 ± ε",
            "share of tokens",
            {"ratio_outside": "outside", "clip_fraction": "clipped"},
            aside=frozenset({"ratio_outside"}),
        ),
    ),
    "trpo": (
        REWARD,
        Panel(
            "KL of each step",
            "nats per token",
            {"step_kl": "measured", "max_kl": "limit δ"},
            "KL of each step",
            aside=frozenset({"max_kl"}),
        ),
        Panel("Gain of the surrogate per step", "E[ρ·A] on its own batch", {"surrogate_gain": ""}),
        KL,
    ),
    "pairs": (
        Panel("Log-probability of the pairs", "nats per answer", CHOICES),
        Panel(
            "Implicit reward of the pairs",
            "β · nats",
            {"reward_chosen": "chosen", "reward_rejected": "rejected"},
            "implicit reward",
        ),
        Panel("Margin, chosen − rejected", "β · nats", {"margin": ""}, "margin"),
        Panel("KL to the base", "nats per answer", {"kl": ""}, "KL to the base"),
        Panel("Gold reward of fresh answers", "per answer", {"gold": ""}, "gold reward"),
        Panel("Length of fresh answers", "tokens", {"length": ""}, "length"),
    ),
    "overoptimise": (
        Panel("Proxy and gold reward", "per answer", {"proxy": "proxy", "gold": "gold"}),
        Panel(
            "The same along √KL",
            "per answer",
            {"proxy": "proxy", "gold": "gold"},
            "both along √KL",
            along="distance",
        ),
        Panel("KL to the base", "nats per answer", {"kl": ""}, "KL to the base"),
        ENTROPY,
    ),
    "stale": (
        Panel(
            "Answers of the sampler",
            "per answer",
            {"reward": "reward", "pass_rate": "pass rate"},
            aside=frozenset({"pass_rate"}),
            top=1.0,
        ),
        Panel(
            "KL of the sampler to the policy",
            "nats per token",
            {"mismatch_kl": ""},
            "KL of the sampler to the policy",
        ),
        Panel("Effective sample size", "share of the answers", {"effective_share": ""}, top=1.0),
        Panel(
            "Weights of the tokens",
            "weight, share of tokens",
            {"weight_mean": "mean", "masked_share": "masked"},
            top=1.0,
        ),
    ),
}
"""Kind of a configuration → the panels of its runs."""

_WORDS = {
    "reward": "reward",
    "pass_rate": "pass rate",
    "kl": "KL to the reference in nats per answer",
    "length": "length in tokens",
    "length_right": "that of right answers",
    "length_wrong": "that of wrong answers",
    "entropy": "entropy in nats per token",
    "reward_mixed": "share of answers in mixed languages",
    "explained_variance": "share of the variance that the value model explains",
    "ratio_outside": "share of tokens with a ratio outside of the clip range",
    "clip_fraction": "share of clipped tokens",
    "step_kl": "KL of the step in nats per token",
    "max_kl": "its limit δ",
    "surrogate_gain": "gain of the surrogate",
    "chosen": "log-probability of chosen answers in nats",
    "rejected": "that of rejected answers",
    "reward_chosen": "implicit reward of chosen answers",
    "reward_rejected": "that of rejected answers",
    "margin": "margin",
    "gold": "gold reward",
    "proxy": "proxy reward",
    "distance": "√KL",
    "mismatch_kl": "KL of the sampler to the policy in nats per token",
    "effective_share": "effective share of the answers",
    "weight_mean": "mean weight",
    "masked_share": "share of tokens with weight 0",
}


def metric_words(metric: str) -> str:
    """A metric's name in a sentence.

    >>> metric_words("pass_rate")
    'pass rate'
    """
    return _WORDS.get(metric, metric.replace("_", " "))


def panels_of(config: Any) -> Sequence[Panel]:
    """The panels for runs of this configuration, or of the nearest class that it comes from.

    Raises:
        ValueError: when no such class has panels.
    """
    for kind in type(config).__mro__:
        panels = PANELS.get(vars(kind).get("KIND", ""))
        if panels is not None:
            mixed = "mixed" in getattr(config, "rewards", {})
            return (*panels[:-1], MIXED) if mixed and panels[-1] is ENTROPY else panels
    raise ValueError(f"config: there are no panels for runs of {type(config).__name__}")


def curves_of(
    records: Sequence[Mapping[str, Any]], panels: Sequence[Panel]
) -> list[dict[str, Any]]:
    """What the panels draw of the records: fewer numbers to hand to another process."""
    needed = {"step", "changed"}.union(*({*panel.curves, panel.along} for panel in panels))
    return [{key: record[key] for key in needed & record.keys()} for record in list(records)]
