"""RL on a mixed pool: what a batch holds, what earns a reward, what a record counts, what each variant is."""

import random
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.kimi import curation
from rlvr_lab.experiments.kimi.curation import (
    SINGLE,
    STUDY,
    VARIANTS,
    CurationConfig,
    filters_of,
    honest,
    measure_curation,
    pool_for,
    reliability,
    unbacked,
)
from rlvr_lab.experiments.kimi.pool_filters import Curated, FiltersConfig
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.mixed_pool import KINDS, MixedPool, answer_text, kind_of, worked_chain
from rlvr_lab.tasks.task import grade
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from tests.experiments.kimi.test_pool_filters import curated, made_up, tiny

SMALL = {"steps": 2, "every": 2, "test_problems": 2, "test_samples": 2}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "device": "cpu"}
ITEMS = [MixedPool({k: 1}).item(k, random.Random(f"{k} {i}")) for k in KINDS for i in range(4)]
POOL = curated(ITEMS, [i % 2 == 0 for i in range(24)], [i % 3 == 0 for i in range(24)])


def flat(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def kinds(items) -> set[str]:
    return {kind_of(item.prompt) for item in items}


def test_a_run_draws_from_what_its_fields_say() -> None:
    plain = pool_for(CurationConfig(), POOL)
    assert (plain.kept, plain.removed) == POOL.split("paper")
    assert (plain.removed_per_batch, plain.sums) == (0, None)
    assert pool_for(CurationConfig(reading="notes"), POOL).kept == POOL.split("notes")[0]
    for kind in SINGLE:
        pool = pool_for(CurationConfig(removed=5, removed_kind=kind), POOL)
        assert kinds(pool.removed) == {kind} and set(pool.removed) <= set(POOL.split("paper")[1])
        assert pool.removed_per_batch == 5 and pool.kept == plain.kept
    assert pool_for(CurationConfig(sums=0.9), POOL).sums == 0.9


def test_every_variant_is_what_its_sentence_says() -> None:
    assert STUDIES["kimi/curation"] is STUDY and (STUDY.first, STUDY.seeds) == (1, 5)
    changed = {
        name: {
            f.name: getattr(config, f.name)
            for f in fields(config)
            if getattr(config, f.name) != getattr(CurationConfig(), f.name)
        }
        for name, config in VARIANTS.items()
        if isinstance(config, CurationConfig)
    }
    assert changed == {
        "unfiltered": {"removed": 12},
        "filtered": {},
        "few": {"prompts_per_step": 4},
        "silent": {"removed": 12, "silent": True},
        **{f"with {kind}": {"removed": 12, "removed_kind": kind} for kind in SINGLE},
        **{
            f"only {kind}": {"removed": 16, "removed_kind": kind}
            for kind in ("true_false", "tricks")
        },
        "notes": {"reading": "notes"},
        "one_sided": {"sums": 0.9},
        "balanced": {"sums": 0.5},
        "able unfiltered": {"removed": 12, "skill": "able"},
        "able few": {"prompts_per_step": 4, "skill": "able"},
        "able only true_false": {"removed": 16, "removed_kind": "true_false", "skill": "able"},
        "able only tricks": {"removed": 16, "removed_kind": "tricks", "skill": "able"},
    }
    assert VARIANTS["filters"] == FiltersConfig(skill="weak", steps=1)
    assert VARIANTS["able filters"] == FiltersConfig(skill="able", steps=1)
    assert CurationConfig().skill == "weak"
    base = CurationConfig()
    assert (base.steps, base.prompts_per_step, base.group_size, base.every) == (24, 16, 16, 8)
    assert base.rewards == {"accuracy": 1.0, "format": 0.1} and base.temperature == 1
    assert (base.baseline, base.divide_by_std, base.average) == ("group", True, "sequence")
    assert set(SINGLE) == set(KINDS) - {"sums", "differences"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("removed", -1), ("removed", 17), ("sums", 1.5), ("silent", True), ("reading", "x")],
)
def test_a_configuration_refuses_what_makes_no_sense(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        CurationConfig(**{name: value})
    with pytest.raises(ValueError, match=r"^removed_kind"):
        CurationConfig(removed_kind="x")


def begin(config: CurationConfig):
    return config.begin(tiny(), task=pool_for(config, POOL))


def test_only_the_removed_items_are_silenced(monkeypatch) -> None:
    loud = CurationConfig(**SMALL, removed=3)
    silent = replace(loud, silent=True)
    ones = {"accuracy": lambda a: torch.ones(16), "format": lambda a: torch.ones(16)}
    found = {}
    for config in (loud, silent):
        state = config.begin(tiny(), task=pool_for(config, POOL), rewards=ones)
        experience = config.collect(state)
        found[config.silent] = experience
        kept, removed = POOL.split("paper")
        drawn = experience.answers.problems
        assert drawn[0] in kept and set(drawn[1:]) <= set(removed)
    assert found[True].answers.problems == found[False].answers.problems
    assert found[True].batch.texts == found[False].batch.texts
    assert found[False].rewards.tolist() == pytest.approx([1.1] * 16)
    assert found[True].rewards.tolist() == pytest.approx([1.1] * 4 + [0.0] * 12)


def test_a_silent_item_does_not_move_the_policy() -> None:
    """All of a batch silenced: nothing moves. Without silence it does."""
    coin = {"accuracy": lambda a: torch.arange(16.0) % 2, "format": lambda a: torch.zeros(16)}
    for silent in (True, False):
        config = CurationConfig(**SMALL, removed=4, silent=silent)
        state = config.begin(tiny(), task=pool_for(config, POOL), rewards=coin)
        before = flat(state.policy)
        config.update(state, config.collect(state))
        assert torch.equal(flat(state.policy), before) == silent


def test_the_step_is_that_of_grpo_on_the_same_items() -> None:
    config = CurationConfig(**SMALL, removed=2)
    usual = {f.name: getattr(config, f.name) for f in fields(PolicyGradientConfig)}
    plain = PolicyGradientConfig(**usual)
    ends = []
    for one in (config, plain):
        coin = {"accuracy": lambda a: torch.arange(16.0) % 2, "format": lambda a: torch.zeros(16)}
        state = one.begin(tiny(), task=pool_for(config, POOL), rewards=coin)
        one.update(state, one.collect(state))
        ends.append(flat(state.policy))
    assert torch.equal(*ends) and not torch.equal(ends[0], flat(tiny()))


def test_the_test_has_new_items_of_each_kind_in_order_and_belongs_to_the_table() -> None:
    config = CurationConfig(**SMALL)
    answers = config.test_answers(begin(config))
    assert [kind_of(p.prompt) for p in answers.problems] == [k for k in KINDS for _ in range(2)]
    assert len(answers.batch.texts) == 24
    again, elsewhere = replace(config, seed=9), replace(config, table=1)
    same, other = (one.test_answers(begin(one)) for one in (again, elsewhere))
    assert same.problems == answers.problems and same.batch.texts == answers.batch.texts
    assert not set(other.problems[:6]) & set(answers.problems[:6])
    state = begin(config)
    state.step = 1
    later = config.test_answers(state)
    assert later.problems == answers.problems and later.batch.texts != answers.batch.texts
    hot = begin(replace(config, temperature=3.0))
    assert replace(config, temperature=3.0).test_answers(hot).batch.texts != answers.batch.texts


def batch_of(texts: list[str], size: int, lengths: list[int]) -> RolloutBatch:
    batch = made_up(texts, size)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.long)
    numbers = {"completion_ids": ids, "old_logprobs": ids.double(), "entropy": ids.double()}
    return replace(batch, attention_mask=mask, completion_mask=mask, **numbers)


