"""Spending tokens: which answers are asked for, how chains are cut and made longer, and what is counted."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.qwen3 import spending
from rlvr_lab.experiments.qwen3.spending import (
    NS,
    STUDY,
    VARIANTS,
    Desk,
    Drawn,
    SpendingConfig,
    at_tokens,
    cut_chain,
    go_on,
    measure,
    of_variant,
    wait_for,
)
from rlvr_lab.experiments.qwen3.votes import ballots, vote_curve
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.codes import Codes
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS

SMALL = {"problems": 3, "samples": 8, "orders": 5, "rl_steps": 1, "seed": 2}


@pytest.fixture
def desk(monkeypatch) -> Desk:
    monkeypatch.setattr(
        spending, "sums_base", lambda seed, device: (load_policy("sums", device), seed)
    )
    monkeypatch.setattr(spending, "codes_base", lambda table, device: load_policy("codes", device))
    return Desk(2)


def test_a_chain_is_cut_or_made_to_wait() -> None:
    assert cut_chain("<think>72wait03</think>=3", 3) == "<think>72wait</think>"
    assert cut_chain("<think>7203=3", 3) == "<think>720</think>"
    assert cut_chain("<think>7203</think>=3", 4) is None
    assert cut_chain("=3", 1) is None and cut_chain("<think></think>=3", 1) is None
    assert wait_for("<think>72</think>=2") == "<think>72wait"
    assert wait_for("=3") is None and wait_for("=3</think>") is None


def test_only_what_has_a_beginning_goes_on_from_it_in_its_own_prompt(monkeypatch) -> None:
    seen: list = []

    def sampled(policy, prompts, size, limit, generator):
        seen.append((prompts, size, limit))

        class Rest:
            texts = [f"[{p[0]}]" for p in prompts]
            truncated = torch.tensor([True] * len(prompts))

        return Rest()

    monkeypatch.setattr(spending, "sample", sampled)
    problems = [Problem("A", 1), Problem("B", 2)]
    drawn = Drawn(["x", "-", "y", "z"], [True, False, False, False])
    start = {"x": "x1", "y": "y1", "z": "z1", "-": None}.get
    found = go_on(load_policy("sums", "cpu"), problems, drawn, start, 9, torch.Generator(), chunk=2)
    assert found == Drawn(["x1[A]", "-", "y1[B]", "z1[B]"], [True, False, True, True])
    assert seen == [(["Ax1", "By1"], 1, 9), (["Bz1"], 1, 9)]


@pytest.mark.parametrize("way", ["chain", "direct"])
@pytest.mark.parametrize("world", ["sums", "codes"])
def test_the_record_is_made_of_the_named_answers(desk: Desk, way: str, world: str) -> None:
    config = SpendingConfig(world, way, **SMALL)
    run = desk.run(config)
    task, limit = (Sums(), 40) if world == "sums" else (Codes(), 24)
    problems = task.problems(3, random.Random(f"test time {world} 2"))
    policy, first = load_policy(world, "cpu"), "<think>" if way == "chain" else "="
    batch = sample(
        policy,
        [p.prompt for p in problems],
        8,
        limit,
        torch.Generator().manual_seed(2),
        forced_words=[first] * 24,
    )
    assert all(text.startswith(first) for text in batch.texts)
    verdicts = [
        task.verify(problems[i // 8], text, cut)
        for i, (text, cut) in enumerate(zip(batch.texts, batch.truncated.tolist(), strict=True))
    ]
    correct = [sum(v.correct for v in verdicts[i : i + 8]) for i in (0, 8, 16)]
    votes = []
    for i, problem in enumerate(problems):
        right = f"{problem.answer}" if world == "sums" else f"{problem.answer:03d}"
        mine = verdicts[8 * i : 8 * i + 8]
        given = [v.answer if v.reason in ("right", "wrong") else None for v in mine]
        votes.append(ballots(given, right))
        assert int((votes[-1] == 0).sum()) == correct[i]
    record, ns = run.records[0], [1, 2, 4, 8]
    assert record["correct"] == correct and [r["step"] for r in run.records] == ns
    assert record["valid"] == [int((v >= 0).sum()) for v in votes]
    wrong = [[int((v == k).sum()) for k in range(1, 9)] for v in votes]
    assert record["rival"] == [max(one) for one in wrong]
    for r, vote in zip(run.records, vote_curve(np.stack(votes), ns, 5, 2), strict=True):
        assert r["vote"] == pytest.approx(vote, rel=1e-4)
        best = np.mean([pass_at_k(8, c, r["step"]) for c in correct])
        assert r["best_of"] == pytest.approx(best, rel=1e-4)
        assert r["tokens"] == pytest.approx(
            r["step"] * float(batch.lengths.float().mean()), rel=1e-4
        )
    assert run.config == config and record["samples"] == [problems[0].prompt, *batch.texts[:6]]
    assert record["lost"] == record["won"] == 0


def test_budget_and_waits_start_from_the_same_answers(desk: Desk) -> None:
    plain = SpendingConfig(**SMALL)
    policy, problems = load_policy("sums", "cpu"), desk.problems(plain)
    drawn = desk.answers(plain)
    mine = go_on(policy, problems, drawn, lambda text: cut_chain(text, 2), 40,
                 torch.Generator().manual_seed(1002))  # fmt: skip
    assert desk.answers(replace(plain, budget=2)) == mine
    changed = [a != b for a, b in zip(mine.texts, drawn.texts, strict=True)]
    assert any(changed)
    assert all(one.startswith(cut_chain(text, 2)) for one, text, new in
               zip(mine.texts, drawn.texts, changed, strict=True) if new)  # fmt: skip
    generator = torch.Generator().manual_seed(1002)
    once = go_on(policy, problems, drawn, wait_for, 40, generator)
    twice = go_on(policy, problems, once, wait_for, 40, generator)
    assert desk.answers(replace(plain, waits=1)) == once
    assert desk.answers(replace(plain, waits=2)) == twice != once
    assert sum("wait" in text for text in once.texts) > 12
    right = [
        [Sums().verify(problems[i // 8], text, cut).correct
         for i, (text, cut) in enumerate(zip(*one, strict=True))]
        for one in (drawn, once)
    ]  # fmt: skip
    record = desk.run(replace(plain, waits=1)).records[0]
    pairs = list(zip(*right, strict=True))
    assert record["lost"] == pytest.approx(pairs.count((True, False)) / 24, rel=1e-4)
    assert record["won"] == pytest.approx(pairs.count((False, True)) / 24, rel=1e-4)
    assert record["lost"] > 0 and sum(record["correct"]) == sum(right[1])


def test_with_a_wait_the_votes_are_those_of_the_longer_answers(desk: Desk) -> None:
    config = SpendingConfig(**SMALL, waits=1)
    drawn, problems = desk.answers(config), desk.problems(config)
    record = desk.run(config).records[0]
    verdicts = [
        Sums().verify(problems[i // 8], text, cut)
        for i, (text, cut) in enumerate(zip(*drawn, strict=True))
    ]
    given = [v.answer if v.reason in ("right", "wrong") else None for v in verdicts]
    votes = [ballots(given[8 * i : 8 * i + 8], f"{p.answer}") for i, p in enumerate(problems)]
    assert record["valid"] == [int((one >= 0).sum()) for one in votes]
    assert record["rival"] == [max(int((one == k).sum()) for k in range(1, 9)) for one in votes]
    before = desk.run(replace(config, waits=0)).records[0]
    assert (before["valid"], before["rival"]) != (record["valid"], record["rival"])


def test_a_record_by_hand(desk: Desk) -> None:
    """Zeros in front belong to the answer; what is malformed or cut off has no vote, and no end token if cut off."""
    texts = [*["=083"] * 3, *["=913"] * 2, "=913=913", "=08", "=913"]
    desk.problems = lambda config: [Problem("7+5+8,3+4+1,9+2+2?", 83)]
    desk.drawn = lambda config: Drawn(texts, [False] * 7 + [True])
    run = desk.run(SpendingConfig("codes", problems=1, samples=8, seed=2))
    first, last = run.records[0], run.records[-1]
    assert (first["correct"], first["valid"], first["rival"]) == ([3], [5], [2])
    assert (first["best_of"], first["vote"], last["best_of"], last["vote"]) == (3 / 8, 3 / 8, 1, 1)
    assert first["tokens"] == (5 * 5 + 9 + 4 + 4) / 8 and last["tokens"] == 42


def test_a_seed_has_its_own_bases_and_a_world_its_own_problems(monkeypatch) -> None:
    asked: list = []

    def sums(seed: int, device: str):
        asked.append(("sums", seed))
        return load_policy("sums", device), seed

    def codes(table: int, device: str):
        asked.append(("codes", table))
        return load_policy("codes", device)

    monkeypatch.setattr(spending, "sums_base", sums)
    monkeypatch.setattr(spending, "codes_base", codes)
    config = SpendingConfig(problems=2, samples=2, orders=2, seed=9)
    runs = list(measure(2, {"sums": config}, 3))
    assert [run.config for run in runs] == [replace(config, seed=seed) for seed in (3, 4)]
    assert [run.records for run in runs] == [Desk(seed).run(config).records for seed in (3, 4)]
    assert runs[0].records[0]["samples"][0] != runs[1].records[0]["samples"][0]
    desk = Desk(6)
    desk.policy("codes", 1)
    assert asked == [("sums", 3), ("sums", 4), ("sums", 3), ("sums", 4), ("codes", 6)]
    codes_of = [desk.problems(SpendingConfig(name)) for name in ("codes", "codes_rl")]
    assert codes_of[0] == codes_of[1] != Desk(7).problems(SpendingConfig("codes"))


def test_the_policy_after_rl_is_grpo_on_the_codes(desk: Desk) -> None:
    config = replace(
        PRESETS["grpo"], world="codes", max_new_tokens=24, steps=1, seed=2, device="cpu"
    )
    mine = load_policy("codes", "cpu")
    list(train(config, state=config.begin(mine)))
    found = desk.policy("codes_rl", 1)
    for a, b in zip(found.model.parameters(), mine.model.parameters(), strict=True):
        assert torch.equal(a, b)
    start = load_policy("codes", "cpu").model.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(found.model.parameters(), start, strict=True))
    other = desk.policy("codes", 1)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            other.model.parameters(), load_policy("codes", "cpu").model.parameters(), strict=True
        )
    )
    assert desk.policy("codes_rl", 1) is found


def test_a_run_is_read_at_a_number_of_tokens() -> None:
    rows = [
        {"step": n, "vote": v, "tokens": t, "best_of": 1 - v}
        for n, v, t in ((1, 0.2, 10), (2, 0.4, 20), (4, 0.8, 40))
    ]
    run = Run(SpendingConfig(), rows)
    found = at_tokens([run, run], "vote", 10 * 2**0.5)
    assert found.tolist() == pytest.approx([0.3, 0.3])
    assert at_tokens([run], "vote", 40).tolist() == pytest.approx([0.8])
    assert at_tokens([run], "best_of", 20).tolist() == pytest.approx([0.6])
    with pytest.raises(ValueError, match=r"tokens: from 10.0 to 40, not 9"):
        at_tokens([run], "vote", 9)
    with pytest.raises(ValueError, match=r"tokens: from 10.0 to 40, not 41"):
        at_tokens([run], "vote", 41)


def test_the_runs_of_a_variant_are_found_and_sorted() -> None:
    runs = [Run(replace(VARIANTS[n], seed=s), []) for s in (2, 1) for n in ("sums", "codes")]
    assert of_variant(runs, VARIANTS["codes"]) == [runs[3], runs[1]]
    with pytest.raises(ValueError, match="runs: none has the settings"):
        of_variant(runs, VARIANTS["sums, direct"])


def test_what_makes_no_sense_is_refused() -> None:
    for change, message in (
        ({"policy": "codes", "budget": 2}, "policy: must be sums with chains"),
        ({"way": "direct", "waits": 1}, "policy: must be sums with chains"),
        ({"budget": 0}, "budget: must be at least 1 or None"),
        ({"budget": 2, "waits": 1}, "waits: must be 0 with a budget"),
        ({"waits": -1}, "waits: must be not negative"),
        ({"samples": 0}, "samples: must be at least 1"),
        ({"policy": "lab"}, "policy: must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            SpendingConfig(**change)
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure(0, VARIANTS, 1))


def test_what_is_recorded_is_what_it_says() -> None:
    assert spending.LIMITS == {"sums": 40, "codes": 24}
    assert STUDIES["qwen3/test_time"] is STUDY
    assert (STUDY.seeds, STUDY.first, STUDY.file) == (5, 1, "qwen3/test_time")
    assert NS == (1, 2, 4, 8, 16, 32, 64)
    for name, config in VARIANTS.items():
        assert (config.problems, config.samples, config.rl_steps) == (96, 64, 40)
        assert config.orders == 64
        policy = "codes_rl" if "GRPO" in name else name.split(",")[0]
        assert config.policy == policy
        assert config.way == ("direct" if "direct" in name else "chain")
        assert config.budget == (int(name[-1]) if "budget" in name else None)
        assert config.waits == (int(name[-1]) if "wait" in name else 0)
