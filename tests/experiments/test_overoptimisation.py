"""Climbing a proxy: what a record holds, which way things move, what the recordings say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.overoptimisation import (
    ProxyConfig,
    best_of_n_curve,
    fitted_proxy,
    optimum_curve,
    record_proxy,
)
from rlvr_lab.policy.data import data_folder
from rlvr_lab.records.runs import Recording
from rlvr_lab.tasks.letters import PreferenceWorld
from rlvr_lab.training.loop import train

SHORT = ProxyConfig(pairs=3000, flip=0.0, steps=30)


@pytest.mark.parametrize("optimiser", ["ppo", "grpo"])
def test_the_proxy_rises_and_the_policy_leaves_the_base(optimiser):
    records = list(train(replace(SHORT, optimiser=optimiser)))
    first, last = records[0], records[-1]
    assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert first["entropy"] == pytest.approx(np.log(16), abs=1e-4)
    assert last["proxy"] > first["proxy"] + 0.8 and last["gold"] > first["gold"] + 1
    assert last["distance"] == pytest.approx(last["kl"] ** 0.5) and last["kl"] > 0.5


@pytest.mark.parametrize("optimiser", ["ppo", "grpo"])
def test_a_kl_penalty_keeps_the_policy_near_the_base(optimiser):
    free = list(train(replace(SHORT, optimiser=optimiser)))[-1]["kl"]
    held = list(train(replace(SHORT, optimiser=optimiser, kl_coef=1.0)))[-1]["kl"]
    assert held < 0.6 * free


def test_the_same_seed_gives_the_same_climb():
    short = replace(SHORT, steps=3, pairs=100)
    one, two = (record_proxy(short, 1).runs[0].records for _ in range(2))
    assert one == two


def test_the_worst_of_an_ensemble_is_below_each_member():
    world, config = PreferenceWorld(), replace(SHORT, pairs=100, members=3)
    counts = world.counts(*world.base_answers(64, torch.Generator().manual_seed(0)))
    alone, _ = fitted_proxy(replace(config, members=1), world)
    together, _ = fitted_proxy(config, world)
    assert bool((together(counts) <= alone(counts)).all())


def test_best_of_n_agrees_with_drawing_n_answers():
    config, world = ProxyConfig("best_of_n", pairs=3000, flip=0.0), PreferenceWorld()
    one, eight = best_of_n_curve(config, [1, 8], pool=2**15)
    score, _ = fitted_proxy(config, world)
    counts = world.counts(*world.base_answers(8 * 4000, torch.Generator().manual_seed(99)))
    best = score(counts).view(4000, 8).argmax(dim=1)
    gold = world.gold(counts).view(4000, 8)
    drawn = gold.gather(1, best[:, None]).squeeze(1)
    assert eight["gold"] == pytest.approx(
        float(drawn.mean()), abs=4 * float(drawn.std()) / 4000**0.5
    )
    assert one["kl"] == 0 and eight["proxy"] > one["proxy"] + 1


def test_no_policy_has_more_proxy_than_the_optimum_at_its_kl():
    config = ProxyConfig("optimum", pairs=3000, flip=0.0)
    far, near = (optimum_curve(config, [beta], pool=2**14)[0] for beta in (0.5, 2.0))
    assert far["kl"] > near["kl"] > 0 and far["proxy"] > near["proxy"] > 0
    best = best_of_n_curve(replace(config, optimiser="best_of_n"), [2, 4, 8], pool=2**14)
    for one in best:  # J(π*) ≥ J(best-of-n), with the same pool
        assert far["proxy"] - 0.5 * far["kl"] >= one["proxy"] - 0.5 * one["kl"] - 0.01


def test_bad_values_are_named():
    for field, value in {
        "optimiser": "dpo",
        "pairs": 0,
        "members": 0,
        "steps": 0,
        "batch_size": 40,
        "kl_coef": -1.0,
        "learning_rate": 0.0,
    }.items():
        with pytest.raises(ValueError, match=field):
            ProxyConfig(**{field: value})
    with pytest.raises(ValueError, match="best_of_n_curve"):
        next(train(ProxyConfig("best_of_n", pairs=100)))
    with pytest.raises(ValueError, match="optimum_curve"):
        next(train(ProxyConfig("optimum", pairs=100)))
    with pytest.raises(ValueError, match="pool"):
        best_of_n_curve(ProxyConfig("best_of_n"), [1024], pool=1024)
    with pytest.raises(ValueError, match="seeds"):
        record_proxy(SHORT, 0)


# ------------------------------------------------------------------ the recordings


def recorded(name: str) -> Recording:
    return Recording.load(data_folder() / "runs" / "overoptimisation" / f"{name}.json")


def fall(recording: Recording) -> np.ndarray:
    """Peak of each run's gold reward (mean of 5 steps) less its end."""
    smooth = np.stack([np.convolve(g, np.ones(5) / 5, "valid") for g in recording.curves("gold")])
    return smooth.max(axis=1) - smooth[:, -1]


@pytest.mark.parametrize("optimiser", ["ppo", "grpo"])
def test_recorded_climbs_fall_with_few_noisy_pairs_and_not_with_many_clean_ones(optimiser):
    noisy, clean = recorded(f"{optimiser}_300_flips"), recorded(f"{optimiser}_30000_none")
    assert len(noisy.runs) == len(clean.runs) == 5
    assert (fall(noisy) > 2).all() and fall(clean).max() < fall(noisy).min() / 3
    proxy, at = noisy.curves("proxy"), noisy.curves("gold").argmax(axis=1)
    assert (proxy[:, -1] > proxy[np.arange(5), at] + 1).all()  # while the proxy is pleased


def test_a_recording_is_made_again_by_its_config():
    recording = recorded("ppo_300_flips")
    assert recording.command.startswith("python -m rlvr_lab overoptimise --optimiser ppo")
    first = next(train(recording.runs[0].config))
    assert first["gold"] == pytest.approx(recording.curves("gold")[0, 0], abs=0.02)
