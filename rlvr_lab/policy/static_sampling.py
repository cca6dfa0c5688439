"""The token loop for a GPU: it never waits for a result.

A GPU works through a queue that the host fills. A loop that asks "has an answer ended?" after each token
drains the queue, and the GPU idles while the host prepares the next step. So all rows stay to the end, a
mask on the device says which have finished, and the host looks at it only every few tokens. The price is
that finished rows are computed on. On a CPU nothing queues, and ``sampling``'s own loop, which drops
finished rows and computes common beginnings once, is faster.
"""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from rlvr_lab.objectives.kl import entropy
from rlvr_lab.policy.decoding import Decoder, LlamaDecoder, decoder_for
from rlvr_lab.policy.drawn import Draw, Drawn

__all__ = ["CHECK_EVERY", "StaticDecoder", "StaticLlamaDecoder", "static_answers", "static_decoder"]

CHECK_EVERY = 16
"""Tokens between two looks at the mask of finished rows; each look waits for the device."""


class StaticDecoder(Decoder):
    """Any causal language model through its own ``forward``: row r continues row r in every step."""

    def __init__(
        self,
        model: PreTrainedModel,
        cache: DynamicCache,
        prompt_mask: Tensor,
        rows: int,
        max_new_tokens: int,
    ) -> None:
        super().__init__(model, cache, prompt_mask, rows, max_new_tokens)
        self.filled = prompt_mask.shape[1]
        self.seen = torch.nn.functional.pad(self.seen, (0, max_new_tokens), value=True)
        config = model.config.get_text_config()
        kinds = getattr(config, "layer_types", None) or []
        known = config._attn_implementation in ("sdpa", "eager")
        self.ready = known and all(kind == "full_attention" for kind in kinds)

    def step(self, token: Tensor) -> Tensor:
        """Logits [B, V] after ``token`` [B] in every row."""
        self.filled += 1
        mask = self.seen[:, : self.filled]
        if self.ready:
            # A mask of four dimensions is used as it is. From one of two dimensions the library makes
            # its own, and reads it back to see whether it is needed.
            dtype = self.model.dtype
            hidden = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
            mask = hidden[:, None, None]
        return self._forward(token, mask)


class StaticLlamaDecoder(LlamaDecoder):
    """A Llama layer by layer, in memory that is allocated once: row r continues row r in every step."""

    def step(self, token: Tensor) -> Tensor:
        """Logits [B, V] after ``token`` [B] in every row."""
        return self._step(token)


def static_decoder(
    model: PreTrainedModel,
    cache: DynamicCache,
    prompt_mask: Tensor,
    group_size: int,
    max_new_tokens: int,
) -> StaticDecoder | StaticLlamaDecoder:
    """The decoder of all B = N·G rows from the beginning; arguments as of ``decoding.Decoder``."""
    rows = len(prompt_mask) * group_size
    owner = torch.arange(rows, device=prompt_mask.device) // group_size
    cache.batch_select_indices(owner)
    general = type(decoder_for(model, cache, prompt_mask[owner], rows, 1)) is Decoder
    kind = StaticDecoder if general else StaticLlamaDecoder
    return kind(model, cache, prompt_mask[owner], rows, max_new_tokens)


def static_answers(
    decoder: StaticDecoder | StaticLlamaDecoder,
    logits: Tensor,
    drawn: Drawn,
    draw: Draw,
    forced: Tensor | None,
    stops: Tensor,
    temperature: float,
    check_every: int = CHECK_EVERY,
) -> None:
    """Fill ``drawn``: up to T tokens for each of B rows, the same as ``sampling``'s loop with the same draws.

    Args:
        decoder: of all rows.
        logits: [B, V] after the prompts.
        drawn: empty; log-probabilities and entropies behind an answer's end are not cleared.
        draw: how to draw a token.
        forced: [B] the first tokens, or None.
        stops: ids that end an answer.
        temperature: divides the logits.
        check_every: tokens between two looks at whether all rows have finished, at least 1.

    Raises:
        ValueError: when ``check_every`` is below 1.
    """
    if check_every < 1:
        raise ValueError(f"check_every: need at least 1, got {check_every}")
    rows, steps = drawn.ids.shape
    every = torch.arange(rows, device=drawn.ids.device)
    finished = torch.zeros(rows, dtype=torch.bool, device=drawn.ids.device)
    for step in range(steps):
        scores = (logits.to(drawn.logprobs.dtype) / temperature).log_softmax(-1)
        token = forced if step == 0 and forced is not None else draw(scores, step, every)
        token = torch.where(finished, drawn.ids[:, step], token)  # padding behind the end
        drawn.ids[:, step] = token
        drawn.logprobs[:, step] = scores.gather(1, token[:, None]).squeeze(1)
        drawn.entropy[:, step] = entropy(scores)
        stopped = (token[:, None] == stops).any(dim=1) & ~finished
        drawn.lengths.masked_fill_(stopped, step + 1)
        drawn.truncated &= ~stopped
        finished = finished | stopped
        if step == steps - 1 or (step % check_every == check_every - 1 and bool(finished.all())):
            break
        logits = decoder.step(token)
