"""The museum: the healthy run is the trainer's, every fault reaches the parameters, and its evidence is recorded."""

import math
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import torch

from rlvr_lab.checks.museum import true_step
from rlvr_lab.experiments import museum, museum_signs
from rlvr_lab.experiments.museum import EXHIBITS, VARIANTS, MuseumConfig, exhibit, measure_museum
from rlvr_lab.experiments.museum_faults import (
    CHOICES,
    FAULTS,
    METRIC,
    TOLERANCES,
    choices,
    first_step,
    guide,
)
from rlvr_lab.experiments.museum_signs import SIGNS, contradiction
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.records.runs import Recording
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.rollouts import collect

SMALL = {
    "steps": 2,
    "prompts_per_step": 3,
    "group_size": 4,
    "optimizer": "sgd",
    "learning_rate": 1.0,
    "max_grad_norm": None,
    "updates_per_batch": 1,
}
SEEDS = (1, 2, 3)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


def shaken(state, amount: float = 0.02):
    """The policy, moved away from its reference."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in state.policy.model.parameters():
            p += amount * p.std(correction=0) * torch.randn(p.shape, generator=generator)
    return state


def step(config, state):
    """The answers of one step and the gradient that moved the parameters, with a learning rate of 1."""
    before = weights(state.policy.model)
    experience = config.collect(state)
    record = config.update(state, experience)
    return experience, before - weights(state.policy.model), record


def logprobs(model, batch, row: int, temperature: float = 1.0) -> torch.Tensor:
    """log π of the tokens of one answer, from a whole text without padding."""
    prompt = batch.prompt_ids[row // batch.group_size][batch.prompt_mask[row // batch.group_size]]
    answer = batch.completion_ids[row, : int(batch.lengths[row])]
    ids = torch.cat([prompt, answer])
    scores = (model(ids[None]).logits[0].float() / temperature).log_softmax(-1)
    return scores[len(prompt) - 1 : -1].gather(1, answer[:, None]).squeeze(1)


def gradient(model, batch, loss: Callable[[int, torch.Tensor], torch.Tensor], temperature=1.0):
    """Of the mean over all answers of ``loss`` (row, log-probabilities)."""
    rows = range(len(batch.texts))
    total = sum(loss(row, logprobs(model, batch, row, temperature)) for row in rows) / len(rows)
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(model.parameters()))])


def z_scores(rewards: torch.Tensor, size: int) -> list[float]:
    found = []
    for group in rewards.view(-1, size).tolist():
        mean = sum(group) / size
        std = math.sqrt(sum((r - mean) ** 2 for r in group) / size)
        found += [0.0 if len(set(group)) == 1 else (r - mean) / (std + 1e-6) for r in group]
    return found


def clipped(logp, old, a):
    ratio = (logp - old).exp()
    return -torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.norm() > 1e-3
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-5 * float(expected.norm()))


def test_the_healthy_run_is_the_trainers_bit_for_bit() -> None:
    small = {"steps": 2, "prompts_per_step": 3, "group_size": 4, "updates_per_batch": 2, "seed": 3}
    ours, plain = MuseumConfig(**small), PolicyGradientConfig(**small)
    mine, other = ours.begin(), plain.begin()
    records = list(train(ours, state=mine)), list(train(plain, state=other))
    assert torch.equal(weights(mine.policy.model), weights(other.policy.model))
    for one, two in zip(*records, strict=True):
        same = {"reward", "loss", "grad_norm", "clip_fraction", *museum.KEPT}
        assert {key: one[key] for key in same} == {key: two[key] for key in same}
        assert one["first_clip"] == 0 and one["first_ratio"] < 1e-5 and one["largest"] <= 3**0.5


def test_without_a_gradient_nothing_moves_although_rewards_differ() -> None:
    config = museum.NoGradient(**SMALL)
    experience, moved, record = step(config, config.begin())
    assert not moved.any() and record["grad_norm"] == 0 and record["largest"] > 0
    assert len(set(experience.rewards.tolist())) > 1


def test_the_constant_reward_pays_everything() -> None:
    config = museum.ConstantReward(**SMALL)
    experience, moved, record = step(config, config.begin())
    assert experience.rewards.tolist() == [pytest.approx(1.1)] * 12 and not moved.any()
    assert not all(verdict.correct for verdict in experience.answers.verdicts)
    assert record["largest"] == 0


def test_the_kl_is_subtracted() -> None:
    config = museum.FlippedKl(**SMALL, kl_coef=0.7)
    state = shaken(config.begin())
    model, reference = state.policy.frozen_copy().model, state.reference.model
    model.requires_grad_(True)
    experience, moved, _ = step(config, state)
    batch, a = experience.batch, z_scores(experience.rewards, 4)

    def loss(row, logp):
        k1 = logp - logprobs(reference, batch, row).detach()
        kl = (torch.exp(-k1) - 1 + k1).mean()
        return clipped(logp, logp.detach(), a[row]) - 0.7 * kl

    close(moved, gradient(model, batch, loss))


def test_the_old_policy_is_a_copy_that_is_renewed_every_six_steps() -> None:
    config = museum.StaleOld(**SMALL)
    state = config.begin()
    _, _, record = step(config, state)
    assert record["first_ratio"] < 1e-5
    old = state.data.model
    state.step = 1
    shaken(state, 0.05)
    model = state.policy.frozen_copy().model.requires_grad_(True)
    experience, moved, record = step(config, state)
    assert state.data.model is old and record["first_ratio"] > 0.01
    batch, a = experience.batch, z_scores(experience.rewards, 4)

    def loss(row, logp):
        return clipped(logp, logprobs(old, batch, row).detach(), a[row])

    close(moved, gradient(model, batch, loss))
    state.step = 6
    step(config, state)
    assert state.data.model is not old


def test_the_update_has_another_temperature() -> None:
    config = museum.OtherTemperature(**SMALL)
    state = config.begin()
    model = state.policy.frozen_copy().model.requires_grad_(True)
    experience, moved, _ = step(config, state)
    batch, a = experience.batch, z_scores(experience.rewards, 4)

    def loss(row, logp):
        return clipped(logp, batch.old_logprobs[row, : len(logp)], a[row])

    close(moved, gradient(model, batch, loss, temperature=0.7))


def test_the_sampler_is_a_copy_and_the_loss_has_no_ratio() -> None:
    config = museum.StaleSampler(**SMALL, ratio="none")
    state = config.begin()
    config.collect(state)
    state.step = 1
    old = replace(state, policy=state.data)
    shaken(state, 0.05)
    model = state.policy.frozen_copy().model.requires_grad_(True)
    expected = collect(config, old)
    experience, moved, record = step(config, state)
    assert torch.equal(experience.batch.completion_ids, expected.batch.completion_ids)
    a = z_scores(experience.rewards, 4)
    close(moved, gradient(model, experience.batch, lambda row, logp: -a[row] * logp.mean()))
    assert record["first_ratio"] > 0.01 and record["first_clip"] == 0
    state.step = 8
    copy = state.data
    config.collect(state)
    assert state.data is not copy


def test_advantages_come_back_in_another_order() -> None:
    config = museum.MixedOrder(**SMALL)
    state = config.begin()
    model = state.policy.frozen_copy().model.requires_grad_(True)
    experience, moved, _ = step(config, state)
    a = z_scores(experience.rewards, 4)
    order = [a[4 * question + answer] for answer in range(4) for question in range(3)]
    assert sorted(order) == sorted(a) and order != a
    close(
        moved,
        gradient(model, experience.batch, lambda row, x: clipped(x, x.detach(), order[row])),
    )


def test_each_answer_is_divided_by_the_std_of_the_others() -> None:
    config = museum.OthersStd(**{**SMALL, "max_grad_norm": 1.0})
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.1, 1.1, 1.1, 1.1, 1.1, 1.0, 0.0, 0.0, 0.0])
    state = config.begin()
    found = config.objective_on(config.collect(state)).advantage(rewards, 4).tolist()
    for row in (0, 1, 2, 3):
        others = [float(r) for i, r in enumerate(rewards[:4]) if i != row]
        mean = sum(others) / 3
        std = math.sqrt(sum((r - mean) ** 2 for r in others) / 3)
        assert found[row] == pytest.approx((float(rewards[row]) - mean) / (std + 1e-6), rel=1e-4)
    assert found[4:8] == [0.0] * 4 and found[8] == pytest.approx(1e6)
    assert torch.equal(rewards[:2], torch.tensor([1.0, 0.0])), "the rewards are not overwritten"
    _, moved, record = step(config, state)
    assert moved.norm() == pytest.approx(min(1.0, record["grad_norm"]), rel=1e-3)


def test_a_hidden_question_is_graded_but_not_read() -> None:
    config = museum.HiddenQuestion(**SMALL)
    state = config.begin()
    experience, moved, _ = step(config, state)
    problems = experience.answers.problems
    assert {problem.prompt for problem in problems} == {"........?"}
    plain = MuseumConfig(**SMALL)
    told = plain.collect(plain.begin()).answers.problems
    assert [p.answer for p in problems] == [p.answer for p in told] and moved.any()


def test_two_exhibits_are_settings_and_one_is_sound() -> None:
    base = asdict(museum.BASE)
    changed = {
        number: {k: v for k, v in asdict(one.config).items() if base.get(k, v) != v}
        for number, one in EXHIBITS.items()
        if type(one.config) is MuseumConfig
    }
    assert changed == {
        1: {"rewards": {"model": 1.0}},
        6: {"updates_per_batch": 1},
        9: {"group_size": 2, "prompts_per_step": 32},
        10: {"max_new_tokens": 8},
    }
    answers = {one.config.prompts_per_step * one.config.group_size for one in EXHIBITS.values()}
    assert answers == {64}


# --------------------------------------------------------------------------------- what is recorded


def test_the_recording_holds_every_variant_for_three_seeds() -> None:
    study = STUDIES["museum"]
    assert (study.seeds, study.first, dict(study.variants)) == (3, 1, VARIANTS)
    path = museum.data_folder() / "runs" / "museum.json"
    runs = Recording.load(path).runs
    expected = [replace(c, seed=seed) for seed in SEEDS for c in VARIANTS.values()]
    assert [run.config for run in runs] == expected
    assert {len(run.records) for run in runs} == {24} and path.stat().st_size < 1_000_000


def test_a_run_can_be_recorded_again() -> None:
    small = {"healthy": replace(museum.BASE, steps=1, prompts_per_step=2, test_problems=2)}
    runs = list(measure_museum(2, small, 4))
    assert [run.config.seed for run in runs] == [4, 5]
    assert runs[0].records[0].keys() >= {"step", "accuracy", *TOLERANCES}
    with pytest.raises(ValueError, match="seeds"):
        list(measure_museum(0, small))


def test_an_exhibit_is_found_by_its_number_and_seed() -> None:
    broken, healthy = exhibit(7, 2)
    assert [r["step"] for r in broken] == [r["step"] for r in healthy] == list(range(1, 25))
    assert broken[0]["reward"] == healthy[0]["reward"], "paired by seed"
    with pytest.raises(ValueError, match="number: there are exhibits 1 to 13, not 14"):
        exhibit(14)
    with pytest.raises(ValueError, match="seed"):
        exhibit(1, 9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", EXHIBITS)
def test_the_evidence_of_an_exhibit_holds_with_every_seed(number: int, seed: int) -> None:
    fault = EXHIBITS[number].fault
    assert len(choices(number)) == 8 and fault in choices(number)
    assert fault not in CHOICES[number] and "nothing" not in CHOICES[number]
    assert contradiction(number, fault, seed) is None
    for wrong in FAULTS.keys() - {fault}:
        said = contradiction(number, wrong, seed)
        assert said is not None and len(said) < 300, wrong
    if fault != "nothing":
        found = first_step(*exhibit(number, seed))
        assert found is not None and found == true_step(number, seed)
        assert abs(found - true_step(number)) <= 1
        broken, healthy = exhibit(number, seed)
        apart = [
            abs(a[METRIC[fault]] - b[METRIC[fault]]) for a, b in zip(broken, healthy, strict=True)
        ]
        assert max(apart) > TOLERANCES[METRIC[fault]]
        calm = [
            abs(a[METRIC[fault]] - b[METRIC[fault]]) for a, b in zip(*exhibit(6, seed), strict=True)
        ]
        assert sum(apart) > 1.5 * sum(calm), "two correct runs differ less"


def test_every_fault_has_an_exhibit_and_every_sign_is_used() -> None:
    assert {one.fault for one in EXHIBITS.values()} == set(FAULTS) == {"nothing", *SIGNS}
    assert set(METRIC) == set(SIGNS) and set(METRIC.values()) <= set(museum_signs.NAMES)
    assert guide(3).count("\n") == 7 and "'no gradient'" in guide(3)
    assert first_step(exhibit(1)[1], exhibit(1)[1]) is None
    assert true_step(6) == 0
