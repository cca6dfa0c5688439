"""RL on n prompts: what a run trains on, and what its two tests answer."""

import random
from dataclasses import fields, replace

import pytest
import torch

from rlvr_lab.experiments.qwen3 import few_prompts
from rlvr_lab.experiments.qwen3.few_prompts import SIZES, STUDY, VARIANTS, FewPromptsConfig
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.finite_set import FiniteSet
from rlvr_lab.tasks.sums import Sums, is_well_formed
from rlvr_lab.tasks.task import grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS

SMALL = {"steps": 2, "every": 1, "test_problems": 6, "test_samples": 4, "seed": 5, "table": 3}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "device": "cpu", "train_prompts": 2}
SMALL |= {"train_answers": 12}


def flat(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def answers_by_hand(policy: Policy, task, problems, samples: int, step: int, table: int = 3):
    generator = torch.Generator().manual_seed(1000 * table + step)
    batch = sample(policy, [p.prompt for p in problems], samples, 40, generator)
    verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
    return batch.texts, sum(v.correct for v in verdicts) / len(verdicts)


@pytest.fixture(scope="module")
def ran():
    config = FewPromptsConfig(**SMALL, prompts=3)
    state = config.begin(load_policy("sums", "cpu"))
    return config, state, list(train(config, state=state))


def test_it_is_grpo_on_the_set(ran) -> None:
    _, state, records = ran
    held_out = Sums().problems(6, random.Random("test 3"))
    task = FiniteSet(Sums(), 3, 3, frozenset(p.prompt for p in held_out))
    assert state.task == task and not set(held_out) & set(task.members)
    plain = replace(PRESETS["grpo"], steps=2, seed=5, device="cpu")
    plain = replace(plain, prompts_per_step=4, group_size=4)
    other = plain.begin(load_policy("sums", "cpu"), task)
    list(train(plain, state=other))
    assert torch.equal(flat(state.policy), flat(other.policy))
    assert not torch.equal(flat(state.policy), flat(load_policy("sums", "cpu")))
    assert [record["step"] for record in records] == [0, 1, 2]


def test_the_two_tests(ran) -> None:
    _, state, records = ran
    problems = Sums().problems(6, random.Random("test 3"))
    for step, policy in ((0, load_policy("sums", "cpu")), (2, state.policy)):
        record = records[step]
        texts, accuracy = answers_by_hand(policy, Sums(), problems, 4, step)
        assert record["accuracy"] == pytest.approx(accuracy)
        chains = [is_well_formed(t) and "<think>" in t for t in texts]
        assert record["chains"] == pytest.approx(sum(chains) / 24)
        first = str(state.task.members[0].answer)
        same = [is_well_formed(t) and t.split("=")[-1] == first for t in texts]
        assert record["first_answer"] == pytest.approx(sum(same) / 24)
        # At most two prompts of the set, so 6 of the 12 answers for each.
        drawn = state.task.problems(2, random.Random("test 3"))
        texts, accuracy = answers_by_hand(policy, Sums(), drawn, 6, step)
        assert record["train_accuracy"] == pytest.approx(accuracy)
        chains = [is_well_formed(t) and "<think>" in t for t in texts]
        assert record["train_chains"] == pytest.approx(sum(chains) / 12)
    assert 0 < records[0]["chains"] < 1 and records[0]["accuracy"] != records[0]["train_accuracy"]


def test_a_set_smaller_than_the_test_is_tested_whole() -> None:
    config = FewPromptsConfig(**SMALL | {"train_prompts": 12}, prompts=4)
    on_set = config._on_the_set
    assert (on_set.test_problems, on_set.test_samples) == (4, 3)
    drawn = FiniteSet(Sums(), 4).problems(4, random.Random(0))
    assert len(set(drawn)) == 4
    large = replace(config, prompts=5000)._on_the_set
    assert (large.test_problems, large.test_samples) == (12, 1)


def test_without_a_set_each_step_has_new_prompts() -> None:
    config = FewPromptsConfig(**SMALL | {"steps": 1})
    state = config.begin(load_policy("sums", "cpu"))
    assert state.task == Sums()
    first = next(train(config, state=state))
    assert {first[k] for k in ("first_answer", "train_accuracy", "train_chains")} == {None}
    fixed = FewPromptsConfig(**SMALL | {"steps": 1}, prompts=3)
    same = next(train(fixed, state=fixed.begin(load_policy("sums", "cpu"))))
    for key in ("accuracy", "length", "entropy", "chains"):  # the same held-out test
        assert first[key] == same[key]


def test_what_makes_no_sense_is_refused() -> None:
    for change, message in (
        ({"world": "codes"}, "world: must be sums"),
        ({"prompts": 0}, "prompts: must be at least 1 or None"),
        ({"train_prompts": 0}, "train_prompts: must be at least 1"),
        ({"train_prompts": 9, "train_answers": 8}, "train_answers: must be at least train_prompts"),
    ):
        with pytest.raises(ValueError, match=message):
            FewPromptsConfig(**change)
    assert {"prompts", "train_prompts", "train_answers", "table"} <= set(FewPromptsConfig.FIXED)


def test_what_is_recorded_is_what_it_says(monkeypatch) -> None:
    assert STUDIES["qwen3/few_prompts"] is STUDY
    assert (STUDY.seeds, STUDY.first, STUDY.file) == (5, 1, "qwen3/few_prompts")
    names = [f"{n:,}" for n in (1, 4, 16, 64, 256, 1024, 4096)]
    assert list(VARIANTS) == [*names, "unlimited"]
    assert SIZES == (1, 4, 16, 64, 256, 1024, 4096) and few_prompts.GUESS == 0.1
    for config, prompts in zip(VARIANTS.values(), [*SIZES, None], strict=True):
        assert config.prompts == prompts
        assert (config.steps, config.every, config.train_prompts) == (40, 5, 64)
        sizes = (config.test_problems, config.test_samples, config.train_answers)
        assert sizes == (128, 8, 512)
        grpo = PRESETS["grpo"]
        own = {f.name for f in fields(grpo)} - {"steps", "seed"}
        assert all(getattr(config, name) == getattr(grpo, name) for name in own)
    made: list = []

    def base(seed: int, device: str) -> tuple[Policy, int]:
        made.append((seed, device))
        return load_policy("sums", "cpu"), seed

    monkeypatch.setattr(few_prompts, "sums_base", base)
    small = {"a": FewPromptsConfig(**SMALL | {"steps": 1}, prompts=1)}
    (run,) = few_prompts.measure(1, small, 7)
    assert made == [(7, "cpu")] and run.config == replace(small["a"], seed=7, table=7)


def test_the_set_is_of_the_given_world_and_its_first_answer_is_counted() -> None:
    easy = FewPromptsConfig(**SMALL, prompts=5, world_options={"max_terms": 4})
    assert easy.begin(load_policy("sums", "cpu")).task.task == Sums(max_terms=4)
    config = FewPromptsConfig(**SMALL, prompts=5)
    state = config.begin(load_policy("sums", "cpu"), Sums(max_terms=5))
    assert state.task.task == Sums(max_terms=5)
    first, *_, last = state.task.members
    assert first.answer != last.answer
    problems = Sums(max_terms=5).problems(6, random.Random("test 3"))
    texts, _ = answers_by_hand(state.policy, Sums(), problems, 4, 0)
    given = [is_well_formed(t) and t.split("=")[-1] == str(first.answer) for t in texts]
    last_given = [is_well_formed(t) and t.split("=")[-1] == str(last.answer) for t in texts]
    assert sum(given) != sum(last_given), "they can be told apart"
    assert config.test(state)["first_answer"] == pytest.approx(sum(given) / 24)
