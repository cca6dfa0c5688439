"""Runs with a fixed test: the test leaves the run alone, and each run starts from the base of its seed."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.evaluated import (
    EvaluatedConfig,
    at_step,
    runs_from,
    short_record,
    variant_of,
)
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.records.runs import Run
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

TINY = {"steps": 4, "prompts_per_step": 2, "group_size": 4, "device": "cpu", "max_new_tokens": 12}
TEST = {"every": 2, "test_problems": 3, "test_samples": 5}


@dataclass(frozen=True)
class Watched(EvaluatedConfig, kind="watched-in-a-test"):
    """Its records keep the problems and the number of answers too."""

    def describe(self, problems, batch, verdicts):
        found = {"prompts": [p.prompt for p in problems], "answers": len(batch.texts)}
        return {**super().describe(problems, batch, verdicts), **found}


def parameters(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def test_a_test_does_not_change_the_run_and_has_the_same_problems_each_time() -> None:
    tested, plain = Watched(**TINY, **TEST, seed=3, table=7), PolicyGradientConfig(**TINY, seed=3)
    first, second = tested.begin(), plain.begin()
    records, _ = list(train(tested, state=first)), list(train(plain, state=second))
    assert torch.equal(parameters(first.policy), parameters(second.policy))
    assert not torch.equal(parameters(first.policy), parameters(load_policy("sums", "cpu")))
    assert [record["step"] for record in records] == [0, 2, 4]
    assert {tuple(record["prompts"]) for record in records} == {tuple(records[0]["prompts"])}
    assert {record["answers"] for record in records} == {15} and len(records[0]["prompts"]) == 3
    (other,) = list(train(replace(tested, steps=1, table=8)))
    assert other["prompts"] != records[0]["prompts"]


def test_what_is_read_from_the_answers() -> None:
    config = Watched(**TINY, **TEST)
    state = config.begin()
    base = config.test(state)
    assert 0 <= base["accuracy"] <= 1 and 1 <= base["length"] <= 12 and base["entropy"] > 0
    assert base["accuracy"] * 15 == pytest.approx(round(base["accuracy"] * 15))


def test_each_seed_has_its_own_base_and_every_variant_starts_from_it() -> None:
    asked = []

    def base(seed: int) -> Policy:
        asked.append(seed)
        return load_policy("sums", "cpu")

    variants = {
        "one": Watched(**{**TINY, "steps": 1}, **{**TEST, "every": 1}),
        "two": Watched(**{**TINY, "steps": 1}, **{**TEST, "every": 1}, kl_coef=0.1),
    }
    runs = list(runs_from(base, variants, 2, 5))
    assert asked == [5, 5, 6, 6]
    assert [(r.config.seed, r.config.table, r.config.kl_coef) for r in runs] == [
        *((5, 5, 0.0), (5, 5, 0.1), (6, 6, 0.0), (6, 6, 0.1))
    ]
    assert runs[0].records[0] == runs[1].records[0], "the same base answers the same test"
    assert [run.config.seed for run in variant_of(runs[::-1], variants["two"])] == [5, 6]
    with pytest.raises(ValueError, match="runs: none"):
        variant_of(runs, replace(variants["one"], learning_rate=1.0))
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(runs_from(base, variants, 0, 0))


def test_curves_are_read_at_a_step() -> None:
    runs = [Run(Watched(), [{"step": 0, "x": x}, {"step": 2, "x": None}]) for x in (1.0, 2.0)]
    assert at_step(runs, "x", 0).tolist() == [1.0, 2.0]
    assert np.isnan(at_step(runs, "x", 2)).all()
    with pytest.raises(ValueError, match=r"step: .*\[0, 2\], not 1"):
        at_step(runs, "x", 1)
    record = {"step": 1, "x": 0.1234567, "n": 3, "seconds_update": 1.0, "changed": []}
    assert short_record(record) == {"step": 1, "x": 0.12346, "n": 3}


@pytest.mark.parametrize("field", ["every", "test_problems", "test_samples"])
def test_a_test_needs_something_to_answer(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field}: must be at least 1"):
        Watched(**{field: 0})
