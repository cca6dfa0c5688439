"""The run doctor: every sick run is named, no healthy one is, and every rule says what it needs.

Thresholds were set on seeds 1 and 2 of ``sick.json``, on seeds 1, 2, 4 and 5 of the museum, and so that the healthy
recordings of the course pass. Tested here are the other seeds of both, which set none.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

import pytest

from rlvr_lab.experiments.doctor_trials import trials
from rlvr_lab.experiments.museum import VARIANTS as MUSEUM
from rlvr_lab.experiments.sick_runs import (
    CASES,
    MUSEUM_CASES,
    MUSEUM_THRESHOLDS,
    TESTED,
    THRESHOLDS,
    VARIANTS,
)
from rlvr_lab.policy.data import data_folder
from rlvr_lab.records.doctor import RULES, diagnose, illnesses
from rlvr_lab.records.doctor_log import RunLog
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training.policy_gradient import PRESETS

RUNS = data_folder() / "runs"
BY_NAME = {rule.name: rule for rule in RULES}
ILLNESSES = [rule.name for rule in RULES if rule.severity == "illness"]
NOT_RECORDED = {"numbers not finite"}
"""Our trainer refuses such numbers; ``test_foreign_logs`` has a run of TRL with them."""


@cache
def runs_in(name: str) -> tuple[Run, ...]:
    return tuple(Recording.load(RUNS / f"{name}.json").runs)


def variant_of(run: Run, variants: dict[str, Any]) -> str:
    return next(n for n, c in variants.items() if replace(run.config, seed=c.seed) == c)


def named(run: Run) -> list[str]:
    return [finding.rule for finding in illnesses(diagnose(run))]


@cache
def found() -> dict[str, dict[int, list[str]]]:
    """Variant → seed → illnesses, of the tested seeds of both recordings."""
    table: dict[str, dict[int, list[str]]] = {}
    for run in runs_in("sick"):
        if run.config.seed in TESTED:
            name = variant_of(run, VARIANTS)
            table.setdefault(name, {})[run.config.seed] = named(run)
    for run in (*runs_in("museum"), *runs_in("sick_museum")):
        if run.config.seed not in MUSEUM_THRESHOLDS:
            name = f"museum: {variant_of(run, MUSEUM)}"
            table.setdefault(name, {})[run.config.seed] = named(run)
    return table


EXPECTED = {name: case.rule for name, case in CASES.items()} | {
    f"museum: exhibit {number}": rule for number, rule in MUSEUM_CASES.items()
}


# ------------------------------------------------------------------------------------------ sick and healthy


def test_the_seeds_that_test_did_not_set_the_thresholds() -> None:
    assert not set(THRESHOLDS) & set(TESTED)
    assert {run.config.seed for run in runs_in("sick")} == {*THRESHOLDS, *TESTED}
    assert not {run.config.seed for run in runs_in("sick_museum")} & {1, 2, 3}
    assert {run.config.seed for run in runs_in("sick_museum")} > {4, 5}


@pytest.mark.parametrize("variant", EXPECTED)
def test_a_sick_run_is_named_with_every_seed(variant: str) -> None:
    seeds = found()[variant]
    assert len(seeds) >= 3
    missed = {seed: names for seed, names in seeds.items() if EXPECTED[variant] not in names}
    assert len(missed) <= MISSED.get(variant, 0), missed


MISSED: dict[str, int] = {"no clip": 1, "museum: exhibit 13": 1}
"""Variant → tested seeds with which its rule is silent."""


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("healthy")])
def test_a_healthy_neighbour_is_left_alone(variant: str) -> None:
    assert set(map(tuple, found()[variant].values())) == {()}


@pytest.mark.parametrize("variant", ["healthy", "healthy, with a KL", "exhibit 6"])
def test_a_healthy_exhibit_is_left_alone(variant: str) -> None:
    assert set(map(tuple, found()[f"museum: {variant}"].values())) == {()}


def test_no_trial_is_counted_twice() -> None:
    """The museum's healthy run is trained as that of ``sick``: with one seed they are one run."""
    kept = trials()
    assert len({(one.variant, one.run.config.seed) for one in kept}) == len(kept)
    lengths = [
        tuple(float(f"{record['length']:.3g}") for record in one.run.records)
        for one in kept
        if one.rule is None
    ]
    assert len(set(lengths)) == len(lengths) == 19


