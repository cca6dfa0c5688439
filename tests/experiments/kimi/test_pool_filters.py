"""The filters of a mixed pool: who answers what, how often, and which items each reading keeps."""

import random
from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.kimi import pool_filters
from rlvr_lab.experiments.kimi.pool_filters import (
    EXCLUDED,
    GATES,
    LESSONS,
    LONGEST,
    MIXTURE_STEPS,
    SHARES,
    SLIPS,
    Attempts,
    Curated,
    FiltersConfig,
    attempts_at,
    curate,
    measure_filters,
    pool_base,
    pool_items,
)
from rlvr_lab.experiments.pretraining import PretrainingFailed
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.words import word_tokenizer
from rlvr_lab.tasks.mixed_pool import (
    KINDS,
    POOL_WORDS,
    MixedPool,
    PoolMixture,
    answer_text,
    kind_of,
)
from rlvr_lab.tasks.sums import Sums


def tiny(seed: int = 0) -> Policy:
    return new_policy(word_tokenizer(POOL_WORDS), seed, 16, 1, device="cpu")


def curated(items, guessed: list[bool], solved: list[bool]) -> Curated:
    guesses, answers = (torch.tensor([[False, x] for x in flags]) for flags in (guessed, solved))
    return Curated(items, Attempts([], guesses), Attempts([], answers))


ONE_EACH = [MixedPool({kind: 1}).problems(1, random.Random(0))[0] for kind in KINDS]


def test_each_reading_keeps_what_it_says() -> None:
    items = ONE_EACH + ONE_EACH
    guessed = [True] * 6 + [False] * 6
    solved = [False, True] * 6
    pool = curated(items, guessed, solved)
    assert pool.format_ok.tolist() == [kind not in ("true_false", "options") for kind in KINDS] * 2
    kept, removed = pool.split("paper")
    assert [kind_of(item.prompt) for item in kept] == [k for k in KINDS if k not in EXCLUDED]
    assert kept == tuple(i for i in ONE_EACH if kind_of(i.prompt) not in EXCLUDED)
    assert len(kept) + len(removed) == 12
    kept, removed = pool.split("notes")
    wanted = [i for i, s in zip(items, solved, strict=True) if not s]
    assert list(kept) == [i for i in wanted if kind_of(i.prompt) not in EXCLUDED]
    assert len(kept) + len(removed) == 12
    # One correct attempt of several is enough to remove an item.
    assert pool.guessable.tolist() == guessed and pool.solved.tolist() == solved


def test_guesses_have_no_chain_and_ordinary_answers_are_left_to_the_policy(monkeypatch) -> None:
    asked = []
    real = pool_filters.sample

    def spy(policy, prompts, group_size, longest, generator, temperature=1.0, **named):
        asked.append((prompts, group_size, longest, generator.initial_seed(), temperature, named))
        return real(policy, prompts, group_size, longest, generator, temperature, **named)

    monkeypatch.setattr(pool_filters, "sample", spy)
    pool = curate(tiny(), ONE_EACH, 3, seed=7)
    prompts = [item.prompt for item in ONE_EACH]
    assert asked == [
        (prompts, 3, LONGEST, 70, 1.0, {"forced_words": ["="] * 18}),
        (prompts, 3, LONGEST, 71, 1.0, {"forced_words": None}),
    ]
    assert all(text.startswith("=") for texts in pool.guesses.texts for text in texts)
    assert pool.guesses.correct.shape == pool.answers.correct.shape == (6, 3)
    assert [len(texts) for texts in pool.answers.texts] == [3] * 6
    assert pool.items == ONE_EACH


def made_up(texts: list[str], group_size: int, cut: list[bool] | None = None) -> RolloutBatch:
    ids = torch.zeros(len(texts), 1, dtype=torch.long)
    on = torch.ones(len(texts), 1, dtype=torch.bool)
    return RolloutBatch(
        prompt_ids=ids[::group_size],
        prompt_mask=on[::group_size],
        completion_ids=ids,
        completion_mask=on,
        attention_mask=on,
        old_logprobs=ids.double(),
        entropy=ids.double(),
        truncated=torch.tensor(cut or [False] * len(texts)),
        texts=texts,
        group_size=group_size,
    )


