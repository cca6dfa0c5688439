"""Mistakes in the museum of broken runs: wrong faults, wrong steps, and lines that are still broken."""

import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]

DOUBT = "does not agree with the curves"


def said(fault, step):
    """What a learner says of an exhibit."""

    def exhibit():
        return fault, step

    return exhibit


def diagnoses(right, step, mended, wrong):
    """Mistakes of the first function: wrong faults with a word of the evidence, wrong steps, wrong forms."""
    faults = [seeded(keyword, said(fault, step), mended) for fault, keyword in wrong.items()]
    late = [seeded("too late", said(right, step + 7), mended)] if right != "nothing" else []
    early = [seeded("too early", said(right, step - 1), mended)] if step > 1 else []
    forms = [
        seeded("must return two things", lambda: right, mended),
        seeded("the fault must be one of", said("it is broken", step), mended),
        seeded("a whole number", said(right, "first"), mended),
        seeded("a whole number", said(right, step + 0.5), mended),
    ]
    return faults + late + early + forms


def column(x):
    return x[:, None]


def mean(x, mask):
    return ((x * mask).sum(1) / mask.sum(1)).mean()


def token_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def width_mean(x, mask):
    return (x * mask).mean()


# ---------------------------------------------------------------------------------------- mended lines


def keep(scores, accuracies):
    return max(range(len(accuracies)), key=lambda i: accuracies[i]) + 1


def loss(logprobs, advantages, mask, over=mean):
    return over(-column(advantages.detach()) * logprobs, mask)


def number_in(text):
    tail = text.rpartition("=")[2]
    return int(tail) if tail.isdigit() else None


def graded(answers, correct):
    wanted = number_in(correct)
    return [1.0 if wanted is not None and number_in(a) == wanted else 0.0 for a in answers]


def ratios(old=lambda s, k: (s, 0)):
    def inner_ratios(logits, tokens):
        scores = logits.log_softmax(-1)
        out = torch.zeros(*logits.shape[:2], tokens.shape[1], dtype=logits.dtype)
        for s in range(len(logits)):
            for k in range(logits.shape[1]):
                out[s, k] = (scores[s, k] - scores[old(s, k)])[tokens[s]].exp()
        return out

    return inner_ratios


def tempered(scores=lambda x, t: (x / t).log_softmax(-1), rescale=lambda old, t: old):
    def first_ratio(logits, tokens, old_logprobs, temperature):
        mine = scores(logits, temperature).gather(1, column(tokens)).squeeze(1)
        return (mine - rescale(old_logprobs, temperature)).exp()

    return first_ratio


def surrogate(change=lambda a: a, sign=-1.0, flip=1.0, over=mean):
    def surrogate_loss(logprobs, old_logprobs, advantages, mask):
        ratio = (flip * (logprobs - old_logprobs.detach())).exp()
        return over(sign * ratio * column(change(advantages.detach())), mask)

    return surrogate_loss


def clipped(logprobs, old_logprobs, advantages, mask):
    ratio, a = (logprobs - old_logprobs).exp(), column(advantages)
    return -mean(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a), mask)


def weighted(logprobs, old_logprobs, advantages, mask):
    ratio = (logprobs - old_logprobs).exp()
    return mean(-column(advantages) * ratio * logprobs, mask)


def without_ratio(logprobs, old_logprobs, advantages, mask):
    return loss(logprobs, advantages, mask)


def penalised(sign=1.0, of=lambda k1: (-k1).exp() - 1 + k1, beta=lambda b: b, over=mean):
    def penalised_loss(logprobs, ref_logprobs, advantages, mask, b):
        kl = of(logprobs - ref_logprobs.detach())
        return over(-column(advantages.detach()) * logprobs + sign * beta(b) * kl, mask)

    return penalised_loss


def left_out(scale, own=False):
    def left_out_advantages(rewards, group_size):
        groups = rewards.view(-1, group_size)
        means = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
        means = groups.mean(1, keepdim=True) if own else means
        return ((groups - means) / scale(groups, means)).flatten()

    return left_out_advantages


def whole(groups, means):
    return groups.std(1, keepdim=True, correction=0) + 1e-4


def others(groups, means):
    rest = (groups.square().sum(1, keepdim=True) - groups.square()) / (groups.shape[1] - 1)
    return (rest - means.square()).clamp(min=0).sqrt() + 1e-4


