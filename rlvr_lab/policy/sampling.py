"""Sampling: from prompts to a ``RolloutBatch``.

It is fast because it avoids repeated work: a prompt is read once for its whole group, a common beginning of
several answers is computed once, a finished answer leaves the batch, and sampling stops after the
longest answer. On a CUDA device it takes another loop, which never waits for the device
(``static_sampling``); both fill a batch with the same contract.
"""

import torch
from torch import Tensor

from rlvr_lab.objectives.kl import entropy
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.decoding import Decoder, decoder_for
from rlvr_lab.policy.drawn import Draw, Drawn, multinomial_draw, race_draw
from rlvr_lab.policy.loading import Policy, encode_prompts
from rlvr_lab.policy.logprobs import prefill
from rlvr_lab.policy.static_sampling import static_answers, static_decoder

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
    loop: str = "auto",
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
        loop: ``compact`` drops finished rows, ``static`` keeps all rows and never waits for the device;
            ``auto`` is static on CUDA. They draw different answers from the same distribution.

    Raises:
        ValueError: when a count, the temperature or top_p is out of range, or there is no such loop.
    """
    _check(group_size, max_new_tokens, temperature, top_p)
    static = _takes_static_loop(loop, policy.device)
    model, device = policy.model, policy.device
    was_training = model.training
    model.eval()
    prompt_ids, prompt_mask = encode_prompts(policy, prompts)
    cache, logits = prefill(model, prompt_ids, prompt_mask)
    rows = len(prompts) * group_size
    forced = _forced_ids(policy, forced_words, rows)
    stops = torch.tensor(policy.stop_ids, device=device)
    precision = torch.promote_types(logits.dtype, torch.float32)
    drawn = Drawn.empty(rows, max_new_tokens, policy.tokenizer.pad_token_id, precision, device)
    rest = drawn, _drawing(static, top_p, generator), forced, stops, temperature
    if static:
        decoder = static_decoder(model, cache, prompt_mask, group_size, max_new_tokens)
        static_answers(decoder, logits.repeat_interleave(group_size, 0), *rest)
    else:
        decoder = decoder_for(model, cache, prompt_mask, rows, max_new_tokens)
        _compact_answers(decoder, logits, *rest)
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


def _compact_answers(
    decoder: Decoder,
    logits: Tensor,
    drawn: Drawn,
    draw: Draw,
    forced: Tensor | None,
    stops: Tensor,
    temperature: float,
) -> None:
    """Fill ``drawn``. The logits are those of the distinct beginnings, at first of the N prompts."""
    rows, steps = drawn.ids.shape
    alive = torch.arange(rows, device=drawn.ids.device)
    prefix = alive // (rows // len(logits))  # which of the decoder's rows an answer continues
    for step in range(steps):
        distinct = (logits.to(drawn.logprobs.dtype) / temperature).log_softmax(-1)
        scores = distinct[prefix]
        token = forced if step == 0 and forced is not None else draw(scores, step, alive)
        drawn.ids[alive, step] = token
        drawn.logprobs[alive, step] = scores.gather(1, token[:, None]).squeeze(1)
        drawn.entropy[alive, step] = entropy(distinct)[prefix]
        stopped = torch.isin(token, stops)
        if bool(stopped.any()):
            drawn.lengths[alive[stopped]] = step + 1
            drawn.truncated[alive[stopped]] = False
            keep = (~stopped).nonzero().squeeze(1)
            alive, token, prefix = alive[keep], token[keep], prefix[keep]
        if len(alive) == 0 or step == steps - 1:
            break
        vocabulary = logits.shape[1]
        continued, prefix = torch.unique(prefix * vocabulary + token, return_inverse=True)
        logits = decoder.step(continued // vocabulary, continued % vocabulary)


def _takes_static_loop(loop: str, device: torch.device) -> bool:
    if loop not in ("auto", "compact", "static"):
        raise ValueError(f"loop: must be auto, compact or static, got {loop!r}")
    return device.type == "cuda" if loop == "auto" else loop == "static"


def _drawing(static: bool, top_p: float, generator: torch.Generator) -> Draw:
    one = race_draw if static else multinomial_draw
    return lambda scores, step, answers: one(scores, top_p, generator)


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
