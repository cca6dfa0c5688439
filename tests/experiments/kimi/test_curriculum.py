"""The curriculum: who is asked, what is paid, when it is tested, where it ends, and what is compared."""

import random
from collections import Counter
from dataclasses import asdict, replace
from zlib import crc32

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.kimi import curriculum, long_bases
from rlvr_lab.experiments.kimi.curriculum import (
    EVEN,
    LEVELS,
    STRATEGIES,
    STUDY,
    TERMS,
    VARIANTS,
    Asked,
    CurriculumConfig,
    Test,
    measure_curriculum,
    pool_of,
    sound,
    until_spent,
)
from rlvr_lab.experiments.pretraining import PretrainingFailed
from rlvr_lab.experiments.r1.costs import at_cost
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.records.checkpoint import load_checkpoint, save_checkpoint
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.long_sums import LongSums, LongSumsMixture
from rlvr_lab.tasks.task import Verdict
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS

SMALL = {"prompts_per_step": 4, "group_size": 4, "max_new_tokens": 10, "device": "cpu", "steps": 2}
SMALL |= {"test_problems": 2, "test_samples": 2, "every": 10**6, "budget": 10**6}
POOL = pool_of(0.85)


def base(*_: object) -> Policy:
    return load_policy("sums", "cpu")