def test_every_illness_has_a_recorded_run() -> None:
    assert {*EXPECTED.values(), *NOT_RECORDED} == set(ILLNESSES)


def test_the_study_records_what_the_cases_say() -> None:
    kept = [(variant_of(run, VARIANTS), run.config.seed) for run in runs_in("sick")]
    assert kept == [(name, seed) for seed in (*THRESHOLDS, *TESTED) for name in VARIANTS]
    for case in CASES.values():
        assert case.healthy in VARIANTS and case.rule in ILLNESSES


# ------------------------------------------------------------------------------------------ false alarms


class Sick(NamedTuple):
    """Runs of the course that are sick on purpose, or by the setting that they show."""

    file: str
    which: Callable[[Run], bool]
    rules: set[str]
    why: str


def world(run: Run, key: str) -> Any:
    return run.config.world_options.get(key)


ON_PURPOSE = [
    Sick(
        "lab_sequence_*",
        lambda run: run.config.average == "sequence",
        {"incorrect answers grow"},
        "1/|o| with nothing else that decides the length: notebook 07 shows this very growth",
    ),
    Sick(
        "lab_adam_*",
        lambda run: run.config.optimizer == "adamw",
        {
            "answers no longer stop",
            "moves without learning",
            "incorrect answers grow",
            "length collapse",
        },
        "Adam turns a vanishing gradient into a random walk of the length: notebook 07",
    ),
    Sick(
        "live/biases",
        lambda run: run.config.world == "lab" and run.config.average == "sequence",
        {"incorrect answers grow"},
        "as in lab_sequence",
    ),
    Sick(
        "live/grpo",
        lambda run: run.config.group_size == 2,
        {"groups of two", "length collapse"},
        "pairs: nearly half of the groups are silent from the start; one run of five falls back to guessing",
    ),
    Sick(
        "live/policy_gradient",
        lambda run: run.config.baseline == "none" and run.config.prompts_per_step == 2,
        {"policy destroyed"},
        "32 answers per step without a baseline: one run of five falls from a pass rate of 0.41 to 0.05",
    ),
    Sick(
        "live/ppo",
        lambda run: run.config.gamma == 0.8,
        {"length collapse", "value model dead"},
        "γ = 0.8 pays for short answers: the policy guesses (pass rate 0.13)",
    ),
    Sick(
        "live/ppo",
        lambda run: run.config.whiten_rewards,
        {"length collapse"},
        "whitened rewards tax each token: two runs of five stop thinking",
    ),
    Sick(
        "live/ppo",
        lambda run: run.config.lam == 0.0,
        {"value model dead"},
        "λ = 0 trusts a critic that explains 5 %: a run of five ends at a pass rate of 0.11",
    ),
    Sick(
        "ppo_critics",
        lambda run: run.config.critic == "linear",
        {"value model dead"},
        "a linear critic without warm-up: its explained variance is near 0 in the first ten steps",
    ),
    Sick(
        "grpo_kl",
        lambda run: run.config.kl_coef == 1.0,
        {"KL weight too high"},
        "β = 1 with k3 keeps the policy at the reference: notebook 06",
    ),
    Sick(
        "grpo_kl",
        lambda run: run.config.learning_rate == 1e-3 and run.config.updates_per_batch == 4,
        {"policy destroyed", "learning rate too high", "entropy collapse"},
        "a high learning rate with four passes, most of them without the clip: notebook 06",
    ),
    Sick(
        "overoptimisation/**/*",
        lambda run: True,
        {"reward hacked"},
        "a learned reward that is optimised until the gold reward falls: notebook 02",
    ),
    Sick(
        "stale",
        lambda run: run.config.lag == 8 and run.config.learning_rate == 1e-3,
        {"updates too large"},
        "answers of a policy that is eight fast steps old: the clip acts on 22 % of the tokens at once",
    ),
    Sick("live/overoptimisation", lambda run: True, {"reward hacked"}, "as in overoptimisation"),
    Sick(
        "sums_ppo_model_*",
        lambda run: run.config.rewards.get("model", 0) > 0,
        {"reward hacked"},
        "a small reward model's score: notebook 05",
    ),
    Sick(
        "r1/hacked_verifier",
        lambda run: run.config.lists > 0 and "any_equals" in run.config.rewards,
        {"answers cut off", "answers no longer stop"},
        "a verifier that pays a list of digits: answers become lists as long as the limit",
    ),
    Sick(
        "r1/tax",
        lambda run: run.config.rewards.get("tags", 0) < 0,
        {"length collapse", "reward hacked"},
        "a tax on thinking: the policy guesses",
    ),
    Sick(
        "r1/zero",
        lambda run: "accuracy" not in run.config.rewards or bool(world(run, "hidden_answer")),
        {"length collapse", "reward hacked"},
        "controls in which no thinking can pay: form alone, and answers that no sum gives",
    ),
]
"""Everything that the doctor may name in the course's recordings, and why it is sick."""

