"""Our losses and ``GRPOTrainer._compute_loss`` of TRL 1.16: same tensors, same value, same gradient.

SAPO, VESPO and LUSPO: ``test_soft_clips``. Not covered: entropy masks and the adaptive entropy bonus.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor

from rlvr_lab.objectives.averages import Average, constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.kl import kl_penalty
from rlvr_lab.objectives.losses import cispo_loss, gspo_loss, ppo_clip_loss, reinforce_loss
from rlvr_lab.objectives.ratios import sequence_ratio, token_ratio
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.logprobs import token_logprobs
from tests.parity.conftest import GROUP, WINDOW, full_precision_logprobs

pytestmark = pytest.mark.scale

AVERAGES: dict[str, Average] = {
    "grpo": sequence_mean,
    "bnpo": token_mean,
    "dr_grpo": constant_mean(WINDOW),
    "dapo": token_mean,
    "cispo": token_mean,
    "luspo": constant_mean(1),
}


@dataclass(frozen=True)
class Case:
    """One configuration, in TRL's words."""

    loss: str
    level: str
    beta: float
    corrected: bool
    delta: float | None
    epsilon: float
    epsilon_high: float

    def __str__(self) -> str:
        kl = "no_kl" if self.beta == 0 else f"beta{self.beta}_{'rho_' * self.corrected}k3"
        cap = "" if self.delta is None else f"-delta{self.delta}"
        return f"{self.loss}-{self.level}-{kl}-eps{self.epsilon}_{self.epsilon_high}{cap}"


KLS = [(0.0, False), (0.3, False), (0.3, True)]
CASES = [
    Case(loss, level, beta, corrected, delta, low, high)
    for loss, level, (beta, corrected), delta, (low, high) in product(
        ["grpo", "bnpo", "dr_grpo", "dapo", "luspo"],
        ["token", "sequence"],
        KLS,
        [None, 1.5],
        [(0.2, 0.2), (0.1, 0.28)],
    )
] + [
    # CISPO knows neither ε_low nor δ, and its ε_high is an absolute cap on the weight: ours is 1 + ε.
    Case("cispo", level, beta, corrected, None, 0.2, cap)
    for level, (beta, corrected), cap in product(["token", "sequence"], KLS, [1.28, 5.0])
]


def ours(case: Case, logprobs: Tensor, old: Tensor, ref: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    """The same objective from public functions of the package."""
    average = AVERAGES[case.loss]
    by_token = case.level == "token"
    ratio = (token_ratio if by_token else sequence_ratio)(logprobs, old, mask)
    if case.loss == "cispo" and by_token:
        loss = cispo_loss(logprobs, old, a, mask, case.epsilon_high - 1, average)
    elif case.loss == "cispo":
        # One weight an answer is one factor of its advantage.
        weight = ratio.detach().squeeze(1).clamp(max=case.epsilon_high)
        loss = reinforce_loss(logprobs, weight * a, mask, average)
    else:
        clipped = ppo_clip_loss if by_token else gspo_loss
        loss = clipped(logprobs, old, a, mask, case.epsilon, case.epsilon_high, average, case.delta)
    weight = ratio if case.corrected else None
    return loss + kl_penalty(logprobs, ref, mask, case.beta, average, ratio=weight)


def configure(trainer, case: Case) -> None:
    """What ``GRPOConfig`` would set at the trainer's birth, set on the one we have."""
    trainer.loss_type = case.loss
    trainer.importance_sampling_level = case.level
    trainer.beta = case.beta
    trainer.epsilon_low, trainer.epsilon_high = case.epsilon, case.epsilon_high
    trainer.args.delta = case.delta
    trainer.args.use_bias_correction_kl = case.corrected


def inputs(tensors, rows: slice = slice(None), tokens: int | None = None) -> dict[str, Tensor]:
    mask = tensors.mask[rows]
    return {
        "prompt_ids": tensors.prompt_ids[rows],
        "prompt_mask": tensors.prompt_mask[rows],
        "completion_ids": tensors.ids[rows],
        "completion_mask": mask.long(),
        "advantages": tensors.advantages[rows],
        "old_per_token_logps": tensors.old[rows],
        "ref_per_token_logps": tensors.ref[rows],
        "num_items_in_batch": torch.tensor(float(tokens or mask.sum())),
    }


def gradients(model, loss: Tensor) -> list[Tensor]:
    """One tensor a parameter."""
    parameters = list(model.parameters())
    return list(torch.autograd.grad(loss, parameters))


def largest_difference(model, theirs: Tensor, mine: Tensor) -> tuple[float, float]:
    """Largest absolute difference of the values and of any parameter's gradient, which moves."""
    expected, found = gradients(model, theirs), gradients(model, mine)
    assert max(float(g.abs().max()) for g in expected) > 1e-3, "nothing to compare"
    slope = max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))
    return abs(float((theirs - mine).detach())), slope


def own_logprobs(model, tensors, rows: slice = slice(None)) -> Tensor:
    ids = torch.cat([tensors.prompt_ids[rows], tensors.ids[rows]], 1)
    attention = torch.cat([tensors.prompt_mask[rows], tensors.mask[rows].long()], 1)
    return full_precision_logprobs(model, ids, attention, WINDOW)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient_equal_trl(case: Case, grpo, tensors) -> None:
    configure(grpo, case)
    theirs = grpo._compute_loss(grpo.model, inputs(tensors))
    logprobs = own_logprobs(grpo.model, tensors)
    mine = ours(case, logprobs, tensors.old, tensors.ref, tensors.advantages, tensors.mask)
    value, slope = largest_difference(grpo.model, theirs, mine)
    assert value < 1e-12 and slope < 1e-12, (value, slope)


