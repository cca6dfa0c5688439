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
    f"{name}, {prompts * size} answers": replace(
        PRESETS["rloo"],
        baseline=baseline,
        prompts_per_step=prompts,
        group_size=size,
        steps=steps,
    )
    for prompts, size, steps in ((16, 16, 40), (4, 4, 60))
    for name, baseline in (("no baseline", "none"), ("mean of the others", "leave_one_out"))
}
"""Name → its configuration for seed 0: a usual batch and a small one, each without and with a baseline."""

KEPT = ("step", "pass_rate", "length", "entropy", "kl", "grad_norm")


def measure_baselines(
    seeds: int, configs: dict[str, PolicyGradientConfig] = BASELINES, first: int = 0
) -> Iterator[Run]:
    """Train every configuration with the seeds from ``first`` on; the records keep the names in ``KEPT``.

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    for config in configs.values():
        for run in record(replace(config, seed=first), seeds).runs:
            yield Run(run.config, [{name: one[name] for name in KEPT} for one in run.records])
