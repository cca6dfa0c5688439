"""The cold start: what is fine-tuned on, how much of it, from which base, and what is read from the curves."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.r1 import sft_start
from rlvr_lab.experiments.r1.sft_start import (
    BASE,
    REPEATS,
    STUDY,
    TRACES,
    VARIANTS,
    SftStartConfig,
    by_base,
    first_step,
    largest_fall,
    tune,
)
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.code_chains import readable
from rlvr_lab.tasks.codes import Codes, way_of
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.supervised import supervised_steps

SMALL = {"steps": 2, "every": 2, "test_problems": 3, "test_samples": 4}
SMALL |= {"prompts_per_step": 2, "group_size": 4, "device": "cpu"}


def flat(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def test_one_epoch_is_each_trace_once_in_steps_of_16_at_the_stated_rate() -> None:
    tuned, by_hand = load_policy("codes", "cpu"), load_policy("codes", "cpu")
    tune(tuned, Codes(), TRACES["readable"], 24, 5)
    optimizer, rng = adamw(trained(by_hand.model), 3e-4), random.Random("traces 5")
    for size in (16, 8):
        step = supervised_steps(
            by_hand, Codes(), TRACES["readable"], 1, lambda _: 3e-4, optimizer, rng, size
        )
        list(step)
    assert torch.equal(flat(tuned), flat(by_hand))
    assert not torch.equal(flat(tuned), flat(load_policy("codes", "cpu")))


def test_rl_starts_from_the_tuned_policy_and_it_is_the_reference() -> None:
    before = flat(load_policy("codes", "cpu"))
    ends = {}
    for name, change in {
        "none": {},
        "readable": {"traces": 16},
        "unreadable": {"traces": 16, "form": "unreadable"},
        "other table": {"traces": 16, "table": 1},
        "other seed": {"traces": 16, "seed": 9},
    }.items():
        state = SftStartConfig(**SMALL, **change).begin(load_policy("codes", "cpu"))
        ends[name] = flat(state.policy)
        assert torch.equal(ends[name], flat(state.reference)), name
    assert torch.equal(ends["none"], before)
    for name in ("none", "unreadable", "other table"):
        assert not torch.equal(ends["readable"], ends[name]), name
    assert torch.equal(ends["readable"], ends["other seed"])  # the RL seed does not choose traces


def test_traces_are_correct_and_only_those_of_one_form_are_readable() -> None:
    task, rng = Codes(), random.Random(0)
    for form, shares in (("readable", (1, 1)), ("unreadable", (0, 0.05))):
        problems = task.problems(100, rng)
        texts = [TRACES[form](problem, rng) for problem in problems]
        for problem, text in zip(problems, texts, strict=True):
            assert task.verify(problem, text, False).correct
        assert shares[0] <= sum(map(readable, texts)) / 100 <= shares[1]


def test_the_base_is_taught_what_the_text_says() -> None:
    rng, n = random.Random(0), 3000
    texts = [BASE.solve(problem, rng) for problem in Codes().problems(n, rng)]
    shares = {
        "direct": sum(way_of(text) == "direct" for text in texts) / n,
        "readable": sum(map(readable, texts)) / n,
        "mixed": sum(way_of(text) == "mixed" for text in texts) / n,
    }
    assert shares == pytest.approx({"direct": 0.8, "readable": 0.03, "mixed": 0.17}, abs=0.02)
    assert (BASE.slip, BASE.mixed, BASE.switch) == (0.10, 0.17, 0.5)
    assert not BASE.table.wrong["digits"] and not BASE.table.wrong["words"]


def test_what_is_recorded_is_what_it_says() -> None:
    assert STUDIES["r1/sft_start"] is STUDY and (STUDY.first, STUDY.seeds) == (1, 5)
    assert [(c.traces, c.form) for c in VARIANTS.values()] == [
        *((n, "readable") for n in (0, 16, 64, 256, 1000)),
        (256, "unreadable"),
    ]
    for config in VARIANTS.values():
        assert (config.baseline, config.divide_by_std, config.average) == (
            "group",
            True,
            "sequence",
        )
        assert config.rewards == {"accuracy": 1.0, "format": 0.1} and config.steps == 30
    for bad in ({"traces": -1}, {"form": "x"}, {"world": "sums"}, {"repeat": -1}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))}"):
            SftStartConfig(**bad)


def test_a_base_is_shared_by_its_variants_and_rl_seeds(monkeypatch) -> None:
    made = []

    def base(seed: int) -> Policy:
        made.append(seed)
        return load_policy("codes", "cpu")

    monkeypatch.setattr(sft_start, "base", base)
    runs = list(sft_start.measure(2, {"a": SftStartConfig(**SMALL)}, 3))
    assert made == [3] * REPEATS + [4] * REPEATS
    assert [(run.config.table, run.config.seed) for run in runs] == [
        (table, 100 * table + repeat) for table in (3, 4) for repeat in range(REPEATS)
    ]
    assert [record["step"] for record in runs[0].records] == [0, 2]
    # One base: the same answers before RL. Its RL seeds differ, and so do the bases' problems.
    assert runs[0].records[0] == runs[1].records[0] != runs[REPEATS].records[0]
    assert len(runs[0].records[0]["samples"]) == 3
    assert not any(key.startswith("seconds") for run in runs for r in run.records for key in r)
    with pytest.raises(ValueError, match="seeds"):
        next(sft_start.measure(0, VARIANTS, 1))


def test_a_record_counts_chains_and_readable_chains(monkeypatch) -> None:
    texts = ["=083", "<think>720,378,913</think>=083", "<think>7two0378913</think>=083", "x"]
    config = SftStartConfig(**SMALL | {"steps": 4})
    state = config.begin(load_policy("codes", "cpu"))
    real = sft_start.EvaluatedConfig.describe
    monkeypatch.setattr(
        sft_start.EvaluatedConfig,
        "describe",
        lambda self, problems, batch, verdicts: real(
            self, problems, replace(batch, texts=texts * 3), verdicts
        ),
    )
    seen = []
    monkeypatch.setattr(sft_start, "readable", lambda text: seen.append(text) or "," in text)
    found = config.test(state)
    assert found["readable"] == sum("," in text for text in seen) / 12
    assert found["samples"] is not None
    state.step = 2
    assert config.test(state)["samples"] is None


def made_up(traces: int, table: int, repeat: int, values: list[float]) -> Run:
    config = SftStartConfig(traces=traces, table=table, repeat=repeat, seed=100 * table + repeat)
    steps = range(0, 2 * len(values), 2)
    return Run(config, [{"step": s, "accuracy": v} for s, v in zip(steps, values, strict=True)])


def test_curves_are_ordered_by_base_and_rl_seed() -> None:
    runs = [
        made_up(n, table, repeat, [n, table, repeat])
        for repeat in reversed(range(REPEATS))
        for table in (2, 1)
        for n in (0, 16)
    ]
    found = by_base(runs, SftStartConfig(traces=16), "accuracy")
    assert found.shape == (2, REPEATS, 3)
    assert (found[..., 0] == 16).all()
    assert found[:, 0, 1].tolist() == [1, 2] and found[0, :, 2].tolist() == list(range(REPEATS))
    incomplete = [run for run in runs if (run.config.table, run.config.repeat) != (2, 1)]
    with pytest.raises(ValueError, match=r"runs: .*\[2, 1\] bases"):
        by_base(incomplete, SftStartConfig(traces=16), "accuracy")
    with pytest.raises(ValueError, match="runs"):
        by_base(runs, SftStartConfig(traces=64), "accuracy")


def test_the_first_step_and_the_largest_fall() -> None:
    curves = np.array([[0.1, 0.9, 0.5, 0.9], [0.8, 0.7, 0.6, 1.0]])
    steps = np.array([0, 2, 4, 6])
    assert first_step(curves, steps, 0.8).tolist() == [2, 0]
    np.testing.assert_allclose(largest_fall(curves), [0.4, 0.2])
    with pytest.raises(ValueError, match="level"):
        first_step(curves, steps, 0.95)