def test_attempts_belong_to_their_item(monkeypatch) -> None:
    right = [f"={answer_text(item)}" for item in ONE_EACH]
    texts = [text for answer in right for text in ("x", answer, answer)]
    cut = [False, False, True] * 6
    monkeypatch.setattr(pool_filters, "sample", lambda *a, **n: made_up(texts, 3, cut))
    found = attempts_at(tiny(), ONE_EACH, 3, 0)
    assert found.correct.tolist() == [[False, True, False]] * 6
    assert found.texts == [["x", answer, answer] for answer in right]
    sums = Sums().problems(6, random.Random(0))
    texts[:] = [f"={p.answer}" for p in sums for _ in range(3)]
    assert attempts_at(tiny(), sums, 3, 0, "=", Sums()).correct[:, :2].all()


def test_the_pool_has_the_stated_shares_and_belongs_to_its_seed() -> None:
    items = pool_items(5000, 3)
    for kind, share in SHARES.items():
        own = sum(kind_of(item.prompt) == kind for item in items) / 5000
        assert own == pytest.approx(share, abs=0.02)
    assert sum(SHARES.values()) == pytest.approx(1) and sum(LESSONS.values()) == pytest.approx(1)
    assert pool_items(20, 3) == items[:0] + pool_items(20, 3) != pool_items(20, 4)


def test_a_record_counts_for_each_kind(monkeypatch) -> None:
    config = FiltersConfig(items=60, attempts=4, answers=5, rated=6, seed=2, steps=1)
    asked = []

    def attempts(policy, items, count, seed, first_word="", task=None):
        asked.append((len(items), count, seed, first_word, task, policy.name))
        rng = random.Random(f"{seed}{first_word}")
        correct = torch.tensor([[rng.random() < 0.4 for _ in range(count)] for _ in items])
        return Attempts([[f"={i}{k}" for k in range(count)] for i in range(len(items))], correct)

    monkeypatch.setattr(pool_filters, "attempts_at", attempts)
    monkeypatch.setattr(
        pool_filters, "sums_base", lambda seed, device: (replace(tiny(), name=f"sums {seed}"), 0)
    )
    run, pool = measure_filters(config, replace(tiny(), name="pool"), used=1002)
    assert asked == [
        (60, 4, 20, "=", None, "pool"),
        (60, 4, 21, "", None, "pool"),
        (6, 5, 22, "<think>", None, "pool"),
        (6, 5, 23, "<think>", None, "pool"),
        (6, 4, 24, "=", Sums(), "sums 2"),
    ]
    (record,) = run.records
    assert run.config == config and (record["step"], record["base"]) == (0, 1002)
    assert pool.items == pool_items(60, 2)
    for kind in KINDS:
        rows = [i for i, item in enumerate(pool.items) if kind_of(item.prompt) == kind]
        for name, attempts_made in (("guess", pool.guesses), ("answer", pool.answers)):
            own = [attempts_made.correct[i].tolist() for i in rows]
            mean = sum(map(sum, own)) / (4 * len(own))
            assert record[f"{name}_{kind}"] == pytest.approx(mean, abs=1e-4)
            share = {"guess": "guessable", "answer": "solved"}[name]
            hit = sum(map(any, own)) / len(own)
            assert record[f"{share}_{kind}"] == pytest.approx(hit, abs=1e-4)
        assert record[f"items_{kind}"] == len(rows)
    for reading in ("paper", "notes"):
        assert record[f"kept_{reading}"] == len(pool.split(reading)[0])
    assert len(record["terms"]) == len(record["first"]) == len(record["second"]) == 6
    assert set(record["terms"]) <= set(range(3, 9)) and record["first"] != record["second"]
    assert 0 <= record["guess_one_digit"] <= record["one_digit"] <= 1
    for kind, prompt, answer, guesses, right in record["shown"]:
        i = [item.prompt for item in pool.items].index(prompt)
        assert kind_of(prompt) == kind and pool.items[i].answer == answer
        assert guesses == [f"{i}{k}" for k in range(4)] and right == int(
            pool.guesses.correct[i].sum()
        )
    assert [row[0] for row in record["shown"]] == [kind for kind in KINDS for _ in range(2)]


