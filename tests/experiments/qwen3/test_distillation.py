"""Pupils: each step learns from what its stage says, everything is counted, and the teacher is the right one."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.qwen3 import distillation
from rlvr_lab.experiments.qwen3.distillation import (
    STUDY,
    VARIANTS,
    Classroom,
    PupilConfig,
    measure,
    pass_curve,
)
from rlvr_lab.experiments.r1 import distillation as r1
from rlvr_lab.experiments.r1.costs import costs
from rlvr_lab.experiments.r1.distillation import TEACHER, StudentConfig, working_weights
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.words import CODE_WORDS, word_tokenizer
from rlvr_lab.records.runs import Run
from rlvr_lab.training.distillation import Traces, epoch_batch
from rlvr_lab.training.loop import train
from rlvr_lab.training.on_policy_distillation import distillation_step, kl_to_teacher
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.rollouts import collect
from rlvr_lab.training.supervised import supervised_step

SMALL = {"every": 1, "test_problems": 4, "test_samples": 2, "many_samples": 3, "seed": 5}
SMALL |= {"prompts_per_step": 3, "group_size": 2, "batch_size": 2, "device": "cpu", "table": 5}
PROMPT = "7+5+8,3+4+1,9+2+2?"
TRACES = Traces(
    [(PROMPT, "<think>720,378,913</think>=083"), (PROMPT, "=083"), (PROMPT, "=1")], 10, 70, 180
)


def tiny(seed: int = 0, hidden: int = 16):
    return new_policy(word_tokenizer(CODE_WORDS), seed, hidden, 1, device="cpu")


def weights(policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in policy.model.parameters()])


def begun(config: PupilConfig):
    teacher = tiny(1, 32)
    given = {"traces": TRACES, "source": teacher} if config.reads_traces else {}
    return config.begin(tiny(), teacher=teacher, **given), teacher


@pytest.mark.parametrize("form", ["full", "sampled"])
def test_on_policy_steps_are_those_of_the_named_form_and_are_counted(form: str) -> None:
    config = PupilConfig(**SMALL, steps=2, learns_from=form, learning_rate=2e-3, temperature=0.8)
    config = replace(config, max_grad_norm=0.05)
    (state, teacher), mine = begun(config), tiny()
    records = list(train(config, state=state))
    n, m = working_weights(mine), working_weights(teacher)
    optimizer, spent = adamw(trained(mine.model), 2e-3), np.zeros(3)
    by_hand = config.begin(mine, teacher=teacher)
    for record in records[1:]:
        batch = collect(config, by_hand).batch
        distillation_step(mine, teacher, batch, optimizer, form, 0.8, 0.05)
        by_hand.step += 1
        drawn = int(batch.lengths.sum())
        read = drawn + 6 * 12
        spent += [drawn, n * (2 * (3 * 12 + drawn) + 6 * read), 2 * m * read]
        names = ("student_tokens", "flops", "teacher_flops")
        assert [record[name] for name in names] == pytest.approx(spent.tolist())
        assert record["trained_tokens"] == record["sampled_tokens"] == spent[0]
        assert record["cpu_seconds"] > 0
    assert torch.equal(weights(state.policy), weights(mine))
    assert not torch.equal(weights(mine), weights(tiny()))
    assert records[0]["student_tokens"] == records[0]["flops"] == 0


def test_the_warm_up_reads_traces_and_then_the_optimiser_starts_anew() -> None:
    config = PupilConfig(**SMALL, steps=3, warm_up=2, warm_up_rate=3e-3, learning_rate=2e-3)
    (state, teacher), mine = begun(config), tiny()
    *_, before, last = list(train(config, state=state))
    optimizer, tokens = adamw(trained(mine.model), 3e-3), 0
    for step in range(2):
        pairs = [TRACES.pairs[row] for row in epoch_batch(3, step, 2, 5)]
        tokens += supervised_step(mine, pairs, optimizer).trained
    assert before["student_tokens"] == before["trained_tokens"] == tokens
    assert before["sampled_tokens"] == 0
    assert before["teacher_flops"] == pytest.approx(2 * working_weights(teacher) * 250)
    by_hand = config.begin(mine, teacher=teacher, traces=TRACES, source=teacher)
    by_hand.step = 2
    batch = collect(config, by_hand).batch
    distillation_step(mine, teacher, batch, adamw(trained(mine.model), 2e-3), "full")
    torch.testing.assert_close(weights(state.policy), weights(mine), atol=1e-6, rtol=0)
    assert last["student_tokens"] == tokens + int(batch.lengths.sum())


@pytest.mark.parametrize("source", ["teacher", "reward"])
def test_the_others_learn_as_the_students_of_notebook_08(source: str) -> None:
    names = set(SMALL) - {"many_samples"}
    plain = StudentConfig(**{k: SMALL[k] for k in names}, steps=2, learns_from=source)
    config = PupilConfig(**SMALL, steps=2, learns_from=source)
    state, _ = begun(config)
    given = {"traces": TRACES, "source": tiny(1, 32)} if source == "teacher" else {}
    other = plain.begin(tiny(), **given)
    records, expected = list(train(config, state=state)), list(train(plain, state=other))
    assert torch.equal(weights(state.policy), weights(other.policy))
    for record, one in zip(records, expected, strict=True):
        for key in ("accuracy", "trained_tokens", "sampled_tokens", "flops", "teacher_flops"):
            assert record[key] == one[key]
        taken = "trained_tokens" if source == "teacher" else "sampled_tokens"
        assert record["student_tokens"] == one[taken]
    assert records[-1]["student_tokens"] > 0


def test_rl_after_the_warm_up_is_grpo() -> None:
    config = PupilConfig(**SMALL, steps=2, warm_up=1, learns_from="reward")
    assert config.stage(0).learns_from == "teacher" and config.stage(1) is config
    assert config.stage(0).learning_rate == config.warm_up_rate == 1e-3
    state, _ = begun(config)
    records = list(train(config, state=state))
    assert records[1]["sampled_tokens"] == 0 < records[2]["sampled_tokens"]
    assert (
        records[2]["student_tokens"]
        == records[1]["trained_tokens"] + (records[2]["sampled_tokens"])
    )


def test_the_test_measures_the_distance_and_counts_many_answers() -> None:
    config = PupilConfig(**SMALL, steps=3, warm_up=1)
    state, teacher = begun(config)
    records = list(train(config, state=state))
    assert [record["many_correct"] is None for record in records] == [False, False, True, False]
    assert all(len(r["many_correct"]) == 4 for r in records if r["many_correct"] is not None)
    batch = config.test_answers(state).batch.groups([0])
    expected = kl_to_teacher(state.policy, teacher, batch)
    assert records[-1]["kl_to_teacher"] == pytest.approx(expected)


def test_the_distance_is_that_on_every_fourth_problem_at_the_temperature_of_the_run() -> None:
    config = PupilConfig(**SMALL | {"test_problems": 8}, steps=3, temperature=0.8)
    state, teacher = begun(config)
    batch = config.test_answers(state).batch.groups([0, 4])
    expected = kl_to_teacher(state.policy, teacher, batch, 0.8)
    assert config.test(state)["kl_to_teacher"] == pytest.approx(expected, rel=1e-6)


def test_many_answers_are_counted_by_problem(monkeypatch) -> None:
    config = PupilConfig(**SMALL, steps=3, temperature=0.8)
    state, _ = begun(config)
    seen: list = []

    class Drawn:
        texts = ["a"] * 12
        truncated = torch.arange(12) % 5 == 0

    def sampled(policy, prompts, size, limit, generator, temperature):
        seen.append((prompts, size, limit, generator.initial_seed(), temperature))
        return Drawn()

    class Graded:
        def __init__(self, correct: bool) -> None:
            self.correct = correct

    rights = [1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 1, 0]
    monkeypatch.setattr(distillation, "sample", sampled)

    def graded(task, problems, texts, truncated):
        assert problems == config.test_questions(state)
        assert [row for row, cut in enumerate(truncated) if cut] == [0, 5, 10]
        return [Graded(bool(x)) for x in rights]

    monkeypatch.setattr(distillation, "grade", graded)
    state.step = 3
    assert config.many(state) == [3, 0, 1, 2]
    asked = [problem.prompt for problem in config.test_questions(state)]
    assert seen == [(asked, 3, 24, 7003, 0.8)] and len(asked) == 4
    run = Run(
        config, [{"step": 3, "many_correct": [3, 0, 1, 2]}, {"step": 4, "many_correct": None}]
    )
    assert pass_curve(run, 3, [1, 2, 3]) == pytest.approx([0.5, (1 + 0 + 2 / 3 + 1) / 4, 0.75])
    with pytest.raises(ValueError, match="step: there are no 3 answers at step 4"):
        pass_curve(run, 4, [1])


def test_a_seed_has_one_teacher_and_its_traces_are_sampled_once(monkeypatch) -> None:
    bases = {"teacher": tiny(1, 32), "chaining": tiny(2), "guessing": tiny(3)}
    asked: list = []

    def base(name: str, seed: int):
        asked.append((name, seed))
        copy = tiny(0, bases[name].model.config.hidden_size)
        copy.model.load_state_dict(bases[name].model.state_dict())
        return copy

    sampled: list = []

    def traces(policy, task, count, keep, seed, *_):
        sampled.append((policy, count, seed, keep))
        return TRACES

    monkeypatch.setattr(r1, "base_of", base)
    monkeypatch.setattr(r1, "sample_traces", traces)
    fields = {k: v for k, v in SMALL.items() if k not in ("many_samples", "seed", "table")}
    teacher = StudentConfig(**fields, steps=1, learner="teacher", rewards={"format": 1.0})
    room = Classroom(3, teacher)
    pupils = [
        PupilConfig(**SMALL, steps=2, learns_from=source, warm_up=warm_up, learner=learner)
        for source, warm_up, learner in (
            ("teacher", 0, "chaining"),
            ("full", 0, "guessing"),
            ("full", 1, "chaining"),
            ("reward", 0, "chaining"),
        )
    ]
    runs = [room.run(config) for config in pupils]
    assert len(sampled) == 1
    policy, count, seed, keep = sampled[0]
    assert policy is room.teacher[0] and count == 2048 and keep is r1.KEEP["teacher"]
    assert seed == "teacher  3"
    assert [name for name, _ in asked].count("teacher") == 1
    assert ("guessing", 3) in asked and {one for _, one in asked} == {3}
    assert all(run.config.seed == run.config.table == 3 for run in runs)
    given = room.lessons(pupils[1])
    assert set(given) == {"teacher"}
    assert torch.equal(weights(given["teacher"]), weights(room.teacher[0]))
    assert set(room.lessons(pupils[2])) == {"teacher", "traces", "source"}


def test_the_teachers_rl_is_paid_where_the_teacher_takes_part() -> None:
    spent = {"flops": 10, "teacher_flops": 5, "student_tokens": 7}
    teacher = Run(replace(TEACHER, seed=2), [{"step": 1, "flops": 100}])
    total = {}
    for source, warm_up in (
        ("full", 0),
        ("sampled", 0),
        ("teacher", 0),
        ("reward", 0),
        ("reward", 1),
    ):
        config = PupilConfig(**SMALL | {"seed": 2}, learns_from=source, warm_up=warm_up)
        run = Run(config, [{"step": 1, **spent}])
        total[source, warm_up] = costs(run, "with_teacher", [teacher]).tolist()
        assert costs(run, "student_tokens").tolist() == [7]
        assert costs(run, "with_sampling").tolist() == [15]
    assert total.pop(("reward", 0)) == [15]
    assert set(map(tuple, total.values())) == {(115,)}


def test_what_makes_no_sense_is_refused() -> None:
    for change, message in (
        ({"warm_up": -1}, "warm_up: must be from 0 to 2"),
        ({"warm_up": 3}, "warm_up: must be from 0 to 2"),
        ({"warm_up_rate": 0.0}, "warm_up_rate: must be positive"),
        ({"many_samples": 0}, "many_samples: must be at least 1"),
        ({"learns_from": "own"}, "learns_from: must be one of reward, teacher, full, sampled"),
    ):
        with pytest.raises(ValueError, match=message):
            PupilConfig(steps=3, **change)
    with pytest.raises(ValueError, match="traces, source: needed"):
        PupilConfig(**SMALL, steps=3, warm_up=1).begin(tiny(), teacher=tiny())
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure(0, VARIANTS, 1))


def test_what_is_recorded_is_what_it_says() -> None:
    assert STUDIES["qwen3/distillation"] is STUDY and VARIANTS["teacher"] == TEACHER
    assert (STUDY.seeds, STUDY.first, STUDY.file) == (5, 1, "qwen3/distillation")
    sources = {
        "off-policy": "teacher",
        "full KL": "full",
        "sampled KL": "sampled",
        "GRPO": "reward",
    }
    for name, config in VARIANTS.items():
        if name == "teacher":
            continue
        learner, _, way = name.removesuffix(", slow").rpartition(": ")
        assert config.learner == (learner or "chaining")
        first, then, last = way.partition(", then ")
        assert (config.warm_up > 0) == bool(then)
        assert config.learns_from == sources[(last or first).split(" 4×8")[0].split(" 16×16")[0]]
        if config.learns_from in ("full", "sampled"):
            assert config.prompts_per_step * config.group_size == 32
        elif config.learns_from == "reward":
            shape = (4, 8) if "4×8" in name else (16, 16)
            assert (config.prompts_per_step, config.group_size) == shape
            assert (config.baseline, config.divide_by_std, config.kl_coef) == ("group", True, 0)
            assert config.rewards == {"accuracy": 1.0, "format": 0.1}
        if config.reads_traces:
            assert config.batch_size == 32
        assert config.steps % config.every == 0 and config.warm_up % config.every == 0
    for name, rate in (("sampled KL", 3e-4), ("guessing: off-policy", 1e-3)):
        assert VARIANTS[f"{name}, slow"] == replace(VARIANTS[name], learning_rate=rate)


def test_the_settings_of_the_variants() -> None:
    plain = asdict(PupilConfig())
    found = {
        name: {
            key: value
            for key, value in asdict(config).items()
            if value != plain[key] or key == "learning_rate"
        }
        for name, config in VARIANTS.items()
        if name != "teacher"
    }
    full = {"prompts_per_step": 32, "group_size": 1, "baseline": "none", "divide_by_std": False}
    full |= {"learning_rate": 1e-3}
    traces = {"learns_from": "teacher", "batch_size": 32, "learning_rate": 1e-3}
    short = {"steps": 40, "every": 4}
    reward = {"learns_from": "reward", "learning_rate": 3e-4}
    grpo = reward | {"prompts_per_step": 4, "group_size": 8}
    warm = {"warm_up": 4, "batch_size": 32}
    guess = {"learner": "guessing", "steps": 320, "every": 40}
    assert found == {
        "off-policy": traces | short,
        "full KL": full | short,
        "sampled KL": full | short | {"learns_from": "sampled"},
        "GRPO 4×8": grpo | {"steps": 80, "every": 8},
        "GRPO 16×16": reward | {"steps": 20, "every": 2},
        "off-policy, then full KL": full | warm | short,
        "off-policy, then GRPO 4×8": grpo | warm | short,
        "guessing: off-policy": traces | guess | {"learning_rate": 3e-3},
        "guessing: full KL": full | guess,
        "guessing: off-policy, then full KL": full
        | guess
        | {"warm_up": 200, "warm_up_rate": 3e-3, "batch_size": 32},
        "sampled KL, slow": full | short | {"learns_from": "sampled", "learning_rate": 3e-4},
        "guessing: off-policy, slow": traces | guess,
    }
    assert (plain["many_samples"], plain["warm_up_rate"]) == (64, 1e-3)
    assert {"warm_up", "many_samples", "learner", "learns_from"} <= set(PupilConfig.FIXED)


def test_each_seed_is_a_classroom_of_its_own(monkeypatch) -> None:
    made: list = []

    class Room:
        def __init__(self, seed: int, teacher: StudentConfig) -> None:
            made.append((seed, teacher))
            self.seed = seed

        def run(self, config: StudentConfig) -> Run:
            return Run(replace(config, seed=self.seed), [])

    monkeypatch.setattr(distillation, "Classroom", Room)
    two = {name: VARIANTS[name] for name in ("full KL", "GRPO 4×8")}
    runs = list(measure(2, two, 3))
    assert made == [(3, TEACHER), (4, TEACHER)]
    assert [run.config for run in runs] == [
        replace(config, seed=seed) for seed in (3, 4) for config in two.values()
    ]
