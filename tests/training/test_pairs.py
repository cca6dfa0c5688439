"""Training on pairs: which way log-probabilities, margins and the gold reward move."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import record
from rlvr_lab.tasks.letters import PROMPT
from rlvr_lab.training import pairs
from rlvr_lab.training.loop import train
from rlvr_lab.training.pairs import DpoConfig, watch_letters

CLEAN = DpoConfig(pairs=2000, flip=0.0, steps=40, measure_every=40)


@pytest.mark.parametrize(
    ("loss", "beta"),
    [("dpo", 0.1), ("ln_dpo", 2.0), ("simpo", 2.0), ("ipo", 0.1), ("orpo", 1.0)],
)
def test_every_variant_learns_what_pleases(loss, beta):
    first, last = train(replace(CLEAN, loss=loss, beta=beta))
    assert first["kl"] == pytest.approx(0, abs=1e-3)
    assert last["loss"] < first["loss"] and last["gold"] > first["gold"] + 0.5
    assert last["held_out"] > 0.6 and last["chosen"] > last["rejected"]


def test_dpo_begins_at_even_weights_and_leaves_them():
    first, last = train(CLEAN)
    assert first["weight"] == pytest.approx(0.5, abs=1e-4) and last["weight"] < 0.49
    assert first["margin"] == pytest.approx(0, abs=1e-4) and last["margin"] > 0


@pytest.mark.slow
def test_the_chosen_answers_become_less_likely_while_the_margin_grows():
    """On few pairs; a likelihood term turns their direction round."""
    plain = DpoConfig(steps=150, measure_every=150)
    first, last = train(plain)
    assert last["margin"] > first["margin"] + 1 and last["chosen"] < first["chosen"] - 2
    _, held = train(replace(plain, likelihood=1.0))
    assert held["chosen"] > first["chosen"]


def test_the_same_seed_gives_the_same_run_and_seeds_differ():
    short = replace(CLEAN, pairs=100, steps=2, measure_every=1)
    recording = record(short, 2)
    assert (
        record(short, 1).runs[0].records == recording.runs[0].records != recording.runs[1].records
    )
    assert recording.curves("step").tolist() == [[0, 1, 2]] * 2


def test_bad_values_are_named():
    for field, value in {
        "loss": "ppo",
        "pairs": 0,
        "steps": 0,
        "beta": 0.0,
        "likelihood": -1.0,
        "measure_every": 0,
    }.items():
        with pytest.raises(ValueError, match=field):
            DpoConfig(**{field: value})
    with pytest.raises(ValueError, match="seeds"):
        record(CLEAN, 0)


def test_the_distance_is_the_root_of_the_kl_and_0_where_the_estimate_is_negative(monkeypatch):
    world = CLEAN.letters
    batch = sample(world.base_policy(0), [PROMPT], 4, world.length, torch.Generator())
    for kl, distance in ((0.25, 0.5), (4.0, 2.0), (-0.25, 0.0)):
        # Of an answer's tokens each carries its part of the log-ratio.
        parts = torch.full_like(batch.old_logprobs, kl / world.length)
        monkeypatch.setattr(pairs, "k1", lambda *_, parts=parts: parts)
        found = watch_letters(world, batch)
        assert found["kl"] == pytest.approx(kl, abs=1e-5)
        assert found["distance"] == pytest.approx(distance, abs=1e-5)
