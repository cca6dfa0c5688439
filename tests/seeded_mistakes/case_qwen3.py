"""Mistakes in the exercises of notebook 10."""

import itertools
import math
from collections import Counter

import numpy as np
import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


# ---------------------------------------------------------------------------------- stop at a budget


def force(tokens, budget, stop, less=0, late=None):
    """Cut the block at ``budget``; ``late`` changes what is returned where nothing is cut."""
    text = "".join(tokens)
    if tokens[0] != "<think>":
        return text
    end = tokens.index("</think>") if "</think>" in tokens else len(tokens)
    if end - 1 <= budget:
        return late(text, stop) if late and end < len(tokens) else text
    return "".join(tokens[: 1 + budget + less]) + stop


def stops_direct(tokens, budget, stop):
    return force(tokens, budget, stop) + (stop if tokens[0] != "<think>" else "")


def counts_the_tag(tokens, budget, stop):
    if tokens[0] != "<think>":
        return "".join(tokens)
    end = tokens.index("</think>") if "</think>" in tokens else len(tokens)
    if end <= budget:
        return "".join(tokens)
    return "".join(tokens[: max(1, budget)]) + stop


def counts_one_more(tokens, budget, stop):
    return force(tokens, budget + 1, stop)


def strict(tokens, budget, stop):
    text = "".join(tokens)
    if tokens[0] != "<think>":
        return text
    end = tokens.index("</think>") if "</think>" in tokens else len(tokens)
    if end - 1 < budget or (end == len(tokens) and end - 1 == budget):
        return text
    return "".join(tokens[: 1 + budget]) + stop


def counts_all(tokens, budget, stop):
    if tokens[0] != "<think>" or len(tokens) - 1 <= budget:
        return "".join(tokens)
    return "".join(tokens[: 1 + budget]) + stop


def keeps_the_rest(tokens, budget, stop):
    made = force(tokens, budget, stop)
    text = "".join(tokens)
    return made if made == text else made + "".join(tokens[1 + budget :])


def appends(tokens, budget, stop):
    made = force(tokens, budget, stop)
    return made if made == "".join(tokens) else "".join(tokens) + stop


def needs_an_end(tokens, budget, stop):
    return force(tokens, budget, stop) if "</think>" in tokens else "".join(tokens)


def zero_is_free(tokens, budget, stop):
    return force(tokens, budget or 10**6, stop)


# ------------------------------------------------------------------------------- the two modes as data


def last_flag(messages):
    text = "\n".join(messages)
    return "no" if text.rfind("/no_think") > text.rfind("/think") else "yes"


def example(mode, chain, answer, empty="<think></think>"):
    return (empty if mode == "no" else f"<think>{chain}</think>") + answer


def with_mode(mode, **options):
    return lambda messages, chain, answer: example(mode(messages), chain, answer, **options)


def first_flag(messages):
    for message in messages:
        if "think" in message:
            return last_flag([message])
    return "yes"


def trained(tokens, prompt, kind, start=None, shift=0, end=0):
    close = tokens.index("</think>")
    begin = close + 1 if kind == "cut" else prompt
    begin = (start or {}).get(kind, lambda close: begin)(close) + shift
    return torch.tensor([begin <= i < len(tokens) - end for i in range(len(tokens))])


def from_(**start):
    return lambda tokens, prompt, kind: trained(tokens, prompt, kind, start)


def everything(tokens, prompt, kind):
    return torch.ones(len(tokens), dtype=torch.bool)


TEXT = with_mode(last_flag)


# ---------------------------------------------------------------------------------- price of a budget


def curve(needs, q, g, strict=False):
    before = np.concatenate([[0.0], np.cumsum(needs)])
    before = np.concatenate([[0.0], before[:-1]]) if strict else before
    return (q * before + g * (1 - before)).tolist()


def price_of(needs, budget):
    lengths = np.arange(1, len(needs) + 1)
    return float(np.minimum(lengths, budget) @ np.array(needs))


