r"""Losses on preference pairs, one small function per variant. All are *minimised*.

A pair is a chosen answer y_w and a rejected answer y_l to the same prompt. The variants differ in the
quantity that they compare (notebook 01), h = compared(y_w) − compared(y_l):

| loss                  | compared(y)                          | loss of h               |
|-----------------------|--------------------------------------|-------------------------|
| Bradley–Terry         | r(y), a reward model's score         | −log σ(h)               |
| DPO                   | β·log π(y)/π_ref(y)                  | −log σ(h)               |
| length-normalised DPO | β·log π(y)/π_ref(y) · 1/\|y\|        | −log σ(h)               |
| SimPO                 | β·log π(y) · 1/\|y\|                 | −log σ(h − γ)           |
| IPO                   | log π(y)/π_ref(y)                    | (h − 1/(2τ))²           |
| ORPO                  | log-odds of π(y)^(1/\|y\|)           | −log σ(h)·λ + NLL(y_w)  |

Shapes: everything is [M], one number per pair. Log-probabilities are sums over an answer's tokens, in
nats; lengths are in tokens. Gradient flows through the log-probabilities of the policy, not through
those of the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "PAIR_OBJECTIVES",
    "PairObjective",
    "Sides",
    "answer_logprobs",
    "bradley_terry_loss",
    "dpo_loss",
    "dpo_weight",
    "implicit_reward",
    "ipo_loss",
    "length_normalised_dpo_loss",
    "orpo_loss",
    "preference_accuracy",
    "preference_probability",
    "simpo_loss",
]

M = Float[Tensor, " M"]
Scalar = Float[Tensor, ""]


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: must be positive, got {value}")


def _lengths(**lengths: Tensor) -> None:
    for name, value in lengths.items():
        if not bool((value >= 1).all()):
            raise ValueError(f"{name}: every answer needs at least one token, got {value.tolist()}")


def answer_logprobs(
    logprobs: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """log π(y) = Σ_t log π(y_t): the sum over an answer's tokens.

    >>> answer_logprobs(-torch.ones(1, 3), torch.tensor([[True, True, False]]))
    tensor([-2.])
    """
    return torch.where(mask, logprobs, 0.0).sum(dim=1)


def preference_probability(scores: M, other_scores: M) -> M:
    """P(y ≻ y') = σ(r(y) − r(y')) in the model of Bradley and Terry (1952); scores are log-strengths.

    >>> preference_probability(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.5000])
    """
    return torch.sigmoid(scores - other_scores)


def bradley_terry_loss(chosen_scores: M, rejected_scores: M) -> Scalar:
    """−mean log σ(r(y_w) − r(y_l)): the negative log-likelihood of the preferences (arXiv:2203.02155, eq. 1).

    The loss depends only on differences of scores: adding a constant to all scores does not change it.

    >>> bradley_terry_loss(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor(0.6931)
    """
    return -F.logsigmoid(chosen_scores - rejected_scores).mean()


def implicit_reward(logprobs: M, ref_logprobs: M, beta: float) -> M:
    """r̂(y) = β·log π(y)/π_ref(y): the reward whose KL-regularised optimum is π, up to a constant that
    depends only on the prompt (DPO, eq. 5, arXiv:2305.18290).

    Raises:
        ValueError: when ``beta`` is not positive.

    >>> implicit_reward(torch.tensor([-2.0]), torch.tensor([-3.0]), beta=0.1)
    tensor([0.1000])
    """
    _positive("beta", beta)
    return beta * (logprobs - ref_logprobs.detach())


def dpo_loss(
    chosen_logprobs: M,
    rejected_logprobs: M,
    ref_chosen_logprobs: M,
    ref_rejected_logprobs: M,
    beta: float = 0.1,
) -> Scalar:
    """−mean log σ(r̂(y_w) − r̂(y_l))  (DPO, eq. 7, arXiv:2305.18290; notebook 01).

    The Bradley–Terry loss with the policy's implicit reward instead of a reward model. The loss depends
    only on the margin, so the chosen answer may lose probability as long as the rejected one loses more.

    Raises:
        ValueError: when ``beta`` is not positive.

    >>> two = torch.tensor([-2.0])
    >>> dpo_loss(two, two, two, two)
    tensor(0.6931)
    """
    return bradley_terry_loss(
        implicit_reward(chosen_logprobs, ref_chosen_logprobs, beta),
        implicit_reward(rejected_logprobs, ref_rejected_logprobs, beta),
    )


def dpo_weight(chosen_rewards: M, rejected_rewards: M) -> M:
    """σ(r̂(y_l) − r̂(y_w)): the weight of a pair in DPO's gradient, in (0, 1).

    ∇L = −β·σ(r̂_l − r̂_w)·(∇log π(y_w) − ∇log π(y_l))   (DPO, section 4). The weight is ½ at the start,
    near 1 for a pair that the implicit reward ranks incorrectly, and near 0 for a pair it has learned.

    >>> dpo_weight(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor([0.5000])
    """
    return preference_probability(rejected_rewards, chosen_rewards)


def preference_accuracy(margins: M) -> float:
    """Share of pairs with a positive margin (chosen minus rejected); a tie counts as one half.

    Raises:
        ValueError: when there is no pair.

    >>> preference_accuracy(torch.tensor([1.0, -1.0, 2.0, 0.0]))
    0.625
    """
    if margins.numel() == 0:
        raise ValueError("margins: need at least one pair")
    return float(((margins > 0).double() + 0.5 * (margins == 0).double()).mean())


def length_normalised_dpo_loss(
    chosen_logprobs: M,
    rejected_logprobs: M,
    ref_chosen_logprobs: M,
    ref_rejected_logprobs: M,
    chosen_lengths: M,
    rejected_lengths: M,
    beta: float = 1.0,
) -> Scalar:
    r"""DPO with each implicit reward divided by its answer's length  (Tülu 3, arXiv:2411.15124).

    Raises:
        ValueError: when ``beta`` is not positive or a length is below 1.

    >>> one, two = torch.tensor([1.0]), torch.tensor([2.0])
    >>> length_normalised_dpo_loss(-one, -two, -two, -two, two, two, beta=1.0)
    tensor(0.4741)
    """
    _lengths(chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths)
    return bradley_terry_loss(
        implicit_reward(chosen_logprobs, ref_chosen_logprobs, beta) / chosen_lengths,
        implicit_reward(rejected_logprobs, ref_rejected_logprobs, beta) / rejected_lengths,
    )


def simpo_loss(
    chosen_logprobs: M,
    rejected_logprobs: M,
    chosen_lengths: M,
    rejected_lengths: M,
    beta: float = 2.0,
    margin: float = 1.0,
) -> Scalar:
    r"""−mean log σ(β/\|y_w\|·log π(y_w) − β/\|y_l\|·log π(y_l) − γ)  (SimPO, eq. 6, arXiv:2405.14734).

    There is no reference policy, so the result is not the optimum of a KL-regularised problem.

    Args:
        margin: γ ≥ 0, the margin by which the chosen answer should win.

    Raises:
        ValueError: when ``beta`` is not positive, ``margin`` is negative, or a length is below 1.

    >>> one, two = torch.tensor([1.0]), torch.tensor([2.0])
    >>> simpo_loss(-one, -two, one, two, beta=2.0, margin=0.0)
    tensor(0.6931)
    """
    _positive("beta", beta)
    if margin < 0:
        raise ValueError(f"margin: γ must not be negative, got {margin}")
    _lengths(chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths)
    chosen = beta * chosen_logprobs / chosen_lengths
    return bradley_terry_loss(chosen - margin, beta * rejected_logprobs / rejected_lengths)


def ipo_loss(
    chosen_logprobs: M,
    rejected_logprobs: M,
    ref_chosen_logprobs: M,
    ref_rejected_logprobs: M,
    tau: float = 0.1,
) -> Scalar:
    """mean (h − 1/(2τ))²: the margin has a target and is not maximised  (arXiv:2310.12036).

    Raises:
        ValueError: when ``tau`` is not positive.

    >>> two = torch.tensor([-2.0])
    >>> ipo_loss(two, two, two, two, tau=0.5)
    tensor(1.)
    """
    _positive("tau", tau)
    chosen = implicit_reward(chosen_logprobs, ref_chosen_logprobs, 1.0)
    margin = chosen - implicit_reward(rejected_logprobs, ref_rejected_logprobs, 1.0)
    return (margin - 1 / (2 * tau)).square().mean()


def orpo_loss(
    chosen_logprobs: M,
    rejected_logprobs: M,
    chosen_lengths: M,
    rejected_lengths: M,
    weight: float = 0.1,
) -> Scalar:
    r"""NLL of the chosen answer plus λ times a log-odds term  (ORPO, eq. 6–7, arXiv:2403.07691).

    With p = π(y)^(1/\|y\|): −mean log p_w − λ·mean log σ(logit p_w − logit p_l).

    Raises:
        ValueError: when ``weight`` is negative, a length is below 1, or an answer has probability 1.

    >>> one = torch.tensor([1.0])
    >>> orpo_loss(-one, -one, one, one, weight=1.0)
    tensor(1.6931)
    """
    if weight < 0:
        raise ValueError(f"weight: λ must not be negative, got {weight}")
    _lengths(chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths)
    chosen, rejected = chosen_logprobs / chosen_lengths, rejected_logprobs / rejected_lengths
    for name, mean in (("chosen_logprobs", chosen), ("rejected_logprobs", rejected)):
        if not bool((mean < 0).all()):
            raise ValueError(f"{name}: the odds of an answer with probability 1 are not finite")
    odds = [mean - torch.log(-torch.expm1(mean)) for mean in (chosen, rejected)]
    return -chosen.mean() + weight * bradley_terry_loss(*odds)


# --------------------------------------------------------------------- a variant as a value, by name


class Sides(NamedTuple):
    """The inputs of a loss on pairs: summed log-probabilities [M] of policy and reference, and lengths."""

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor
    ref_rejected: Tensor
    chosen_lengths: Tensor
    rejected_lengths: Tensor

    def without_reference(self) -> "Sides":
        """The same pairs with log π_ref = 0: what is left of a log-ratio is log π.

        >>> Sides(*torch.ones(6, 1)).without_reference().ref_chosen
        tensor([0.])
        """
        zero = torch.zeros_like(self.ref_chosen)
        return self._replace(ref_chosen=zero, ref_rejected=zero)

    @property
    def mean_chosen(self) -> Tensor:
        """log π(y_w) per token."""
        return self.chosen / self.chosen_lengths


@dataclass(frozen=True)
class PairObjective:
    """A loss on pairs and what it compares.

    Attributes:
        loss: (sides, β, γ) → a scalar to minimise; β is τ in IPO and the weight λ in ORPO.
        compared: sides → [M] of the chosen answers and [M] of the rejected ones, before β.
        scaled: whether β multiplies what is compared; it does not in IPO.
    """

    loss: Callable[[Sides, float, float], Tensor]
    compared: Callable[[Sides], tuple[Tensor, Tensor]]
    scaled: bool = True

    def rewards(self, sides: Sides, beta: float) -> tuple[Tensor, Tensor]:
        """The loss's own implicit reward of the chosen and of the rejected answers, [M] each.

        ORPO has none; β times the mean log-probability per token takes its place.
        """
        chosen, rejected = self.compared(sides)
        return (beta * chosen, beta * rejected) if self.scaled else (chosen, rejected)

    def margin(self, sides: Sides, beta: float) -> Tensor:
        """[M], implicit reward of the chosen answer minus that of the rejected one."""
        chosen, rejected = self.compared(sides)
        return (beta if self.scaled else 1.0) * (chosen - rejected)

    def total(self, sides: Sides, beta: float, gamma: float, likelihood: float = 0.0) -> Scalar:
        """The loss plus ``likelihood`` ≥ 0 times the chosen answer's −log π per token."""
        loss = self.loss(sides, beta, gamma)
        return loss if likelihood == 0 else loss - likelihood * sides.mean_chosen.mean()


def _log_ratios(s: Sides) -> tuple[Tensor, Tensor]:
    return s.chosen - s.ref_chosen, s.rejected - s.ref_rejected


def _mean_log_ratios(s: Sides) -> tuple[Tensor, Tensor]:
    chosen, rejected = _log_ratios(s)
    return chosen / s.chosen_lengths, rejected / s.rejected_lengths


def _mean_logprobs(s: Sides) -> tuple[Tensor, Tensor]:
    return s.mean_chosen, s.rejected / s.rejected_lengths


PAIR_OBJECTIVES: dict[str, PairObjective] = {
    "dpo": PairObjective(lambda s, b, _: dpo_loss(*s[:4], b), _log_ratios),
    "ln_dpo": PairObjective(lambda s, b, _: length_normalised_dpo_loss(*s, b), _mean_log_ratios),
    "simpo": PairObjective(lambda s, b, g: simpo_loss(*s[:2], *s[4:], b, g), _mean_logprobs),
    "ipo": PairObjective(lambda s, b, _: ipo_loss(*s[:4], b), _log_ratios, scaled=False),
    "orpo": PairObjective(lambda s, b, _: orpo_loss(*s[:2], *s[4:], b), _mean_logprobs),
}
"""The variants of the table above, by name."""