def smallest(silent):
    def smallest_group(p, most, sizes):
        return next((size for size in sizes if silent(p, size) <= most), sizes[-1])

    return smallest_group


def limit(index):
    def token_limit(lengths, share):
        ordered = sorted(lengths)
        return ordered[index(len(ordered), int(share * len(ordered)))]

    return token_limit


def fitted(tokens, most):
    return tokens[-most:]


def round_robin(order):
    def round_robin_advantages(rewards, group_size):
        groups = rewards.view(group_size, -1)
        return order(groups - groups.mean(dim=0))

    return round_robin_advantages


right = {
    1: said("learned score", 1),
    2: said("no gradient", 1),
    3: said("constant reward", 1),
    4: said("stale π_old", 2),
    5: said("other temperature", 1),
    6: said("nothing", 0),
    7: said("KL sign", 2),
    8: said("std of the others", 1),
    9: said("groups of two", 1),
    10: said("answers cut off", 1),
    11: said("hidden question", 1),
    12: said("stale sampler", 2),
    13: said("mixed order", 3),
}
"""Exhibit → the correct diagnosis, for mistakes in the second function."""

OLD = "still the broken version"
UPSIDE = "upside down"

BANK: dict[str, list[Seeded]] = {
    "check_exhibit_1": [
        *diagnoses(
            "learned score",
            1,
            keep,
            {
                "nothing": "between two correct runs",
                "mixed order": "a verifier's, at most 1.1",
                "KL sign": "the loss would fall",
                "constant reward": "every group is silent",
            },
        ),
        seeded(OLD, right[1], lambda s, a: s.index(max(s)) + 1),
        seeded("counted from 0", right[1], lambda s, a: a.index(max(a))),
        seeded("the last checkpoint", right[1], lambda s, a: len(s)),
        seeded("and not the step", right[1], lambda s, a: max(a)),
    ],
    "check_exhibit_2": [
        *diagnoses(
            "no gradient",
            1,
            loss,
            {
                "nothing": "the gradient norm differs",
                "constant reward": "every group is silent",
                "mixed order": "most answers would still get an advantage",
                "hidden question": "form would still be learned",
            },
        ),
        seeded("a detach is missing", right[2], lambda n, a, m: mean(-column(a) * n.detach(), m)),
        seeded("no gradient flows", right[2], lambda n, a, m: loss(n.detach(), a, m)),
        seeded("a detach is missing", right[2], lambda n, a, m: mean(-column(a) * n, m)),
        seeded("the sign is reversed", right[2], lambda n, a, m: -loss(n, a, m)),
        seeded("one mean over all tokens", right[2], lambda n, a, m: loss(n, a, m, token_mean)),
        seeded(
            "padding is counted in the length", right[2], lambda n, a, m: loss(n, a, m, width_mean)
        ),
        seeded(
            "only masked tokens belong", right[2], lambda n, a, m: (-column(a.detach()) * n).mean()
        ),
    ],
    "check_exhibit_3": [
        *diagnoses(
            "constant reward",
            1,
            graded,
            {
                "no gradient": "would still differ",
                "learned score": "the largest logged reward is 1.1",
                "groups of two": "advantages of ±1",
                "answers cut off": "from the first step on",
            },
        ),
        seeded(
            OLD,
            right[3],
            lambda x, c: [float(number_in(c) is None or number_in(a) == number_in(c)) for a in x],
        ),
        seeded(
            "None == None", right[3], lambda x, c: [float(number_in(a) == number_in(c)) for a in x]
        ),
        seeded("every answer gets 0", right[3], lambda x, c: [0.0 for _ in x]),
        seeded(
            "texts are compared",
            right[3],
            lambda x, c: [float(number_in(c) is not None and a == c) for a in x],
        ),
    ],
    "check_exhibit_4": [
        *diagnoses(
            "stale π_old",
            2,
            ratios(),
            {
                "other temperature": "already disagree at step 1",
                "stale sampler": "has no clip",
                "KL sign": "driven away",
                "mixed order": "ρ = 1 at the first inner step",
            },
        ),
        seeded(OLD, right[4], ratios(lambda s, k: (s - s % 4, 0))),
        seeded("the clip can never act", right[4], ratios(lambda s, k: (s, k))),
        seeded("renewed too early", right[4], ratios(lambda s, k: (s, -1))),
        seeded("of the step before", right[4], ratios(lambda s, k: (max(s - 1, 0), 0))),
        seeded("the very first step", right[4], ratios(lambda s, k: (0, 0))),
    ],
    "check_exhibit_5": [
        *diagnoses(
            "other temperature",
            1,
            tempered(),
            {
                "stale π_old": "still fresh at step 1",
                "stale sampler": "still fresh at step 1",
                "hidden question": "read other prompts",
                "KL sign": "the loss would fall",
            },
        ),
        seeded(OLD, right[5], tempered(lambda x, t: x.log_softmax(-1))),
        seeded(
            "multiplied by the temperature",
            right[5],
            tempered(lambda x, t: (x * t).log_softmax(-1)),
        ),
        seeded("and not the logits", right[5], tempered(lambda x, t: x.log_softmax(-1) / t)),
        seeded(
            "correct as they are",
            right[5],
            tempered(lambda x, t: x.log_softmax(-1), lambda old, t: old / t),
        ),
        seeded("the ratio is set to 1", right[5], lambda x, y, old, t: torch.ones_like(old)),
    ],
    "check_exhibit_6": [
        *diagnoses(
            "nothing",
            0,
            surrogate(),
            {
                "no gradient": "the gradient norm would be 0",
                "constant reward": "every group is silent",
                "stale π_old": "clipped at the first inner step",
                "mixed order": "would not rise",
            },
        ),
        seeded("the step is 0", said("nothing", 6), surrogate()),
        seeded(OLD, right[6], surrogate(lambda a: a.abs())),
        seeded("the sign is reversed", right[6], surrogate(sign=1.0)),
        seeded(UPSIDE, right[6], surrogate(flip=-1.0)),
        seeded("incorrect answers are left out", right[6], surrogate(lambda a: a.clamp(min=0))),
        seeded("one mean over all tokens", right[6], surrogate(over=token_mean)),
        seeded("padding is counted in the length", right[6], surrogate(over=width_mean)),
        seeded("only masked tokens belong", right[6], surrogate(over=lambda x, m: x.mean())),
        seeded("the ratio is missing", right[6], without_ratio),
        seeded("a clip is left in", right[6], clipped),
        seeded("no gradient flows", right[6], lambda n, o, a, m: surrogate()(n.detach(), o, a, m)),
    ],
    "check_exhibit_7": [
        *diagnoses(
            "KL sign",
            2,
            penalised(),
            {
                "std of the others": "the largest |A|",
                "stale π_old": "clipped at the first inner step",
                "mixed order": "would",
                "learned score": "no upper limit",
            },
        ),
        seeded(OLD, right[7], penalised(-1.0)),
        seeded("the KL is gone", right[7], penalised(0.0)),
        seeded("swapped in k3", right[7], penalised(of=lambda k1: k1.exp() - 1 - k1)),
        seeded("β is not used", right[7], penalised(beta=lambda b: 1.0)),
        seeded("one mean over all tokens", right[7], penalised(over=token_mean)),
        seeded("padding is counted in the length", right[7], penalised(over=width_mean)),
        seeded("β is squared", right[7], penalised(beta=lambda b: b * b)),
    ],
    "check_exhibit_8": [
        *diagnoses(
            "std of the others",
            1,
            left_out(whole),
            {
                "KL sign": "driven away",
                "groups of two": "most groups are silent",
                "constant reward": "every group is silent",
                "nothing": "the largest |A| differs",
            },
        ),
        seeded(OLD, right[8], left_out(lambda g, m: others(g, m) - 1e-4 + 1e-6)),
        seeded("hides the zero", right[8], left_out(others)),
        seeded("sample std", right[8], left_out(lambda g, m: g.std(1, keepdim=True) + 1e-4)),
        seeded("nothing is divided", right[8], left_out(lambda g, m: 1.0)),
        seeded("the mean of its own group", right[8], left_out(whole, own=True)),
        seeded("of the whole batch", right[8], left_out(lambda g, m: g.std(correction=0) + 1e-4)),
        seeded("nan", right[8], left_out(lambda g, m: 0 * g)),
    ],
    "check_exhibit_9": [
        *diagnoses(
            "groups of two",
            1,
            smallest(lambda p, n: p**n + (1 - p) ** n),
            {
                "std of the others": "the largest |A| is 1",
                "constant reward": "every group is silent",
                "mixed order": "silent groups of step 1",
                "hidden question": "held-out problems rises",
            },
        ),
        seeded(OLD, right[9], smallest(lambda p, n: p**n)),
        seeded("without a correct answer", right[9], smallest(lambda p, n: (1 - p) ** n)),
        seeded("*not* silent", right[9], smallest(lambda p, n: 1 - p**n - (1 - p) ** n)),
        seeded("multiplied", right[9], smallest(lambda p, n: p**n * (1 - p) ** n)),
        seeded("the first two", right[9], smallest(lambda p, n: p**2 + (1 - p) ** 2)),
    ],
    "check_exhibit_10": [
        *diagnoses(
            "answers cut off",
            1,
            limit(lambda n, cut: n - 1 - cut),
            {
                "hidden question": "the prompt would be cut",
                "constant reward": "every group is silent",
                "mixed order": "of them are cut off",
                "groups of two": "most groups are silent",
            },
        ),
        seeded(OLD, right[10], limit(lambda n, cut: (n - cut) // 2)),
        seeded("the share is not used", right[10], limit(lambda n, cut: n - 1)),
        seeded("wrong end", right[10], limit(lambda n, cut: cut)),
        seeded("off by one", right[10], limit(lambda n, cut: n - 2 - cut)),
        seeded("not sorted", right[10], lambda x, share: x[len(x) - 1 - int(share * len(x))]),
    ],
    "check_exhibit_11": [
        *diagnoses(
            "hidden question",
            1,
            fitted,
            {
                "answers cut off": "from the first step on",
                "no gradient": "the gradient norm would be 0",
                "constant reward": "every group is silent",
                "mixed order": "of step 1 would be those of the healthy run",
            },
        ),
        seeded(OLD, right[11], lambda tokens, most: tokens[:most]),
        seeded("reverse order", right[11], lambda tokens, most: tokens[-most:][::-1]),
        seeded("the wrong shape", right[11], lambda tokens, most: tokens[most:]),
        seeded("the wrong shape", right[11], lambda tokens, most: tokens),
        seeded(
            "the end is lost", right[11], lambda t, most: t[-most - 1 : -1] if len(t) > most else t
        ),
    ],
    "check_exhibit_12": [
        *diagnoses(
            "stale sampler",
            2,
            surrogate(),
            {
                "stale π_old": "clipped at the first inner step",
                "other temperature": "already disagree at step 1",
                "mixed order": "ρ = 1 at the first inner step",
                "KL sign": "driven away",
            },
        ),
        seeded(OLD, right[12], without_ratio),
        seeded(UPSIDE, right[12], surrogate(flip=-1.0)),
        seeded("the ratio multiplies log π", right[12], weighted),
        seeded("one mean over all tokens", right[12], surrogate(over=token_mean)),
        seeded("padding is counted in the length", right[12], surrogate(over=width_mean)),
        seeded("a clip is left in", right[12], clipped),
        seeded(
            "no gradient flows",
            right[12],
            lambda n, o, a, m: surrogate()(n, o, a, m).detach(),
        ),
    ],
    "check_exhibit_13": [
        *diagnoses(
            "mixed order",
            3,
            round_robin(lambda x: x.flatten()),
            {
                "hidden question": "in both runs",
                "no gradient": "the gradient norm would be 0",
                "KL sign": "driven away",
                "nothing": "the accuracy differs",
            },
        ),
        seeded(OLD, right[13], round_robin(lambda x: x.T.flatten())),
        seeded("the order is reversed", right[13], round_robin(lambda x: x.flatten().flip(0))),
        seeded("mean of the whole batch", right[13], lambda r, n: r - r.mean()),
        seeded(
            "different questions",
            right[13],
            lambda r, n: (r.view(-1, n) - r.view(-1, n).mean(1, keepdim=True)).flatten(),
        ),
        seeded(
            "the other axis",
            right[13],
            lambda r, n: (r.view(n, -1) - r.view(n, -1).mean(1, keepdim=True)).flatten(),
        ),
    ],
}
