"""The drift is the even part of a real update, and the base is whole again after each."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.r1 import spurious
from rlvr_lab.experiments.r1.drift import VARIANTS, DriftConfig, drift_of, drifts, measure_drift
from rlvr_lab.experiments.r1.spurious import NO_CLIP, think_probability
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Run
from rlvr_lab.training.policy_gradient import improve
from rlvr_lab.training.rollouts import collect

SMALL = {"steps": 2, "test_problems": 2, "test_samples": 2, "max_new_tokens": 12}
SMALL |= {"prompts_per_step": 2, "group_size": 6, "device": "cpu"}


def records(config: DriftConfig) -> list[dict]:
    return list(drifts(config, config.begin(load_policy("sums", "cpu"))))


def after(config: DriftConfig, sign: float) -> float:
    """``think`` after one update by hand: a plain loss with the sign in front of the advantages."""
    state = config.begin(load_policy("sums", "cpu"))
    found = collect(config, state)
    advantages = config.objective.advantage(found.rewards, config.group_size) * sign
    fixed = replace(config.objective, advantage=lambda rewards, size: advantages)

    improve(
        state,
        fixed,
        found.batch,
        found.rewards,
        found.reference.logprobs,
        updates=config.updates_per_batch,
    )
    problems = state.task.problems(config.test_problems, random.Random(config.test_name))
    return think_probability(state.policy, [problem.prompt for problem in problems])


def test_the_drift_is_the_even_part_and_the_answer_the_odd_one() -> None:
    config = DriftConfig(**{**SMALL, "steps": 1}, updates_per_batch=2)
    (found,) = records(config)
    problems = config.begin(load_policy("sums", "cpu")).task.problems(
        config.test_problems, random.Random(config.test_name)
    )
    base = think_probability(load_policy("sums", "cpu"), [p.prompt for p in problems])
    plus, minus = (after(config, sign) - base for sign in (1.0, -1.0))
    assert found["drift_think"] == pytest.approx((plus + minus) / 2, abs=1e-5)
    assert found["answer_think"] == pytest.approx((plus - minus) / 2, abs=1e-5)
    assert abs(plus) > 1e-4 and plus * minus < 0, "the two updates go opposite ways"


def test_what_follows_the_reward_cancels_for_small_steps() -> None:
    """With plain gradient steps the answer is linear in the learning rate, the drift quadratic."""
    look = {**SMALL, "optimizer": "sgd", "max_grad_norm": None, "updates_per_batch": 1}
    parts = []
    for rate in (1e-2, 2e-2):
        found = records(DriftConfig(**look, learning_rate=rate))
        parts.append([np.abs([r[f"{p}_entropy"] for r in found]) for p in ("answer", "drift")])
    (answer, even), (twice, four) = parts
    np.testing.assert_allclose(twice / answer, 2, rtol=0.1)
    assert (even < 0.2 * answer).all() and (four > 2.5 * even).any()


def test_the_base_is_whole_again_and_its_batches_differ() -> None:
    config = DriftConfig(**SMALL, updates_per_batch=1)
    state = config.begin(load_policy("sums", "cpu"))
    first, second = drifts(config, state)
    for one, other in zip(
        state.policy.model.parameters(), load_policy("sums", "cpu").model.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    assert (first["step"], second["step"]) == (1, 2)
    assert first["answer_think"] != second["answer_think"]
    assert first["kl"] > 0 and second["kl"] > 0


def test_the_clip_acts_only_from_the_second_update_on() -> None:
    one = DriftConfig(**{**SMALL, "steps": 1}, updates_per_batch=1)
    same = [[r["drift_think"] for r in records(c)] for c in (one, replace(one, **NO_CLIP))]
    assert same[0] == same[1]
    fast = replace(one, steps=1, updates_per_batch=3, learning_rate=2e-3)
    clipped, free = records(fast), records(replace(fast, **NO_CLIP))
    assert min(r["clip_fraction"] for r in clipped) > 0
    assert max(r["clip_fraction"] for r in free) == 0
    assert clipped[0]["drift_think"] != free[0]["drift_think"]


def test_what_is_recorded_is_what_it_says() -> None:
    assert all(config.rewards == {"random": 1.0} for config in VARIANTS.values())
    for name, config in VARIANTS.items():
        assert config.updates_per_batch == (1 if name == "one_update" else 4)
        assert (config.clip_high == NO_CLIP["clip_high"]) == ("unclipped" in name)
        assert (config.learning_rate, config.prompts_per_step) == (3e-4, 16)
        assert config.prior == ("chains" if "chains" in name else "guesses")


def test_variants_share_their_batches_and_seeds_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def base(seed: int, prior: str):
        asked.append((seed, prior))
        return load_policy("sums", "cpu")

    monkeypatch.setattr(spurious, "prior_base", base)
    small = DriftConfig(**{**SMALL, "steps": 1}, updates_per_batch=1)
    runs = list(measure_drift(2, {"a": small, "b": replace(small, prior="chains")}, 4))
    assert sorted(asked) == [(4, "chains"), (4, "guesses"), (5, "chains"), (5, "guesses")]
    assert [(run.config.seed, run.config.table) for run in runs] == [(4, 4), (4, 4), (5, 5), (5, 5)]
    assert runs[0].records == runs[1].records != runs[2].records
    with pytest.raises(ValueError, match="seeds"):
        next(measure_drift(0, {"a": small}, 1))


def test_the_mean_is_over_batches() -> None:
    run = Run(DriftConfig(), [{"step": 1, "drift_think": 0.1}, {"step": 2, "drift_think": 0.3}])
    np.testing.assert_allclose(drift_of([run, run], "drift_think"), [0.2, 0.2])
