"""The doctor's rules about the update: gradients, ratios, step sizes and the KL to the reference."""

import math

import numpy as np

from rlvr_lab.records.doctor_log import RunLog
from rlvr_lab.records.doctor_rule import Rule

__all__ = ["UPDATE_RULES"]


def not_finite(log: RunLog) -> str | None:
    """A metric is NaN or infinite."""
    for record in log.records:
        for name, value in record.items():
            if isinstance(value, float) and not math.isfinite(value):
                return f"{name} is {value} at step {record['step']}"
    return None


def no_gradient(log: RunLog) -> str | None:
    """The gradient is 0 although groups differ."""
    largest, silent = np.nanmax(log.column("grad_norm")), np.nanmean(log.column("zero_spread"))
    if largest > 1e-8 or silent > 0.9:
        return None
    return (
        f"the gradient norm never exceeds {largest:.1g}, although in {1 - silent:.0%} of the groups the "
        "rewards differ"
    )


def other_temperature(log: RunLog) -> str | None:
    """ρ ≠ 1 at the first inner step of step 1."""
    start = log.column("first_ratio")[0]
    if log.steps[0] > 1 or not start > 0.05:
        return None
    return (
        f"at step {log.steps[0]} policy and sampler have the same weights, and still the mean |ρ − 1| is "
        f"{start:.2g} before the first update"
    )


def stale_weights(log: RunLog) -> str | None:
    """ρ is 1 at first and leaves 1 before the first inner step of later steps."""
    ratio = log.column("first_ratio")
    off = [step for step, value in zip(log.steps, ratio, strict=True) if value > 0.05]
    if ratio[0] > 0.05 or len(off) < 3:
        return None
    return (
        f"the mean |ρ − 1| before the first update is {ratio[0]:.1g} at step {log.steps[0]} but exceeds 0.05 in "
        f"{len(off)} later steps, first at step {off[0]}; its maximum is {np.nanmax(ratio):.2g}"
    )


def huge_advantages(log: RunLog) -> str | None:
    """An advantage is larger than any group could make it."""
    largest = log.column("largest")
    at = int(np.nanargmax(largest))
    if not largest[at] > 100:
        return None
    return f"the largest |A| is {largest[at]:.2g}, at step {log.steps[at]}"


def kl_sign(log: RunLog) -> str | None:
    """The loss falls as the KL grows."""
    kl, loss = log.column("kl_token"), log.column("loss")
    both = np.isfinite(kl) & np.isfinite(loss)
    if both.sum() < 5 or np.ptp(kl[both]) == 0 or np.ptp(loss[both]) == 0:
        return None
    together = float(
        np.corrcoef(np.argsort(np.argsort(kl[both])), np.argsort(np.argsort(loss[both])))[0, 1]
    )
    if together > -0.8 or log.late("kl_token") < 0.3 or log.late("loss") > -0.1:
        return None
    return (
        f"the KL grows, {log.change('kl_token')} nats per token, and the loss falls with it, {log.change('loss')}; "
        f"their rank correlation is {together:.2f}"
    )


def too_fast(log: RunLog) -> str | None:
    """The policy leaves the reference within five steps."""
    for step, value in zip(log.steps, log.column("kl_token"), strict=True):
        if step <= 5 and value > 1:
            return f"at step {step} the KL to the reference is already {value:.2g} nats per token"
    return None


def destroyed(log: RunLog) -> str | None:
    """The policy is far from where it started, and worse than it was."""
    if log.late("kl_token") < 0.8:
        return None
    for name in log.goals:
        best, late = log.best(name), log.late(name)
        error = log.noise(name) / math.sqrt(log.window)
        if best > 0 and late < 0.7 * best and best - late > 4 * error:
            return (
                f"the KL to the reference is {log.late('kl_token'):.2g} nats per token ({log.span(False)}), and the "
                f"{name} has fallen from {best:.2g} to {late:.2g}"
            )
    return None


def too_large(log: RunLog) -> str | None:
    """Many tokens are clipped while the policy is still near the reference."""
    clipped = log.first("clip_fraction")
    if clipped < 0.17:
        return None
    return f"in the first three records the clip acts on {clipped:.0%} of the tokens, averaged over all updates"


def no_motion(log: RunLog) -> str | None:
    """There is a gradient, and the policy stays where it was."""
    furthest = np.nanmax(np.abs(log.column("kl_token")))
    gradient = np.nanmedian(log.column("grad_norm"))
    # A large model may learn at a KL that is nothing to a small one.
    if furthest > 5e-4 or gradient < 1e-3 or log.learned:
        return None
    return (
        f"the median gradient norm is {gradient:.2g}, but after {log.steps[-1]} steps the KL to the reference has "
        f"never exceeded {furthest:.1g} nats per token"
    )


def heavy_kl(log: RunLog) -> str | None:
    """The KL term holds the policy at the reference."""
    beta = log.settings.get("kl_coef") or 0.0
    if beta <= 0 or log.learned or not 5e-4 <= log.late("kl_token") <= 0.03:
        return None
    return (
        f"with a KL weight of {beta:g} the KL is only {log.late('kl_token'):.2g} nats per token at the end, and "
        f"{' and '.join(log.goals)} have not risen"
    )


def no_clip(log: RunLog) -> str | None:
    """The clip never acts."""
    if np.nanmax(log.column("clip_fraction")) > 0 or np.nanmax(log.column("grad_norm")) <= 1e-8:
        return None
    return "the clip fraction is 0 in every record"


def zero_loss(log: RunLog) -> str | None:
    """The loss is 0, and the gradient is not."""
    loss, gradient = np.nanmax(np.abs(log.column("loss"))), np.nanmean(log.column("grad_norm"))
    if loss > 1e-4 or gradient < 1e-3:
        return None
    return f"no loss is larger than {loss:.1g}, and the mean gradient norm is {gradient:.2g}"