def test_a_record_counts_ways_and_lengths_of_each_kind() -> None:
    problems = [MixedPool({kind: 1}).problems(1, random.Random(1))[0] for kind in KINDS]
    texts, lengths = [], []
    for row, p in enumerate(problems):
        right, chain = answer_text(p), worked_chain(p.prompt)
        texts += [
            f"<think>{chain}</think>={right}",
            f"<think>{chain}1</think>={right}",
            f"={right}",
            f"={right}",
            f"<think>{chain}1</think>=999" if row else f"<think>{chain}1</think>=98",
            f"<think>{chain}={right}",
            "",
            "=no",
            f"<think>{chain}</think>=87",
            f"<think>{chain}</think>=87",
        ]
        lengths += [row + k + 1 for k in range(10)]
    config = CurationConfig(**SMALL)
    batch = batch_of(texts, 10, lengths)
    verdicts = grade(MixedPool(), problems, texts, [False] * 60)
    found = config.describe(problems, batch, verdicts)
    for row, (kind, p) in enumerate(zip(KINDS, problems, strict=True)):
        lucky = answer_text(p) == "no"
        assert found[f"checked_{kind}"] == found[f"false_{kind}"] == 1 / 10
        assert found[f"bare_{kind}"] == (2 + lucky) / 10
        assert found[f"accuracy_{kind}"] == (4 + lucky) / 10
        assert found[f"chains_{kind}"] == (5 if row == 0 else 4) / 10
        assert found[f"length_{kind}"] == row + 5.5
    own = texts[10 * KINDS.index("true_false") :][:10]
    said = [v.answer for v in verdicts[10 * KINDS.index("true_false") :][:10]]
    assert found["no"] == said.count("no") / 10 and len(own) == 10
    assert set(found) == {"no"} | {
        f"{name}_{kind}"
        for name in ("accuracy", "length", "chains", "checked", "false", "bare")
        for kind in KINDS
    }