WALKED = sorted(
    path.relative_to(RUNS).with_suffix("").as_posix()
    for path in RUNS.rglob("*.json")
    if path.stem not in ("museum", "sick", "sick_museum")
)


@cache
def alarms() -> list[tuple[str, Run, str]]:
    return [(file, run, rule) for file in WALKED for run in runs_in(file) for rule in named(run)]


def meant(file: str, run: Run, rule: str) -> list[int]:
    """The places in ``ON_PURPOSE`` that cover an alarm."""
    paths = {one.file: sorted(RUNS.glob(f"{one.file}.json")) for one in ON_PURPOSE}
    return [
        i
        for i, one in enumerate(ON_PURPOSE)
        if RUNS / f"{file}.json" in paths[one.file] and rule in one.rules and one.which(run)
    ]


def test_no_healthy_recording_of_the_course_is_called_ill() -> None:
    assert sum(len(runs_in(file)) for file in WALKED) > 2000
    false = [
        (file, run.config.seed, rule) for file, run, rule in alarms() if not meant(file, run, rule)
    ]
    assert false == []


def test_the_list_of_exceptions_has_no_dead_entries() -> None:
    used = Counter((i, rule) for file, run, rule in alarms() for i in meant(file, run, rule))
    here = [(i, one) for i, one in enumerate(ON_PURPOSE) if list(RUNS.glob(f"{one.file}.json"))]
    dead = [(one.file, rule) for i, one in here for rule in one.rules if not used[i, rule]]
    assert dead == []


DEFAULTS = {
    "live/grpo": lambda run: run.config.group_size == 16 and run.config.temperature == 1,
    "live/ppo": lambda run: (
        replace(run.config, seed=0) == replace(runs_in("live/ppo")[0].config, seed=0)
    ),
    "live/policy_gradient": lambda run: run.config.prompts_per_step == 4,
    "live/recap": lambda run: True,
    "sums_grpo_seed0": lambda run: True,
    "sums_dr-grpo_seed0": lambda run: True,
}


@pytest.mark.parametrize("file", DEFAULTS)
def test_the_doctor_is_quiet_all_through_a_healthy_live_run(file: str) -> None:
    for run in filter(DEFAULTS[file], runs_in(file)):
        for end in range(1, len(run.records) + 1):
            said = illnesses(diagnose(run.records[:end], run.config))
            assert said == [], (run.config.seed, end)


# ------------------------------------------------------------------------------------------ rules


def run_of(rule: str) -> Run:
    """A recorded run in which the doctor finds ``rule``."""
    for run in (
        *runs_in("sick"),
        *runs_in("museum"),
        *runs_in("sums_grpo_seed0"),
        *runs_in("live/grpo"),
    ):
        if rule in [finding.rule for finding in diagnose(run)]:
            return run
    raise AssertionError(f"no recorded run shows {rule}")


@pytest.mark.parametrize("name", [n for n in BY_NAME if BY_NAME[n].reads and n not in NOT_RECORDED])
def test_a_rule_is_silent_without_a_metric_that_it_reads(name: str) -> None:
    run, rule = run_of(name), BY_NAME[name]
    assert rule(RunLog(run.records, run.config.settings())) is not None
    for metric in rule.reads:
        lost = {"kl_token": ("kl",)}.get(metric, (metric,))
        records = [{k: v for k, v in record.items() if k not in lost} for record in run.records]
        assert rule(RunLog(records, run.config.settings())) is None, metric