def flat(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


@pytest.fixture
def luck(monkeypatch) -> None:
    """A verdict of chance: one text in five is correct."""

    def verify(self, problem, text: str, truncated: bool) -> Verdict:
        lucky = crc32(f"{problem.prompt}{text}".encode()) % 5 == 0
        return Verdict("right" if lucky else "wrong")

    monkeypatch.setattr(LongSums, "verify", verify)


def test_the_pools() -> None:
    assert POOL.shape == (len(TERMS),) == (11,) and POOL.sum() == pytest.approx(1)
    assert POOL[7:].sum() == pytest.approx(0.85) and np.ptp(POOL[7:]) == np.ptp(POOL[:7]) == 0
    np.testing.assert_allclose(pool_of(EVEN), np.full(11, 1 / 11))
    p = np.arange(11) / 55
    drawn = Asked(probabilities=tuple(p)).problems(11_000, random.Random(0))
    terms = Counter(problem.difficulty + 1 for problem in drawn)
    np.testing.assert_allclose([terms[n] / 11_000 for n in TERMS], p, atol=0.015)
    assert all(LongSums().verify(q, f"={q.answer:02d}", False).correct for q in drawn[:50])


def test_the_test_has_equally_many_problems_of_each_level_in_order() -> None:
    assert LEVELS == {"easy": (2, 5), "middle": (6, 8), "hard": (9, 12)}
    terms = [p.difficulty + 1 for p in Test().problems(40, random.Random(0))]
    assert len(terms) == 120
    for i, (low, high) in enumerate(LEVELS.values()):
        assert set(terms[40 * i : 40 * i + 40]) == set(range(low, high + 1))


def by_hand(name: str, u: float, rates: np.ndarray, pool: np.ndarray) -> np.ndarray:
    terms, easier = np.array(TERMS), np.array([1.0] * 7 + [0.0] * 4)

    def ordered(u: float) -> np.ndarray:
        p = pool * (terms <= 4 + int(8 * min(u, 0.5) / 0.5 + 1e-9))
        return p / p.sum()

    if name == "easy_to_hard":
        return ordered(u)
    if name == "hard_to_easy":
        return ordered(1 - u)
    if name == "no_order":
        return np.mean([ordered((i + 0.5) / 200) for i in range(200)], axis=0)
    if name == "warm_up":
        return pool if u < 24 / 42 else pool * (1 - easier) / (pool * (1 - easier)).sum()
    weights = {
        "one_minus_s": 1 - rates,
        "variance": rates * (1 - rates),
        "band": (rates >= 0.2) * (rates <= 0.8),
    }.get(name, np.ones(11))
    p = pool * weights / (pool * weights).sum()
    return 0.9 * p + 0.1 * pool if name in ("variance", "band") else p


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_step_asks_by_the_tokens_spent_and_the_running_rates(name: str) -> None:
    config = CurriculumConfig(**{**SMALL, "budget": 1000}, strategy=name, hard_share=0.7)
    state = config.begin(base())
    assert {state.numbers[f"rate_{n}"] for n in TERMS} == {0.5}
    rates = np.linspace(0.95, 0.05, 11)
    state.numbers |= {f"rate_{n}": rate for n, rate in zip(TERMS, rates, strict=True)}
    for tokens in (0, 130, 480, 571, 572, 1000, 1200):  # 24 of 42 are .5714
        state.numbers["sampled_tokens"] = tokens
        expected = by_hand(name, min(1.0, tokens / 1000), rates, pool_of(0.7))
        np.testing.assert_allclose(config.probabilities(state), expected, atol=1e-9)


def test_a_step_is_grpo_on_these_problems_and_everything_is_counted(luck) -> None:
    config = CurriculumConfig(**SMALL, seed=5, memory=0.6, strategy="one_minus_s")
    plain = replace(PRESETS["grpo"], world="long_sums", steps=2, seed=5, max_new_tokens=10)
    plain = replace(plain, prompts_per_step=4, group_size=4, device="cpu")
    state, other = config.begin(base()), plain.begin(base())
    assert flat(state.policy).equal(flat(other.policy))
    numbers, rates = Counter(), dict.fromkeys(TERMS, 0.5)
    for _ in range(2):
        s = np.array(list(rates.values()))
        other.task = Asked(probabilities=tuple(POOL * (1 - s) / (POOL * (1 - s)).sum()))
        experience = plain.collect(other)
        plain.update(other, experience)
        other.step += 1
        verdicts, problems = experience.answers.verdicts, experience.answers.problems
        numbers["sampled_tokens"] += int(experience.batch.attention_mask.sum())
        numbers["updates"] += 1
        for i, problem in enumerate(problems):
            right = sum(verdict.correct for verdict in verdicts[4 * i : 4 * i + 4])
            numbers["groups"] += 1
            numbers["kept"] += 1
            numbers["none"] += right == 0
            numbers["all"] += right == 4
            terms = problem.difficulty + 1
            numbers["asked_" + ("easy" if terms < 6 else "middle" if terms < 9 else "hard")] += 1
            rates[terms] = 0.6 * rates[terms] + 0.4 * right / 4
    list(train(config, state=state))
    found = {k: v for k, v in state.numbers.items() if not k.startswith(("rate", "tested"))}
    assert found == {**dict.fromkeys(found, 0), **numbers}
    assert 0 < numbers["none"] < 8 and numbers["sampled_tokens"] > 50
    assert [state.numbers[f"rate_{n}"] for n in TERMS] == pytest.approx(list(rates.values()))
    assert len(set(rates.values())) > 2
    assert torch.equal(flat(state.policy), flat(other.policy))
    assert not torch.equal(flat(state.policy), flat(base()))


def test_the_filter_samples_again_pays_for_all_and_trains_on_what_it_kept(luck) -> None:
    config = CurriculumConfig(**SMALL, seed=5, strategy="filter", rounds=3)
    plain = replace(PRESETS["grpo"], world="long_sums", steps=1, seed=5, max_new_tokens=10)
    plain = replace(plain, prompts_per_step=4, group_size=4, device="cpu")
    state, other = config.begin(base()), plain.begin(base())
    other.task = Asked(probabilities=tuple(POOL))
    kept, tokens, groups = [], 0, 0
    for turn in range(3):
        other.step = turn * curriculum.ROUND
        experience = plain.collect(other)
        tokens, groups = tokens + int(experience.batch.lengths.sum()), groups + 4
        for i, problem in enumerate(experience.answers.problems):
            rows = slice(4 * i, 4 * i + 4)
            right = sum(verdict.correct for verdict in experience.answers.verdicts[rows])
            if right in (1, 2, 3) and len(kept) < 4:
                kept.append((problem, experience.batch.texts[rows], experience.rewards[rows]))
        if len(kept) == 4:
            break
    found = config.collect(state)
    assert groups / 4 > 1 and 0 < len(kept) < groups
    assert found.answers.problems == [problem for problem, *_ in kept]
    assert found.batch.texts == [text for _, texts, _ in kept for text in texts]
    assert found.rewards.tolist() == [float(x) for *_, rewards in kept for x in rewards]
    assert state.numbers["sampled_tokens"] == tokens and state.numbers["groups"] == groups
    assert state.numbers["kept"] == len(kept)
    before = flat(state.policy)
    config.update(state, found)
    assert state.numbers["updates"] == 1 and not torch.equal(before, flat(state.policy))


def test_the_filter_gives_up_after_its_rounds_or_when_the_budget_is_spent(monkeypatch) -> None:
    monkeypatch.setattr(LongSums, "verify", lambda *_: Verdict("wrong"))
    config = CurriculumConfig(**SMALL, strategy="filter", rounds=3)
    state = config.begin(base())
    assert config.collect(state) is None
    assert state.numbers["groups"] == state.numbers["none"] == 12 and state.numbers["kept"] == 0
    before = flat(state.policy)
    config.update(state, None)
    assert state.numbers["updates"] == 0 and torch.equal(before, flat(state.policy))
    small = replace(config, budget=10)
    state = small.begin(base())
    small.collect(state)
    assert state.numbers["groups"] == 4


def test_it_is_tested_by_tokens_and_ends_when_the_budget_is_spent(monkeypatch) -> None:
    config = CurriculumConfig(**{**SMALL, "every": 150, "budget": 600, "steps": 50})
    state = config.begin(base())
    records = list(until_spent(config, state))
    tokens = [record["sampled_tokens"] for record in records]
    assert tokens[0] == 0 and tokens[-2] < 600 <= tokens[-1] < 600 + 160
    passed = [n // 150 for n in tokens]
    assert len(set(passed[:-1])) == len(passed) - 1 and passed == sorted(passed)
    # Between two tests the tokens did not pass another multiple: every one that was passed has its test.
    steps = [record["step"] for record in records]
    state, counted = config.begin(base()), []
    for _ in range(steps[-1]):
        config.update(state, config.collect(state))
        state.step += 1
        counted.append(state.numbers["sampled_tokens"])
    due = [
        step
        for step, (a, b) in enumerate(zip([0, *counted], counted, strict=False), 1)
        if a // 150 < b // 150 or b >= 600
    ]
    assert steps == [0, *due]
    assert {"updates", "groups", "none", "all", "kept", "rates", "entropy"} <= set(records[1])
    assert "tested" not in records[1] and len(records[1]["rates"]) == 11
    assert {f"asked_{level}" for level in LEVELS} | set(LEVELS) <= set(records[1])


def test_the_end_of_the_budget_is_tested_also_between_two_multiples() -> None:
    config = CurriculumConfig(**{**SMALL, "budget": 200, "steps": 30})
    records = list(until_spent(config, config.begin(base())))
    assert [record["sampled_tokens"] >= 200 for record in records] == [False, True]


def test_what_is_read_from_the_test(monkeypatch) -> None:
    config = CurriculumConfig(**SMALL)
    state = config.begin(base())
    right = {"easy": 1, "middle": 2, "hard": 3}
    whole = {"easy": (1,), "middle": (0, 1, 2, 3), "hard": (0, 2, 3)}  # rows with a flawless chain

    def texts(problems):
        for level, (low, high) in LEVELS.items():
            asked = [p for p in problems if low <= p.difficulty + 1 <= high]
            for i, problem in enumerate(p for p in asked for _ in range(2)):
                chain = "".join(
                    map(str, curriculum.running_sums(curriculum.digits_of(problem.prompt)))
                )
                answer = problem.answer if i < right[level] else (problem.answer + 1) % 100
                chain = chain if i in whole[level] else "7" + chain
                yield f"<think>{chain}</think>={answer:02d}"

    answers = config.test_answers(replace(state, task=Test()))
    problems = answers.problems
    assert len(problems) == 6
    batch = replace(answers.batch, texts=list(texts(problems)))
    verdicts = [Test().verify(problems[i // 2], text, False) for i, text in enumerate(batch.texts)]
    found = config.describe(problems, batch, verdicts)
    assert [found[level] for level in LEVELS] == [0.25, 0.5, 0.75]
    assert found["accuracy"] == pytest.approx(6 / 12)
    assert found["sound_hard"] == 0.5  # rows 0 and 2 of four: correct, with the flawless chain
    problem = LongSums().problem([7, 5, 8])
    assert sound(problem, "<think>720</think>=11") and not sound(problem, "<think>721</think>=20")
    assert not sound(problem, "720=20") and not sound(problem, "=20")


def test_the_running_rates_survive_a_checkpoint(luck, tmp_path) -> None:
    config = CurriculumConfig(**SMALL, strategy="variance", seed=2)
    whole = config.begin(base())
    list(train(config, state=whole))
    half = config.begin(base())
    list(train(replace(config, steps=1), state=half))
    path = save_checkpoint(config, half, tmp_path / "half")
    again = load_checkpoint(path, config.begin(base()))
    list(train(again.config, state=again.state))
    assert again.state.numbers == whole.numbers
    assert torch.equal(flat(again.state.policy), flat(whole.policy))


def test_the_base_is_that_of_the_world_and_the_replicate(monkeypatch) -> None:
    asked = []

    def given(world: str, seed: int, device: str):
        asked.append((world, seed, device))
        return base(), seed + 1000

    monkeypatch.setattr(curriculum, "long_base", given)
    config = CurriculumConfig(**{**SMALL, "budget": 1})
    replace(config, slips="B", table=4, seed=9).begin()
    runs = list(measure_curriculum(2, {"a": config, "b": replace(config, slips="B")}, 3))
    assert asked == [(w, s, "cpu") for w, s in (("B", 4), ("A", 3), ("B", 3), ("A", 4), ("B", 4))]
    assert [(run.config.seed, run.config.table) for run in runs] == [(3, 3)] * 2 + [(4, 4)] * 2
    assert [run.config.slips for run in runs] == ["A", "B"] * 2
    assert [run.records[0]["base_seed"] for run in runs] == [1003, 1003, 1004, 1004]
    assert all(run.records[-1]["sampled_tokens"] >= 1 for run in runs)
    with pytest.raises(ValueError, match="seeds"):
        next(measure_curriculum(0, VARIANTS, 1))


def test_the_variants_are_what_the_page_says() -> None:
    plain, forms = CurriculumConfig(), {}
    for name, config in VARIANTS.items():
        world, form = name.split("-")
        assert config.slips == world and world in long_bases.SLIPS
        forms.setdefault(world, {})[form] = {
            key: value
            for key, value in asdict(replace(config, slips="A")).items()
            if value != asdict(plain)[key]
        }
    assert forms["B"] == {
        "uniform": {},
        **{
            name: {"strategy": name}
            for name in ("easy_to_hard", "hard_to_easy", "no_order", "one_minus_s", "variance")
        },
        "band": {"strategy": "band"},
        "filter": {"strategy": "filter"},
        "more_updates": {"prompts_per_step": 8},
        "even": {"hard_share": EVEN},
        "warm_up": {"hard_share": EVEN, "strategy": "warm_up"},
    }
    only_b = {"hard_to_easy", "no_order", "variance", "band"}
    assert forms["A"] == {name: one for name, one in forms["B"].items() if name not in only_b}
    grpo = asdict(PRESETS["grpo"])
    others = {"world", "max_new_tokens", "steps", "seed"}
    assert all(asdict(plain)[key] == grpo[key] for key in grpo if key not in others)
    assert (plain.prompts_per_step, plain.group_size, plain.budget) == (16, 16, 72_000)
    assert (plain.every, plain.test_problems, plain.test_samples) == (12_000, 64, 4)
    assert (plain.hard_share, plain.rounds, plain.memory) == (0.85, 8, 0.8)
    assert STUDIES["kimi/curriculum"] is STUDY and STUDY.variants is VARIANTS
    assert (STUDY.seeds, STUDY.first, STUDY.file) == (5, 1, "kimi/curriculum")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("world", "sums"),
        ("world_options", {"min_terms": 3}),
        ("strategy", "hardest"),
        ("slips", "C"),
        ("hard_share", 1.1),
        ("memory", 1.0),
        ("budget", 0),
        ("rounds", 0),
    ],
)
def test_what_makes_no_sense_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}:"):
        CurriculumConfig(**{field: value})


def test_runs_can_be_compared_at_equal_tokens_and_at_equal_updates() -> None:
    records = [
        {"step": 0, "hard": 0.0, "sampled_tokens": 0, "updates": 0},
        {"step": 2, "hard": 0.4, "sampled_tokens": 100, "updates": 2},
        {"step": 3, "hard": 0.8, "sampled_tokens": 300, "updates": 3},
    ]
    run = Run(CurriculumConfig(), records)
    assert at_cost([run], "hard", [50, 200], "sampled_tokens").round(9).tolist() == [[0.2, 0.6]]
    assert at_cost([run], "hard", [1, 2.5], "updates").round(9).tolist() == [[0.2, 0.6]]


# ------------------------------------------------------------------------------------ the bases


def test_both_bases_come_from_one_first_stage_and_have_their_slips(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    learned, fitted = [], []

    def chains(policy, task, solve, optimizer, rng, seed, log) -> int:
        learned.append((task, solve.__self__, seed))
        with torch.no_grad():
            next(policy.model.parameters()).add_(1.0)
        return 50

    def fit(policy, task, solve, steps, peak, optimizer, rng) -> float:
        fitted.append((flat(policy), task, solve.__self__, steps, peak))
        return 0.0

    monkeypatch.setattr(long_bases, "learn_chains", chains)
    monkeypatch.setattr(long_bases, "fit", fit)
    monkeypatch.setattr(long_bases, "evaluate", lambda *given, **named: {"pass@1": 0.05})
    for world in "ABA":
        assert long_bases.long_base(world, 3, "cpu")[1] == 3
    assert learned == [(LongSums(), LongSumsMixture.clean(), 3)]  # once
    assert [row[1:] for row in fitted] == [
        (LongSums(), LongSumsMixture(0.25, 0.20, slip), 150, 1.5e-3) for slip in (0.25, 0.45)
    ]
    assert torch.equal(fitted[0][0], fitted[1][0])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("long_sums_A_3", "long_sums_B_3", "long_sums_chains_3")
    ]


def test_a_base_that_misses_its_gate_is_replaced(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    monkeypatch.setattr(long_bases, "learn_chains", lambda *_, **__: 50)
    monkeypatch.setattr(long_bases, "fit", lambda *_, **__: 0.0)
    rates, asked = [], []

    def evaluate(policy, task, problems, samples, max_new_tokens):
        asked.append((task, problems, samples, max_new_tokens))
        return {"pass@1": rates.pop(0)}

    monkeypatch.setattr(long_bases, "evaluate", evaluate)
    for world, (low, high) in long_bases.GATES.items():
        rates[:] = [low - 1e-3, high + 1e-3, high]
        assert long_bases.long_base(world, 1, "cpu")[1] == 2001
        rates[:] = [0.9, 0.9, 0.9]
        with pytest.raises(PretrainingFailed, match="seed 50: 3 bases"):
            long_bases.long_base(world, 50, "cpu")
    assert set(asked) == {(LongSums(9, 12), 256, 16, 24)}
