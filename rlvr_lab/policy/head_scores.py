"""Log-probabilities and entropies from hidden states, without storing tokens × vocabulary numbers.

A model with a vocabulary of 49,152 writes 192 KiB of logits for every token, and its backward pass stores
them again. The gradient needs two numbers of each row: the logit of the chosen token and the logarithm of
the sum. So the logits are computed for a few hundred tokens at a time, reduced to these numbers and thrown
away; the backward pass computes them a second time (arXiv:1604.06174 calls it recomputation).
"""

from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

__all__ = ["body_and_head", "chosen_scores"]


def chosen_scores(
    head: nn.Module,
    hidden: Float[Tensor, "n d"],
    ids: Int[Tensor, " n"],
    temperature: float = 1.0,
    tokens_at_once: int = 256,
    with_entropy: bool = False,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"] | None]:
    """log π(y) = z_y − log Σ_v e^(z_v) with z = head(h) / temperature, and the entropy of π.

    Args:
        head: maps a hidden state [d] to logits [V]; its parameters receive gradients.
        hidden: the states before n tokens; gradient flows into them.
        ids: the n tokens y.
        temperature: of the sampling, positive.
        tokens_at_once: largest number of tokens whose logits exist at the same time, at least 1.
        with_entropy: also compute log Σ_v e^(z_v) − Σ_v π(v)·z_v.

    Returns:
        log π(y) in nats, and the entropies in nats or None; float32, or float64 if the logits are.

    Raises:
        ValueError: when ``tokens_at_once`` is below 1.

    >>> chosen_scores(nn.Linear(3, 4), torch.zeros(1, 3), torch.tensor([0]))[0].shape
    torch.Size([1])
    """
    if tokens_at_once < 1:
        raise ValueError(f"tokens_at_once: need at least 1, got {tokens_at_once}")

    def some(states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(states)
        # In bfloat16 the sum over the vocabulary would keep three digits.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        log_sum = logits.logsumexp(dim=-1)
        chosen = logits.gather(1, tokens[:, None]).squeeze(1) - log_sum
        if not with_entropy:
            return chosen, chosen.new_zeros(0)
        # A forbidden token (z = −∞) has π = 0 and adds nothing; 0·∞ would be nan.
        finite = logits.masked_fill(logits == -torch.inf, 0.0)
        return chosen, log_sum - ((logits - log_sum[:, None]).exp() * finite).sum(dim=-1)

    parts = [
        checkpoint(some, states, tokens, use_reentrant=False, preserve_rng_state=False)
        for states, tokens in zip(
            hidden.split(tokens_at_once), ids.split(tokens_at_once), strict=True
        )
    ]
    scores, entropies = (torch.cat(column) for column in zip(*parts, strict=True))
    return scores, entropies if with_entropy else None


_KNOWN: WeakKeyDictionary[nn.Module, tuple[nn.Module, nn.Module] | None] = WeakKeyDictionary()


def body_and_head(model: PreTrainedModel) -> tuple[nn.Module, nn.Module] | None:
    """The parts h = body(text) and z = head(h) of a causal language model, if z is all that it computes.

    Some models still transform the logits (Gemma 2 caps them, Cohere scales them). Two tokens show it:
    for these models the answer is None. It is found once for each model.
    """
    if model not in _KNOWN:
        _KNOWN[model] = _body_and_head(model)
    return _KNOWN[model]


@torch.no_grad()
def _body_and_head(model: PreTrainedModel) -> tuple[nn.Module, nn.Module] | None:
    body, head = model.base_model, model.get_output_embeddings()
    if body is model or head is None:
        return None
    two = torch.arange(2, device=model.device)[None]
    states = body(input_ids=two, use_cache=False).last_hidden_state
    whole = model(input_ids=two, use_cache=False).logits
    return (body, head) if torch.equal(head(states), whole) else None
