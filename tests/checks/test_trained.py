"""The rules of an exercise that trains, its budget, and what it says of a run that misses the goal."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rlvr_lab.checks import train_cases, train_runs
from rlvr_lab.checks.calls import Mistake
from rlvr_lab.checks.train_runs import held_out
from rlvr_lab.checks.trained import Bar, BudgetSpent, Meter, TrainCheck, Trial
from rlvr_lab.tasks.task import Answers
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.ppo import PPOConfig

TINY = replace(PRESETS["grpo"], prompts_per_step=2, group_size=4, steps=3)


def grade(config: Any, state: Any, seen: set[str], seed: int) -> dict[str, float]:
    """Numbers that need no model."""
    return {"accuracy": 0.5, "KL": 0.1, "seen": float(len(seen))}


def tiny(**changes: Any) -> TrainCheck:
    """A check whose runs take one second at most."""
    given = {"bars": (Bar("accuracy", 0.4),), "budget": 10_000, "measure": grade, "seeds": 2}
    allowed = ("group_size", "prompts_per_step", "learning_rate")
    return TrainCheck("tiny", TINY, allowed, **(given | changes))


def chosen(**settings: Any) -> Callable[[], dict[str, Any]]:
    def my_run() -> dict[str, Any]:
        return settings

    return my_run


def said(check: TrainCheck, fn: Any, seed: int | None = 0) -> str:
    with pytest.raises(Mistake) as caught:
        check(fn, seed=seed)
    return str(caught.value)


# ------------------------------------------------------------------------------------------ the budget


def test_every_sampled_token_is_counted() -> None:
    trial = tiny().trial(chosen(), seed=4)
    assert trial.steps == 3
    assert trial.tokens == sum(record["tokens"] for record in trial.records)
    assert [record["spent"] for record in trial.records][-1] == trial.tokens
    assert trial.ended == "all its steps were made"


def test_a_batch_that_the_budget_does_not_cover_is_not_trained_on() -> None:
    first = tiny().trial(chosen(), seed=4).records[0]["tokens"]
    states = []

    def keep(config: Any, state: Any, seen: set[str], seed: int) -> dict[str, float]:
        states.append([x.clone() for x in state.policy.model.parameters()])
        return grade(config, state, seen, seed)

    short = tiny(budget=first + 1, measure=keep).trial(chosen(), seed=4)
    assert (short.steps, short.tokens, short.ended) == (1, first, "the budget was spent")
    none = tiny(budget=first - 1, measure=keep).trial(chosen(), seed=4)
    assert (none.steps, none.tokens) == (0, 0)
    untouched = [*TINY.begin().policy.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(states[1], untouched, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(states[0], untouched, strict=True))


def test_the_warm_up_of_a_critic_is_paid() -> None:
    config = PPOConfig(prompts_per_step=2, group_size=2, critic_warmup=2, steps=1)
    check = TrainCheck("ppo", config, (), (Bar("accuracy", 0.4),), 10_000, grade)
    trial = check.trial(chosen(), seed=1)
    assert trial.tokens > sum(record["tokens"] for record in trial.records) > 0


def test_prompts_are_paid_before_the_run() -> None:
    check = tiny(paid=lambda config: 100 * config.prompts_per_step, budget=1000)
    assert "1,000 of 1,000 tokens are paid before the run" in said(
        check, chosen(prompts_per_step=10)
    )
    free = tiny().trial(chosen(), seed=4)
    paid = tiny(paid=lambda config: 100 * config.prompts_per_step).trial(chosen(), seed=4)
    assert paid.tokens == free.tokens + 200


def test_a_meter_stops_before_the_reward_is_given() -> None:
    class Batch:
        completion_mask = torch.ones(2, 5, dtype=torch.bool)

    meter = Meter(lambda answers: torch.zeros(2), budget=19)
    meter(Batch())
    assert meter.tokens == 10
    with pytest.raises(BudgetSpent):
        meter(Batch())
    assert meter.tokens == 10


def test_measuring_is_free() -> None:
    def measure(config: Any, state: Any, seen: set[str], seed: int) -> dict[str, float]:
        answers, kl = held_out(config, state, seen, seed, problems=6, samples=2)
        state.rewards["accuracy"](answers)
        return {"accuracy": 0.5, "KL": kl}

    free = tiny(measure=measure).trial(chosen(), seed=4)
    assert free.tokens == tiny().trial(chosen(), seed=4).tokens


# ------------------------------------------------------------------------------------------ the seeds


def test_a_check_trains_fresh_seeds_that_no_trial_can_have() -> None:
    check = tiny()
    seeds: list[int] = []

    def run(config: Any, seed: int) -> Trial:
        seeds.append(seed)
        return Trial(seed, [{"step": 1}], 10, {"accuracy": 0.5}, "the budget was spent")

    object.__setattr__(check, "run", run)
    for seed in (1, 1, 2, None, None):
        check(chosen(), seed=seed)
    assert seeds[:2] == seeds[2:4] != seeds[4:6] != seeds[6:8] != seeds[8:]
    assert len(set(seeds)) == 8
    assert min(seeds) >= 1_000_000
    with pytest.raises(ValueError, match="between 0 and 999,999"):
        check.trial(chosen(), seed=min(seeds))


def test_equal_runs_are_made_once() -> None:
    check = tiny()
    assert check.trial(chosen(), seed=4) is check.trial(chosen(), seed=4)
    assert check.trial(chosen(), seed=4) is not check.trial(chosen(group_size=2), seed=4)
    again = tiny().trial(chosen(), seed=4)
    assert again.records[-1]["reward"] == check.trial(chosen(), seed=4).records[-1]["reward"]


def test_another_seed_is_another_run() -> None:
    check = tiny()
    one, other = check.trial(chosen(), seed=4), check.trial(chosen(), seed=5)
    assert one.records[0]["tokens"] != other.records[0]["tokens"]


def test_the_kl_of_held_out_answers_is_that_from_the_policy_to_its_base() -> None:
    """log π − log π_base of the policy's own answers: 0 at the start, positive far away."""
    state = TINY.begin()
    assert held_out(TINY, state, set(), 0, problems=8, samples=4)[1] == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        for weight in state.policy.model.parameters():
            weight.mul_(1.3)
    assert held_out(TINY, state, set(), 0, problems=8, samples=4)[1] > 0.1