def test_each_variant_starts_from_its_base_on_the_pool_of_its_seed(monkeypatch) -> None:
    bases, seen, pools = [], [], []

    def pool_base(seed, skill):
        bases.append((seed, skill))
        return replace(tiny(seed + 10 * (skill == "able")), name=f"{skill} {seed}"), seed + 1000

    monkeypatch.setattr(curation, "pool_base", pool_base)

    def found_by(policy) -> Curated:
        return replace(POOL, guesses=replace(POOL.guesses, texts=[[policy.name]]))

    def curate(policy, items, n, seed):
        seen.append((policy.name, items, n, seed))
        return found_by(policy)

    def filters(config, policy, used):
        seen.append((config, policy.name, used))
        return Run(config, [{"step": 0}]), found_by(policy)

    def pool_of(config, pool):
        pools.append((config.skill, config.seed, pool.guesses.texts[0][0]))
        return pool_for(config, pool)

    monkeypatch.setattr(curation, "curate", curate)
    monkeypatch.setattr(curation, "measure_filters", filters)
    monkeypatch.setattr(curation, "pool_for", pool_of)
    rl = {"a": CurationConfig(**SMALL), "b": CurationConfig(**SMALL, removed=2)}
    rl["able"] = CurationConfig(**SMALL, skill="able")
    few = FiltersConfig(items=9, attempts=3, steps=1)
    runs = list(measure_curation(2, {"filters": few, **rl}, 3))
    assert [type(run.config) for run in runs[:4]] == [FiltersConfig] + 3 * [CurationConfig]
    for k, seed in enumerate((3, 4)):
        one, a, b, able = runs[4 * k : 4 * k + 4]
        assert one.config == replace(few, seed=seed)
        for name, run in (("a", a), ("b", b), ("able", able)):
            assert run.config == replace(rl[name], seed=seed, table=seed)
            assert [record["step"] for record in run.records] == [0, 2]
            assert not any(key.startswith("seconds") for r in run.records for key in r)
        assert a.records[0] == b.records[0] != able.records[0]  # one test, two bases
        assert seen[2 * k] == (replace(few, seed=seed), f"weak {seed}", seed + 1000)
        # The filters of the able base were not asked for, but its pool is curated by it.
        assert seen[2 * k + 1] == (f"able {seed}", curation.pool_items(1000, seed), 8, seed)
    assert pools == [
        (skill, seed, f"{skill} {seed}") for seed in (3, 4) for skill in ("weak", "weak", "able")
    ]
    assert bases == [(s, skill) for s in (3, 4) for skill in ("weak", "weak", "weak", "able")]
    assert runs[1].records[0] != runs[5].records[0]
    with pytest.raises(ValueError, match=r"^seeds"):
        next(measure_curation(0, VARIANTS, 1))


def run_of(config, seed: int, **metrics: float) -> Run:
    return Run(
        replace(config, seed=seed),
        [{"step": 0, **dict.fromkeys(metrics, 0.25)}, {"step": 8, **metrics}],
    )


def test_filters_are_found_by_skill_in_the_order_of_their_seeds() -> None:
    weak, able = FiltersConfig(steps=1), FiltersConfig(skill="able", steps=1)
    runs = [run_of(c, seed) for seed in (2, 1) for c in (weak, CurationConfig(), able)]
    found = filters_of(runs, "able")
    assert [(r.config.skill, r.config.seed) for r in found] == [("able", 1), ("able", 2)]
    with pytest.raises(ValueError, match=r"^runs: .*able"):
        filters_of(runs[:2], "able")


def test_honest_items_are_sums_and_differences() -> None:
    names = {f"{key}_{kind}": 0.0 for key in ("accuracy", "chains", "checked") for kind in KINDS}
    one = names | {"accuracy_sums": 0.5, "accuracy_differences": 0.75, "chains_sums": 1.0}
    two = names | {"accuracy_sums": 1.0, "accuracy_true_false": 0.5, "checked_true_false": 0.125}
    two |= {"accuracy_tricks": 0.25, "checked_tricks": 0.25}
    runs = [run_of(CurationConfig(), 1, **one), run_of(CurationConfig(), 2, **two)]
    assert honest(runs, 8).tolist() == [0.625, 0.5]
    assert honest(runs, 8, "chains").tolist() == [0.5, 0.0]
    assert unbacked(runs[1:], "true_false", 8).tolist() == [0.75]
    assert unbacked(runs[1:], "tricks", 8).tolist() == [0.0]


def test_estimates_of_pass_rates_are_as_noisy_as_coins() -> None:
    rng, n = np.random.default_rng(0), 10
    rates = rng.uniform(0.1, 0.6, 20_000)
    first, second = rng.binomial(n, rates), rng.binomial(n, rates)
    agreement, ratio = reliability(first, second, n)
    noise = np.mean(rates * (1 - rates)) / n
    assert agreement == pytest.approx(rates.var() / (rates.var() + noise), abs=0.02)
    assert ratio == pytest.approx(1, abs=0.03)
    assert reliability(first, first, n) == (pytest.approx(1), 0.0)
    twice = reliability(2 * (first // 2), 2 * (second // 2), n)[1]
    assert twice > 1.1  # answers that come in pairs are less informative
    with pytest.raises(ValueError, match=r"^n"):
        reliability(first, second, 1)
