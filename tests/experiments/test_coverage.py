"""Coverage: the counts, the classes, the runs that go on after an interruption, and what is read from them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments import base_models
from rlvr_lab.experiments.coverage import (
    EXPLORED,
    VARIANTS,
    CoverageConfig,
    balance,
    calibration,
    confirmation,
    kept_at,
    measure_answers,
    pass_curve,
    record_coverage,
    solved,
    votes,
)
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig

SMALL = {"steps": 2, "every": 2, "test_problems": 4, "test_samples": 6}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "device": "cpu"}


def test_answers_are_counted_by_hand() -> None:
    texts = [
        *("<think>1</think>=012", "<think>1</think>=012", "<think>one</think>=999", "=012"),
        *("=777", "=777", "<think>=777", "<think>1one</think>=001"),
    ]
    correct = [True, True, False, True, True, True, False, False]
    found = measure_answers(texts, correct, ["012", "777"])
    assert found["correct"] == [3, 2] and found["chains"] == [3, 1]
    assert found["votes"] == [2, 1] and found["vote_right"] == [1, 0]
    assert found["answer_entropy"] == [0.64, 0.0]  # −⅔ log ⅔ − ⅓ log ⅓
    shares = {w: found[w] for w in ("direct", "digits", "words", "mixed", "malformed")}
    assert shares == {k: n / 8 for k, n in zip(shares, (3, 2, 1, 1, 1), strict=True)}
    assert found["pass@1"] == 5 / 8
    nothing = measure_answers(["=123"] * 2, [False] * 2, ["001"])
    assert nothing["chains"] == nothing["votes"] == nothing["vote_right"] == [0]


def test_the_test_does_not_change_the_run() -> None:
    """The parameters after two steps are those of a plain policy gradient, tests or no tests."""
    config = CoverageConfig(**SMALL, seed=1)
    plain = replace(PRESETS["grpo"], world="codes", max_new_tokens=24, steps=2, seed=1)
    plain = replace(plain, prompts_per_step=4, group_size=4, device="cpu")
    ends = []
    for one in (config, plain):
        state = one.begin(load_policy("codes", "cpu"))
        records = list(train(one, state=state))
        ends.append((records, torch.cat([p.flatten() for p in state.policy.model.parameters()])))
    (tested, mine), (_, theirs) = ends
    assert torch.equal(mine, theirs)
    assert not torch.equal(
        mine, torch.cat([p.flatten() for p in load_policy("codes", "cpu").model.parameters()])
    )
    assert [record["step"] for record in tested] == [0, 2]
    assert len(tested[0]["correct"]) == len(tested[0]["solved_in"]) == 4
    assert tested[0]["solved_in"] == tested[1]["solved_in"]


def test_what_is_recorded_is_what_it_says() -> None:
    same = ("prompts_per_step", "group_size", "learning_rate", "rewards", "ratio", "optimizer")
    for name, config in VARIANTS.items():
        assert config.steps == 120 and config.world == "codes", name
        assert all(getattr(config, f) == getattr(PolicyGradientConfig(), f) for f in same)
    assert (VARIANTS["grpo"].kl_coef, VARIANTS["grpo"].baseline) == (0.0, "group")
    kl = VARIANTS["kl"]
    assert (kl.kl_coef, kl.kl_estimator, kl.kl_in, kl.baseline) == (0.2, "k3", "loss", "group")
    assert VARIANTS["maxrl"].baseline == "maxrl" and not VARIANTS["maxrl"].divide_by_std


def test_only_the_base_of_one_table_is_shipped() -> None:
    with pytest.raises(ValueError, match="--seed 3 --out FOLDER"):
        CoverageConfig(table=3).begin()
    with pytest.raises(ValueError, match="world: must be codes"):
        CoverageConfig(world="sums")


def test_an_interrupted_recording_goes_on(tmp_path, monkeypatch) -> None:
    made, base = [], load_policy("codes", "cpu")

    def pretrain(folder, seed, device):
        made.append(seed)
        base.save(folder)
        (folder / "pretraining.json").write_text("{}")

    monkeypatch.setattr(base_models, "pretrain_codes", pretrain)
    monkeypatch.setitem(VARIANTS, "grpo", CoverageConfig(**SMALL))
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    out = tmp_path / "coverage.json"
    first = record_coverage("grpo", 3, out, "command")
    kept = [next(first), next(first)]
    first.close()
    same = lambda runs: [(run.config, run.records) for run in runs]  # noqa: E731
    assert same(Recording.load(out).runs) == same(kept) and made == [1]
    (last,) = record_coverage("grpo", 3, out, "command")
    assert last.config.table == last.config.seed == 2 and made == [1, 2]
    loaded = Recording.load(out)
    assert same(loaded.runs) == same([*kept, last]) and loaded.command == "command"
    assert list(record_coverage("grpo", 3, out)) == []
    for variant, tables, name in (("x", 1, "variant"), ("grpo", 0, "tables")):
        with pytest.raises(ValueError, match=name):
            next(record_coverage(variant, tables, out))


def made_up() -> Recording:
    kinds = ["words", "digits", "neither", "both"]
    config = CoverageConfig(test_problems=4, test_samples=4, table=7)
    zero = {"chains": [4, 4, 0, 2], "votes": [2, 4, 0, 1], "vote_right": [1, 0, 0, 1]}
    records = [
        {"step": 0, "solved_in": kinds, "correct": [1, 4, 0, 2], **zero},
        {"step": 20, "solved_in": kinds, "correct": [0, 4, 1, 4], **zero},
    ]
    return Recording([Run(config, records), Run(replace(config, table=EXPLORED[0]), records)])


def test_curves_read_the_counts() -> None:
    recording = made_up()
    np.testing.assert_allclose(pass_curve(recording, 0, [1, 4]), [[7 / 16, 3 / 4]] * 2)
    np.testing.assert_allclose(solved(recording, "words"), [[1, 0]] * 2)
    np.testing.assert_allclose(solved(recording, "neither"), [[0, 1]] * 2)
    np.testing.assert_allclose(solved(recording, "all", k=1), [[7 / 16, 9 / 16]] * 2)
    # pass@1 rises from 7/16 to 9/16: at 1/2, half way, half of the words-only problems are left.
    np.testing.assert_allclose(kept_at(recording, 0.5), [0.5] * 2)
    np.testing.assert_allclose(kept_at(recording, 15 / 32, "neither"), [0.25] * 2)
    for level in (0.4, 0.6):
        with pytest.raises(ValueError, match="level: pass@1 goes from"):
            kept_at(recording, level)
    found = {name: values[0].tolist() for name, values in balance(recording).items()}
    assert found == {"lost": [0, -0.25], "found": [0, 0.25], "rest": [0, 0], "net": [0, 0]}
    with pytest.raises(ValueError, match=r"step: .*0, 20.* not 7"):
        pass_curve(recording, 7, [1])
    assert [run.config.table for run in confirmation(recording).runs] == [7]


def test_the_confidence_is_that_of_the_chains() -> None:
    sure, right = votes(made_up().runs[0], 0)
    assert sure.tolist() == [0.5, 1.0, 0.5] and right.tolist() == [1, 0, 1]
    errors, diagram = calibration(made_up(), 0, least=1)
    # The bin at .5: two problems, both correct; the bin at 1: one, incorrect.
    np.testing.assert_allclose(errors, [(2 * 0.5 + 1 * 1.0) / 3] * 2)
    assert diagram.count.tolist() == [4, 2] and diagram.accuracy.tolist() == [1, 0]
    fewer, diagram = calibration(made_up(), 0, least=3)
    assert fewer.tolist() == errors.tolist() and diagram.count.tolist() == [4]
