"""What a baseline is worth: the same training with and without (notebook 03).

Both runs sum over the tokens of an answer and differ in nothing but the baseline: the raw reward, or the
reward minus the mean of the group's other answers (RLOO). ``python -m rlvr_lab baselines`` records them.
"""

from collections.abc import Iterator
from dataclasses import replace

from rlvr_lab.records.runs import Run, record
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig

__all__ = ["BASELINES", "measure_baselines"]

BASELINES: dict[str, PolicyGradientConfig] = {
    name: replace(PRESETS["rloo"], baseline=baseline, steps=40)
    for name, baseline in (("no baseline", "none"), ("mean of the others", "leave_one_out"))
}
"""Name → its configuration for seed 0."""

KEPT = ("step", "pass_rate", "length", "entropy", "kl", "grad_norm")


def measure_baselines(
    seeds: int, configs: dict[str, PolicyGradientConfig] = BASELINES
) -> Iterator[Run]:
    """Train every configuration from every seed; the records keep the names in ``KEPT``.

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    for config in configs.values():
        for run in record(config, seeds).runs:
            yield Run(run.config, [{name: one[name] for name in KEPT} for one in run.records])
