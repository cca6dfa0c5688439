"""The recorded searches: the named method runs, with the named tree, value and budget."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.exact.search import Found, SearchRule
from rlvr_lab.experiments.r1 import tree_search, tree_search_model
from rlvr_lab.experiments.r1.policy_tree import (
    PolicyTree,
    answers_of,
    auc,
    blind_guessing,
    prefix_auc,
)
from rlvr_lab.experiments.r1.tree_search import AnswerTreeConfig, runs_of_variant
from rlvr_lab.experiments.r1.tree_search_model import (
    ModelSearchConfig,
    Replicate,
    fitting_steps,
)
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.policy.words import CODE_WORDS, word_tokenizer
from rlvr_lab.tasks.doubtful_codes import ShownCodes, correct_chain
from rlvr_lab.training.value_models import fit_value_model, value_loss_on

FOUND = Found(np.array([10.0, 40.0, np.inf]), np.array([5.0, 20.0, np.inf]))


@pytest.fixture(scope="module")
def tree() -> PolicyTree:
    policy = new_policy(word_tokenizer(CODE_WORDS), 0, hidden=16, layers=1, device="cpu")
    return PolicyTree(policy, ShownCodes().problems(3, random.Random(0)))


@pytest.mark.parametrize(
    ("method", "prior", "leaf", "exploration"),
    [("uct", False, "rollout", 1.0), ("puct", True, "rollout", 1.0), ("value", True, "value", 0.3)],
)
def test_the_named_search_runs_on_the_named_trees(
    method, prior, leaf, exploration, monkeypatch
) -> None:
    seen = {}

    def fake(trees, count, budget, rule, seed):
        seen.update(trees=trees, count=count, budget=budget, rule=rule, seed=seed)
        return FOUND

    monkeypatch.setattr(tree_search, "search", fake)
    config = AnswerTreeConfig(
        method=method, branching=5, spread="rival", problems=3, seed=4, steps=6
    )
    run = config.run()
    assert seen["rule"] == SearchRule(prior, leaf, exploration)
    assert (seen["count"], seen["budget"], seen["seed"]) == (3, 1000, 4)
    trees = seen["trees"]
    assert (trees.branching, trees.steps, trees.noise) == (5, 6, 0.0)
    assert sorted(trees.prior[0, 0].round(4))[-2:] == [0.45, 0.5]
    assert [record["solved"] for record in run.records][:3] == [0.3333, 0.3333, 0.6667]
    assert [record["step"] for record in run.records] == list(tree_search.BUDGETS)


def test_the_noise_is_that_of_the_auc(monkeypatch) -> None:
    found = []
    monkeypatch.setattr(tree_search, "search", lambda t, *given: found.append(t.noise) or FOUND)
    AnswerTreeConfig(method="value", auc=0.76, problems=3).run()
    assert round(found[0], 2) == 1.0


def test_a_value_of_auc_one_half_is_the_same_for_each_prefix(monkeypatch) -> None:
    found = []

    def fake(trees, *given):
        right = tuple(int(token) for token in trees.correct[0, :2])
        wrong = (right[0], (right[1] + 1) % trees.branching)
        found.extend(trees.expand([0, 0], [right, wrong])[1].tolist())
        return FOUND

    monkeypatch.setattr(tree_search, "search", fake)
    AnswerTreeConfig(method="value", auc=0.5, branching=4, problems=3).run()
    assert found[0] == found[1] and np.isfinite(found).all()
    AnswerTreeConfig(method="value", auc=1.0, branching=4, problems=3).run()
    assert found[2:] == [1.0, 0.0]
    with pytest.raises(ValueError, match="auc: must be at least"):
        AnswerTreeConfig(method="value", auc=0.4)


def test_runs_are_found_by_their_settings() -> None:
    variants = {
        "a": AnswerTreeConfig("puct", problems=2, steps=2),
        "b": AnswerTreeConfig("uct", problems=2, steps=2),
    }
    runs = list(tree_search.measure_trees(2, variants, 1))
    assert [(r.config.method, r.config.seed) for r in runs] == [
        ("puct", 1),
        ("uct", 1),
        ("puct", 2),
        ("uct", 2),
    ]
    assert [r.config.seed for r in runs_of_variant(runs, variants["b"])] == [1, 2]
    with pytest.raises(ValueError, match="runs"):
        runs_of_variant(runs, AnswerTreeConfig("value"))


def test_the_prior_is_that_of_the_policy(tree: PolicyTree) -> None:
    words = tree.policy.tokenizer.convert_tokens_to_ids
    prefixes = [(), (words("<think>"), words("7")), (words("="),)]
    prior, value = tree.expand([0, 2, 1], prefixes)
    for row, (problem, prefix) in enumerate(zip([0, 2, 1], prefixes, strict=True)):
        ids = [*tree.policy.tokenizer.encode(tree.problems[problem].prompt), *prefix]
        logits = tree.policy.model(torch.tensor([ids])).logits[0, -1]
        np.testing.assert_allclose(prior[row], logits.softmax(-1).detach(), rtol=1e-4)
    assert (value == 0).all() and set(tree.known) >= {(0, ()), (2, prefixes[1])}


def test_an_answer_is_judged_when_it_ends(tree: PolicyTree) -> None:
    ids = tree.policy.tokenizer.convert_tokens_to_ids
    right = ids([*correct_chain(tree.problems[1]), "<eos>"])
    assert tree.outcome(1, tuple(right)) == 1 and tree.outcome(0, tuple(right)) == 0
    assert tree.outcome(1, tuple(right[:-1])) is None
    assert tree.outcome(1, tuple([ids("7")] * 20)) == 0
    exact = tree.exact_value([1, 0, 1], [tuple(right[:5])] * 2 + [()])
    assert exact.tolist() == [1, 0, 1]


def test_the_learned_value_is_read_at_the_last_word(tree: PolicyTree) -> None:
    model = ScalarModel.from_policy(tree.policy, zero_head=False)
    _, batch, _ = answers_of(tree.policy, 8, 0)
    listed = PolicyTree(tree.policy, ShownCodes().problems(2, random.Random("value answers 0")))
    row, t = 5, 4
    prefix = tuple(batch.completion_ids[row, :t].tolist())
    other = tuple(batch.completion_ids[0, :1].tolist())
    value = listed.learned_value(model, [row // 4, 0], [prefix, other])
    expected = model.values(batch).sigmoid().detach().numpy()
    np.testing.assert_allclose(value, [expected[row, t], expected[0, 1]], rtol=1e-4)


def test_a_value_model_learns_the_outcomes(tree: PolicyTree) -> None:
    """The outcome is written in the first word here, so that V can separate the answers."""
    _, batch, _ = answers_of(tree.policy, 64, 0)
    outcomes = (batch.completion_ids[:, 0] < 19).float()
    model = ScalarModel.from_policy(tree.policy)
    mask = batch.completion_mask
    before = float(value_loss_on(model, batch, outcomes))
    assert abs(before - np.log(2)) < 1e-6  # a head of zeros
    by_hand = torch.nn.functional.logsigmoid(model.values(batch) * (2 * outcomes[:, None] - 1))
    assert abs(before + float(by_hand[mask].mean())) < 1e-6
    fit_value_model(model, batch, outcomes, 80, 1e-2, 32)
    values = model.values(batch)[:, 1].detach().numpy()
    assert auc(values, outcomes.numpy() == 1) > 0.95
    for wrong in ({"outcomes": outcomes[1:], "steps": 1}, {"outcomes": outcomes, "steps": 0}):
        with pytest.raises(ValueError, match=r"outcomes|steps"):
            fit_value_model(model, batch, **wrong)


def test_the_auc_of_an_exact_value_is_1(tree: PolicyTree) -> None:
    ids = tree.policy.tokenizer.convert_tokens_to_ids

    class Half(PolicyTree):
        """Answers of which half are correct: the samples come from a table."""

    def draw(policy, prompts, answers, longest, generator):
        rows = []
        for problem in tree.problems:
            right = ids([*correct_chain(problem), "<eos>"])
            wrong = [*right[:2], ids(str((int(correct_chain(problem)[2]) + 1) % 10)), *right[3:]]
            rows += [right, wrong]
        made = torch.tensor(rows)
        return type(
            "B", (), {"texts": rows, "completion_ids": made, "lengths": torch.full((6,), 18)}
        )

    import rlvr_lab.experiments.r1.policy_tree as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "sample", draw)
        assert prefix_auc(tree, tree.exact_value, 2, 0) == 1.0
        assert prefix_auc(tree, lambda p, x: -tree.exact_value(p, x), 2, 0) == 0.0
        assert prefix_auc(tree, lambda p, x: np.zeros(len(x)), 2, 0) == 0.5


@pytest.mark.parametrize(
    ("config", "method"),
    [
        (ModelSearchConfig(), "sample_answers"),
        (ModelSearchConfig("uct"), "search"),
        (ModelSearchConfig("puct"), "search"),
        (ModelSearchConfig("value", "exact"), "search"),
        (ModelSearchConfig("value", "constant"), "search"),
        (ModelSearchConfig("value", "learned", 64), "search"),
    ],
)
def test_the_named_method_searches_the_answers_of_the_model(
    config, method, tree: PolicyTree, monkeypatch
) -> None:
    seen: list = []

    def fake(*given, cached):
        seen.append((given, given[0].value, cached))
        return FOUND

    fitted = []
    monkeypatch.setattr(tree_search_model, method, fake)
    monkeypatch.setattr(
        tree_search_model,
        "fit_value_model",
        lambda model, batch, outcomes, steps, seed: fitted.append((len(outcomes), steps, seed)),
    )
    lab = Replicate(7, 3)
    lab.__dict__["policy"] = tree.policy  # instead of a base that takes a minute
    run = replace(config, problems=3, seed=7).run(lab)
    ((given, value, cached),) = seen
    assert cached and given[0] is lab.tree and given[1:3] == (3, 1024) and given[-1] == 7
    if method == "search":
        leaf = "value" if config.method == "value" else "rollout"
        assert given[3] == SearchRule(config.method != "uct", leaf, config.exploration)
    assert (value is None) == (config.value == "none")
    if config.value == "exact":
        assert value == lab.tree.exact_value
    if config.value == "constant":
        prefixes = [(tree.policy.tokenizer.convert_tokens_to_ids("<think>"),), (1, 2)]
        assert lab.tree.exact_value([0, 1], prefixes).tolist() == [1.0, 0.0]
        assert value([0, 1], prefixes).tolist() == [0.0, 0.0]
    assert fitted == ([(64, 8, 7)] if config.value == "learned" else [])
    assert [r["solved"] for r in run.records[:2]] == [0.3333, 0.6667]
    assert [r["cached"] for r in run.records[:2]] == [0.6667, 0.6667]
    assert (run.records[0]["auc"] is None) == (config.value == "none")


def test_beam_search_spends_its_budget_on_beams(tree: PolicyTree, monkeypatch) -> None:
    widths = []
    monkeypatch.setattr(
        tree_search_model, "beam_search", lambda t, k, width, long: widths.append(width) or FOUND
    )
    lab = Replicate(7, 3)
    lab.__dict__["policy"] = tree.policy
    records = replace(ModelSearchConfig("beam"), problems=3).run(lab).records
    assert widths == [1, 3, 7, 14, 28, 56]
    assert records[0]["solved"] == records[0]["cached"] == 0.3333


def test_small_things() -> None:
    assert auc(np.array([3.0, 1.0, 2.0]), np.array([True, False, False])) == 1
    assert np.isnan(auc(np.zeros(2), np.array([True, True])))
    assert [fitting_steps(n) for n in (1, 256, 10_000)] == [1, 32, 300]
    texts = [f"<think>000,000,000</think>={g:03d}" for g in range(1000)]
    assert len({len(t) for t in texts}) == 1
    for budget in (17, 18, 100, 1024, 20_000):
        assert blind_guessing(budget, cached=True) == pytest.approx(guesses_with_cache(budget))
    assert blind_guessing(17) == 0 and blind_guessing(18) == 0.001
    for wrong, name in (
        ({"value": "exact"}, "value"),
        ({"method": "value", "value": "learned"}, "answers"),
        ({"problems": 0}, "problems"),
    ):
        with pytest.raises(ValueError, match=name):
            ModelSearchConfig(**wrong)
    for measure in (tree_search.measure_trees, tree_search_model.measure_searches):
        with pytest.raises(ValueError, match="seeds"):
            list(measure(0))
    with pytest.raises(ValueError, match="auc"):
        AnswerTreeConfig(auc=0.4)


def guesses_with_cache(budget: int) -> float:
    """Write all guesses one after the other and count the distinct prefixes."""
    seen: set = set()
    for g in range(1000):
        a, b, c = f"{g:03d}"
        words = [
            "<think>",
            "0",
            "0",
            a,
            ",",
            "0",
            "0",
            b,
            ",",
            "0",
            "0",
            c,
            "</think>",
            "=",
            a,
            b,
            c,
            "$",
        ]
        seen |= {tuple(words[: n + 1]) for n in range(len(words))}
        if len(seen) > budget:
            return g / 1000
    return 1.0
