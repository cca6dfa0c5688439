"""Spurious rewards: each variant trains on what it names, and the record says what the policy does."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.r1 import spurious
from rlvr_lab.experiments.r1.spurious import (
    NO_CLIP,
    VARIANTS,
    SpuriousConfig,
    measure_spurious,
    think_probability,
)
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.tasks.task import Problem
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

SMALL = {"steps": 2, "every": 2, "test_problems": 2, "test_samples": 2, "max_new_tokens": 12}
SMALL |= {"prompts_per_step": 2, "group_size": 8, "device": "cpu"}


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spurious, "sums_base", lambda seed: (load_policy("sums", "cpu"), seed))


def end(config: SpuriousConfig) -> tuple[list, torch.Tensor]:
    state = config.begin(load_policy("sums", "cpu"))
    records = list(train(config, state=state))
    return records, torch.cat([p.detach().flatten() for p in state.policy.model.parameters()])


def test_what_is_recorded_is_what_it_says() -> None:
    rewards = {name: config.rewards for name, config in VARIANTS.items()}
    for name, reward in (("truth", "accuracy"), ("format", "format"), ("incorrect", "incorrect")):
        assert rewards[name] == {reward: 1.0}
    assert rewards["constant"] == {"constant": 1.0}
    coins = ("random", "clipped", "unclipped", "mostly_chains")
    assert all(rewards[name] == {"random": 1.0} for name in coins)
    updates = {name: config.updates_per_batch for name, config in VARIANTS.items()}
    four = ("clipped", "unclipped", "mostly_chains")
    assert all(n == (4 if name in four else 1) for name, n in updates.items())
    plain = PolicyGradientConfig()
    for name, config in VARIANTS.items():
        assert (config.clip_high == NO_CLIP["clip_high"]) == (name == "unclipped")
        assert config.learning_rate == plain.learning_rate
        assert config.prior == ("chains" if name == "mostly_chains" else "guesses")
        assert config.steps == 40 and config.kl_coef == 0 and config.divide_by_std


def test_a_constant_moves_nothing_and_a_coin_does() -> None:
    records, mine = end(SpuriousConfig(**SMALL, rewards={"constant": 1.0}))
    base = torch.cat([p.flatten() for p in load_policy("sums", "cpu").model.parameters()])
    assert torch.equal(mine, base) and [r["moved"] for r in records] == [0.0, 0.0]
    assert records[0]["kl"] == 0.0
    records, mine = end(SpuriousConfig(**SMALL, rewards={"random": 1.0}))
    assert records[-1]["moved"] == float((mine - base).detach().abs().max()) > 0


def test_the_run_is_the_plain_one_with_that_reward() -> None:
    """Neither the test nor ``prior`` changes what is trained."""
    config = SpuriousConfig(**SMALL, rewards={"incorrect": 1.0}, updates_per_batch=2)
    keep = ("steps", "prompts_per_step", "group_size", "max_new_tokens", "device")
    plain = PolicyGradientConfig(
        **{name: SMALL[name] for name in keep}, rewards={"incorrect": 1.0}, updates_per_batch=2
    )
    state = plain.begin(load_policy("sums", "cpu"))
    list(train(plain, state=state))
    theirs = torch.cat([p.detach().flatten() for p in state.policy.model.parameters()])
    assert torch.equal(end(config)[1], theirs)
    assert not torch.equal(end(replace(config, rewards={"accuracy": 1.0}))[1], theirs)


def test_the_kinds_of_answers_are_counted_by_hand() -> None:
    texts = ["=0", "=3", "<think>720</think>=0", "<think>7</think>=1"]
    mask = torch.tensor([[True, False, False]] * 2 + [[True, True, True]] * 2)
    entropy = torch.where(mask, 0.5, 9.0)
    ids, ones = torch.ones(4, 3).long(), torch.ones(1, 1)
    batch = RolloutBatch(
        ones.long(), ones.bool(), ids, mask, mask, entropy, entropy, mask[:, 0], texts, 4
    )
    problem = Problem("7+5+8.....?", 0, 2)
    task = SpuriousConfig().begin(load_policy("sums", "cpu")).task
    verdicts = [task.verify(problem, text, False) for text in texts]
    found = SpuriousConfig().describe([problem], batch, verdicts)
    assert (found["chains"], found["guesses"]) == (0.5, 0.5)
    assert (found["right_chains"], found["right_guesses"]) == (0.5, 0.5)
    assert (found["accuracy"], found["length"], found["entropy"]) == (0.5, 2.0, 0.5)


def test_the_first_token_is_read_exactly() -> None:
    policy = load_policy("sums", "cpu")
    prompts = ["7+5+8.....?", "1+2+3+4...?"]
    expected = []
    for prompt in prompts:
        ids = policy.tokenizer.encode(prompt, add_special_tokens=False)
        logits = policy.model(torch.tensor([ids])).logits[0, -1]
        expected.append(float(logits.softmax(0)[policy.tokenizer.encode("<think>")[0]]))
    assert think_probability(policy, prompts) == pytest.approx(sum(expected) / 2, abs=1e-6)


def test_the_distance_counts_both_directions() -> None:
    one, other = load_policy("sums", "cpu"), load_policy("sums", "cpu")
    with torch.no_grad():
        next(iter(other.model.parameters()))[0, 0] += 0.5
    assert spurious.distance(one, other) == pytest.approx(0.5)
    assert spurious.distance(other, one) == pytest.approx(0.5)


def test_each_seed_has_its_base_and_each_variant_its_prior(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    asked = []

    def base(seed: int, prior: str):
        asked.append((seed, prior))
        policy = load_policy("sums", "cpu")
        if prior == "chains":
            with torch.no_grad():
                policy.model.lm_head.weight.mul_(0.5)
            policy.save(tmp_path / "other")
            policy = load_policy(tmp_path / "other", "cpu")
        return policy

    monkeypatch.setattr(spurious, "prior_base", base)
    small = replace(SpuriousConfig(), **{**SMALL, "steps": 1, "every": 1})
    variants = {"one": small, "two": replace(small, prior="chains"), "three": small}
    runs = list(measure_spurious(2, variants, 3))
    assert sorted(asked) == [(3, "chains"), (3, "guesses"), (4, "chains"), (4, "guesses")]
    assert [(run.config.seed, run.config.table) for run in runs] == [(3, 3)] * 3 + [(4, 4)] * 3
    assert [run.config.prior for run in runs[:3]] == ["guesses", "chains", "guesses"]
    assert runs[0].records == runs[2].records, "each run starts from the base again"
    think = [run.records[0]["think"] for run in runs[:2]]
    assert abs(think[0] - think[1]) > 0.01, "the second variant starts from its own base"


def test_the_second_base_is_the_first_one_taught(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    given = []

    def fit(policy, task, solve, steps, peak, optimizer, rng):
        given.append((policy.name, solve.__self__.direct, steps))

    monkeypatch.setattr(spurious, "fit", fit)
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    for _ in range(2):
        spurious.prior_base(5, "chains")
    assert given == [("sums", 0.15, 60)], "made once and kept"
    assert [path.name for path in tmp_path.iterdir()] == ["spurious_mostly_chains_5"]


@pytest.mark.parametrize(
    ("change", "name"),
    [({"prior": "x"}, "prior"), ({"world": "codes"}, "world"), ({"every": 0}, "every")],
)
def test_a_mistake_is_named(change: dict, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SpuriousConfig(**change)
    with pytest.raises(ValueError, match="seeds"):
        next(measure_spurious(0, VARIANTS, 1))
