"""The process-reward study: the reward that trains, what the records say, the choice among N answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.r1 import process_rewards
from rlvr_lab.experiments.r1.process_rewards import (
    NS,
    STUDY,
    VARIANTS,
    ProcessConfig,
    believed_and_true,
    best_of,
    by_aggregate,
    describe_steps,
    fitted_judge,
    majority_of,
    measure_process_rewards,
    texts_at,
)
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Run
from rlvr_lab.records.statistics import area_under_roc
from rlvr_lab.rewards.process import (
    AGGREGATES,
    ExactSteps,
    ProcessReward,
    ProcessRewardModel,
    number_ids,
    step_labels,
    steps_of,
    verify_steps,
)
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.training.loop import train

SMALL = {"steps": 2, "every": 1, "test_problems": 4, "test_samples": 4, "device": "cpu"}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "label_chains": 8, "fit_steps": 2}


@pytest.fixture(scope="module")
def base():
    return load_policy("sums", "cpu")


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch) -> None:
    monkeypatch.setattr(process_rewards, "HELD_OUT", 6)


def test_variants_are_what_their_names_say() -> None:
    plain = {"process": 1.0, "format": 0.1}
    for name, config in VARIANTS.items():
        judge, _, how = name.partition("_")
        assert config.judge == {"outcome": "none", "exact": "exact"}.get(judge, "model"), name
        assert how in ("", "outcome") or config.aggregate == how, name
        assert how in ("", "outcome") or config.rewards == plain, name
        better = (config.label_chains, config.label_flip) == (1000, 0.0)
        assert better == (judge == "better"), name
        same = ("steps", "every", "prompts_per_step", "group_size", "learning_rate", "kl_coef")
        assert all(getattr(config, f) == getattr(ProcessConfig(), f) for f in same), name
    assert VARIANTS["outcome"].rewards == {"accuracy": 1.0, "format": 0.1}
    both = VARIANTS["prm_outcome"]
    assert both.rewards == {**plain, "accuracy": 1.0} and both.aggregate == "mean"
    assert (STUDY.first, STUDY.seeds, STUDY.file) == (1, 5, "r1/process_rewards")


@pytest.mark.parametrize("name", [*AGGREGATES, "outcome"])
def test_a_step_climbs_the_named_reward(base, name: str) -> None:
    """What is maximised in a step is weight · aggregate of the judge + .1 · format (+ accuracy)."""
    variant = VARIANTS["prm_outcome"] if name == "outcome" else VARIANTS[f"prm_{name}"]
    config = replace(variant, **SMALL, seed=3)
    judge = fitted_judge(config, base, Sums())
    given = {"process": ProcessReward(judge, config.aggregate)}
    state = config.begin(load_policy("sums", "cpu"), rewards=given)
    experience = config.collect(state)
    answers = experience.answers
    where = steps_of(answers.batch, judge.numbers)
    scores, reduce = judge.scores(answers), {"sum": sum, "min": min}.get(name, np.mean)
    for row, text in enumerate(answers.batch.texts):
        own = scores[row][where[row]].tolist()
        fine = Sums().well_formed(text) and not answers.batch.truncated[row]
        wanted = (reduce(own) if own else 0.0) + 0.1 * fine
        wanted += answers.verdicts[row].correct if name == "outcome" else 0
        assert float(experience.rewards[row]) == pytest.approx(wanted, abs=1e-5)


def test_judges_differ_as_the_configuration_says(base) -> None:
    config = ProcessConfig(**SMALL)
    assert fitted_judge(VARIANTS["outcome"], base, Sums()) is None
    exact = fitted_judge(replace(config, judge="exact"), base, Sums())
    assert exact == ExactSteps(number_ids(base.tokenizer))
    first = fitted_judge(config, base, Sums())
    assert isinstance(first, ProcessRewardModel)

    def weights(**changes) -> torch.Tensor:
        model = fitted_judge(replace(config, **changes), base, Sums()).model
        return torch.cat([p.flatten() for p in model.parameters()])

    plain = weights()
    assert torch.equal(plain, weights())
    for changes in (
        {"label_flip": 1.0},
        {"label_chains": 9},
        {"fit_steps": 1},
        {"seed": 1},
    ):
        assert not torch.equal(plain, weights(**changes)), changes


def test_each_seed_has_its_own_base_and_alike_variants_one_judge(base, monkeypatch) -> None:
    fits, bases = [], []
    plain = process_rewards.fit_process_reward

    def counted(policy, batch, labels, **named):
        fits.append((policy.name, named, len(labels)))
        return plain(policy, batch, labels, **named)

    def own(seed):
        bases.append(seed)
        return load_policy("sums", "cpu")

    monkeypatch.setattr(process_rewards, "fit_process_reward", counted)
    chosen = ("prm_mean", "prm_sum", "exact_min", "outcome")
    small = {name: replace(VARIANTS[name], **SMALL) for name in chosen}
    small["more"] = replace(small["prm_mean"], label_chains=9, steps=1)
    small["flipped"] = replace(small["prm_mean"], label_flip=1.0, steps=1)
    monkeypatch.setattr(process_rewards, "sums_base", lambda seed: (own(seed), seed))
    runs = list(measure_process_rewards(2, small, 4))
    assert [(r.config.seed, r.config.table) for r in runs] == [(4, 4)] * 6 + [(5, 5)] * 6
    assert sorted(set(bases)) == [4, 5]
    assert [(named, n) for _, named, n in fits] == [
        ({"steps": 2, "seed": seed}, n) for seed in (4, 5) for n in (8, 9, 8)
    ]
    assert [r.config.aggregate for r in runs[:3]] == ["mean", "sum", "min"]
    one, other = (r.records[0] for r in runs[:2])
    assert one["accuracy"] == other["accuracy"] and one["held_out_auc"] == other["held_out_auc"]
    assert one["score"] != other["score"] and one["steps"] == other["steps"]
    last = runs[0].records[-1], runs[1].records[-1]
    assert last[0]["entropy"] != last[1]["entropy"]
    assert "held_out_auc" not in runs[3].records[0] and runs[3].records[1]["score"] is None
    exact = runs[2].records[0]
    assert exact["held_out_auc"] == 1.0 and exact["believed"] == exact["steps_right"]
    assert [r["step"] for r in runs[0].records] == [0, 1, 2]
    assert len(texts_at(runs[0], 2)) == 4
    with pytest.raises(ValueError, match="step: no answers were kept of step 1"):
        texts_at(runs[0], 1)
    with pytest.raises(ValueError, match="seeds: need at least 1, got 0"):
        next(measure_process_rewards(0, small, 1))


def test_records_say_what_the_texts_say(base) -> None:
    config = replace(ProcessConfig(**SMALL), judge="exact")
    reward = ProcessReward(ExactSteps(number_ids(base.tokenizer)), "mean")
    state = config.begin(load_policy("sums", "cpu"), rewards={"process": reward})
    answers = config.test_answers(state)
    found = describe_steps(answers, reward, state.policy)
    steps = [
        verify_steps(answers.problems[row // 4], text)
        for row, text in enumerate(answers.batch.texts)
    ]
    flat = [verdict for one in steps for verdict in one]
    assert found["steps"] == pytest.approx(len(flat) / 16)
    assert found["steps_right"] == found["believed"] == pytest.approx(np.mean(flat))
    means = [np.mean(one) if one else 0.0 for one in steps]
    assert found["score"] == pytest.approx(np.mean(means))
    assert found["truncated"] == float(answers.batch.truncated.float().mean())
    assert found["auc"] == 1.0

    class Flat(ExactSteps):
        def scores(self, answers):
            return torch.full_like(super().scores(answers), 0.25)

    flat_judge = ProcessReward(Flat(number_ids(base.tokenizer)), "mean")
    other = describe_steps(answers, flat_judge, state.policy)
    assert other["believed"] == 0.25 and other["steps_right"] == found["steps_right"]
    none = describe_steps(answers, None, state.policy)
    assert none["steps_right"] == found["steps_right"] and none["score"] is None


def test_a_judge_is_measured_on_chains_of_the_base(base) -> None:
    config = ProcessConfig(**SMALL, seed=1, table=1)
    reward = ProcessReward(fitted_judge(config, base, Sums()), "min")
    state = config.begin(load_policy("sums", "cpu"), rewards={"process": reward})
    seen = []

    class Noted:
        numbers = reward.judge.numbers

        def scores(self, answers):
            seen.append(answers)
            return reward.judge.scores(answers)

    found = process_rewards.judge_base(config, state, ProcessReward(Noted(), "min"))
    answers = seen[0]
    assert len(answers.problems) == 6 and answers.batch.group_size == max(NS)
    where, scores = steps_of(answers.batch, Noted.numbers), reward.judge.scores(answers)
    rows = where.sum(dim=1) > 1
    labels = step_labels(answers, where)
    auc = area_under_roc(scores[rows][where[rows]], labels[rows][where[rows]])
    assert found["held_out_auc"] == pytest.approx(auc)
    own_scores = [scores[row][where[row]].tolist() for row in range(len(where))]
    lowest = [min(one, default=0.0) for one in own_scores]
    right = np.array([float(v.correct) for v in answers.verdicts]).reshape(6, -1)
    half = np.array([0.5 if len(one) else 0.0 for one in own_scores]).reshape(6, -1)
    assert found["blank"] == pytest.approx([best_of(half, right, n) for n in NS])
    score = np.array(lowest, dtype=np.float32).reshape(6, -1)
    assert found["best_of"] == pytest.approx([best_of(score, right, n) for n in NS])
    assert found["best_of"][0] == found["majority"][0] == found["blank"][0] == right.mean()
    assert found["solved"][-1] == (right.max(axis=1) > 0).mean()


def test_a_choice_among_n_by_hand() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5], [0.3, 0.2, 0.0, 0.1]])
    right = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert best_of(scores, right, 1) == 0.5
    assert best_of(scores, right, 2) == (0 + 0.5 + 0 + 1) / 4
    assert best_of(scores, right, 4) == 0.0
    given = np.array([["3", "3", "4", ""], ["1", "2", "2", "1"]])
    right = (given == np.array([["3"], ["2"]])).astype(float)
    assert majority_of(given, right, 4) == (1 + 0.5) / 2
    assert majority_of(given, right, 2) == (1 + 0 + 0.5 + 0.5) / 4
    beside_silence = majority_of(np.array([["3", ""]]), np.array([[1.0, 0.0]]), 2)
    assert beside_silence == 1.0, "an answer without a number does not vote"
    silent = np.array([["", ""]])
    assert majority_of(silent, np.zeros((1, 2)), 2) == 0.0
    for choose, values in ((best_of, scores), (majority_of, given)):
        with pytest.raises(ValueError, match="n: must divide the number of answers 4, got 3"):
            choose(values, right, 3)


def test_curves_are_sorted_by_aggregate() -> None:
    def run(value: float, seed: int) -> Run:
        records = [{"step": 0, "accuracy": 0.0}, {"step": 5, "accuracy": value}]
        return Run(ProcessConfig(seed=seed), records)

    names = ("outcome", "prm_sum", "exact_sum", "prm_mean", "exact_mean", "prm_min", "exact_min")
    runs = {name: [run(k + s / 10, s) for s in (1, 2)] for k, name in enumerate(names)}
    found = by_aggregate({**runs, "better_mean": runs["prm_mean"]}, "accuracy")
    assert list(found) == ["sum", "mean", "min"]
    assert list(found["sum"]) == ["exact steps", "noisy PRM", "outcome alone"]
    assert list(found["mean"]) == ["exact steps", "better PRM", "noisy PRM", "outcome alone"]
    for k, (how, label) in enumerate(
        [(h, j) for h in ("sum", "mean", "min") for j in ("noisy PRM", "exact steps")], 1
    ):
        np.testing.assert_allclose(found[how][label], [[0, k + 0.1], [0, k + 0.2]])
        np.testing.assert_allclose(found[how]["outcome alone"], [[0, 0.1], [0, 0.2]])


def test_belief_stands_beside_the_truth() -> None:
    records = [{"step": 0, "believed": 0.5, "steps_right": 0.4}]
    records += [{"step": 5, "believed": 0.9, "steps_right": None}]
    found = believed_and_true([Run(ProcessConfig(), records)])
    np.testing.assert_array_equal(found["believed by the PRM"], [[0.5, 0.9]])
    np.testing.assert_array_equal(found["true"], [[0.4, np.nan]])


def test_training_follows_the_judge(base) -> None:
    """Two runs that differ in the sign of the judge part ways, and nothing else moves the policy."""
    config = replace(ProcessConfig(**SMALL), rewards={"process": 1.0}, steps=1)
    ends = []
    for sign in (1.0, -1.0, 0.0):
        state = config.begin(
            load_policy("sums", "cpu"),
            rewards={
                "process": lambda a, s=sign: (
                    s * ProcessReward(ExactSteps(number_ids(base.tokenizer)), "sum")(a)
                )
            },
        )
        config.update(state, config.collect(state))
        ends.append(torch.cat([p.flatten() for p in state.policy.model.parameters()]))
    start = torch.cat([p.flatten() for p in base.model.parameters()])
    assert torch.equal(ends[2], start)
    up, down = ends[0] - start, ends[1] - start
    assert float(torch.nn.functional.cosine_similarity(up, down, dim=0)) < -0.9


def test_bad_settings_are_named() -> None:
    for changes, name in (
        ({"world": "codes", "max_new_tokens": 24}, "world: must be sums"),
        ({"judge": "none"}, "rewards: must be with the name 'process'"),
        ({"rewards": {"accuracy": 1.0}}, "rewards: must be with the name 'process'"),
        ({"aggregate": "max"}, "aggregate: must be one of sum, mean, min"),
        ({"label_chains": 0}, "label_chains: must be at least 1"),
        ({"fit_steps": 0}, "fit_steps: must be at least 1"),
        ({"label_flip": 1.2}, "label_flip: must be between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=name):
            ProcessConfig(**changes)


def test_the_reward_needs_its_function() -> None:
    with pytest.raises(ValueError, match="rewards: must be names of"):
        next(train(ProcessConfig(**SMALL)))