@pytest.mark.parametrize("name", [n for n in BY_NAME if n not in NOT_RECORDED])
def test_a_finding_names_numbers_steps_remedy_and_source(name: str) -> None:
    run = run_of(name)
    finding = next(one for one in diagnose(run) if one.rule == name)
    assert any(letter.isdigit() for letter in finding.evidence) and "nan" not in finding.evidence
    assert finding.remedy.endswith(".") and not finding.evidence.endswith(".")
    assert finding.source and BY_NAME[name].why.endswith(".")
    assert finding.severity == BY_NAME[name].severity


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_waits_for_its_records(rule) -> None:
    for end in range(rule.least):
        steps = [{"step": k, **dict.fromkeys(rule.reads, 0.0)} for k in range(1, end + 1)]
        assert rule(RunLog(steps)) is None


def test_names_are_unique_and_explanations_exist() -> None:
    assert len(BY_NAME) == len(RULES) and len(ILLNESSES) >= 15
    for rule in RULES:
        assert rule.name not in rule.explained_by
        assert set(rule.explained_by) <= set(ILLNESSES), rule.name
    # In a circle each would explain the other away, and nothing would be named.
    TopologicalSorter({rule.name: rule.explained_by for rule in RULES}).prepare()


def test_a_finding_that_another_explains_is_left_out() -> None:
    """A policy that learns to guess, as its chains are cut off, also ends with silent groups."""
    symptom = BY_NAME["form without content"]
    run = next(r for r in runs_in("museum") if r.config.max_new_tokens == 8)
    assert [one.rule for one in diagnose(run, rules=[symptom])] == [symptom.name]
    assert "answers cut off" in symptom.explained_by
    assert symptom.name not in [one.rule for one in diagnose(run)]


def test_illnesses_come_before_notes() -> None:
    severities = [one.severity for one in diagnose(run_of("groups of two"))]
    assert severities == sorted(severities)
    mixed = diagnose(run_of("policy does not move"))
    assert [one.severity for one in mixed] == ["illness"] * 1 + ["note"] * (len(mixed) - 1)


