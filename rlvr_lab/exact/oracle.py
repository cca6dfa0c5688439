"""An enumerable world: each expected value over a language model's answers is a finite sum.

The policy is a real causal language model in float64, with V ≤ 4 tokens (token 0 ends an answer) and
answers of at most T ≤ 4 tokens. All Y answers are listed; with V = T = 3 there are 15. So J, ∇J, entropy
and KL are exact. The module ``estimators`` computes what an *estimator* of ∇J gives on average.
(Notebooks 03, 06 and 07)

Shapes: Y answers, T tokens, D parameters. Gradients are flat [D] and point *uphill*.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel

from rlvr_lab.policy.architecture import small_llama, small_llama_config
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.logprobs import token_logprobs

__all__ = ["World", "more_ones"]

END = 0


def more_ones(answer: list[int]) -> float:
    """The default reward: 1 for an answer with more ones than twos, else 0.

    >>> more_ones([1, 2, 1]), more_ones([2, 0])
    (1.0, 0.0)
    """
    return float(answer.count(1) > answer.count(2))


def tiny_model(vocabulary: int, seed: int) -> LlamaForCausalLM:
    """One layer, eight dimensions, float64; the weights are large, so π is far from uniform."""
    config = small_llama_config(
        vocabulary,
        hidden=8,
        layers=1,
        heads=2,
        positions=8,
        spread=0.4,
        bos_token_id=END,
        eos_token_id=END,
    )
    model = small_llama(config, seed).double().eval()
    for layer in model.model.layers:
        layer.input_layernorm, layer.post_attention_layernorm = double_norm(), double_norm()
    model.model.norm = double_norm()
    return model


def double_norm() -> nn.RMSNorm:
    """The library's RMSNorm always computes in float32."""
    norm = nn.RMSNorm(8, eps=1e-6, dtype=torch.float64)
    norm.variance_epsilon = norm.eps  # the name by which the library's own norm calls it
    return norm


@dataclass(frozen=True)
class World:
    """A policy, all its possible answers, and their rewards.

    Attributes:
        model: the policy π; gradients are with respect to its parameters.
        ids: [Y, T], all answers, padded with the end token.
        mask: [Y, T], True on an answer's tokens, including its end token.
        rewards: [Y].
        reference: π_ref, used in KL terms.
        behaviour: π_old, from which the answers are sampled; None means π itself (on-policy).
        prompt: the prompt, one token.
    """

    model: PreTrainedModel
    ids: Int[Tensor, "Y T"]
    mask: Bool[Tensor, "Y T"]
    rewards: Float[Tensor, " Y"]
    reference: PreTrainedModel
    behaviour: PreTrainedModel | None = None
    prompt: int = END

    @classmethod
    def tiny(
        cls,
        seed: int = 0,
        vocabulary: int = 3,
        length: int = 3,
        reward: Callable[[list[int]], float] = more_ones,
        off_policy: bool = False,
    ) -> "World":
        """A world of untrained models: policy, reference and, with ``off_policy``, another π_old.

        Raises:
            ValueError: unless 2 ≤ vocabulary ≤ 4 and 1 ≤ length ≤ 4.

        >>> len(World.tiny().rewards)
        15
        """
        if not 2 <= vocabulary <= 4:
            raise ValueError(f"vocabulary: need 2 to 4 tokens, got {vocabulary}")
        if not 1 <= length <= 4:
            raise ValueError(f"length: need 1 to 4 tokens, got {length}")
        words = range(1, vocabulary)
        answers = [
            [*word, END] for size in range(length) for word in itertools.product(words, repeat=size)
        ]
        answers += [list(word) for word in itertools.product(words, repeat=length)]
        ids = torch.tensor([answer + [END] * (length - len(answer)) for answer in answers])
        mask = torch.tensor([[t < len(answer) for t in range(length)] for answer in answers])
        rewards = torch.tensor([float(reward(answer)) for answer in answers], dtype=torch.float64)
        models = [tiny_model(vocabulary, 3 * seed + i) for i in range(3)]
        return cls(models[0], ids, mask, rewards, models[1], models[2] if off_policy else None)

    # ------------------------------------------------------------------------- exact quantities

    def logprobs(self, model: PreTrainedModel | None = None) -> Float[Tensor, "Y T"]:
        """log π of each token of each answer, with gradient; 0 on padding."""
        size = len(self.ids)
        zeros = torch.zeros(self.ids.shape, dtype=torch.float64)
        batch = RolloutBatch(
            prompt_ids=torch.tensor([[self.prompt]]),
            prompt_mask=torch.ones(1, 1, dtype=torch.bool),
            completion_ids=self.ids,
            completion_mask=self.mask,
            attention_mask=self.mask,
            old_logprobs=zeros,
            entropy=zeros,
            truncated=torch.zeros(size, dtype=torch.bool),
            texts=[""] * size,
            group_size=size,
        )
        return token_logprobs(model or self.model, batch)

    def answer_logprobs(self, model: PreTrainedModel | None = None) -> Float[Tensor, " Y"]:
        """log π(y) of each answer, with gradient. The probabilities add up to 1."""
        return self.logprobs(model).sum(dim=1)

    def expected_reward(self) -> Float[Tensor, ""]:
        """J = Σ_y π(y)·r(y), with gradient."""
        return self.answer_logprobs().exp() @ self.rewards

    def entropy(self) -> Float[Tensor, ""]:
        """−Σ_y π(y)·log π(y) of whole answers, in nats, with gradient."""
        logprobs = self.answer_logprobs()
        return -(logprobs.exp() * logprobs).sum()

    def kl(self, forward: bool = False) -> Float[Tensor, ""]:
        """KL(π‖π_ref) of whole answers, or with ``forward`` KL(π_ref‖π), in nats, with gradient."""
        policy = self.answer_logprobs()
        reference = self.answer_logprobs(self.reference).detach()
        p, q = (reference, policy) if forward else (policy, reference)
        return (p.exp() * (p - q)).sum()

    def gradient(self, value: Float[Tensor, ""]) -> Float[Tensor, " D"]:
        """Derivative of ``value`` with respect to the policy's parameters."""
        return _flat(torch.autograd.grad(value, self.parameters, materialize_grads=True))

    @cached_property
    def parameters(self) -> list[Tensor]:
        """The policy's parameters, in the order of the flat gradient."""
        return list(self.model.parameters())

    @cached_property
    def fixed_logprobs(self) -> tuple[Float[Tensor, "Y T"], Float[Tensor, "Y T"]]:
        """log π and log π_old of each token, without gradient, computed once."""
        with torch.no_grad():
            new = self.logprobs()
            return new, new if self.behaviour is None else self.logprobs(self.behaviour)

    @cached_property
    def jacobian(self) -> Float[Tensor, "Y T D"]:
        """∂ log π(y_t) / ∂θ of each token of each answer; 0 on padding."""
        logprobs = self.logprobs()
        rows = torch.zeros(*logprobs.shape, sum(p.numel() for p in self.parameters)).double()
        for y, t in self.mask.nonzero().tolist():
            pieces = torch.autograd.grad(logprobs[y, t], self.parameters, retain_graph=True)
            rows[y, t] = _flat(pieces)
        return rows


def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
