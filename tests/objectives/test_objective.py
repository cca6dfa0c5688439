"""An objective built from names is the named loss, and the table holds the eight algorithms."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.objectives.advantages import (
    group_advantages,
    leave_one_out_advantages,
    log_partition_advantages,
)
from rlvr_lab.objectives.averages import constant_mean, sequence_mean
from rlvr_lab.objectives.kl import entropy, k1, k2, k3, kl_penalty, kl_shaped_rewards
from rlvr_lab.objectives.losses import (
    cispo_loss,
    dapo_loss,
    dr_grpo_loss,
    grpo_loss,
    gspo_loss,
    reinforce_loss,
    rloo_loss,
)
from rlvr_lab.objectives.objective import (
    ADVANTAGES,
    ALGORITHMS,
    AVERAGES,
    ESTIMATORS,
    RATIOS,
    Objective,
    Rows,
    objective_from,
)
from rlvr_lab.objectives.squared_loss import kimi_loss

GENERATOR = torch.Generator().manual_seed(0)
MASK = torch.arange(6) < torch.tensor([6, 3, 1, 5, 2, 4])[:, None]
LOGPROBS, OLD, REF = (-torch.rand(6, 6, generator=GENERATOR).double() for _ in range(3))
REWARDS = torch.tensor([1.0, 0.0, 0.3, 0.0, 1.0, 0.2]).double()
L = 9
NAMES = {
    "baseline": "group",
    "divide_by_std": True,
    "average": "sequence",
    "ratio": "token",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "kl_in": "loss",
    "kl_estimator": "k3",
}


def objective(name: str, **changes) -> Objective:
    given = {**NAMES, **ALGORITHMS[name], **changes}
    return objective_from(**{"kl_in_reward": given.pop("kl_in") == "reward", "length": L, **given})


def total(found: Objective) -> torch.Tensor:
    advantages = found.advantages(REWARDS, 3, OLD, REF, MASK)
    return found.total(Rows(LOGPROBS, OLD, advantages, MASK, REF))


Z, CENTRED = (group_advantages(REWARDS, 3, by_std) for by_std in (True, False))
EXPECTED = {
    "rloo": lambda: rloo_loss(LOGPROBS, leave_one_out_advantages(REWARDS, 3), MASK) / L,
    "grpo": lambda: grpo_loss(LOGPROBS, OLD, Z, MASK),
    "dr-grpo": lambda: dr_grpo_loss(LOGPROBS, OLD, CENTRED, MASK, L),
    "dapo": lambda: dapo_loss(LOGPROBS, OLD, Z, MASK),
    "gspo": lambda: gspo_loss(LOGPROBS, OLD, Z, MASK),
    "cispo": lambda: cispo_loss(LOGPROBS, OLD, Z, MASK),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_row_of_the_table_is_the_loss_of_that_name(name: str) -> None:
    torch.testing.assert_close(total(objective(name)), EXPECTED[name]())


def test_the_table_has_eight_rows_and_reinforce_whitens_over_the_batch() -> None:
    assert list(ALGORITHMS) == [
        *("reinforce", "rloo", "grpo", "dr-grpo"),
        *("dapo", "gspo", "cispo", "maxrl"),
    ]
    whitened = (REWARDS - REWARDS.mean()) / (REWARDS.std(correction=0) + 1e-6)
    torch.testing.assert_close(
        total(objective("reinforce")), reinforce_loss(LOGPROBS, whitened, MASK)
    )
    mean = REWARDS.view(2, 3).mean(1).repeat_interleave(3)
    by_mean = (REWARDS - mean) / (mean + 1e-6)
    torch.testing.assert_close(
        total(objective("maxrl")),
        grpo_loss(LOGPROBS, OLD, by_mean, MASK, average=constant_mean(L)),
    )


@pytest.mark.parametrize(("name", "estimator"), [("k1", k1), ("k2", k2), ("k3", k3)])
def test_a_kl_in_the_loss_is_added_with_its_weight(name: str, estimator) -> None:
    found = objective("grpo", kl_coef=0.3, kl_estimator=name)
    assert found.kl_in_loss
    penalty = kl_penalty(LOGPROBS, REF, MASK, 0.3, sequence_mean, estimator)
    torch.testing.assert_close(total(found) - total(objective("grpo")), penalty)


def test_a_kl_in_the_reward_is_taken_off_before_the_comparison() -> None:
    found = objective("grpo", kl_coef=0.3, kl_in="reward")
    assert not found.kl_in_loss
    shaped = group_advantages(kl_shaped_rewards(REWARDS, OLD, REF, MASK, 0.3), 3)
    torch.testing.assert_close(found.advantages(REWARDS, 3, OLD, REF, MASK), shaped)
    torch.testing.assert_close(total(found), grpo_loss(LOGPROBS, OLD, shaped, MASK))


@pytest.mark.parametrize("average", ["sequence", "token", "constant"])
def test_an_entropy_bonus_is_taken_off_with_every_trained_token_alike(average: str) -> None:
    logits = torch.randn(6, 6, 5, generator=torch.Generator().manual_seed(1)).double()
    plain = objective("grpo", average=average, kl_coef=0.3)
    found = replace(plain, entropy_coef=0.4)
    rows = Rows(LOGPROBS, OLD, Z, MASK, REF, logits)
    tokens = entropy(logits)[MASK]
    torch.testing.assert_close(found.total(rows), plain.total(rows) - 0.4 * tokens.sum() / 21)
    assert found.trains_every_row and found.reads_logits
    assert not objective("grpo").trains_every_row and not objective("grpo").reads_logits
    with pytest.raises(ValueError, match=r"^logits: needed when entropy_coef is positive \(0\.4\)"):
        found.total(rows._replace(logits=None))


def test_another_average_can_take_the_place_of_the_own_one_in_every_term() -> None:
    found = objective("grpo", kl_coef=0.3)
    rows = Rows(LOGPROBS, OLD, Z, MASK, REF)
    constant = replace(found, average=constant_mean(4))
    torch.testing.assert_close(found.total(rows, constant_mean(4)), constant.total(rows))


def share(name: str, **changes) -> float:
    return objective(name, **changes).clipped(Rows(LOGPROBS, OLD, Z, MASK, REF))


def test_the_share_of_clipped_tokens_goes_by_the_ratio_in_use() -> None:
    ratio = (LOGPROBS - OLD).exp()
    a = Z[:, None].expand(6, 6)
    dead = ((a > 0) & (ratio > 1.1)) | ((a < 0) & (ratio < 0.9))
    options = {"clip_low": 0.1, "clip_high": 0.1}
    assert share("grpo", **options) == pytest.approx(float(dead[MASK].double().mean()))
    whole = ((LOGPROBS - OLD) * MASK).sum(1) / MASK.sum(1)
    s = whole.exp()[:, None].expand(6, 6)
    dead = ((a > 0) & (s > 1.1)) | ((a < 0) & (s < 0.9))
    assert share("gspo", **options) == pytest.approx(float(dead[MASK].double().mean()))
    capped = (ratio > 1.1)[MASK].double().mean()
    assert share("cispo", **options) == pytest.approx(float(capped))
    assert share("reinforce") == Objective().clipped(Rows(LOGPROBS, OLD, Z, MASK)) == 0


def test_every_name_has_a_meaning() -> None:
    assert set(RATIOS) == {"token", "sequence", "cispo", "none", "squared"}
    assert set(AVERAGES) == {"sequence", "token", "constant"} and set(ESTIMATORS) == {
        "k1",
        "k2",
        "k3",
    }
    assert set(ADVANTAGES) == {"group", "leave_one_out", "batch", "none", "maxrl", "log_z"}


def test_kimis_objective_has_its_own_tau_in_loss_and_baseline_and_trains_every_row() -> None:
    given = {"baseline": "log_z", "divide_by_std": False, "average": "constant", "ratio": "squared"}
    for tau in (0.2, 3.0):
        found = objective("grpo", **given, tau=tau)
        advantages = log_partition_advantages(REWARDS, 3, tau)
        expected = kimi_loss(LOGPROBS, OLD, advantages, MASK, tau) / L
        assert total(found).item() == pytest.approx(expected.item(), abs=1e-14)
        assert found.trains_every_row and found.clipped(Rows(LOGPROBS, OLD, advantages, MASK)) == 0
    assert not objective("grpo").trains_every_row
    assert objective("grpo", kl_coef=0.1).trains_every_row
    assert not objective("grpo", kl_coef=0.1, kl_in="reward").trains_every_row


def test_a_kl_without_weight_reads_no_reference() -> None:
    nowhere = torch.full_like(REF, float("nan"))
    for place in (False, True):
        found = Objective(kl_in_reward=place)
        assert found.kl_coef == 0 and not found.kl_in_loss
        assert torch.equal(found.advantages(REWARDS, 3, OLD, nowhere, MASK), REWARDS)
    with pytest.raises(AttributeError):
        found.kl_coef = 1.0


def test_without_a_baseline_the_reward_is_the_advantage() -> None:
    found = objective("reinforce", baseline="none")
    assert torch.equal(found.advantages(REWARDS, 3, OLD, REF, MASK), REWARDS)


def test_the_two_sides_of_the_clip_are_told_apart() -> None:
    mask, old = torch.ones(3, 1).bool(), torch.zeros(3, 1)
    ratios, a = torch.tensor([[1.3], [0.75], [0.75]]), torch.tensor([1.0, -1.0, -1.0])
    rows = Rows(ratios.log(), old, a, mask)
    for low, high, share in (
        (0.1, 0.5, 2 / 3),
        (0.3, 0.2, 1 / 3),
        (0.1, 0.2, 1.0),
        (0.3, 0.5, 0.0),
    ):
        found = objective("grpo", clip_low=low, clip_high=high).clipped(rows)
        assert found == pytest.approx(share)


def test_only_the_group_baseline_is_divided_by_the_std() -> None:
    for row in ALGORITHMS.values():
        given = {**NAMES, **row}
        assert given["divide_by_std"] is False or given["baseline"] == "group"
