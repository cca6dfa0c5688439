"""Our advantages, and the RLOO loss, against those of TRL 1.16's trainers.

TRL computes the advantage inside the function that generates and scores. Generation is replaced by
the fixed batch and the reward functions by its fixed rewards; everything in between is TRL's.
"""

import pytest
import torch
from torch import Tensor

from rlvr_lab.objectives.advantages import group_advantages, leave_one_out_advantages
from rlvr_lab.objectives.kl import kl_shaped_rewards
from rlvr_lab.objectives.losses import clipped_surrogate
from rlvr_lab.objectives.ratios import log_ratio
from tests.parity.conftest import GROUP, PROMPTS
from tests.parity.test_grpo_loss import largest_difference, own_logprobs

pytestmark = [pytest.mark.scale, pytest.mark.usefixtures("float64")]
TRL_EPS = 1e-4


def rollout(trainer, tensors, monkeypatch, rewards: Tensor) -> dict[str, Tensor]:
    """What TRL's rollout returns when the answers and their rewards are ours."""
    answers = [row[keep].tolist() for row, keep in zip(tensors.ids, tensors.mask, strict=True)]
    read = zip(tensors.prompt_ids, tensors.prompt_mask.bool(), strict=True)
    prompts = [row[keep].tolist() for row, keep in read]
    texts = trainer.processing_class.batch_decode(answers)
    if type(trainer).__name__ == "GRPOTrainer":
        generated = (prompts, answers, None, texts, None, {}, None, None)
    else:
        generated = (prompts, answers, texts)
    monkeypatch.setattr(trainer, "_generate", lambda *_, **__: generated)
    monkeypatch.setattr(trainer, "_calculate_rewards", lambda *_, **__: rewards[:, None])
    rows = [{"prompt": prompt} for prompt in PROMPTS for _ in range(GROUP)]
    return trainer._generate_and_score_completions(rows)


def by_group(rewards: Tensor) -> Tensor:
    return group_advantages(rewards, GROUP, ddof=1, eps=TRL_EPS)


def by_batch(rewards: Tensor) -> Tensor:
    """TRL's ``batch``: centred on the group, divided by the spread of the whole batch."""
    return group_advantages(rewards, GROUP, divide_by_std=False) / (rewards.std() + TRL_EPS)


def unscaled(rewards: Tensor) -> Tensor:
    return group_advantages(rewards, GROUP, divide_by_std=False)


KINDS = {"group": by_group, "batch": by_batch, "none": unscaled}


@pytest.mark.parametrize("scaling", KINDS)
@pytest.mark.parametrize("binary", [False, True], ids=["graded", "binary"])
def test_grpo_advantages(scaling: str, binary: bool, grpo, tensors, monkeypatch) -> None:
    rewards = tensors.rewards.clone()
    if binary:
        rewards = (rewards > 0.5).double()
        rewards[:GROUP] = 1.0  # one group without spread
    monkeypatch.setattr(grpo, "scale_rewards", scaling)
    grpo.beta = 0.0
    theirs = rollout(grpo, tensors, monkeypatch, rewards)["advantages"]
    # TRL's own Bessel factor, count / (count − 1), is a float32 number.
    tolerance = 1e-12 if scaling == "none" else 1e-6
    torch.testing.assert_close(KINDS[scaling](rewards), theirs, rtol=0, atol=tolerance)


def test_the_other_ddof_and_eps_are_told_apart(grpo, tensors, monkeypatch) -> None:
    monkeypatch.setattr(grpo, "scale_rewards", "group")
    grpo.beta = 0.0
    theirs = rollout(grpo, tensors, monkeypatch, tensors.rewards)["advantages"]
    for wrong in ({"ddof": 0, "eps": TRL_EPS}, {"ddof": 1, "eps": 1e-6}):
        mine = group_advantages(tensors.rewards, GROUP, **wrong)
        assert float((mine - theirs).abs().max()) > 1e-4, wrong


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_rloo_advantages_with_the_kl_in_the_reward(beta: float, rloo, tensors, monkeypatch) -> None:
    own = own_logprobs(rloo.model, tensors).detach()
    answers = iter([own, tensors.ref])  # TRL scores with the policy, then with the reference
    monkeypatch.setattr(
        rloo, "_get_per_token_logps_and_entropies", lambda *_, **__: (next(answers), None, None)
    )
    monkeypatch.setattr(rloo, "ref_model", rloo.model)
    monkeypatch.setattr(rloo, "beta", beta)
    theirs = rollout(rloo, tensors, monkeypatch, tensors.rewards)["advantages"]
    shaped = kl_shaped_rewards(tensors.rewards, own, tensors.ref, tensors.mask, beta)
    mine = leave_one_out_advantages(shaped, GROUP)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.1, 0.28)])
def test_rloo_loss(low: float, high: float, rloo, tensors) -> None:
    """TRL clips the ratio of whole answers, Π_t ρ_t, where the paper has no ratio at all."""
    rloo.epsilon_low, rloo.epsilon_high = low, high
    # Half the distance, so that some products of ratios stay inside the clip.
    own = own_logprobs(rloo.model, tensors)
    old = own.detach() + 0.5 * (tensors.old - own.detach())
    given = {
        "prompt_ids": tensors.prompt_ids,
        "prompt_mask": tensors.prompt_mask,
        "completion_ids": tensors.ids,
        "completion_mask": tensors.mask.long(),
        "advantages": tensors.advantages,
        "old_logps": (old * tensors.mask).sum(1),
    }
    theirs = rloo._compute_loss(rloo.model, given)
    ratio = log_ratio(own, old, tensors.mask).sum(dim=1, keepdim=True).exp()
    assert bool((ratio > 1 + high).any()) and bool(((ratio - 1).abs() < low).any())
    mine = -clipped_surrogate(ratio, tensors.advantages[:, None], low, high).mean()
    value, slope = largest_difference(rloo.model, theirs, mine)
    assert value < 1e-12 and slope < 1e-12, (value, slope)
