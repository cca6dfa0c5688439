"""A language model's body with one number as output: value models and reward models.

A value model gives a number V(s_t) at every token, a reward model one at the last token. The body is that
of a causal language model, so the number at a position depends only on what stands before it.
"""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import before_each_token, distinct_answers, whole_texts

__all__ = ["ConfidenceModel", "ScalarModel", "answer_scores", "confidence", "token_values"]


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

    def hidden(self, ids: Int[Tensor, "B L"], mask: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """The body's last hidden state; ``mask`` is 1 on real tokens, wherever the padding is."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self.body(input_ids=ids, attention_mask=mask, position_ids=positions)
        return output.last_hidden_state

    def forward(self, ids: Int[Tensor, "B L"], mask: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """One number at every position."""
        return self.head(self.hidden(ids, mask)).squeeze(-1)

    def values(self, batch: RolloutBatch) -> Float[Tensor, "B T"]:
        """The number at the token *before* each completion token."""
        return self.head(self._states(batch)).squeeze(-1)

    def _states(self, batch: RolloutBatch, rows_per_pass: int = 64) -> Float[Tensor, "B T D"]:
        """The hidden state before each completion token; equal answers are read once."""
        ids, mask, _ = whole_texts(batch)
        longest, parts = batch.completion_ids.shape[1], []
        order, twin = distinct_answers(batch, torch.arange(len(ids), device=ids.device))
        for rows in order.split(rows_per_pass):
            width = max(1, int(batch.lengths[rows[-1]]))
            end = ids.shape[1] - longest + width
            states = before_each_token(self.hidden(ids[rows, :end], mask[rows, :end]), end, width)
            parts.append(nn.functional.pad(states, (0, 0, 0, longest - width)))
        return torch.cat(parts)[twin]


class ConfidenceModel(ScalarModel):
    """A value model that also reads how sure the policy was of the words it has written.

    Its head is a small network on the hidden state and the two numbers of ``confidence``.

    Args:
        body, zero_head, seed: as of ``ScalarModel``; the last layer is the one that may start at 0.
        counted: ids of the tokens whose probabilities it reads.
        width: of the hidden layer.
        scale: multiplies the output, so that a head of small weights can reach values around 1.
    """

    def __init__(
        self,
        body: nn.Module,
        counted: list[int],
        zero_head: bool = True,
        seed: int = 0,
        width: int = 64,
        scale: float = 3.0,
    ) -> None:
        super().__init__(body, zero_head, seed)
        generator = torch.Generator().manual_seed(seed)
        features = body.config.hidden_size + 2
        first, last = nn.Linear(features, width), nn.Linear(width, 1)
        for layer in (first, last):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator)
            nn.init.zeros_(layer.bias)
        if zero_head:
            nn.init.zeros_(last.weight)
        some = next(body.parameters())
        self.head = nn.Sequential(first, nn.ReLU(), last).to(some.device, some.dtype)
        self.counted, self.scale = list(counted), scale

    @classmethod
    def from_policy(
        cls, policy: Policy, zero_head: bool = True, seed: int = 0
    ) -> "ConfidenceModel":
        """A body of its own with the policy's present weights; counted are the words for digits."""
        body = copy.deepcopy(policy.model.base_model).requires_grad_(True)
        words = policy.tokenizer.get_vocab()
        return cls(body, sorted(i for word, i in words.items() if word.isdigit()), zero_head, seed)

    def values(self, batch: RolloutBatch) -> Float[Tensor, "B T"]:
        """The number before each completion token."""
        hidden = self._states(batch)
        read = torch.cat([hidden, confidence(batch, self.counted).to(hidden)], dim=2)
        return self.scale * self.head(read).squeeze(-1)


def confidence(batch: RolloutBatch, counted: list[int]) -> Float[Tensor, "B T 2"]:
    """How probable the counted tokens were when they were sampled, as known *before* token t, in nats.

    Both numbers are 0 until the first counted token. They are data (old log-probabilities), so no gradient
    flows, and they look only at the past, so a V that reads them is still a valid baseline.

    Args:
        batch: the rollouts.
        counted: ids of the tokens that are looked at.

    Returns:
        [B, T, 2]: the smallest log-probability so far, and that of the latest counted token.
    """
    ids = batch.completion_ids
    looked_at = torch.isin(ids, torch.tensor(counted, device=ids.device)) & batch.completion_mask
    sure = torch.where(looked_at, batch.old_logprobs, 0.0)
    place = torch.arange(1, ids.shape[1] + 1, device=ids.device)
    latest = torch.where(looked_at, place, 0).cummax(dim=1).values  # 0: none so far
    padded = torch.cat([torch.zeros_like(sure[:, :1]), sure], dim=1)
    both = torch.stack([sure.cummin(dim=1).values, padded.gather(1, latest)], dim=2)
    return torch.cat([torch.zeros_like(both[:, :1]), both[:, :-1]], dim=1)


def token_values(model: ScalarModel, batch: RolloutBatch) -> Float[Tensor, "B T"]:
    """V(s_t) = the number at the token *before* completion token t; 0 outside ``completion_mask``."""
    return torch.where(batch.completion_mask, model.values(batch), 0.0)


def answer_scores(
    model: ScalarModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> Float[Tensor, " B"]:
    """Score of each text: the number at its last token, in the *reward model's* vocabulary.

    The reward model gets texts, never ids: in another vocabulary the same ids are other words.

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
