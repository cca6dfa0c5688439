"""A language model's body with one number for an output: value models and reward models.

A value model reads off a number at every token, V(s_t); a reward model one at the last token. The body
is that of a causal language model, so the number at a position depends on what stands before it alone.
"""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import before_each_token, whole_texts

__all__ = ["ScalarModel", "answer_scores", "token_values"]


class ScalarModel(nn.Module):
    """Body and scalar head.

    Args:
        body: a transformer that returns ``last_hidden_state``.
        zero_head: start with the output 0 everywhere; otherwise weights of 1/√(width + 1).
        seed: of the head's weights.
    """

    def __init__(self, body: nn.Module, zero_head: bool = True, seed: int = 0) -> None:
        super().__init__()
        width = body.config.hidden_size
        self.body, self.head = body, nn.Linear(width, 1)
        nn.init.zeros_(self.head.bias)
        if zero_head:
            nn.init.zeros_(self.head.weight)
        else:
            noise = torch.randn(1, width, generator=torch.Generator().manual_seed(seed))
            self.head.weight.data = noise / (width + 1) ** 0.5
        some = next(body.parameters())
        self.head.to(some.device, some.dtype)

    @classmethod
    def from_policy(cls, policy: Policy, zero_head: bool = True, seed: int = 0) -> "ScalarModel":
        """A body of its own with the policy's present weights, trainable."""
        body = copy.deepcopy(policy.model.base_model).requires_grad_(True)
        return cls(body, zero_head, seed)

    def forward(self, ids: Int[Tensor, "B L"], mask: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """One number at every position; ``mask`` is 1 on real tokens, wherever the padding is."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self.body(input_ids=ids, attention_mask=mask, position_ids=positions)
        return self.head(output.last_hidden_state).squeeze(-1)


def token_values(model: ScalarModel, batch: RolloutBatch) -> Float[Tensor, "B T"]:
    """V(s_t) = the number at the token *before* completion token t; 0 outside ``completion_mask``."""
    ids, mask, _ = whole_texts(batch)
    values = before_each_token(model(ids, mask), ids.shape[1], batch.completion_ids.shape[1])
    return torch.where(batch.completion_mask, values, 0.0)


def answer_scores(
    model: ScalarModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> Float[Tensor, " B"]:
    """Score of each text: the number at its last token, in the *reward model's* vocabulary.

    Texts and not ids cross from the policy to the reward model: the same ids mean other words in
    another vocabulary.

    Raises:
        ValueError: when there is no text, or one has no token.
    """
    if not texts or not all(texts):
        raise ValueError("texts: need at least one text, and none of them empty")
    device = model.head.weight.device
    encoded = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    ids, mask = encoded["input_ids"].to(device), encoded["attention_mask"].to(device)
    position = torch.arange(mask.shape[1], device=device)
    last = torch.where(mask.bool(), position, -1).amax(dim=1, keepdim=True)
    return model(ids, mask).gather(1, last).squeeze(1)
