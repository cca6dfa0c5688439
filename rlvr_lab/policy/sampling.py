"""Sampling: from prompts to a ``RolloutBatch``.

It is fast because it avoids repeated work: a prompt is read once for its whole group, a common beginning of
several answers is computed once, a finished answer leaves the batch, and sampling stops after the
longest answer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr_lab.objectives.kl import entropy
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.decoding import decoder_for
from rlvr_lab.policy.loading import Policy, encode_prompts
from rlvr_lab.policy.logprobs import prefill

__all__ = ["sample"]


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: list[str],
    group_size: int,
    max_new_tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_p: float = 1.0,
    forced_words: list[str] | None = None,
) -> RolloutBatch:
    """Sample ``group_size`` answers to each prompt.

    Args:
        policy: model and tokenizer.
        prompts: N texts of any length.
        group_size: G, number of answers to each prompt.
        max_new_tokens: length limit; an answer that reaches it without stopping is ``truncated``.
        generator: the source of all randomness, on the policy's device.
        temperature: divides the logits; ``old_logprobs`` belong to the distribution at this temperature.
        top_p: sample from the smallest set of tokens whose total probability reaches this value. The
            log-probabilities remain those of the full distribution, as in TRL and verl.
        forced_words: B words that the environment writes as the first token of each row. They are part
            of the text and are not trained.

    Raises:
        ValueError: when a count, the temperature or top_p is out of range.
    """
    _check(group_size, max_new_tokens, temperature, top_p)
    model, device = policy.model, policy.device
    was_training = model.training
    model.eval()
    prompt_ids, prompt_mask = encode_prompts(policy, prompts)
    cache, logits = prefill(model, prompt_ids, prompt_mask)
    rows = len(prompts) * group_size
    decoder = decoder_for(model, cache, prompt_mask, rows, max_new_tokens)

    forced = _forced_ids(policy, forced_words, rows)
    stops = torch.tensor(policy.stop_ids, device=device)
    precision = torch.promote_types(logits.dtype, torch.float32)
    drawn = _Drawn.empty(rows, max_new_tokens, policy.tokenizer.pad_token_id, precision, device)
    alive = torch.arange(rows, device=device)
    prefix = alive // group_size  # which of the decoder's rows an answer continues
    for step in range(max_new_tokens):
        distinct = (logits.to(precision) / temperature).log_softmax(-1)
        scores = distinct[prefix]
        token = forced if step == 0 and forced is not None else _draw(scores, top_p, generator)
        drawn.ids[alive, step] = token
        drawn.logprobs[alive, step] = scores.gather(1, token[:, None]).squeeze(1)
        drawn.entropy[alive, step] = entropy(distinct)[prefix]
        stopped = torch.isin(token, stops)
        if bool(stopped.any()):
            drawn.lengths[alive[stopped]] = step + 1
            drawn.truncated[alive[stopped]] = False
            keep = (~stopped).nonzero().squeeze(1)
            alive, token, prefix = alive[keep], token[keep], prefix[keep]
        if len(alive) == 0 or step == max_new_tokens - 1:
            break
        vocabulary = logits.shape[1]
        continued, prefix = torch.unique(prefix * vocabulary + token, return_inverse=True)
        logits = decoder.step(continued // vocabulary, continued % vocabulary)
    if was_training:
        model.train()
    texts = policy.tokenizer.batch_decode(drawn.answers())
    forced_tokens = 0 if forced is None else 1
    return RolloutBatch(
        prompt_ids,
        prompt_mask.bool(),
        **drawn.tensors(forced_tokens),
        texts=texts,
        group_size=group_size,
    )


def _check(group_size: int, max_new_tokens: int, temperature: float, top_p: float) -> None:
    if group_size < 1:
        raise ValueError(f"group_size: need at least 1, got {group_size}")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens: need at least 1, got {max_new_tokens}")
    if not temperature > 0:
        raise ValueError(f"temperature: must be positive, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p: must lie in (0, 1], got {top_p}")


def _forced_ids(policy: Policy, words: list[str] | None, rows: int) -> Tensor | None:
    if words is None:
        return None
    encoded = [policy.tokenizer.encode(word, add_special_tokens=False) for word in words]
    if len(words) != rows or any(len(e) != 1 for e in encoded):
        raise ValueError(f"forced_words: expected {rows} words of one token each")
    return torch.tensor([e[0] for e in encoded], device=policy.device)


def _draw(scores: Tensor, top_p: float, generator: torch.Generator) -> Tensor:
    """One token per row, from log-probabilities [rows, V]."""
    probs = scores.exp()
    if top_p < 1:
        ordered, index = probs.sort(dim=-1, descending=True)
        # A token is kept if the total probability *before* it is below top_p; the first one is.
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0.0)
        probs = torch.zeros_like(probs).scatter(1, index, ordered)
    return torch.multinomial(probs, 1, generator=generator).squeeze(1)


@dataclass
class _Drawn:
    """The tokens sampled so far, in tensors of the maximal width; names as in the batch."""

    ids: Tensor
    logprobs: Tensor
    entropy: Tensor
    lengths: Tensor
    truncated: Tensor

    @classmethod
    def empty(
        cls, rows: int, width: int, pad: int, precision: torch.dtype, device: torch.device
    ) -> "_Drawn":
        zeros = torch.zeros(rows, width, dtype=precision, device=device)
        return cls(
            ids=torch.full((rows, width), pad, device=device),
            logprobs=zeros,
            entropy=zeros.clone(),
            lengths=torch.full((rows,), width, device=device),
            truncated=torch.ones(rows, dtype=torch.bool, device=device),
        )

    def answers(self) -> list[list[int]]:
        """Token ids of each answer, without its end-of-sequence token."""
        ends = (self.lengths - (~self.truncated).long()).tolist()
        return [row[:end] for row, end in zip(self.ids.tolist(), ends, strict=True)]

    def tensors(self, forced_tokens: int) -> dict[str, Tensor]:
        """The batch's tensors, cut to the longest answer; the masks are computed from positions."""
        width = int(self.lengths.max())
        position = torch.arange(width, device=self.ids.device)
        attention = position < self.lengths[:, None]
        mask = attention & (position >= forced_tokens)
        return {
            "completion_ids": self.ids[:, :width],
            "completion_mask": mask,
            "attention_mask": attention,
            "old_logprobs": self.logprobs[:, :width].masked_fill(~mask, 0.0),
            "entropy": self.entropy[:, :width].masked_fill(~mask, 0.0),
            "truncated": self.truncated,
        }