def test_held_out_problems_were_not_trained_on() -> None:
    asked: list[set[str]] = []

    def measure(config: Any, state: Any, seen: set[str], seed: int) -> dict[str, float]:
        answers, _ = held_out(config, state, seen, seed, problems=8, samples=1)
        every, _ = held_out(config, state, set(), seed, problems=8, samples=1)
        first = every.problems[0].prompt
        less, _ = held_out(config, state, {first}, seed, problems=8, samples=1)
        asked.extend({p.prompt for p in x.problems} for x in (answers, every, less))
        assert isinstance(answers, Answers)
        assert seen
        return {"accuracy": 0.5, "first": float(first in asked[-1])}

    tiny(measure=measure).trial(chosen(), seed=4)
    assert len(asked[1]) == len(asked[2]) + 1


# ------------------------------------------------------------------------------------------- the goal


def trial(accuracy: float, **more: Any) -> Trial:
    records = [{"step": k, "pass_rate": r} for k, r in enumerate((0.2, 0.9, accuracy), start=1)]
    given = {"records": records, "tokens": 900, "ended": "the budget was spent"} | more
    return Trial(7, numbers={"accuracy": accuracy, "KL": 1.0, "length": 9.0}, **given)


def judged(check: TrainCheck, *trials: Trial) -> str:
    with pytest.raises(Mistake) as caught:
        check.judge("my_run", check.config, list(trials))
    return str(caught.value)


def test_every_seed_has_to_reach_every_bar() -> None:
    check = tiny(bars=(Bar("accuracy", 0.5), Bar("length", 9.0, least=False)))
    check.judge("my_run", check.config, [trial(0.5), trial(0.6)])
    message = judged(check, trial(0.6), trial(0.49))
    assert "missed on 1 of 2 seeds" in message
    assert "accuracy ≥ 0.5 and length ≤ 9" in message
    assert "accuracy 0.6, length 9 after 3 steps and 900 tokens" in message
    assert "accuracy 0.49, length 9" in message
    judged(replace(check, bars=(Bar("length", 8.9, least=False),)), trial(0.6))


def test_a_near_miss_is_told_to_be_close() -> None:
    check = tiny(bars=(Bar("accuracy", 0.5),))
    near = judged(check, trial(0.6), trial(0.49))
    assert "That is close" in near
    assert "leave a margin" in near
    for far in ((0.6, 0.47), (0.49, 0.495), (0.47, 0.49)):  # too far, or no seed passes
        assert "That is close" not in judged(check, *map(trial, far))
    both = replace(check, bars=(Bar("accuracy", 0.5), Bar("length", 8.0, least=False)))
    assert "That is close" not in judged(both, trial(0.6), trial(0.49))
    wide = replace(check, bars=(Bar("accuracy", 0.5, close=0.1),))
    assert "That is close" in judged(wide, trial(0.6), trial(0.45))


