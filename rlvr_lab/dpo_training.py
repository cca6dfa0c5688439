"""DPO and its variants on recorded pairs: no sampling, no reward model. Notebook 01.

The pairs are those of ``preference_world``; the gold reward is measured on fresh answers of the
policy, for us to watch. What is trained never sees it.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from rlvr_lab.kl import k1
from rlvr_lab.policy import Policy
from rlvr_lab.preference_world import PAD, PROMPT, PreferenceWorld
from rlvr_lab.preferences import (
    answer_logprobs,
    dpo_loss,
    dpo_weight,
    ipo_loss,
    length_normalised_dpo_loss,
    orpo_loss,
    preference_accuracy,
    simpo_loss,
)
from rlvr_lab.recordings import Recording
from rlvr_lab.rollouts import sample

__all__ = ["DpoConfig", "letter_logprobs", "record_on_pairs", "train_on_pairs"]


@dataclass(frozen=True)
class DpoConfig:
    """One run on pairs.

    Attributes:
        loss: ``dpo``, ``ln_dpo``, ``simpo``, ``ipo`` or ``orpo``; each stands in ``preferences``.
        pairs: N.
        flip: chance that an annotator erred.
        length_bias: what annotators add to the gold reward for every token.
        stop: chance that the base ends after each token; 0 fixes the length at 12.
        beta: of the loss (τ of IPO, the weight λ of ORPO).
        margin: γ of SimPO.
        likelihood: weight of −log π(y_w)/|y_w| added to the loss (as in Llama 3, arXiv:2407.21783).
        steps: of the optimiser.
        batch_size: pairs in each.
        learning_rate: of Adam.
        measure_every: steps between two records.
        seed: of pairs, policy and batches.

    Raises:
        ValueError: naming the field.
    """

    loss: Literal["dpo", "ln_dpo", "simpo", "ipo", "orpo"] = "dpo"
    pairs: int = 300
    flip: float = 0.25
    length_bias: float = 0.0
    stop: float = 0.0
    beta: float = 0.1
    margin: float = 0.5
    likelihood: float = 0.0
    steps: int = 200
    batch_size: int = 64
    learning_rate: float = 1e-3
    measure_every: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in ("dpo", "ln_dpo", "simpo", "ipo", "orpo"):
            raise ValueError(f"loss: must be dpo, ln_dpo, simpo, ipo or orpo, got {self.loss!r}")
        for name in ("pairs", "steps", "batch_size", "measure_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}")
        for name in ("beta", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be positive, got {getattr(self, name)}")
        if self.likelihood < 0:
            raise ValueError(f"likelihood: must not be negative, got {self.likelihood}")


def letter_logprobs(policy: Policy, ids: Tensor, mask: Tensor) -> Tensor:
    """log π [B, T] of given answers to the world's one prompt, with gradient; 0 on padding."""
    prompt = policy.tokenizer.convert_tokens_to_ids(PROMPT)
    ids = ids.to(policy.device)
    read = torch.cat([torch.full_like(ids[:, :1], prompt), ids[:, :-1]], dim=1)
    scores = policy.model(read).logits.log_softmax(-1)
    # Padding has probability 0; its −inf must not enter the gather.
    target = ids.masked_fill(ids == PAD, 0)
    return scores.gather(2, target[:, :, None]).squeeze(2).masked_fill(~mask.to(ids.device), 0.0)


def _loss(config: DpoConfig) -> Callable[..., Tensor]:
    """(w, l, ref_w, ref_l, |w|, |l|) → loss: the variants, a line apart."""
    b = config.beta
    return {
        "dpo": lambda w, x, rw, rx, nw, nx: dpo_loss(w, x, rw, rx, b),
        "ln_dpo": lambda w, x, rw, rx, nw, nx: length_normalised_dpo_loss(w, x, rw, rx, nw, nx, b),
        "simpo": lambda w, x, rw, rx, nw, nx: simpo_loss(w, x, nw, nx, b, config.margin),
        "ipo": lambda w, x, rw, rx, nw, nx: ipo_loss(w, x, rw, rx, b),
        "orpo": lambda w, x, rw, rx, nw, nx: orpo_loss(w, x, nw, nx, b),
    }[config.loss]


