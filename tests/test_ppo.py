"""PPO: its first step is the policy gradient, its switches do what they say, it learns and it clips."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab import ppo
from rlvr_lab.experience import NonFiniteLossError, collect, reference_logprobs
from rlvr_lab.losses import reinforce_loss
from rlvr_lab.masking import token_mean
from rlvr_lab.policy import token_logprobs
from rlvr_lab.ppo import PPOConfig, PPOState, adapt, fill, policy_loss, train_ppo
from rlvr_lab.ppo_details import DETAILS, measure_details
from rlvr_lab.trust_region import flatten

SMALL = PPOConfig(steps=2, prompts_per_step=4, group_size=4, device="cpu")


def filled(config: PPOConfig):
    """State, buffer and mean KL reward of the first step."""
    state = PPOState.begin(config)
    experience = collect(config, state, 1)
    reference = reference_logprobs(config, state, experience.batch, every_row=True)
    buffer, kl_reward = fill(
        config, state, experience.batch, experience.rewards, reference.logprobs
    )
    return state, buffer, kl_reward


def gradient(loss: torch.Tensor, model) -> torch.Tensor:
    return flatten(torch.autograd.grad(loss, list(model.parameters())))


def test_the_first_inner_step_is_the_policy_gradient() -> None:
    config = replace(SMALL, gamma=1.0, lam=1.0, whiten_advantages="none", kl_coef=0.0)
    state, buffer, _ = filled(config)
    model = state.policy.model
    found = gradient(policy_loss(config, token_logprobs(model, buffer.batch), buffer), model)
    # With V = 0 and λ = 1 every token's advantage is its answer's reward.
    rewards = buffer.returns[:, 0]
    plain = reinforce_loss(token_logprobs(model, buffer.batch), rewards, buffer.mask, token_mean)
    torch.testing.assert_close(found, gradient(plain, model), rtol=0, atol=1e-6)
    assert float(found.norm()) > 1e-2


def test_at_the_start_nothing_is_clipped_and_the_kl_is_0() -> None:
    _state, buffer, kl_reward = filled(SMALL)
    assert kl_reward == pytest.approx(0.0, abs=1e-5)
    assert not buffer.values.any(), "the value head starts at 0"
    record = next(train_ppo(replace(SMALL, epochs=1, minibatches=1)))
    assert record["clip_fraction"] == 0 and record["ratio_outside"] == 0
    assert record["ratio_low"] == pytest.approx(1, abs=1e-3)
    assert record["ratio_high"] == pytest.approx(1, abs=1e-3)
    assert record["approx_kl"] == pytest.approx(0, abs=1e-5)


def test_later_epochs_leave_the_clip_range() -> None:
    config = replace(SMALL, steps=1, epochs=6, learning_rate=1e-3, clip=0.1)
    record = next(train_ppo(config))
    assert record["ratio_high"] > 1.1 or record["ratio_low"] < 0.9
    assert record["ratio_outside"] > 0 and record["approx_kl"] > 1e-4


def test_it_learns_to_add_and_its_reward_pays_for_the_kl() -> None:
    records = list(train_ppo(PPOConfig(steps=10, prompts_per_step=12, device="cpu")))
    assert records[0]["pass_rate"] < 0.35
    assert records[-1]["pass_rate"] > records[0]["pass_rate"] + 0.25
    assert records[-1]["kl"] > 0.3 and records[-1]["kl_reward"] < -0.002
    assert records[-1]["kl_reward"] == pytest.approx(-0.01 * records[-1]["kl"], rel=1e-3)


def test_same_seed_same_curve() -> None:
    runs = [[r["loss"] for r in train_ppo(SMALL)] for _ in range(2)]
    other = [r["loss"] for r in train_ppo(replace(SMALL, seed=1))]
    assert runs[0] == runs[1] != other


@pytest.mark.parametrize("detail", [d for d in DETAILS if d.change], ids=lambda d: d.name)
def test_every_switch_changes_the_run(detail) -> None:
    base = replace(SMALL, epochs=2, kl_coef=0.05, learning_rate=1e-3, max_grad_norm=0.1)
    change = {**detail.change}
    if "kl_coef" in change and "adaptive_kl" not in change:
        change["kl_coef"] = 0.0
    if "target_kl" in change:
        change["target_kl"] = 1e-6  # so small a run would not reach the table's

    def curve(config: PPOConfig) -> list:
        names = ("loss", "value_loss", "grad_norm", "pass_rate", "explained_variance")
        return [[r[n] for n in names] for r in train_ppo(config)]

    assert curve(base) != curve(replace(base, **change))


def test_the_bug_that_shifts_values_takes_the_next_state() -> None:
    config = replace(SMALL, zero_value_head=False)
    _, right, _ = filled(config)
    _, wrong, _ = filled(replace(config, bug="shifted_values"))
    torch.testing.assert_close(wrong.values[:, :-1], right.values[:, 1:])
    assert not torch.allclose(wrong.advantages, right.advantages)


def test_the_bug_that_forgets_the_end_masks_one_token_an_answer() -> None:
    _, right, _ = filled(SMALL)
    _, wrong, _ = filled(replace(SMALL, bug="end_untrained"))
    stopped = ~right.batch.truncated & (right.mask.sum(1) > 1)
    torch.testing.assert_close(right.mask.sum(1) - wrong.mask.sum(1), stopped.long())


def test_the_coefficient_follows_the_kl() -> None:
    assert adapt(1.0, kl=2.0, target=2.0) == 1.0
    assert adapt(1.0, kl=100.0, target=2.0) == pytest.approx(1.02)
    assert adapt(1.0, kl=0.0, target=2.0) == pytest.approx(0.98)
    records = list(train_ppo(replace(SMALL, adaptive_kl=5.0, kl_coef=0.1)))
    assert records[-1]["kl_coef"] < 0.1


def test_a_truncated_answer_can_be_fined() -> None:
    config = replace(SMALL, max_new_tokens=3, group_size=8)
    free, fined = (next(train_ppo(replace(config, no_end_penalty=p))) for p in (0.0, 1.0))
    assert free["truncated"] > 0
    assert free["reward"] == fined["reward"], "what is reported is the raw reward"
    assert free["value_loss"] < fined["value_loss"]


def test_a_loss_that_is_not_finite_stops_with_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    state = PPOState.begin(SMALL)
    before = flatten(list(state.policy.model.parameters())).clone()
    monkeypatch.setattr(ppo, "value_loss", lambda *_: torch.full((), torch.nan, requires_grad=True))
    with pytest.raises(NonFiniteLossError, match="step 1: loss nan"):
        next(train_ppo(SMALL, state=state))
    assert torch.equal(before, flatten(list(state.policy.model.parameters())))


def test_the_table_of_details_has_a_row_for_each_run() -> None:
    two = [DETAILS[0], DETAILS[-1]]
    rows = list(measure_details(2, replace(SMALL, steps=1), two))
    assert [(r["name"], r["seed"]) for r in rows] == [(d.name, s) for d in two for s in (0, 1)]
    assert rows[0]["config"]["seed"] == 0 and 0 <= rows[0]["pass_rate"] <= 1
    assert len([d for d in DETAILS if d.change and not d.bug]) >= 8
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure_details(0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gamma", 1.5),
        ("lam", -1.0),
        ("epochs", 0),
        ("clip", -0.1),
        ("value_clip", 0.0),
        ("kl_coef", -0.1),
        ("minibatches", 99),
        ("bug", "typo"),
        ("learning_rate", 0.0),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(field: str, value) -> None:
    with pytest.raises(ValueError, match=f"{field}: must be"):
        PPOConfig(**{field: value})
