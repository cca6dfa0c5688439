"""How long the step inspector takes, and what keeping steps costs a run.

    python -m tests.benchmarks.inspector [--rounds 5]

Prints, as medians: a control of the inspector moved (the batch weighed again and every table written again), the
static picture, and what a step of GRPO on the sums pays for being kept.
"""

import argparse
import statistics
import time
from dataclasses import replace
from itertools import pairwise

import torch

from rlvr_lab.pictures.style import show
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.training import inspected_kinds  # noqa: F401  (it registers the kinds of runs)
from rlvr_lab.training.inspection import inspect_step
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.widgets.inspector import StepInspector

MOVES = [
    ("by_length", False),
    ("by_std", False),
    ("loss", "gspo"),
    ("at", "after"),
    ("other", "run"),
]


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    config = replace(PRESETS["grpo"], kl_coef=0.1, device="cpu")
    state, found, steps = config.begin(), {}, []

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for turn in range(rounds + 1):
        times = [time.perf_counter()]
        experience = config.collect(state)
        times.append(time.perf_counter())
        step, after = inspect_step(config, state, experience)
        times.append(time.perf_counter())
        config.update(state, experience)
        times.append(time.perf_counter())
        steps.append(replace(step, after=after()))
        times.append(time.perf_counter())
        state.step += 1
        if turn:  # the first turn is warm-up
            collect, look, update, again = (b - a for a, b in pairwise(times))
            note("step: collect + update", collect + update)
            note("keeping: before the update", look)
            note("keeping: after the update", again)
    for _ in range(rounds):
        inspector = StepInspector(steps)
        for name, value in MOVES:
            control = inspector.controls[name]
            note(f"control {name}", seconds(lambda c=control, v=value: setattr(c, "value", v)))
        note("picture, one loss and another", seconds(lambda i=inspector: show(*i.picture())))
    ppo = PPOConfig(critic_warmup=0, device="cpu")
    state = ppo.begin()
    experience = ppo.collect(state)
    for _ in range(rounds):
        note(
            "PPO: before the update (values, GAE)",
            seconds(lambda: inspect_step(ppo, state, experience)),
        )
        note("PPO: update", seconds(lambda: ppo.update(state, experience)))
    with torch.no_grad():
        note(
            "PPO: after the update",
            seconds(lambda: token_logprobs(state.policy.model, experience.batch)),
        )
    for name, values in found.items():
        print(f"{name:40} {1000 * statistics.median(values):8.1f} ms")
    whole = statistics.median(found["step: collect + update"])
    for name in ("before", "after"):
        share = statistics.median(found[f"keeping: {name} the update"]) / whole
        print(f"share of a step that is kept, {name} the update: {share:.1%}")


if __name__ == "__main__":
    main()