UPDATE_RULES = (
    Rule(
        "numbers not finite",
        (),
        not_finite,
        "If it is the reward, look for a division by 0 in the reward function; else look at the step before: a "
        "learning rate that is far too high, a division by a std of 0, half precision without loss scaling.",
        "TRL #2703; notebook 07",
        "No metric of a sound run is NaN or infinite; an unknown one is None.",
        least=1,
    ),
    Rule(
        "no gradient",
        ("grad_norm", "zero_spread"),
        no_gradient,
        "Look for a detach() or a no_grad() between the log-probabilities and the loss, and for frozen parameters.",
        "TRL #3452; the museum of broken runs",
        "Rounding alone gives 1e-7 or so when all groups are silent; where they differ, norms are 0.01 and more.",
        least=5,
    ),
    Rule(
        "other temperature",
        ("first_ratio",),
        other_temperature,
        "Divide the logits by the sampler's temperature before the log-softmax of the update; compare precision, "
        "top-p and chat template of sampler and trainer too.",
        "the museum of broken runs; notebook 05",
        "Equal weights give ρ = 1 up to rounding: 1e-6 in single precision, about 0.01 in bfloat16.",
        least=1,
    ),
    Rule(
        "stale weights",
        ("first_ratio",),
        stale_weights,
        "Copy the weights to the sampler, and compute log π_old, in every step; or correct for the old policy with "
        "its ratio.",
        "the museum of broken runs; notebook 05",
        "As for another temperature; three steps, so that a single slow copy is forgiven.",
        least=5,
        explained_by=("other temperature",),
    ),
    Rule(
        "huge advantages",
        ("largest",),
        huge_advantages,
        "Divide by the std of the whole group, or not at all. The std of the others is 0 whenever they agree.",
        "the museum of broken runs; notebook 07",
        "(r − mean)/std of a group is at most √(G − 1): 100 would need a group of ten thousand answers.",
        least=1,
    ),
    Rule(
        "KL with the wrong sign",
        ("kl_token", "loss"),
        kl_sign,
        "Add β·KL to the loss that is minimised (or subtract it from the reward). A larger β must give "
        "a smaller KL.",
        "the museum of broken runs; notebook 06",
        "A penalty makes loss and KL rise together. 0.3 nats per token is more than the sums of this "
        "course ever need.",
    ),
    Rule(
        "updates too large",
        ("clip_fraction",),
        too_large,
        "Take fewer passes over each batch, or a lower learning rate.",
        "notebook 05; arXiv:2005.12729",
        "The policies of this course that learn well start with at most 0.145; the clip is meant for "
        "the exception.",
        least=3,
        explained_by=("other temperature", "stale weights"),
    ),
    Rule(
        "learning rate too high",
        ("kl_token",),
        too_fast,
        "Lower the learning rate (by 3 to 10) and warm it up; clip the gradient norm.",
        "OpenRLHF #525; notebook 06",
        "Sound runs of this course are at 0.15 nats per token after five steps, and at 0.2 when they have learned.",
        least=3,
        explained_by=("other temperature", "updates too large", "KL with the wrong sign"),
    ),
    Rule(
        "policy destroyed",
        ("kl_token",),
        destroyed,
        "Go back to the checkpoint before the fall; lower the learning rate, keep the clip, or add a KL penalty.",
        "OpenRLHF #525; notebook 06",
        "Sums are solved at 0.2 nats per token, four times less. A fall by 30 % of the best, and of 4 "
        "standard errors, is no noise.",
        explained_by=(
            "other temperature",
            "huge advantages",
            "KL with the wrong sign",
            "updates too large",
            "learning rate too high",
            "reward hacked",
            "answers cut off",
            "answers no longer stop",
            "entropy collapse",
        ),
    ),
    Rule(
        "policy does not move",
        ("kl_token", "grad_norm"),
        no_motion,
        "Raise the learning rate; check that the optimiser holds the parameters of the model that "
        "samples, and that "
        "its warm-up ends.",
        "open-r1 #239; notebook 06",
        "At a usual learning rate ten steps move the tiny policies by 0.02 nats per token; sampling noise is below "
        "5e-4 only where nothing moves. A large model may learn below that, so only if nothing is gained.",
        explained_by=("no gradient", "constant reward", "reward too rare", "task already solved"),
    ),
    Rule(
        "KL weight too high",
        ("kl_token",),
        heavy_kl,
        "Lower β by a factor of ten and compare reward and KL.",
        "notebook 06",
        "Sums are learned at 0.2 nats per token; a policy that is held below 0.03 cannot get there.",
        explained_by=("constant reward", "reward too rare", "task already solved"),
    ),
    Rule(
        "clip never acts",
        ("clip_fraction", "grad_norm"),
        no_clip,
        "Nothing to do with one update per batch: then ρ = 1, and there is nothing to clip. With several updates, "
        "check that log π_old is kept from before the first.",
        "TRL #3452; notebook 05",
        "Exactly 0: a single clipped token would show.",
        least=3,
        severity="note",
    ),
    Rule(
        "loss near zero",
        ("loss", "grad_norm"),
        zero_loss,
        "Nothing to do: at ρ = 1 the loss is minus the mean advantage, which is 0 within each group; "
        "its gradient is "
        "not 0. Watch the reward, not the loss.",
        "TRL #2703, open-r1 #239; notebook 06",
        "Rounding is far below 1e-4, and a gradient norm above 1e-3 is no rounding.",
        least=3,
        severity="note",
    ),
)
