"""One visible loop for every algorithm: collect, measure, update, report.

The loop holds no formula. What an algorithm *is* stands in its configuration.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.optimise import NonFiniteLossError
from rlvr_lab.training.state import TrainState

__all__ = ["Watch", "train"]

Watch = Callable[[RunConfig, TrainState, Any], Callable[[], None] | None]
"""(configuration of the step, state, experience) → what to call after the update, or None."""


def train(
    config: RunConfig,
    *,
    state: TrainState | None = None,
    live_config: Callable[[], RunConfig] | None = None,
    watch: Watch | None = None,
) -> Iterator[dict[str, Any]]:
    """Run what ``config`` describes; yield one metrics record per step.

    Args:
        config: the run.
        state: where to start; ``config.begin()`` if not given. It is updated in place, so that the caller
            can sample from ``state.policy`` between two steps.
        live_config: read at the start of each step; what it returns holds from that step on, and
            the next record's ``changed`` says what it changed.
        watch: sees every step from inside: called before the update, and what it returns after it. It must
            not change the state (``training.inspection.StepKeeper`` is one).

    Yields:
        ``step``, ``changed``, ``seconds_update``, and what the configuration measures: for algorithms
        that sample see ``rollouts.describe_step``, for the rest each configuration.

    Raises:
        ValueError: when ``live_config`` changes what is fixed during a run.
        NonFiniteLossError: names the step.
    """
    state = state or config.begin()
    first = config
    if state.step == 0 and (opening := config.opening(state)) is not None:
        yield {"step": 0, **opening, "changed": []}
    changed: list[str] = []
    while state.step < config.steps:
        latest = config if live_config is None else live_config()
        changed += _checked(first, config, latest)
        config = latest
        experience = config.collect(state)
        record = config.measure(state, experience)
        look_again = watch(config, state, experience) if watch is not None else None
        started = time.perf_counter()
        try:
            record |= config.update(state, experience)
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"step {state.step + 1}: {error}") from None
        seconds = time.perf_counter() - started
        state.step += 1
        if look_again is not None:
            look_again()
        after = config.after(state)
        if after is not None:
            yield {
                "step": state.step,
                **record,
                **after,
                "seconds_update": seconds,
                "changed": changed,
            }
            changed = []


def _checked(first: RunConfig, now: RunConfig, latest: RunConfig) -> list[str]:
    """What changes, as words; refuses a change of what is fixed during a run."""
    if latest is now:
        return []
    if type(latest) is not type(first):
        raise ValueError(f"live_config: a run of {first.KIND} cannot become one of {latest.KIND}")
    for name in first.FIXED:
        if getattr(latest, name) != getattr(first, name):
            raise ValueError(f"{name}: fixed during a run, start a new one to change it")
    return now.changes_to(latest)
