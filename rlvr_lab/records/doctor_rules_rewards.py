"""The doctor's rules about rewards: silent groups, rewards without a signal, and rewards that mislead."""

import math

import numpy as np

from rlvr_lab.records.doctor_log import LEVELS, RunLog
from rlvr_lab.records.doctor_rule import Rule

__all__ = ["REWARD_RULES"]

SILENT = "the share of silent groups, in which all answers earn the same, is"


def constant_reward(log: RunLog) -> str | None:
    """All answers earn the same."""
    if np.nanmin(log.column("zero_spread")) < 0.99 or np.ptp(log.column("reward")) > 1e-6:
        return None
    return f"every answer of every step earns {log.column('reward')[0]:.3g}; all groups are silent"


def solved(log: RunLog) -> str | None:
    """Nearly every answer is correct from the first step on."""
    level = log.level
    if level is None or log.early(level) < 0.97 or log.early("zero_spread") < 0.7:
        return None
    return f"the {level} is {log.early(level):.1%} in {log.span(True)}, and {SILENT} {log.early('zero_spread'):.0%}"


def too_rare(log: RunLog) -> str | None:
    """Nearly no answer is correct, so nearly all groups are silent."""
    level = log.level or "reward"
    if not log.has(level) or abs(log.early(level)) > 0.05 or log.early("zero_spread") < 0.7:
        return None
    if log.late("zero_spread") < 0.7:
        return None
    return (
        f"the {level} is {log.early(level):.2g} in {log.span(True)}, and {SILENT} {log.early('zero_spread'):.0%}; "
        f"at the end it is still {log.late('zero_spread'):.0%}"
    )


def pairs(log: RunLog) -> str | None:
    """Groups of two, most of them silent."""
    if log.settings.get("group_size") != 2 or log.early("zero_spread") < 0.4:
        return None
    return f"G = 2, and {SILENT} {log.change('zero_spread')}"


def hacked(log: RunLog) -> str | None:
    """What is optimised rises; what is meant falls."""
    for paid, meant in (("reward", "accuracy"), ("reward", "pass_rate"), ("proxy", "gold")):
        if not (log.has(paid) and log.has(meant)) or log.rise(paid) < 4:
            continue
        start, best, late = log.first(meant), log.best(meant), log.late(meant)
        lost = best - late
        error = log.noise(meant) / math.sqrt(log.window)
        if lost >= 0.2 * (best - start) and lost > 4 * error and lost > 0.05 * abs(best):
            return (
                f"the {paid} rises, {log.change(paid)}, while the {meant}, which is meant, falls from its best "
                f"{best:.2g} to {late:.2g}"
            )
    return None


def only_form(log: RunLog) -> str | None:
    """The groups fall silent, one answer for all, although the reward has not risen."""
    level = log.level
    if log.learned or log.first("zero_spread") > 0.5 or log.late("zero_spread") < 0.5:
        return None
    if level is not None and log.late(level) > 0.5:
        return None
    said = ", ".join(f"{name} {log.change(name)}" for name in log.goals)
    return f"no reward is gained ({said}), but the groups fall silent: {SILENT} {log.change('zero_spread')}"


def aimless(log: RunLog) -> str | None:
    """The policy moves far, and nothing gets better."""
    far = log.late("kl_token")
    if far < 0.1 or np.nanmean(log.column("zero_spread")) > 0.9:
        return None
    if log.level is not None and log.best(log.level) > 0.9:
        return None
    for name in log.goals:
        gained = log.late(name) - log.early(name)
        if gained >= 0.2 if name in LEVELS else log.rise(name) >= 4:
            return None
    said = ", ".join(f"{name} {log.change(name)}" for name in log.goals)
    return f"the KL to the reference is {far:.2g} nats per token at the end, and little is gained: {said}"


def noise(log: RunLog) -> str | None:
    """The change is smaller than the noise of a few batches."""
    name = next((name for name in log.goals if log.has(name)), None)
    if name is None or not abs(log.rise(name)) < 2:
        return None
    return (
        f"{name} goes {log.change(name)}, {log.rise(name):.1f} standard errors; one record differs from the next by "
        f"{log.noise(name):.2g} (standard deviation) without any learning"
    )


