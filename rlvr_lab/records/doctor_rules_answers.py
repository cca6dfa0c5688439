"""The doctor's rules about the answers: truncation, length and entropy; and about PPO's value model."""

import numpy as np

from rlvr_lab.records.doctor_log import RunLog
from rlvr_lab.records.doctor_rule import Rule

__all__ = ["ANSWER_RULES"]


def cut_off(log: RunLog) -> str | None:
    """Answers are cut off from the first step on."""
    share = log.first("truncated")
    if share < 0.15:
        return None
    limit = log.settings.get("max_new_tokens")
    said = f" (limit: {limit} tokens)" if limit else ""
    return f"{share:.0%} of the answers are cut off in the first three records{said}"


def no_stop(log: RunLog) -> str | None:
    """Answers grow until they are cut off."""
    grown = log.late("length") / log.first("length")
    if log.first("truncated") > 0.1 or log.late("truncated") < 0.2 or grown < 1.3:
        return None
    return (
        f"the length grows, {log.change('length')} tokens, and with it the share of answers that are cut off, "
        f"{log.change('truncated')}"
    )


def wrong_grow(log: RunLog) -> str | None:
    """Incorrect answers grow, correct ones do not, and nothing is gained or lost."""
    wrong = log.late("length_wrong") / log.first("length_wrong")
    right = log.late("length_right") / log.first("length_right")
    moved = any(abs(log.rise(name)) >= 4 for name in log.goals)
    if moved or wrong < 1.8 or not right < 1.2:
        return None
    return (
        f"incorrect answers grow by a factor of {wrong:.1f}, {log.change('length_wrong')} tokens; correct ones by "
        f"{right:.1f}, {log.change('length_right')}"
    )


def shrunk(log: RunLog) -> str | None:
    """Answers shrink, and fewer are correct."""
    name = log.level or next(iter(log.goals), None)
    if name is None or log.late("length") > 0.7 * log.first("length") or log.rise(name) >= 2:
        return None
    return f"the length falls, {log.change('length')} tokens, and the {name} does not rise: {log.change(name)}"


def collapsed(log: RunLog) -> str | None:
    """The policy has become certain, and not of the correct answers."""
    left = log.late("entropy") / log.first("entropy")
    if log.first("entropy") < 0.05 or left > 0.03:
        return None
    if log.level is not None and log.late(log.level) > 0.6:
        return None
    if log.level is None and (not log.goals or log.learned):
        return None
    name = log.level or log.goals[0]
    return f"the entropy falls, {log.change('entropy')} nats per token, while the {name} is {log.change(name)}"


def dead_critic(log: RunLog) -> str | None:
    """The value model explains nothing."""
    second_half = log.column("explained_variance")[len(log) // 2 :]
    if np.nanmedian(second_half) > 0.02 or (log.level is not None and log.late(log.level) > 0.95):
        return None
    loss = f"; the value loss goes {log.change('value_loss')}" if log.has("value_loss") else ""
    return f"the explained variance is {log.change('explained_variance')}{loss}"


ANSWER_RULES = (
    Rule(
        "answers cut off",
        ("truncated",),
        cut_off,
        "Raise the limit on new tokens until fewer than a few per cent are cut off; look for a second "
        "stop token that "
        "the trainer does not know.",
        "TRL #5759; the museum of broken runs",
        "The course's bases are never cut off in more than 5 % of the answers; at 15 % the longest "
        "chains earn nothing.",
        least=3,
    ),
    Rule(
        "incorrect answers grow",
        ("length_right", "length_wrong"),
        wrong_grow,
        "Do not divide an answer's loss by its own length: average over all tokens, or divide by a constant.",
        "Dr. GRPO, arXiv:2503.20783; notebook 07",
        "Incorrect answers may well grow while a policy learns to think: so only if nothing is "
        "learned, and if correct "
        "answers grow clearly less.",
    ),
    Rule(
        "answers no longer stop",
        ("truncated", "length"),
        no_stop,
        "Check that the stop token is trained (the mask must include it), that cut answers earn "
        "nothing, and the sign "
        "of any length reward.",
        "TRL #3138; notebook 08",
        "One answer in five; a policy that learns to think longer grows too, but it stops.",
        explained_by=(
            "KL with the wrong sign",
            "incorrect answers grow",
            "other temperature",
            "updates too large",
            "learning rate too high",
        ),
    ),
    Rule(
        "length collapse",
        ("length",),
        shrunk,
        "Look at what the shortest answers earn: a reward for form or brevity alone is won without thinking.",
        "TRL #3138; notebook 08",
        "30 % shorter with no more correct answers; shorter and better is progress.",
        explained_by=(
            "answers cut off",
            "entropy collapse",
            "other temperature",
            "policy destroyed",
        ),
    ),
    Rule(
        "entropy collapse",
        ("entropy",),
        collapsed,
        "Check the sign of the entropy bonus; raise clip_high or the temperature, lower the learning rate.",
        "DAPO, arXiv:2503.14476, section 3.1; notebook 06",
        "A policy that solves its task is certain too: so only where at most 60 % are correct. A tenth "
        "is less than any "
        "policy of this course has at that level.",
        explained_by=(
            "answers cut off",
            "constant reward",
            "incorrect answers grow",
            "updates too large",
            "learning rate too high",
            "other temperature",
        ),
    ),
    Rule(
        "value model dead",
        ("explained_variance",),
        dead_critic,
        "Raise the value model's learning rate, warm it up before the first policy step, and check "
        "that its head reads "
        "the state before the token that it judges.",
        "notebook 05; arXiv:2503.01491",
        "0 is what a constant explains. At a pass rate above 95 % there is hardly a variance to explain.",
    ),
)
