"""The thinking budget: what is cut and where, who writes the rest, the two predictions, and what is recorded."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.qwen3 import budget
from rlvr_lab.experiments.qwen3.budget import (
    BUDGETS,
    STUDY,
    VARIANTS,
    BudgetConfig,
    against_need,
    answer_probabilities,
    at_budget,
    budget_curves,
    by_terms_table,
    copied,
    cut_answers,
    cut_start,
    predicted,
)
from rlvr_lab.experiments.qwen3.stages import questions
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.two_modes import digits_of, make_problem, running


def tiny(seed: int = 0) -> Policy:
    return new_policy(build_tokenizer(), seed, 16, 1, device="cpu")


@pytest.mark.parametrize(
    ("text", "k", "start"),
    [
        ("<think>7203</think>=3", 0, "<think></think>"),
        ("<think>7203</think>=3", 3, "<think>720</think>"),
        ("<think>7203</think>=3", 4, None),
        ("<think>7203</think>=3", 8, None),
        ("<think></think>=3", 0, None),
        ("=3", 0, None),
        ("72=3", 0, None),
        ("<think>7203", 2, "<think>72</think>"),
        ("<think>72=3", 1, "<think>7</think>"),
        ("<think>7wait2ok0</think>=0", 2, "<think>72</think>"),  # only values count
        ("<think>7wait2</think>=2", 2, None),
    ],
)
def test_the_chain_is_cut_after_k_values(text, k, start) -> None:
    assert cut_start(text, k) == start


PROBLEMS = [make_problem("sums", [7, 5, 8, 3]), make_problem("maxima", [2, 7, 4])]
OWN = ["<think>7203</think>=3", "=3", "<think>277</think>=7ok", "<think></think>=1"]


class Writer:
    """Stands for ``sample``: notes what it is asked, and writes the given tails."""

    def __init__(self, tails: list[str]) -> None:
        self.tails, self.asked = tails, []

    def __call__(self, policy, prompts, size, cap, generator, temperature):
        self.asked.append((prompts, size, cap, temperature))
        cut = torch.tensor([tail.endswith("…") for tail in self.tails])
        return type("B", (), {"texts": self.tails, "truncated": cut})


def test_the_policy_goes_on_after_its_own_start_and_the_stop_text(monkeypatch) -> None:
    writer = Writer(["=0", "=7"])
    monkeypatch.setattr(budget, "sample", writer)
    found = cut_answers(tiny(), PROBLEMS, OWN, 2, torch.Generator(), 0.5)
    ((prompts, size, cap, temperature),) = writer.asked
    assert prompts == ["7+5+8+3.....?<think>72</think>", "twosevenfour......?<think>27</think>"]
    assert (size, cap, temperature) == (1, 6, 0.5)
    assert found.texts == ["<think>72</think>=0", "=3", "<think>27</think>=7", "<think></think>=1"]
    assert found.halted.tolist() == [True, False, True, False]
    assert found.correct.tolist() == [False, True, True, False]
    assert found.copied.tolist() == [False, False, True, False]
    assert found.thought.tolist() == [2, 0, 2, 0]


def test_a_chain_that_ended_by_itself_keeps_its_answer(monkeypatch) -> None:
    monkeypatch.setattr(budget, "sample", None)  # nobody writes
    found = cut_answers(tiny(), PROBLEMS, OWN, 4, torch.Generator())
    assert found.texts == OWN and not found.halted.any() and not found.copied.any()
    assert found.correct.tolist() == [True, True, True, False]
    assert found.thought.tolist() == [4, 0, 3, 0]


def test_a_rest_that_does_not_end_is_not_correct_and_at_zero_nothing_is_copied(monkeypatch) -> None:
    monkeypatch.setattr(budget, "sample", Writer(["=3…", "=7ok"]))
    found = cut_answers(tiny(), PROBLEMS, OWN, 0, torch.Generator())
    assert found.correct.tolist() == [False, True, True, False]
    assert found.halted.tolist() == [True, False, True, False] and not found.copied.any()
    for bad, texts in ((-1, OWN), (2, OWN[:3])):
        with pytest.raises(ValueError, match=r"budget|texts"):
            cut_answers(tiny(), PROBLEMS, texts, bad, torch.Generator())


def test_the_rest_is_sampled_with_the_generator_and_not_correct_when_it_is_cut(monkeypatch) -> None:
    given, used = torch.Generator(), []

    def rest(policy, prompts, size, cap, generator, temperature):
        used.append((generator is given, temperature))
        return type("B", (), {"texts": ["=3", "=7"], "truncated": torch.tensor([True, False])})

    monkeypatch.setattr(budget, "sample", rest)
    found = cut_answers(tiny(), PROBLEMS, OWN, 1, given)
    assert used == [(True, 1.0)]
    assert found.texts[0] == "<think>7</think>=3" and found.texts[2] == "<think>2</think>=7"
    assert found.correct.tolist() == [False, True, True, False]


def test_a_record_is_of_own_answers_up_to_the_cap_of_the_training(monkeypatch) -> None:
    asked = []

    def noted(policy, prompts, size, cap, generator, temperature=1.0):
        asked.append((len(prompts), size, cap, temperature, generator))
        texts = ["<think>72</think>=2"] * len(prompts) * size
        return type("B", (), {"texts": texts, "truncated": torch.zeros(len(texts)).bool()})

    monkeypatch.setattr(budget, "sample", noted)
    list(BudgetConfig(per_terms=2, samples=3, seed=4, device="cpu").records(tiny()))
    # For each task its 14 questions with 3 answers; then one rest for each of 42, at k = 0 and 1.
    assert [one[:4] for one in asked] == [(14, 3, 20, 1.0), *[(42, 1, 6, 1.0)] * 2] * 2
    for task in (asked[:3], asked[3:]):
        assert len({id(one[4]) for one in task}) == 1 and task[0][4].initial_seed() == 4


def test_the_predictions_are_those_counted_by_hand() -> None:
    problems = [make_problem("sums", [7, 5, 8]), make_problem("sums", [7, 5, 8, 0])]
    assert [predicted(problems, k) for k in (0, 2, 3, 4)] == [0.1, 0.1, 0.55, 1.0]
    # Running sums 7, 2, 0 and 7, 2, 0, 0.
    assert [copied(problems, k) for k in (0, 1, 2, 3, 4)] == [0.1, 0, 0, 1, 1]
    maxima = [make_problem("maxima", [2, 7, 4]), make_problem("maxima", [9, 1])]
    assert [copied(maxima, k) for k in (0, 1, 2)] == [0.1, 0.5, 1.0]
    assert predicted(maxima, 2) == 0.55


def test_probabilities_are_those_of_the_model_after_the_equals_sign() -> None:
    policy, starts = tiny(), ["<think></think>", "<think>72</think>"]
    found = answer_probabilities(policy, "7+5+8......?", starts)
    assert found.shape == (2, 10)
    for row, start in zip(found, starts, strict=True):
        ids = policy.tokenizer(f"7+5+8......?{start}=", return_tensors="pt").input_ids
        with torch.no_grad():
            probs = policy.model(ids).logits[0, -1].double().softmax(-1)
        words = [policy.tokenizer.convert_tokens_to_ids(str(d)) for d in range(10)]
        np.testing.assert_allclose(row, probs[words].numpy(), atol=1e-6)


def test_the_records_of_a_checkpoint(monkeypatch) -> None:
    """A stand-in writes chains without errors, and copies the last value when it is halted."""

    def answer(policy, prompts, size, cap, generator, temperature=1.0):
        texts = []
        for prompt in prompts:
            question, _, start = prompt.partition("<think>")
            chain = running("sums" if question[0].isdigit() else "maxima", digits_of(question))
            if start:
                last = start.removesuffix("</think>")[-1:] or "5"
                texts.append(f"={last}")
            else:
                full = f"<think>{''.join(map(str, chain))}</think>={chain[-1]}"
                texts += [full] * size
        return type("B", (), {"texts": texts, "truncated": torch.zeros(len(texts)).bool()})

    monkeypatch.setattr(budget, "sample", answer)
    config = BudgetConfig(per_terms=3, samples=2, seed=4, device="cpu")
    records = list(config.records(tiny()))
    assert [(r["task"], r["budget"]) for r in records] == [
        (kind, k) for kind in ("sums", "maxima") for k in BUDGETS
    ]
    assert [record["step"] for record in records] == list(range(2 * len(BUDGETS)))
    for record in records:
        k, problems = record["budget"], questions(record["task"], 3, 4)
        terms = np.array([p.difficulty + 1 for p in problems])
        assert record["halted"] == pytest.approx(np.mean(terms > k))
        assert record["thought"] == pytest.approx(np.minimum(terms, k).mean())
        assert record["predicted"] == pytest.approx(predicted(problems, k))
        assert record["if_copied"] == pytest.approx(copied(problems, k))
        if k:
            assert record["accuracy"] == pytest.approx(record["if_copied"])
            assert record["copied"] == (1.0 if k < 8 else None)
        else:
            fives = np.mean([p.answer == 5 for p in problems])
            assert record["copied"] is None and record["accuracy"] == pytest.approx(fives)
        assert np.mean(record["by_terms"]) == pytest.approx(record["accuracy"], abs=1e-4)
        if k > 1:
            assert record["by_terms"][: k - 1] == [1.0] * (k - 1)


def test_a_checkpoint_is_that_of_its_name_and_seed(monkeypatch) -> None:
    asked = []

    def noted(what: str):
        return lambda *given: asked.append((what, *given)) or tiny()

    monkeypatch.setattr(budget, "fused", noted("fused"))
    monkeypatch.setattr(budget, "finished", noted("finished"))
    for config in VARIANTS.values():
        replace(config, seed=3, device="cpu").policy()
    assert asked == [
        ("finished", "reasoning", 3),
        ("fused", 3, "fusion", "cpu"),
        ("fused", 3, "fusion_cut", "cpu"),
        ("finished", "style", 3),
        ("finished", "style_correct", 3),
    ]


def test_what_is_recorded_is_what_it_says(monkeypatch) -> None:
    assert STUDIES["qwen3/budget"] is STUDY and (STUDY.first, STUDY.seeds) == (1, 5)
    assert all(config == BudgetConfig(name) for name, config in VARIANTS.items())
    assert (BudgetConfig().per_terms, BudgetConfig().samples) == (10, 16)
    assert BUDGETS == (0, 1, 2, 3, 4, 6, 8)
    assert {"after", "per_terms", "samples", "device", "seed"} <= set(BudgetConfig.FIXED)
    monkeypatch.setattr(BudgetConfig, "policy", lambda self: self.seed)
    monkeypatch.setattr(BudgetConfig, "records", lambda self, policy: [{"step": policy / 3}])
    runs = list(budget.measure(2, {"fusion": VARIANTS["fusion"]}, 4))
    assert [(run.config.seed, run.records) for run in runs] == [
        (4, [{"step": 1.3333}]),
        (5, [{"step": 1.6667}]),
    ]
    for bad in ({"after": "x"}, {"per_terms": 0}, {"samples": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            BudgetConfig(**bad)
    with pytest.raises(ValueError, match="seeds"):
        next(budget.measure(0, VARIANTS, 1))


def made_up(checkpoint: str, seed: int) -> Run:
    records = [
        {
            "task": task,
            "budget": k,
            "accuracy": seed + k / 10 + shift,
            "copied": None,
            "by_terms": [n + k / 10 + shift for n in range(2, 9)],
        }
        for task, shift in (("sums", 0), ("maxima", 100))
        for k in BUDGETS
    ]
    return Run(BudgetConfig(checkpoint, seed=seed), records)


def test_curves_are_ordered_by_seed_and_problems_by_what_they_lack() -> None:
    runs = [made_up(name, seed) for name in ("fusion", "style") for seed in (2, 1)]
    found = budget_curves(runs, "fusion", "maxima")
    np.testing.assert_allclose(found, [[s + k / 10 + 100 for k in BUDGETS] for s in (1, 2)])
    np.testing.assert_allclose(at_budget(runs, "style", "sums", 6), [1.6, 2.6])
    assert np.isnan(budget_curves(runs, "fusion", "sums", "copied")).all()
    table = by_terms_table(runs, "fusion", "maxima")
    assert table.shape == (2, 7, len(BUDGETS))
    assert table[0, 3, BUDGETS.index(4)] == pytest.approx(105.4)  # five terms at k = 4
    # One token short: budgets 1, 2, 3, 4, 6 and problems of 2, 3, 4, 5, 7 terms.
    short = np.mean([2.1, 3.2, 4.3, 5.4, 7.6])
    np.testing.assert_allclose(against_need(runs, "fusion", "sums", 1), [short] * 2)
    # It just fits: budgets 2, 3, 4, 6, 8.
    fits = np.mean([2.2, 3.3, 4.4, 6.6, 8.8])
    np.testing.assert_allclose(against_need(runs, "fusion", "maxima", 0), [fits + 100] * 2)
    # Two tokens short: budgets 1, 2, 3, 4, 6; without a budget nothing was thought.
    two = np.mean([3.1, 4.2, 5.3, 6.4, 8.6])
    np.testing.assert_allclose(against_need(runs, "fusion", "sums", 2), [two] * 2)
    for bad, match in ((lambda: at_budget(runs, "fusion", "sums", 5), "budget"),
                       (lambda: budget_curves(runs, "fusion_cut", "sums"), "checkpoint")):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            bad()
