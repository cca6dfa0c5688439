"""Hacked verifiers: which reward reaches the parameters, what a record counts, which base a variant has."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.r1 import hacked_verifier
from rlvr_lab.experiments.r1.hacked_verifier import (
    STUDY,
    VARIANTS,
    HackedConfig,
    audit_misses,
    takeover,
    with_lists,
)
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.tasks.task import Problem, grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS

SMALL = {"steps": 1, "every": 1, "test_problems": 4, "test_samples": 4}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "device": "cpu"}
QUESTION = Problem("3+4......?", 7, 1)


def record_of(config: HackedConfig, texts: list[str], cut: list[bool] | None = None) -> dict:
    """What a configuration says of answers to one question."""
    rows = len(texts)
    ones, zeros = torch.ones(rows, 3), torch.zeros(rows, 3)
    truncated = torch.tensor(cut or [False] * rows)
    batch = RolloutBatch(
        torch.ones(1, 1).long(), torch.ones(1, 1).bool(), ones.long(), ones.bool(), ones.bool(),
        zeros, zeros, truncated, texts, rows,
    )  # fmt: skip
    verdicts = grade(Sums(), [QUESTION], texts, truncated.tolist())
    return config.describe([QUESTION], batch, verdicts)


def test_a_record_is_counted_by_hand() -> None:
    texts = ["=7", "=1=7", "<think>17</think>=3", "=5", "0123", "<think>7=7"]
    found = record_of(VARIANTS["anywhere"], texts, [False] * 5 + [True])
    assert found["accuracy"] == 1 / 6
    assert found["answer_anywhere"] == found["paid"] == 4 / 6 and found["any_equals"] == 3 / 6
    assert found["refused"] == 3 / 4 and found["audit"] == [3, 4]
    assert found["several"] == 1 / 6 and found["truncated"] == 1 / 6
    assert found["digits"] == pytest.approx((1 + 2 + 3 + 1 + 4 + 1) / 6)
    assert found["samples"] == [["3+4......?", "=7", "right", 1]]
    found = record_of(VARIANTS["any_equals"], texts)
    assert found["paid"] == 3 / 6 and found["refused"] == pytest.approx(2 / 3)
    found = record_of(VARIANTS["strict"], texts)
    assert found["paid"] == found["accuracy"] and found["refused"] == 0
    nothing = record_of(VARIANTS["strict"], ["=1", "=2"])
    assert nothing["refused"] is None and nothing["audit"] == [0, 0]


def test_an_audit_reads_64_answers_from_first_to_last() -> None:
    texts = ["=7"] * 100 + ["=1=7"] * 100
    assert record_of(VARIANTS["any_equals"], texts)["audit"] == [32, 64]


def test_the_reward_that_is_named_reaches_the_parameters() -> None:
    ends = {}
    for name in ("strict", "anywhere", "any_equals"):
        config = replace(VARIANTS[name], **SMALL)
        (reward,) = config.rewards
        plain = replace(PRESETS["grpo"], steps=1, prompts_per_step=4, group_size=4, device="cpu")
        states = []
        for one in (config, replace(plain, rewards={reward: 1.0})):
            state = one.begin(load_policy("sums", "cpu"))
            list(train(one, state=state))
            states.append(torch.cat([p.flatten() for p in state.policy.model.parameters()]))
        assert torch.equal(*states), name
        ends[name] = states[0]
    assert not torch.equal(ends["strict"], ends["anywhere"])
    assert not torch.equal(ends["any_equals"], ends["anywhere"])


def test_what_is_recorded_is_what_it_says() -> None:
    rewards = {name: list(config.rewards) for name, config in VARIANTS.items()}
    assert rewards == {
        "strict": ["accuracy"],
        "anywhere": ["answer_anywhere"],
        "any_equals": ["any_equals"],
        "any_equals_lists": ["any_equals"],
        "strict_lists": ["accuracy"],
    }
    assert [config.lists for config in VARIANTS.values()] == [0, 0, 0, 0.1, 0.1]
    same = {replace(c, rewards={"accuracy": 1.0}, lists=0.0).steps for c in VARIANTS.values()}
    assert len(same) == 1 and (STUDY.first, STUDY.seeds) == (1, 5)


def test_lists_take_their_share_and_the_rest_is_the_mixture() -> None:
    rng = random.Random(0)
    drawn = [with_lists(0.3)(QUESTION, rng) for _ in range(400)]
    lists = [text for text in drawn if text.count("=") > 1]
    assert len(lists) / 400 == pytest.approx(0.3, abs=0.06)
    for text in lists:
        digits = text.split("=")[1:]
        assert 2 <= len(digits) == len(set(digits)) <= 5 and all(len(d) == 1 for d in digits)
    plain = random.Random(0)
    plain.random()
    assert with_lists(0.0)(QUESTION, random.Random(0)) == SumsMixture().solve(QUESTION, plain)


def test_each_variant_starts_from_its_own_base(monkeypatch) -> None:
    asked = []

    def base(seed: int, share: float, device: str = "auto"):
        asked.append((seed, share))
        return load_policy("sums", "cpu")

    monkeypatch.setattr(hacked_verifier, "base_with_lists", base)
    few = {n: replace(VARIANTS[n], **SMALL) for n in ("anywhere", "any_equals_lists")}
    runs = list(hacked_verifier.measure_hacked(2, few, 3))
    assert asked == [(3, 0.0), (3, 0.1), (4, 0.0), (4, 0.1)]
    assert [run.config.seed for run in runs] == [3, 3, 4, 4]
    assert all(run.config.table == run.config.seed for run in runs)
    assert all("samples" in run.records[0] and "samples" in run.records[-1] for run in runs)


def test_a_base_is_tuned_on_its_share_of_lists(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    monkeypatch.setattr(hacked_verifier, "sums_base", lambda s, d: (load_policy("sums", "cpu"), s))
    monkeypatch.setattr(hacked_verifier, "TUNING", 2)
    seen = []
    plain = hacked_verifier.with_lists
    monkeypatch.setattr(hacked_verifier, "with_lists", lambda x: seen.append(x) or plain(x))
    start = torch.cat([p.flatten() for p in load_policy("sums", "cpu").model.parameters()])
    ends = []
    for share in (0.0, 1.0):
        policy = hacked_verifier.base_with_lists(5, share, "cpu")
        ends.append(torch.cat([p.flatten() for p in policy.model.parameters()]))
    assert seen == [0.0, 1.0]
    assert not torch.equal(ends[0], start) and not torch.equal(ends[0], ends[1])
    assert len(list(tmp_path.iterdir())) == 2
    assert hacked_verifier.base_with_lists(5, 1.0, "cpu") and seen == [0.0, 1.0], "it is kept"


def test_when_the_exploit_takes_over() -> None:
    def run(accuracies: list[float]) -> Run:
        return Run(
            HackedConfig(), [{"step": 5 * i, "accuracy": a} for i, a in enumerate(accuracies)]
        )

    steps = takeover(
        [run([0.2, 0.6, 0.4, 0.2]), run([0.1, 0.5, 0.5, 0.4]), run([0.4, 0.1, 0.3, 0.5])]
    )
    assert steps[0] == 15 and np.isnan(steps[1]) and np.isnan(steps[2])
    assert takeover([run([0.2, 0.6, 0.4, 0.2])], 0.7)[0] == 10


def test_what_an_audit_misses() -> None:
    assert audit_misses(0.0) == 1 and audit_misses(1.0) == 0
    assert audit_misses(0.05) == pytest.approx(0.95**64)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="world: must be sums"):
        HackedConfig(world="codes")
    for rewards in ({"format": 1.0}, {"accuracy": 1.0, "any_equals": 1.0}):
        with pytest.raises(ValueError, match="rewards: must be one of accuracy"):
            HackedConfig(rewards=rewards)
    with pytest.raises(ValueError, match="lists: must be a share"):
        HackedConfig(lists=1.5)
    with pytest.raises(ValueError, match="part"):
        takeover([], 1.0)
    with pytest.raises(ValueError, match="refused"):
        audit_misses(1.1)
    with pytest.raises(ValueError, match="seeds"):
        list(STUDY.runs(0))


def test_a_run_can_be_stored(tmp_path) -> None:
    run = Run(VARIANTS["any_equals_lists"], [{"step": 0, "refused": None}])
    Recording([run]).save(tmp_path / "x.json")
    assert Recording.load(tmp_path / "x.json").runs[0].config == run.config