def best(needs, q, g, price, cost=price_of):
    worth = [x - price * cost(needs, k) for k, x in enumerate(curve(needs, q, g))]
    return int(np.argmax(worth))


def first_peak(needs, q, g, price):
    worth = [x - price * price_of(needs, k) for k, x in enumerate(curve(needs, q, g))]
    k = 0
    while k < len(needs) and worth[k + 1] > worth[k]:
        k += 1
    return k


# -------------------------------------------------------------------------------------- distillation


def full(student, teacher):
    p, d = student.softmax(0), student.log_softmax(0) - teacher.log_softmax(0)
    return p * (d - p @ d)


def score(student, token):
    return torch.eye(len(student))[token] - student.softmax(0)


def weight(student, teacher, token):
    return (student.log_softmax(0) - teacher.log_softmax(0))[token]


def sampled(student, teacher, token):
    return weight(student, teacher, token) * score(student, token)


def by_autograd(student, teacher, token):
    x = student.clone().requires_grad_()
    return torch.autograd.grad(weight(x, teacher, token), x)[0]


def derivative_of_probabilities(student, teacher):
    return student.log_softmax(0) - teacher.log_softmax(0) + 1


def raw_logits(student, teacher):
    p, d = student.softmax(0), student.log_softmax(0) - teacher.log_softmax(0)
    return p * (student - teacher - p @ d)


def under_the_teacher(student, teacher):
    d = student.log_softmax(0) - teacher.log_softmax(0)
    return student.softmax(0) * (d - teacher.softmax(0) @ d)


def flops(method, student, teacher, kept):
    return {
        "rl": 8 * student,
        "on-policy": 8 * student + 2 * teacher,
        "off-policy": 6 * student + 2 * teacher / kept,
    }[method]


def fewer(hours, student, teacher):
    return hours * (8 * student + 2 * teacher) / (8 * student)


def cost(**changed):
    """FLOPs per token with other numbers for one of the methods, as functions of the sizes."""

    def made(method, student, teacher, kept):
        name = method.replace("-", "_")
        return (
            changed[name](student, teacher, kept)
            if name in changed
            else flops(method, student, teacher, kept)
        )

    return made


# --------------------------------------------------------------------------------------------- votes


def share_of(votes, right, tie=lambda many: 1 / many):
    counts = Counter(votes)
    top = [x for x, c in counts.items() if c == max(counts.values())]
    if right not in top:
        return 0.0
    return 1.0 if len(top) == 1 else tie(len(top))


def vote(probs, n, win=share_of):
    total = 0.0
    for votes in itertools.product(range(len(probs)), repeat=n):
        total += math.prod(probs[v] for v in votes) * win(votes, 0)
    return total


def estimate(answers, right, k, win=share_of):
    return float(np.mean([win(votes, right) for votes in itertools.combinations(answers, k)]))


def tied(value):
    return lambda votes, right: share_of(votes, right, lambda many: value)


def half(votes, right):
    return float(votes.count(right) > len(votes) / 2)


def together(votes, right):
    return share_of([v if v == right else -1 for v in votes], right)


def any_right(votes, right):
    return float(right in votes)


def voting(win):
    return lambda probs, n: vote(probs, n, win)


def estimating(win):
    return lambda answers, right, k: estimate(answers, right, k, win)


def replaced(answers, right, k):
    others = sorted(set(answers) - {right})
    return vote([answers.count(x) / len(answers) for x in [right, *others]], k)


# ----------------------------------------------------------------------------------------- diagnoses


def start_of(curve, n=3):
    return sum(curve[:n]) / n


def end_of(curve, n=3):
    return sum(curve[-n:]) / n


