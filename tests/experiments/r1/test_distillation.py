"""Students that learn from rewards or from traces: the update, the counters, the sources, and what is read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.pretraining import PretrainingFailed
from rlvr_lab.experiments.r1 import distillation, students
from rlvr_lab.experiments.r1.costs import at_cost, cost_of, costs
from rlvr_lab.experiments.r1.distillation import (
    KEEP,
    VARIANTS,
    Replicate,
    StudentConfig,
    measure,
    working_weights,
)
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.words import CODE_WORDS, word_tokenizer
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.codes import Codes
from rlvr_lab.tasks.task import Problem
from rlvr_lab.training.distillation import Traces, epoch_batch
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.supervised import encode_solutions

SMALL = {"steps": 2, "every": 1, "test_problems": 3, "test_samples": 4, "seed": 5}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "batch_size": 2, "device": "cpu"}
PROMPT = "7+5+8,3+4+1,9+2+2?"
CHAIN = "<think>720,378,913</think>=083"
TRACES = Traces([(PROMPT, CHAIN), (PROMPT, "=083"), (PROMPT, "=1")], 10, 70, 180)


def weights(policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in policy.model.parameters()])


def tiny(seed: int = 0, hidden: int = 16):
    return new_policy(word_tokenizer(CODE_WORDS), seed, hidden, 1, device="cpu")


def test_learning_from_the_reward_is_grpo_and_is_counted() -> None:
    config = StudentConfig(**SMALL)
    plain = replace(PRESETS["grpo"], world="codes", max_new_tokens=24, steps=2, seed=5)
    plain = replace(plain, prompts_per_step=4, group_size=4, device="cpu")
    state, other = (one.begin(load_policy("codes", "cpu")) for one in (config, plain))
    records = list(train(config, state=state))
    n, flops, drawn, learnt = working_weights(other.policy), 0, 0, 0
    for record in records[1:]:
        experience = plain.collect(other)
        plain.update(other, experience)
        other.step += 1
        lengths = experience.batch.lengths.view(4, 4)
        rewards = experience.rewards.view(4, 4)
        live = rewards != rewards.mean(dim=1, keepdim=True)
        drawn, learnt = drawn + int(lengths.sum()), learnt + int(lengths[live].sum())
        flops += 2 * n * (4 * 12 + int(lengths.sum()))
        flops += 6 * n * (12 * int(live.sum()) + int(lengths[live].sum()))
        found = [record[key] for key in ("sampled_tokens", "trained_tokens", "flops")]
        assert found == [drawn, learnt, flops]
        assert record["teacher_flops"] == 0
    assert 0 < learnt < drawn
    assert torch.equal(weights(state.policy), weights(other.policy))
    assert records[0]["flops"] == 0 and records[0]["step"] == 0
    assert {"accuracy", "pass@4", "chains", "length", "cpu_seconds"} <= set(records[2])


def test_the_embedding_table_does_not_count() -> None:
    model = tiny().model
    multiplied = [p for name, p in model.named_parameters() if "embed_tokens" not in name]
    assert working_weights(tiny()) == sum(p.numel() for p in multiplied)
    assert len(multiplied) == len(list(model.parameters())) - 1


def test_learning_from_traces_is_their_cross_entropy_in_epochs() -> None:
    config = StudentConfig(**SMALL, learns_from="teacher", learning_rate=2e-3)
    state, mine = config.begin(tiny(), traces=TRACES, source=tiny()), tiny()
    start = weights(mine)
    *_, last = train(config, state=state)
    optimizer, trained_tokens, read = adamw(trained(mine.model), 2e-3), 0, 0
    for step in range(2):
        pairs = [TRACES.pairs[row] for row in epoch_batch(3, step, 2, 5)]
        ids, targets = encode_solutions(mine, pairs)
        logits = mine.model(ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(mine.model.parameters(), 1.0)
        optimizer.step()
        tokens = [len(mine.tokenizer.encode(text)) + 1 for _, text in pairs]
        trained_tokens, read = trained_tokens + sum(tokens), read + sum(tokens) + 12 * len(pairs)
    torch.testing.assert_close(weights(state.policy), weights(mine), atol=1e-5, rtol=0)
    assert float((weights(mine) - start).abs().max()) > 1e-3
    assert last["trained_tokens"] == trained_tokens and last["sampled_tokens"] == 0
    assert last["flops"] == 6 * working_weights(mine) * read


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="traces, source: needed to learn from 'own'"):
        StudentConfig(**SMALL, learns_from="own").begin(tiny(), traces=TRACES)
    with pytest.raises(ValueError, match="world: must be codes"):
        StudentConfig(world="sums")
    for name in ("traces", "most_answers", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}: must be at least 1"):
            StudentConfig(**{name: 0})
    with pytest.raises(ValueError, match="learns_from: must be one of"):
        StudentConfig(learns_from="books")
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure(0))


def test_which_answers_are_kept() -> None:
    problem, task = Problem(PROMPT, 83, 6), Codes()
    wrong = CHAIN.replace("083", "084")
    kept = {
        source: [
            text
            for text in (CHAIN, "=083", wrong, "=084", CHAIN[7:], wrong[7:], "<think>=084")
            if keep(problem, text, task.verify(problem, text, False))
        ]
        for source, keep in KEEP.items()
    }
    right = [CHAIN, "=083"]
    assert kept == {"teacher": right, "teacher_base": right, "own": right, "incorrect": [wrong]}


def test_each_source_samples_its_own_policy(monkeypatch) -> None:
    bases = {name: tiny(i, 16 + 16 * i) for i, name in enumerate(students.GATES)}
    monkeypatch.setattr(
        distillation,
        "base_of",
        lambda name, seed: distillation_copy(bases[name], asked, name, seed),
    )
    asked: list = []
    seen: list = []

    def sampled(policy, task, count, keep, seed, most_answers, max_new_tokens):
        seen.append((policy, keep, seed, count, most_answers, max_new_tokens))
        return TRACES

    monkeypatch.setattr(distillation, "sample_traces", sampled)
    small = {**SMALL, "steps": 1, "seed": 0, "traces": 9, "most_answers": 77}
    teacher = StudentConfig(**small, learner="teacher", rewards={"format": 1.0})
    replicate = Replicate(3, teacher)
    runs = {
        (source, learner): replicate.run(
            StudentConfig(**small, learner=learner, learns_from=source)
        )
        for source in KEEP
        for learner in ("chaining", "guessing")
    }
    assert {seed for _, seed in asked} == {3}
    assert all(run.config.seed == run.config.table == 3 for run in runs.values())
    # Both students share the traces of a teacher; each has its own.
    assert len(seen) == 8 and len({one[2] for one in seen}) == 5
    assert all(one[3:] == (9, 77, 24) for one in seen)
    by_keep = {source: [one for one in seen if one[1] is keep] for source, keep in KEEP.items()}
    after, before = by_keep["teacher"][0][0], by_keep["teacher_base"][0][0]
    assert after is replicate.teacher[0]
    assert torch.equal(weights(before), weights(bases["teacher"]))
    assert torch.equal(weights(by_keep["incorrect"][0][0]), weights(bases["teacher"]))
    own = [one[0] for one in by_keep["own"]]
    assert [policy.model.config.hidden_size for policy in own] == [32, 48]
    sampling = lambda policy: 2 * working_weights(policy) * (70 + 180)  # noqa: E731
    for (source, learner), run in runs.items():
        first, last = run.records[0], run.records[-1]
        assert first["teacher_flops"] == first["flops"] == first["sampled_tokens"] == 0
        own = source == "own"
        # One of two steps of an epoch: two of the three traces are used.
        paid = 0 if own else sampling(bases["teacher"])
        assert last["teacher_flops"] == pytest.approx(2 / 3 * paid, rel=1e-4)
        assert last["sampled_tokens"] == pytest.approx(2 / 3 * 70 if own else 0, rel=1e-4)
        training = 6 * working_weights(bases[learner]) * (last["trained_tokens"] + 2 * 12)
        training += 2 / 3 * sampling(bases[learner]) if own else 0
        assert last["flops"] == pytest.approx(training, rel=1e-4)
    assert replicate.run(teacher).config.learner == "teacher"
    assert replicate.run(teacher) is replicate.teacher[1]


def distillation_copy(policy, asked, name, seed):
    asked.append((name, seed))
    copy = tiny(0, policy.model.config.hidden_size)
    copy.model.load_state_dict(policy.model.state_dict())
    return copy


def test_a_base_outside_its_gate_ends_the_recording(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    calls: list = []
    monkeypatch.setattr(students, "codes_with_chains", lambda seed, device: tiny(seed, 32))
    monkeypatch.setattr(students, "learn_chains", lambda *_, **__: calls.append("chains"))
    monkeypatch.setattr(students, "fit", lambda _p, _t, solve, *_: calls.append(solve))
    level = {"pass@1": 0.0}
    monkeypatch.setattr(students, "evaluate", lambda *_, **__: level)
    guessing = students.base_of("guessing", 4)
    assert calls == [students.MIXTURES["guessing"].solve]
    assert guessing.model.config.hidden_size == 48
    with pytest.raises(PretrainingFailed, match=r"seed 4: chaining has pass@1 0.000"):
        students.base_of("chaining", 4)
    level["pass@1"] = 0.08
    calls.clear()
    students.base_of("chaining", 4)
    assert calls == ["chains", students.MIXTURES["chaining"].solve]
    with pytest.raises(PretrainingFailed, match="teacher"):
        students.base_of("teacher", 4)
    level["pass@1"] = 0.3
    assert students.base_of("teacher", 4).model.config.hidden_size == 32
    students.base_of("guessing", 4)  # it is kept, and not made again
    with pytest.raises(PretrainingFailed, match="guessing"):
        students.base_of("guessing", 5)


def made_up(seed: int, **fields) -> Run:
    spent = {"trained_tokens": [0, 100, 200], "sampled_tokens": [0, 300, 600]}
    spent |= {"flops": [0, 10, 20], "teacher_flops": [5, 5, 5], "accuracy": [0.1, 0.5, 0.9]}
    rows = [{"step": i, **{k: v[i] for k, v in spent.items()}} for i in range(3)]
    return Run(StudentConfig(**SMALL | {"seed": seed}, **fields), rows)


def test_costs_are_added_up_and_read_off() -> None:
    run, teacher = made_up(2, learns_from="teacher"), made_up(2, learner="teacher")
    other = made_up(1, learner="teacher")
    other.records[-1]["flops"] = 99
    assert costs(run, "trained_tokens").tolist() == [0, 100, 200]
    assert costs(run, "sampled_tokens").tolist() == [0, 300, 600]
    assert costs(run, "flops").tolist() == [0, 10, 20]
    assert costs(run, "with_sampling").tolist() == [5, 15, 25]
    assert costs(run, "with_teacher", [other, teacher]).tolist() == [25, 35, 45]
    later = made_up(2, learns_from="teacher")
    later.records[0]["teacher_flops"] = 0  # traces are paid when they are used
    assert costs(later, "with_sampling").tolist() == [0, 15, 25]
    assert costs(later, "sampling_first").tolist() == [5, 15, 25]
    base = made_up(2, learns_from="teacher_base")
    assert costs(base, "with_teacher", [teacher]).tolist() == [5, 15, 25]
    with pytest.raises(ValueError, match="teachers: none of them has seed 2"):
        costs(run, "with_teacher", [other])
    np.testing.assert_allclose(
        at_cost([run], "accuracy", [0, 50, 201]), [[0.1, 0.3, np.nan]], equal_nan=True
    )
    np.testing.assert_allclose(
        at_cost([run], "accuracy", [24, 45], "with_teacher", [teacher]), [[np.nan, 0.9]]
    )
    assert cost_of([run], 0.7).tolist() == pytest.approx([150])
    assert cost_of([run], 0.05).tolist() == [0]
    assert np.isnan(cost_of([run], 0.95)).all()
    assert cost_of([run], 0.5, "with_teacher", [teacher]).tolist() == pytest.approx([35])


def test_what_is_recorded_is_what_it_says() -> None:
    for name, config in VARIANTS.items():
        if name == "teacher":
            assert config.learner == "teacher" and config.learns_from == "reward"
            continue
        learner, source = name.split("-")
        assert (config.learner, config.learns_from) == (learner, source.replace(" ", "_"))
        assert config.rewards == {"accuracy": 1.0, "format": 0.1}
        assert (config.baseline, config.divide_by_std, config.kl_coef) == ("group", True, 0)