def whole_batch(case: Case, grpo, tensors) -> Tensor:
    logprobs = own_logprobs(grpo.model, tensors)
    return ours(case, logprobs, tensors.old, tensors.ref, tensors.advantages, tensors.mask)


@pytest.mark.parametrize("loss", AVERAGES)
def test_end_to_end_with_both_sides_own_logprobs(loss: str, grpo, tensors) -> None:
    """TRL's float32 kernel against our ``token_logprobs``, which reads every prompt once."""
    case = Case(loss, "token", 0.3, True, None, 0.2, 1.28 if loss == "cispo" else 0.28)
    configure(grpo, case)
    theirs = grpo._compute_loss(grpo.model, inputs(tensors))
    batch = RolloutBatch(
        prompt_ids=tensors.n_prompt_ids,
        prompt_mask=tensors.n_prompt_mask.bool(),
        completion_ids=tensors.ids,
        completion_mask=tensors.mask,
        attention_mask=tensors.mask,
        old_logprobs=torch.zeros_like(tensors.old, dtype=torch.float32),
        entropy=torch.zeros_like(tensors.old, dtype=torch.float32),
        truncated=torch.zeros(len(tensors.ids), dtype=torch.bool),
        texts=[""] * len(tensors.ids),
        group_size=GROUP,
    )
    logprobs = token_logprobs(grpo.model, batch)
    mine = ours(case, logprobs, tensors.old, tensors.ref, tensors.advantages, tensors.mask)
    value, slope = largest_difference(grpo.model, theirs, mine)
    assert value < 1e-6 and slope < 1e-6, (value, slope)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("loss", "equal"),
    [("grpo", True), ("dr_grpo", True), ("dapo", True), ("cispo", True), ("bnpo", False)],
)
def test_two_micro_batches_add_up_to_one_batch(loss: str, equal: bool, grpo, tensors) -> None:
    """DAPO divides by the tokens of the whole batch, BNPO by those of each micro-batch."""
    case = Case(loss, "token", 0.3, True, None, 0.2, 1.28 if loss == "cispo" else 0.28)
    configure(grpo, case)
    half, tokens = len(tensors.ids) // 2, int(tensors.mask.sum())
    before = grpo.current_gradient_accumulation_steps, grpo.args.steps_per_generation
    grpo.current_gradient_accumulation_steps = grpo.args.steps_per_generation = 2
    parts = [slice(0, half), slice(half, None)]
    theirs = sum(grpo._compute_loss(grpo.model, inputs(tensors, p, tokens)) for p in parts)
    grpo.current_gradient_accumulation_steps, grpo.args.steps_per_generation = before
    mine = whole_batch(case, grpo, tensors)
    assert (abs(float((theirs - mine).detach())) < 1e-12) == equal


# ------------------------------------------------------------- the comparison can fail


def flipped_ratio(logprobs, old, ref, a, mask, case):
    return ours(case, logprobs, 2 * logprobs.detach() - old, ref, a, mask)


def dropped_end(logprobs, old, ref, a, mask, case):
    """The last token of every answer, its end, masked out."""
    last = mask.sum(1, keepdim=True) - 1
    shorter = mask & ((torch.arange(mask.shape[1]) < last) | (last == 0))
    return ours(case, logprobs, old, ref, a, shorter)


def swapped_kl(logprobs, old, ref, a, mask, case):
    average = AVERAGES[case.loss]
    no_kl = Case(case.loss, case.level, 0.0, False, case.delta, case.epsilon, case.epsilon_high)
    ratio = token_ratio(logprobs, old, mask)
    swapped = lambda x, y: torch.expm1(x - y) - (x - y)  # noqa: E731
    return ours(no_kl, logprobs, old, ref, a, mask) + kl_penalty(
        logprobs, ref, mask, case.beta, average, swapped, ratio
    )


def detached_ratio(logprobs, old, ref, a, mask, case):
    average = AVERAGES[case.loss]
    no_kl = Case(case.loss, case.level, 0.0, False, case.delta, case.epsilon, case.epsilon_high)
    ratio = token_ratio(logprobs, old, mask).detach()
    return ours(no_kl, logprobs, old, ref, a, mask) + kl_penalty(
        logprobs, ref, mask, case.beta, average, ratio=ratio
    )


MISTAKES: dict[str, Callable[..., Tensor]] = {
    "ratio upside down": flipped_ratio,
    "end of answer masked": dropped_end,
    "KL with π and π_ref swapped": swapped_kl,
    "ratio of ρ·k3 detached": detached_ratio,
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_far_outside_the_tolerance(mistake: str, grpo, tensors) -> None:
    case = Case("grpo", "token", 0.3, True, None, 0.2, 0.28)
    configure(grpo, case)
    theirs = grpo._compute_loss(grpo.model, inputs(tensors))
    logprobs = own_logprobs(grpo.model, tensors)
    wrong = MISTAKES[mistake](
        logprobs, tensors.old, tensors.ref, tensors.advantages, tensors.mask, case
    )
    assert largest_difference(grpo.model, theirs, wrong)[1] > 1e-4