def diagnose(style, train, held, thinking, direct, n=3, order="flag short gap style"):
    change = end_of(held, n) - start_of(held, n)
    signs = {
        "flag": ("ignores the flag", end_of(direct, n) > end_of(thinking, n) / 2),
        "short": (
            "stops early",
            end_of(thinking, n) < 2 / 3 * start_of(thinking, n) and change < -0.1,
        ),
        "length": ("stops early", end_of(thinking, n) < 2 / 3 * start_of(thinking, n)),
        "gap": ("memorises", end_of(train, n) - end_of(held, n) > 0.2),
        "ever": ("memorises", max(a - b for a, b in zip(train, held, strict=True)) > 0.2),
        "style": ("style only", end_of(style, n) - start_of(style, n) > 0.1 and change < -0.1),
        "pretty": ("style only", end_of(style, n) - start_of(style, n) > 0.1),
        "before": ("ignores the flag", start_of(direct, n) > start_of(thinking, n) / 2),
    }
    return next((signs[sign][0] for sign in order.split() if signs[sign][1]), "healthy")


def in_order(order, n=3):
    return lambda *curves: diagnose(*curves, n=n, order=order)


# --------------------------------------------------------------------------------------- predictions

CASES = ((1, "held-out"), (4, "held-out"), (64, "held-out"), (4, "training"))


def foretelling(*accuracies):
    """A learner who commits these four numbers, in the order of the cases."""
    return lambda prompts, test: dict(zip(CASES, accuracies, strict=True))[prompts, test]


