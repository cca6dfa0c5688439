"""Settings of a run in the words of the controls."""

from collections.abc import Sequence
from typing import Any

__all__ = ["name_setting", "read_changes"]

_NAMES = {
    "average": "normalise by length",
    "divide_by_std": "divide by std",
    "group_size": "group size",
    "prompts_per_step": "prompts per step",
    "kl_coef": "β",
    "beta": "β",
    "kl_in": "KL in the",
    "kl_estimator": "KL estimator",
    "clip_low": "ε below",
    "clip_high": "ε above",
    "clip": "ε",
    "lam": "λ",
    "gamma": "γ",
    "max_kl": "δ",
    "natural": "natural gradient",
    "margin": "margin γ",
    "flip": "share of flipped labels",
    "entropy_coef": "entropy bonus",
    "learning_rate": "learning rate",
    "updates_per_batch": "updates per batch",
    "world_options.p_right": "p",
    "world_options.min_terms": "fewest numbers",
    "world_options.max_terms": "most numbers",
    "rewards.language": "weight of the consistency reward",
    "rewards.length": "weight of the length reward",
    "length_from": "length reward from step",
}
_VALUES = {"True": "on", "False": "off", "None": "off", "token": "by all tokens"}
_VALUES |= {"sequence": "on", "constant": "off"}


def name_setting(field: str, value: Any, joint: str = " ") -> str:
    """A field of a configuration and its value in the words of the controls.

    >>> name_setting("average", "sequence")
    'normalise by length on'
    """
    text = f"{value:g}" if isinstance(value, float) else str(value)
    name = _NAMES.get(field, field.replace("_", " ").replace("rewards.", "weight of "))
    return f"{name}{joint}{_VALUES.get(text, text)}"


def read_changes(changed: Sequence[str]) -> str:
    """The ``changed`` of a record in the words of the controls.

    >>> read_changes(["average: sequence -> constant", "kl_coef: 0.0 -> 0.1"])
    'normalise by length: on → off, β: 0.0 → 0.1'
    """
    pairs = dict(sentence.split(": ", 1) for sentence in changed if ": " in sentence)
    if "clip_low" in pairs and pairs.get("clip_high") == pairs["clip_low"]:
        pairs["ε"] = pairs.pop("clip_low")
        del pairs["clip_high"]
    said = []
    for field, values in pairs.items():
        old, _, new = values.partition(" -> ")
        said.append(f"{name_setting(field, old, ': ')} → {_VALUES.get(new, new)}")
    return ", ".join(said + [sentence for sentence in changed if ": " not in sentence])