def test_the_number_of_terms_is_that_of_the_rated_sums(monkeypatch) -> None:
    seen = {}

    def attempts(policy, items, count, seed, first_word="", task=None):
        seen[seed] = items
        return Attempts([], torch.ones(len(items), count, dtype=torch.bool))

    monkeypatch.setattr(pool_filters, "attempts_at", attempts)
    found = pool_filters._rated(FiltersConfig(rated=9, answers=7, seed=1), tiny())
    assert seen[12] == seen[13] and {kind_of(item.prompt) for item in seen[12]} == {"sums"}
    digits = [sum(c.isdigit() for c in item.prompt) for item in seen[12]]
    assert found == {"terms": digits, "first": [7] * 9, "second": [7] * 9}


def test_one_digit_problems_are_removed_by_one_correct_guess(monkeypatch) -> None:
    right = torch.tensor([[True, False], [False, False], [True, True], [False, False]])
    monkeypatch.setattr(pool_filters, "attempts_at", lambda *given: Attempts([], right))
    monkeypatch.setattr(pool_filters, "sums_base", lambda seed, device: (tiny(), 0))
    found = pool_filters._one_digit(FiltersConfig(rated=4, attempts=2))
    assert found == {"guess_one_digit": 3 / 8, "one_digit": 1 / 2}


def test_the_configuration_refuses_nothing_to_do() -> None:
    for name in ("items", "attempts", "answers", "rated"):
        with pytest.raises(ValueError, match=f"^{name}"):
            FiltersConfig(**{name: 0})
    assert (FiltersConfig().attempts, FiltersConfig().answers) == (8, 10)  # as in the paper


@pytest.mark.parametrize("skill", ["able", "weak"])
def test_a_base_is_taught_chains_and_then_the_mixture(monkeypatch, skill: str) -> None:
    seen = []

    def kept(name, make, device):
        seen.append(name)
        return make()

    def learn(policy, task, solve, optimizer, rng, seed, log):
        seen.append((task, solve.__self__, optimizer.param_groups[0]["lr"], seed))
        with torch.no_grad():
            policy.model.lm_head.weight.fill_(0.5)
        return 50

    def fit(policy, task, solve, steps, peak, optimizer, rng):
        assert bool((policy.model.lm_head.weight == 0.5).all())  # it goes on from the chains
        seen.append((task, solve.__self__, steps, peak))
        return 0.0

    rates = []

    def evaluate(policy, task, problems, samples, max_new_tokens):
        seen.append((task, max_new_tokens))
        return {"pass@1": rates.pop(0)}

    monkeypatch.setattr(pool_filters, "kept_base", kept)
    monkeypatch.setattr(pool_filters, "learn_chains", learn)
    monkeypatch.setattr(pool_filters, "fit", fit)
    monkeypatch.setattr(pool_filters, "evaluate", evaluate)
    low, high = GATES[skill]
    rates[:] = [high + 0.01, (low + high) / 2]
    policy, used = pool_base(3, skill)
    assert used == 1003  # the first one missed the gate
    wanted = []
    for seed in (3, 1003):
        wanted += [
            f"mixed_pool_{skill}_{seed}",
            f"mixed_pool_chains_{seed}",
            (MixedPool(LESSONS), PoolMixture(0.0, 0.0, 0.0), 1e-3, seed),
            (MixedPool(), PoolMixture(slip=SLIPS[skill]), MIXTURE_STEPS, 1.5e-3),
            (MixedPool({"sums": 1}), LONGEST),
        ]
    assert seen == wanted
    assert len(policy.tokenizer) == len(POOL_WORDS)
    for rate in (low - 0.01, high + 0.01):
        rates[:] = [rate] * 5
        with pytest.raises(PretrainingFailed, match="seed 3"):
            pool_base(3, skill)
    assert SLIPS == {"able": 0.08, "weak": 0.3}