def finished(log: RunLog) -> str | None:
    """The task is solved at the end."""
    level = log.level
    if level is None or log.late(level) < 0.95 or log.late("zero_spread") < 0.7:
        return None
    if log.early("zero_spread") >= 0.7:
        return None
    return f"the {level} is {log.late(level):.1%} at the end, and {SILENT} {log.late('zero_spread'):.0%}"


REWARD_RULES = (
    Rule(
        "constant reward",
        ("reward", "zero_spread"),
        constant_reward,
        "Grade a few answers by hand. A verifier that cannot parse the correct answer must fail, not "
        "pay; an exception "
        "must not become a reward.",
        "the museum of broken runs; notebook 06",
        "Two answers of different worth in the whole run would break both limits.",
        least=5,
    ),
    Rule(
        "task already solved",
        ("zero_spread",),
        solved,
        "Take harder problems, or filter out those that the policy always solves.",
        "DAPO, arXiv:2503.14476, section 3.2; notebook 09",
        "At a pass rate of 97 % a group of 8 agrees in 78 % of the cases.",
        least=5,
    ),
    Rule(
        "reward too rare",
        ("zero_spread",),
        too_rare,
        "Start from easier problems or from a better base (a few demonstrations), take larger groups, "
        "or pay for parts.",
        "open-r1 #436, #474; notebook 09",
        "At a pass rate of 4 % a group of 8 agrees in 72 % of the cases; the end too, or it has been learned.",
        explained_by=("constant reward", "answers cut off"),
    ),
    Rule(
        "groups of two",
        ("zero_spread",),
        pairs,
        "Take larger groups of fewer prompts: the same number of answers then has fewer silent groups.",
        "the museum of broken runs; notebook 07",
        "A pair agrees with probability 1 − 2p(1 − p), at least one half; 0.4 leaves room for the "
        "noise of a batch.",
        least=5,
        explained_by=("constant reward", "task already solved", "reward too rare"),
    ),
    Rule(
        "reward hacked",
        (),
        hacked,
        "Stop at the best held-out accuracy; read the best-paid answers; repair the reward, or hold "
        "the policy near the "
        "reference with a KL penalty.",
        "arXiv:2210.10760; notebooks 02 and 08",
        "A fifth of what had been gained, 5 % of the best, and 4 standard errors: accuracy that only "
        "wobbles at its best "
        "loses less.",
        explained_by=("huge advantages",),
    ),
    Rule(
        "form without content",
        ("zero_spread",),
        only_form,
        "Print a prompt exactly as the policy reads it (decoded token ids): the template may cut or "
        "hide the question.",
        "the museum of broken runs; open-r1 #474; TRL's chat template",
        "Groups fall silent when all answers agree. If that pays, the reward has risen; at a pass rate "
        "above one half "
        "they may agree on the correct answer.",
        explained_by=(
            "constant reward",
            "answers cut off",
            "reward too rare",
            "KL with the wrong sign",
            "updates too large",
            "entropy collapse",
            "learning rate too high",
            "policy destroyed",
            "groups of two",
            "other temperature",
            "answers no longer stop",
        ),
    ),
    Rule(
        "moves without learning",
        ("kl_token", "zero_spread", "grad_norm"),
        aimless,
        "Check that advantage i belongs to answer i (shuffling, gathering from several devices, "
        "reshaping by questions "
        "or by groups), and the sign of the loss.",
        "the museum of broken runs; notebook 06",
        "At 0.1 nats per token a sound run on the sums has gained 0.2; a KL penalty keeps others "
        "below. A run that wanders "
        "may gain half of that by chance.",
        explained_by=(
            "constant reward",
            "other temperature",
            "huge advantages",
            "KL with the wrong sign",
            "updates too large",
            "learning rate too high",
            "policy destroyed",
            "form without content",
            "answers cut off",
            "reward too rare",
            "incorrect answers grow",
            "answers no longer stop",
            "entropy collapse",
            "groups of two",
        ),
    ),
    Rule(
        "within the noise",
        (),
        noise,
        "Compare several seeds, or evaluate on a fixed set of problems, before you conclude anything "
        "from this curve.",
        "notebook 03; records.claims",
        "Two standard errors of batch noise.",
        explained_by=("constant reward",),
        severity="note",
    ),
    Rule(
        "nothing left to learn",
        ("zero_spread",),
        finished,
        "Stop here, or go on with harder problems.",
        "notebook 09",
        "As for a task that is solved at the start.",
        severity="note",
    ),
)