BANK: dict[str, list[Seeded]] = {
    "check_forced_answer": [
        seeded("gets the stop text too", lambda t, b, s: force(t, b, s, late=lambda x, y: x + y)),
        seeded("no thought to stop", stops_direct),
        seeded("tag <think> is counted", counts_the_tag),
        seeded("one token more", counts_one_more),
        seeded("exactly the budget", strict),
        seeded("tokens after </think>", counts_all),
        seeded("old answer is kept", keeps_the_rest),
        seeded("thought is not cut", appends),
        seeded("without an end", needs_an_end),
        seeded("budget 0", zero_is_free),
        seeded("must return a string", lambda t, b, s: t[: b + 1]),
    ],
    "check_fusion": [
        seeded("first flag", with_mode(first_flag), trained),
        seeded("only the last message", with_mode(lambda m: last_flag(m[-1:])), trained),
        seeded(
            "/no_think wins",
            with_mode(lambda m: "no" if any("/no_think" in x for x in m) else "yes"),
            trained,
        ),
        seeded(
            "/think wins",
            with_mode(lambda m: "yes" if any("/think" in x for x in m) else last_flag(m)),
            trained,
        ),
        seeded(
            "without a flag",
            with_mode(lambda m: last_flag(m) if "think" in "".join(m) else "no"),
            trained,
        ),
        seeded("empty block is missing", with_mode(last_flag, empty=""), trained),
        seeded("not closed", with_mode(last_flag, empty="<think>"), trained),
        seeded("flag is ignored", with_mode(lambda m: "yes"), trained),
        seeded("exchanged", with_mode(lambda m: {"no": "yes", "yes": "no"}[last_flag(m)]), trained),
        seeded("tokens of the prompt", TEXT, everything),
        seeded("stop by itself", TEXT, lambda t, p, k: trained(t, p, "whole")),
        seeded("of a cut chain is trained. Nobody", TEXT, from_(cut=lambda close: close)),
        seeded("learn the empty block", TEXT, from_(no_think=lambda close: close + 1)),
        seeded("whole chain only", TEXT, from_(whole=lambda close: close + 1)),
        seeded("would not stop", TEXT, lambda t, p, k: trained(t, p, k, end=1)),
        seeded("to the left", TEXT, lambda t, p, k: trained(t, p, k, shift=-1)),
        seeded("to the right", TEXT, lambda t, p, k: trained(t, p, k, shift=1)),
        seeded("inverted", TEXT, lambda t, p, k: ~trained(t, p, k)),
        seeded("wrong dtype", TEXT, lambda t, p, k: trained(t, p, k).float()),
    ],
    "check_budget": [
        seeded("exactly the budget", lambda w, q, g: curve(w, q, g, strict=True), best),
        seeded("earns nothing", lambda w, q, g: curve(w, q, 0.0), best),
        seeded("always correct", lambda w, q, g: curve(w, 1.0, g), best),
        seeded("added to every", lambda w, q, g: [x + g for x in curve(w, q, 0)], best),
        seeded("steps of the curve", lambda w, q, g: [g] + [q * x + g * (1 - x) for x in w], best),
        seeded("exchanged", lambda w, q, g: curve(w, g, q), best),
        seeded("reversed", lambda w, q, g: curve(w, q, g)[::-1], best),
        seeded("wrong shape", lambda w, q, g: curve(w, q, g)[1:], best),
        seeded("whole budget", curve, lambda *x: best(*x, cost=lambda needs, budget: budget)),
        seeded("largest budget", curve, lambda *x: best(*x, cost=lambda w, k: price_of(w, len(w)))),
        seeded("higher maximum", curve, first_peak),
        seeded("one token too few", curve, lambda *x: best(*x) - 1),
        seeded("one token too many", curve, lambda *x: best(*x) + 1),
        seeded("largest budget", curve, lambda w, q, g, price: len(w)),
    ],
    "check_distillation_gradients": [
        seeded("points upwards", lambda s, t: -full(s, t), sampled),
        seeded("forward KL", lambda s, t: s.softmax(0) - t.softmax(0), sampled),
        seeded(
            "not subtracted",
            lambda s, t: s.softmax(0) * (s.log_softmax(0) - t.log_softmax(0)),
            sampled,
        ),
        seeded("missing in front", lambda s, t: full(s, t) / s.softmax(0), sampled),
        seeded("with respect to the probabilities", derivative_of_probabilities, sampled),
        seeded("mean is taken under the teacher", under_the_teacher, sampled),
        seeded("normalisers are missing", raw_logits, sampled),
        seeded("exchanged", lambda s, t: full(t, s), sampled),
        seeded("expectation is zero", full, by_autograd),
        seeded("ascent direction", full, lambda *x: -sampled(*x)),
        seeded(
            "only the logit of the sampled",
            full,
            lambda s, t, k: weight(s, t, k) * torch.eye(5)[k],
        ),
        seeded("one factor too many", full, lambda s, t, k: s.softmax(0)[k] * sampled(s, t, k)),
        seeded("one token only", full, lambda s, t, k: full(s, t)),
        seeded("further + 1", full, lambda s, t, k: (weight(s, t, k) + 1) * score(s, k)),
        seeded("not its logarithm", full, lambda s, t, k: weight(s, t, k).exp() * score(s, k)),
        seeded(
            "towards uniform", full, lambda s, t, k: weight(s, t, k) * (torch.eye(5)[k] - 1 / 5)
        ),
        seeded("token is ignored", full, lambda s, t, k: sampled(s, t, 0)),
    ],
    "check_distillation_cost": [
        seeded(
            "costs about two",
            cost(
                rl=lambda s, t, k: 6 * s,
                on_policy=lambda s, t, k: 6 * s + 2 * t,
                off_policy=lambda s, t, k: 4 * s + 2 * t / k,
            ),
            fewer,
        ),
        seeded(
            "sampling is missing",
            cost(rl=lambda s, t, k: 6 * s, on_policy=lambda s, t, k: 6 * s + 2 * t),
            fewer,
        ),
        seeded("teacher is missing", lambda m, s, t, k: flops(m, s, 0, k), fewer),
        seeded(
            "teacher is trained",
            cost(
                on_policy=lambda s, t, k: 8 * s + 6 * t,
                off_policy=lambda s, t, k: 6 * s + 2 * t / k + 4 * t,
            ),
            fewer,
        ),
        seeded("traces are free", cost(off_policy=lambda s, t, k: 6 * s + 2 * t), fewer),
        seeded("makes it cheaper", cost(off_policy=lambda s, t, k: 6 * s + 2 * t * k), fewer),
        seeded("samples nothing", cost(off_policy=lambda s, t, k: 8 * s + 2 * t / k), fewer),
        seeded("a verifier grades", cost(rl=lambda s, t, k: 8 * s + 2 * t), fewer),
        seeded("factor 2", lambda *x: flops(*x) / 2, fewer),
        seeded("that of the hours", flops, lambda h, s, t: h),
        seeded("should be multiplied", flops, lambda h, s, t: h / (1 + t / (4 * s))),
        seeded("hours are missing", flops, lambda h, s, t: 1 + t / (4 * s)),
        seeded("turned over", flops, lambda *x: 1 / fewer(*x)),
        seeded("it only reads", flops, lambda h, s, t: h * (1 + 6 * t / (8 * s))),
        seeded("sampling is missing", flops, lambda h, s, t: h * (6 * s + 2 * t) / (6 * s)),
        seeded("teacher alone", flops, lambda h, s, t: h * t / (4 * s)),
    ],
    "check_votes": [
        seeded("counts as correct", voting(tied(1.0)), estimate),
        seeded("counts as incorrect", voting(tied(0.0)), estimate),
        seeded("each tie counts ½", voting(tied(0.5)), estimate),
        seeded("more than half", voting(half), estimate),
        seeded("vote together", voting(together), estimate),
        seeded("pass@n", voting(any_right), estimate),
        seeded("accuracy of one answer", lambda p, n: p[0], estimate),
        seeded("limit of many votes", lambda p, n: 1.0 if p[0] == max(p) else 0.0, estimate),
        seeded("incorrect answer wins", lambda p, n: 1 - vote(p, n), estimate),
        seeded("k is not used", vote, lambda a, right, k: share_of(a, right)),
        seeded("first k answers", vote, lambda a, right, k: share_of(a[:k], right)),
        seeded("with replacement", vote, replaced),
        seeded("accuracy of one answer", vote, lambda a, right, k: a.count(right) / len(a)),
        seeded("pass@k", vote, estimating(any_right)),
        seeded("counts as correct", vote, estimating(tied(1.0))),
        seeded("counts as incorrect", vote, estimating(tied(0.0))),
        seeded("vote together", vote, estimating(together)),
        seeded("this is a sum", vote, lambda a, right, k: estimate(a, right, k) * math.comb(9, k)),
    ],
    "check_stage": [
        seeded("are not compared", in_order("short gap style")),
        seeded("while the accuracy holds", in_order("flag length gap style")),
        seeded("under /think is not used", in_order("flag gap style")),
        seeded("gap between training", in_order("flag short style")),
        seeded("highest value", in_order("flag short ever style")),
        seeded("reward for style is not used", in_order("flag short gap")),
        seeded("has to fall as well", in_order("flag short gap pretty")),
        seeded("single records", in_order("flag short gap style", n=1)),
        seeded("before the stage, and not after", in_order("before short gap style")),
        seeded("gap comes before the length", in_order("flag gap short style")),
        seeded("must return one of", lambda *curves: "overfits"),
    ],
    "check_few_prompts": [
        seeded("learned by heart", foretelling(1.0, 1.0, 1.0, 1.0)),
        seeded("on the prompts is taken", foretelling(0.1, 0.35, 0.95, 0.35)),
        seeded("share the steps", foretelling(0.1, 0.1, 0.9, 1.0)),
        seeded("are not enough", foretelling(0.1, 0.95, 0.95, 1.0)),
        seeded("nearly all its additions", foretelling(0.1, 0.3, 0.5, 1.0)),
        seeded("and 64 are nearly", foretelling(0.1, 0.1, 0.5, 1.0)),
        seeded("always giving its answer", foretelling(0.5, 0.4, 0.95, 1.0)),
        seeded("numbers of the base", foretelling(0.2, 0.2, 0.2, 0.2)),
        seeded("percentages", foretelling(10, 40, 95, 99)),
        seeded("better or worse on other problems", foretelling(0.23, 0.4, 0.9, 1.0)),
        seeded("four less than 64", foretelling(0.19, 0.17, 0.9, 1.0)),
        seeded("between 0 and 1", foretelling(-0.02, 0.4, 0.9, 1.0)),
        seeded("prompts = 4, test = 'training': much too low", foretelling(0.1, 0.4, 0.9, 0.15)),
    ],
}