def test_a_bar_may_judge_the_mean_over_the_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    check = tiny(bars=(Bar("accuracy", 0.5, mean=True),), seeds=3)
    check.judge("my_run", check.config, [trial(0.2), trial(0.6), trial(0.71)])
    message = judged(check, trial(0.2), trial(0.6), trial(0.64))
    assert "the goal is missed. Goal: mean accuracy ≥ 0.5.\n  accuracy 0.2 after" in message
    assert "\n  mean accuracy 0.480\n" in message
    assert "That is close" not in message
    assert "That is close" in judged(check, trial(0.6), trial(0.3), trial(0.58))
    assert "That is close" in judged(check, trial(0.49), trial(0.49), trial(0.49))
    check(chosen(), seed=0)
    assert capsys.readouterr().out == "✓ tiny: accuracy 0.5, 0.5, 0.5; mean 0.5 (3 fresh seeds)\n"
    length = replace(check, bars=(Bar("length", 9.0, least=False, mean=True),))
    length.judge("my_run", check.config, [trial(0.2), trial(0.3)])
    assert "Goal: mean length ≤ 8.9" in judged(
        replace(check, bars=(Bar("length", 8.9, least=False, mean=True),)), trial(0.6)
    )


def test_only_words_that_may_be_chosen_are_named() -> None:
    message = said(train_runs.check_gold_train, chosen(optimiser="reinforce"))
    assert "optimiser must be 'ppo' or 'grpo' here, got 'reinforce'" in message
    assert "optimum" not in message


def test_advice_goes_by_the_numbers_of_the_run() -> None:
    check = train_runs.check_grpo_train
    assert "still rising" in judged(check, trial(0.8))
    unstable = [{"step": k, "pass_rate": 0.9 if k < 30 else 0.5} for k in range(1, 41)]
    assert "better in between" in judged(check, trial(0.5, records=unstable))
    assert "hardly better than the base" in judged(check, trial(0.2))
    steady = [{"step": k, "pass_rate": 0.8} for k in range(1, 41)]
    assert "not used" in judged(check, trial(0.8, records=steady, ended="all its steps were made"))
    assert "spent tokens" in judged(check, trial(0.8, records=steady))
    assert "Not a single update" in judged(check, trial(0.2, records=[]))
    assert "critic's warm-up" in judged(train_runs.check_ppo_train, trial(0.5, records=steady))


@pytest.mark.parametrize("found", [0.05, 0.2, 0.6, 0.82])
def test_advice_of_every_check_reads_every_trial(found: float) -> None:
    records = [{"step": 1, "pass_rate": 0.99, "gold": found + 1}]
    numbers = {"accuracy": found, "gold": found, "in words": found, "mixed": 1 - found}
    one = Trial(7, records, 900, numbers | {"KL": 3.0, "length": 14.0}, "the budget was spent")
    for module in (train_runs, train_cases):
        for name in module.__all__:
            check = getattr(module, name)
            if isinstance(check, TrainCheck):
                message = judged(check, *[one] * check.seeds)
                assert len(message) < 480, name
                assert not message.endswith("spent."), name


def test_success_is_told_with_the_numbers_of_each_seed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny()(chosen(), seed=0)
    assert capsys.readouterr().out == "✓ tiny: accuracy 0.5, 0.5 (2 fresh seeds)\n"


# ------------------------------------------------------------------------------------------ the rules


def test_nothing_is_trained_when_a_rule_is_broken() -> None:
    def never(config: Any, seed: int) -> Any:
        raise AssertionError("trained")

    check = tiny(base=never)
    assert "'steps' may not be set here. You may set: group_size" in said(check, chosen(steps=9))
    assert "must be of type float, got True" in said(check, chosen(learning_rate=True))
    assert "configuration refuses this. learning_rate" in said(check, chosen(learning_rate=-1))
    large = chosen(prompts_per_step=64, group_size=32)
    assert "2,048 answers per step; at most 1,024 are allowed" in said(check, large)
    with pytest.raises(AssertionError, match="trained"):
        check(chosen(group_size=2), seed=0)


def test_whole_numbers_and_numbers_of_numpy_are_taken() -> None:
    check = tiny()
    assert check.configuration(chosen(learning_rate=1)).learning_rate == 1
    numpy = torch.tensor([5, 3]).numpy()
    assert check.configuration(chosen(group_size=numpy[0])).group_size == 5


def test_a_run_that_breaks_is_told() -> None:
    message = said(tiny(), chosen(learning_rate=1e30))
    assert "training broke" in message or "Goal" in message


def test_a_trial_is_read_as_a_line() -> None:
    assert str(trial(0.5)) == "seed 7: accuracy 0.5, KL 1, length 9; 3 steps, 900 tokens"
