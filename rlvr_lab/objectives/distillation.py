r"""On-policy distillation: the reverse KL to a teacher, on answers that the student sampled itself.

With student π and teacher π_T, s_t the prompt and the tokens before position t:

    L_t = KL(π(·|s_t) ‖ π_T(·|s_t)) = Σ_v π(v|s_t) · (log π(v|s_t) − log π_T(v|s_t))

Qwen3 fine-tunes the student on its own answers "to align its logits with those of a teacher … minimizing the KL
divergence" (arXiv:2505.09388, section 4.5). ``reverse_kl_full`` is L_t, summed over the vocabulary.
``reverse_kl_sampled`` needs the teacher's probability of the sampled token only. It is a policy gradient whose
advantage is −(log π − log π_T). Since Σ_v ∇π(v) = 0,

    ∇L_t = Σ_v ∇π(v) · (log π(v) − log π_T(v)) + Σ_v π(v) · ∇log π(v)
         = E_{v~π} [ (log π(v) − log π_T(v)) · ∇log π(v) ],

so both have the same expected gradient at each position, and the second is noisier. Neither differentiates through
the prefixes: that a token leads to other prefixes is left out. With ``to_go=True`` it is counted: the weight of
a token is then Σ_{u ≥ t} (log π − log π_T) of the rest of its answer, and the expected gradient, summed over
the positions, is that of the KL between the two distributions over whole answers.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import Average, token_mean
from rlvr_lab.objectives.kl import exact_kl, k1
from rlvr_lab.objectives.ratios import trained

__all__ = ["reverse_kl_full", "reverse_kl_sampled"]


def reverse_kl_full(
    logits: Float[Tensor, "B T V"],
    teacher_logits: Float[Tensor, "B T V"],
    mask: Bool[Tensor, "B T"],
    average: Average = token_mean,
) -> Float[Tensor, ""]:
    """average of KL(π‖π_T) at each position, in nats: the loss over the full vocabulary.

    Args:
        logits: the student's, before each sampled token; gradient flows through them.
        teacher_logits: the teacher's at the same positions; no gradient.
        mask: True on sampled tokens.
        average: over tokens and answers.

    >>> import torch
    >>> student, teacher = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[0.0, 1.0986123]]])
    >>> reverse_kl_full(student, teacher, torch.ones(1, 1, dtype=torch.bool))  # ½ log 2 + ½ log ⅔
    tensor(0.1438)
    """
    kl = exact_kl(logits, teacher_logits.detach())
    return average(trained("logits", kl, mask), mask)


def reverse_kl_sampled(
    logprobs: Float[Tensor, "B T"],
    teacher_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    average: Average = token_mean,
    to_go: bool = False,
) -> Float[Tensor, ""]:
    """average of sg(log π − log π_T) · log π of the sampled token: the loss as a policy gradient.

    Its *gradient* is meant, not its value. The tokens have to come from π itself.

    Args:
        logprobs: the student's, of the sampled tokens; gradient flows through them.
        teacher_logprobs: the teacher's, of the same tokens; no gradient.
        mask: True on sampled tokens.
        average: over tokens and answers.
        to_go: weigh a token with the sum of the log-ratios from it to the end of its answer.

    >>> import torch
    >>> one = torch.ones(1, 2)
    >>> reverse_kl_sampled(-one, -1.5 * one, one.bool())
    tensor(-0.5000)
    """
    log_p = trained("logprobs", logprobs, mask)
    weight = k1(log_p.detach(), trained("teacher_logprobs", teacher_logprobs.detach(), mask))
    if to_go:
        weight = weight.flip(1).cumsum(1).flip(1)
    return average(weight * log_p, mask)