def _own_margin(config: DpoConfig, w, x, rw, rx, nw, nx) -> Tensor:
    """Margin of the reward that the loss itself is about; ORPO's by the mean log π, its order."""
    b = config.beta
    if config.loss in ("simpo", "orpo"):
        return b * (w / nw - x / nx)
    if config.loss == "ln_dpo":
        return b * ((w - rw) / nw - (x - rx) / nx)
    return (1.0 if config.loss == "ipo" else b) * ((w - rw) - (x - rx))


def train_on_pairs(config: DpoConfig, policy: Policy | None = None) -> Iterator[dict[str, Any]]:
    """Minimise the loss on the pairs; yield a record before the first step and every few after it.

    Args:
        config: the run.
        policy: moved in place; the world's base if not given.

    Yields:
        ``step``; ``loss``; ``chosen`` and ``rejected`` (log π of whole answers, nats, mean over up to
        256 training pairs); ``margin`` (of the loss's own implicit reward); ``weight`` (mean
        σ(r̂_l − r̂_w)); ``accuracy`` (of the margin on training pairs) and ``held_out`` (on fresh,
        error-free ones, that please by gold reward and length bias); of 256 fresh answers ``gold``,
        ``length`` (tokens), ``kl`` and ``distance``.
    """
    world = PreferenceWorld(stop=config.stop, length_bias=config.length_bias)
    data = world.pairs(config.pairs, config.flip, 1_000 + config.seed)
    fresh = world.pairs(512, 0.0, 10_000 + config.seed)
    policy = policy or world.base_policy(config.seed)
    loss_function = _loss(config)
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed)

    def sides(pairs, rows) -> tuple[Tensor, ...]:
        """(w, l, ref_w, ref_l, |w|, |l|) of some pairs, in one pass."""
        ids = torch.cat([pairs.chosen[rows], pairs.rejected[rows]])
        mask = torch.cat([pairs.chosen_mask[rows], pairs.rejected_mask[rows]])
        total = answer_logprobs(letter_logprobs(policy, ids, mask), mask)
        lengths = mask.sum(dim=1).to(total)
        base = world.base_logprobs(ids, mask).sum(dim=1)
        (w, x), (rw, rx), (nw, nx) = total.chunk(2), base.chunk(2), lengths.chunk(2)
        return w, x, rw, rx, nw, nx

    def objective(w, x, rw, rx, nw, nx) -> Tensor:
        loss = loss_function(w, x, rw, rx, nw, nx)
        return loss if config.likelihood == 0 else loss - config.likelihood * (w / nw).mean()

    @torch.no_grad()
    def record(step: int) -> dict[str, Any]:
        seen = sides(data, slice(0, 256))
        margin = _own_margin(config, *seen)
        batch = sample(policy, [PROMPT], 256, world.length, generator)
        mask = batch.completion_mask
        log_ratio = k1(batch.old_logprobs, world.base_logprobs(batch.completion_ids, mask))
        kl = float(torch.where(mask, log_ratio, 0.0).sum(dim=1).double().mean())
        return {
            "step": step,
            "loss": float(objective(*seen)),
            "chosen": float(seen[0].mean()),
            "rejected": float(seen[1].mean()),
            "margin": float(margin.mean()),
            "weight": float(dpo_weight(margin, torch.zeros_like(margin)).mean()),
            "accuracy": preference_accuracy(margin),
            "held_out": preference_accuracy(_own_margin(config, *sides(fresh, slice(None)))),
            "gold": float(world.gold(world.counts(batch.completion_ids, mask)).double().mean()),
            "length": float(batch.lengths.double().mean()),
            "kl": kl,
            "distance": max(kl, 0.0) ** 0.5,
        }

    for step in range(config.steps + 1):
        if step % config.measure_every == 0:
            yield record(step)
        if step == config.steps:
            return
        rows = torch.randint(len(data), (config.batch_size,), generator=generator)
        loss = objective(*sides(data, rows))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()


def record_on_pairs(config: DpoConfig, seeds: int) -> Recording:
    """The same run from ``seeds`` seeds, from ``config.seed`` on.

    Raises:
        ValueError: for no seeds.
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    recording = Recording(asdict(config))
    for seed in range(config.seed, config.seed + seeds):
        recording.add(train_on_pairs(replace(config, seed=seed)))
    return recording