def test_the_notes_of_one_update_per_batch() -> None:
    """What beginners take for an illness: a clip that never acts, and a loss of 0."""
    (run,) = runs_in("sums_grpo_seed0")
    assert illnesses(diagnose(run)) == []
    assert {one.rule for one in diagnose(run)} >= {"clip never acts", "loss near zero"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_found_at_its_step(value: float) -> None:
    records = [{"step": k, "loss": 0.1, "kl": None} for k in range(1, 6)]
    assert diagnose(records) == []
    records[3]["loss"] = value
    (finding,) = diagnose(records)
    assert finding.rule == "numbers not finite" and "loss" in finding.evidence
    assert finding.evidence.endswith("at step 4")


def test_settings_come_from_the_run_a_configuration_or_names() -> None:
    records = [{"step": k, "zero_spread": 0.6, "pass_rate": 0.3 + 0.02 * k} for k in range(1, 9)]
    pairs = replace(PRESETS["grpo"], group_size=2)
    for given in (pairs, {"group_size": 2}, pairs.settings()):
        assert [one.rule for one in illnesses(diagnose(records, given))] == ["groups of two"]
    assert [one.rule for one in illnesses(diagnose(Run(pairs, records)))] == ["groups of two"]
    assert illnesses(diagnose(records)) == []


def test_an_empty_run_is_no_news_and_a_record_without_step_is_refused() -> None:
    assert diagnose([]) == []
    with pytest.raises(ValueError, match="records: each record needs a step"):
        diagnose([{"loss": 1.0}])
    for step in (None, math.nan, "one"):
        with pytest.raises(ValueError, match="records: each record needs a step, a number"):
            diagnose([{"step": step, "loss": 1.0}])


@pytest.mark.parametrize("lost", [slice(0, 20), slice(20, 40)], ids=["first half", "last half"])
@pytest.mark.parametrize("metric", ["truncated", "clip_fraction", "pass_rate", "entropy", "kl"])
def test_a_metric_that_is_unknown_at_one_end_is_no_illness(metric: str, lost: slice) -> None:
    """A comparison with NaN is False, which is what a rule that looks for the healthy case first takes for ill."""
    (run,) = runs_in("sums_grpo_seed0")
    records = [dict(record) for record in run.records]
    for record in records[lost]:
        record[metric] = None
    assert illnesses(diagnose(records, run.config)) == []
    assert not any("nan" in finding.evidence for finding in diagnose(records, run.config))


def test_a_policy_that_learns_at_a_small_kl_does_move() -> None:
    """A model with billions of weights gains at a KL that is nothing to a tiny one."""
    flat = [
        {"step": k, "kl_token": 1e-5 * k, "grad_norm": 0.1, "reward": 0.3 + 0.01 * (k % 3)}
        for k in range(1, 41)
    ]
    assert [one.rule for one in illnesses(diagnose(flat))] == ["policy does not move"]
    rising = [{**record, "reward": record["reward"] + 0.004 * record["step"]} for record in flat]
    assert illnesses(diagnose(rising)) == []


# ------------------------------------------------------------------------------------------ logs made up


def test_a_late_jump_of_the_kl_is_no_high_learning_rate() -> None:
    """No recorded run jumps late and is otherwise sound."""
    rule = BY_NAME["learning rate too high"]
    early, late = (
        [{"step": k, "kl_token": 2.0 * (k == at)} for k in range(1, 21)] for at in (4, 15)
    )
    assert rule(RunLog(early)) is not None and rule(RunLog(late)) is None


def test_without_an_accuracy_a_rare_reward_is_seen_by_the_reward() -> None:
    records = [{"step": k, "zero_spread": 0.9, "reward": 0.01} for k in range(1, 21)]
    assert "reward too rare" in [one.rule for one in diagnose(records)]
    for record in records:
        record["reward"] = 0.5
    assert "reward too rare" not in [one.rule for one in diagnose(records)]


@pytest.mark.parametrize("meant", ["accuracy", "pass_rate"])
def test_either_accuracy_shows_a_hacked_reward(meant: str) -> None:
    up = [0.02 * k + 0.001 * (k % 2) for k in range(30)]
    down = [0.5 + 0.001 * (k % 2) - 0.02 * max(0, k - 10) for k in range(30)]
    records = [{"step": k + 1, "reward": up[k], meant: down[k]} for k in range(30)]
    assert [one.rule for one in illnesses(diagnose(records))] == ["reward hacked"]
    still = [{**record, "reward": 0.3 + 0.001 * (k % 2)} for k, record in enumerate(records)]
    assert illnesses(diagnose(still)) == []


# ------------------------------------------------------------------------------------------ the log


def test_the_windows_of_a_log_are_the_means_they_say() -> None:
    log = RunLog([{"step": k, "x": float(k)} for k in range(1, 31)])
    assert log.window == 6
    assert log.first("x") == 2 and log.early("x") == 3.5 and log.late("x") == 27.5
    assert log.best("x") == 27.5 and RunLog(log.records[::-1]).best("x") == 27.5
    assert log.noise("x") == pytest.approx(math.sqrt(1 / 2))
    # Last third minus first third, 20, over the standard error of a difference of two means of ten.
    assert log.rise("x") == pytest.approx(20 / (math.sqrt(1 / 2) * math.sqrt(2 / 10)))
    assert log.span(True) == "steps 1 to 6" and log.change("x").startswith(
        "3.5 (steps 1 to 6) → 27.5"
    )


def test_unknown_values_are_left_out_of_every_mean() -> None:
    log = RunLog([{"step": k, "x": None if k % 2 else 2.0, "y": "text"} for k in range(1, 13)])
    assert log.has("x") and not log.has("y") and not log.has("z")
    assert log.first("x") == log.early("x") == log.late("x") == log.best("x") == 2
    assert log.rise("x") == 0


def test_a_constant_metric_has_no_noise_and_a_jump_of_it_is_infinite() -> None:
    flat = RunLog([{"step": k, "reward": 1.0} for k in range(1, 13)])
    assert flat.rise("reward") == 0 and not flat.learned
    up = RunLog([{"step": k, "reward": float(k > 6)} for k in range(1, 13)])
    assert up.learned and up.rise("reward") > 4
