"""Mistakes in the exercises of notebook 11."""

import itertools
import math
import statistics

import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


# -------------------------------------------------------------------------------------------- memory


def update(p, layers, d, v, rows, prompt, t, gpus, states=16, logit=8, act=2, **other):
    """Bytes of an update with some of its numbers changed."""
    sharded = other.get("sharded", states * p // gpus)
    tokens, scored = other.get("tokens", prompt + t), other.get("scored", t)
    return (
        sharded + act * other.get("depth", layers) * rows * tokens * d + logit * rows * scored * v
    )


def with_states(states):
    return lambda *given: update(*given, states=states)


def zero_1(p, layers, d, v, rows, prompt, t, gpus):
    return update(p, layers, d, v, rows, prompt, t, gpus, sharded=8 * p + 8 * p // gpus)


def zero_2(p, layers, d, v, rows, prompt, t, gpus):
    return update(p, layers, d, v, rows, prompt, t, gpus, sharded=4 * p + 12 * p // gpus)


def not_sharded(*given):
    return update(*given, sharded=16 * given[0])


def all_shared(*given):
    states = 16 * given[0] // given[-1]
    return states + (update(*given) - states) / given[-1]


def activations_shared(p, layers, d, v, rows, prompt, t, gpus):
    kept = 2 * layers * rows * (prompt + t) * d
    return update(p, layers, d, v, rows, prompt, t, gpus) - kept + kept / gpus


def logits_of_the_prompt(p, layers, d, v, rows, prompt, t, gpus):
    return update(p, layers, d, v, rows, prompt, t, gpus, scored=prompt + t)


def completion_only(p, layers, d, v, rows, prompt, t, gpus):
    return update(p, layers, d, v, rows, prompt, t, gpus, tokens=t)


def sampling(p, layers, d, heads, kv, rows, prompt, t, gpus, copy=None, states=16, **other):
    """Bytes of sampling with some of its numbers changed."""
    cache = (
        4 * layers * other.get("stored", kv) * (d // heads) * rows * other.get("tokens", prompt + t)
    )
    copy = 2 * p if copy is None else copy
    return states * p // gpus + copy + cache * other.get("factor", 1)


def every_head(*given):
    return sampling(*given, stored=given[3])


def wide_heads(p, layers, d, heads, kv, rows, prompt, t, gpus):
    return 16 * p // gpus + 2 * p + 4 * layers * kv * (d // kv) * rows * (prompt + t)


def keys_only(*given):
    return sampling(*given, factor=0.5)


def sharded_copy(*given):
    return sampling(*given, copy=2 * given[0] // given[-1])


def answers_only(*given):
    return sampling(*given, tokens=given[7])


def room(memory, fixed, per_row, prompts, gpus):
    return max(0, (memory - fixed) // per_row) * gpus // prompts


def third(fn):
    return (update, sampling, fn)


# ------------------------------------------------------------------------------- weights of a sampler


def weigh(lp, old, mask, kind, cap, floor, **other):
    """The weights with some of their steps changed."""
    ratio = other.get("ratio", torch.exp)
    steps = torch.where(mask, lp - old, 0.0)
    rho = ratio(steps)
    if kind == "tis":
        weights = other.get("bound", lambda r, cap: r.clamp(max=cap))(rho, cap)
    elif kind == "icepop":
        band = other.get("band", lambda r, cap, floor: r * ((r >= floor) & (r <= cap)))
        weights = band(rho, cap, floor)
    else:
        whole = other.get("whole", lambda s, m, cap: s.sum(1).exp().clamp(max=cap))
        weights = whole(steps, mask, cap)[:, None].expand_as(rho)
    return torch.where(mask, weights, other.get("padded", 0.0))


def changed(**other):
    return lambda *given: weigh(*given, **other)


def two_sided(lp, old, mask, kind, cap, floor):
    return weigh(lp, old, mask, kind, cap, floor, bound=lambda r, cap: r.clamp(floor, cap))


def gspo(steps, mask, cap):
    return (steps.sum(1) / mask.sum(1)).exp().clamp(max=cap)


def bounded_tokens(steps, mask, cap):
    return torch.where(mask, steps.exp().clamp(max=cap), 1.0).prod(1)


def whole_answers(lp, old, mask, kind, cap, floor):
    weights = weigh(lp, old, mask, kind, cap, floor)
    if kind != "icepop":
        return weights
    keep = ((weights > 0) | ~mask).all(1)
    return weights * keep[:, None]


def sum_with_padding(lp, old, mask, kind, cap, floor):
    if kind != "sequence":
        return weigh(lp, old, mask, kind, cap, floor)
    whole = (lp - old).sum(1).exp().clamp(max=cap)
    return torch.where(mask, whole[:, None], 0.0)


def one_per_answer(lp, old, mask, kind, cap, floor):
    if kind != "sequence":
        return weigh(lp, old, mask, kind, cap, floor)
    return weigh(lp, old, mask, kind, cap, floor)[:, 0]


def loss(lp, weights, advantages, mask, count=None, sign=-1):
    per = weights.detach() * advantages.detach()[:, None] * torch.where(mask, lp, 0.0)
    per = torch.where(mask, per, 0.0)
    return sign * per.sum() / (mask.sum() if count is None else count(weights.detach(), mask))


def no_detach(lp, weights, advantages, mask):
    per = weights * advantages[:, None] * torch.where(mask, lp, 0.0)
    return -torch.where(mask, per, 0.0).sum() / mask.sum()


def along_tokens(lp, weights, advantages, mask):
    per = weights.detach() * advantages.detach() * torch.where(mask, lp, 0.0)
    return -torch.where(mask, per, 0.0).sum() / mask.sum()


def mean_of_answers(lp, weights, advantages, mask):
    per = weights.detach() * advantages.detach()[:, None] * torch.where(mask, lp, 0.0)
    return -(torch.where(mask, per, 0.0).sum(1) / mask.sum(1)).mean()


def frozen(lp, weights, advantages, mask):
    return loss(lp.detach(), weights, advantages, mask)


def unweighted(lp, weights, advantages, mask):
    return loss(lp, torch.ones_like(weights), advantages, mask)


def product_with_the_mask(lp, old, mask, kind, cap, floor):
    rho = (lp - old).exp() * mask
    if kind == "tis":
        return rho.clamp(max=cap)
    if kind == "icepop":
        return rho * ((rho >= floor) & (rho <= cap))
    whole = ((lp - old) * mask).sum(1, keepdim=True).exp().clamp(max=cap)
    return whole * mask


def zero_ratios(lp, old, mask, kind, cap, floor):
    if kind != "sequence":
        return weigh(lp, old, mask, kind, cap, floor)
    rho = torch.where(mask, (lp - old).exp(), 0.0)
    return torch.where(mask, rho.prod(1, keepdim=True).clamp(max=cap), 0.0)


def loss_with_a_product(lp, weights, advantages, mask):
    return -(weights.detach() * advantages.detach()[:, None] * lp * mask).sum() / mask.sum()


def share_with_a_product(new, old, mask):
    total = ((new - old) * mask).sum(1)
    w = (total - total.max()).exp()
    return w.sum() ** 2 / (w**2).sum() / len(w)


def ess(new, old, mask, **other):
    """The effective share with some of its steps changed."""
    steps = torch.where(mask, new - old, 0.0)
    logs = other.get("logs", lambda s, m: s.sum(1))(steps, mask)
    w = (logs - logs.max()).exp()
    share = other.get("share", lambda w: w.sum() ** 2 / (w**2).sum() / len(w))
    return float(share(w))


def but_share(**other):
    return lambda *given: ess(*given, **other)


def ess_with_padding(new, old, mask):
    return ess(new, old, torch.ones_like(mask))


def overflowing(new, old, mask):
    w = torch.where(mask, new - old, 0.0).sum(1).exp()
    return w.sum() ** 2 / (w**2).sum() / len(w)


# --------------------------------------------------------------------------- expectations of a gradient


def expected(kind, p, q, n, b, cap, **other):
    """The closed form with some of its parts changed."""
    a, c = {
        "none": (1.0, 1.0),
        "token": (p / q, (1 - p) / (1 - q)),
        "tis": (min(p / q, cap), min((1 - p) / (1 - q), cap)),
        "sequence": (0.0, 0.0),
    }[kind]
    earned = n * (1 - p) * (p**n if kind == "sequence" else a * q**n)
    drift = n * (q * a * (1 - p) - (1 - q) * c * p)
    if kind in other:
        earned, drift = other[kind](p, q, n, cap, earned, drift)
    return earned - b * drift


def but(**other):
    return lambda *given: expected(*given, **other)


def enumerates(kind, p, q, n, b, cap):
    """Right for every length that it survives."""
    total = 0.0
    for answer in list(itertools.product((1, 0), repeat=n)):
        k = sum(answer)
        chance = q**k * (1 - q) ** (n - k)
        a, c = p / q, (1 - p) / (1 - q)
        if kind == "sequence":
            factors = (a**k * c ** (n - k),) * 2
        elif kind == "none":
            factors = (1.0, 1.0)
        else:
            factors = (min(a, cap), min(c, cap)) if kind == "tis" else (a, c)
        push = k * factors[0] * (1 - p) - (n - k) * factors[1] * p
        total += chance * ((k == n) - b) * push
    return total


# ------------------------------------------------------------------------------------------ diagnoses


def log(reward, silent, clipped, length, entropy, clip_ratio, kl, grad_norm, **other):
    """The rules with some of them changed."""
    n, middle = other.get("n", 3), other.get("middle", statistics.median)

    def start(curve):
        return middle(curve[:n])

    def end(curve):
        return middle(curve[-n:])

    up = end(reward) > start(reward) + 0.05
    rules = {
        "answers cut off": other.get("cut", lambda c: end(c) > 0.3)(clipped),
        "solved": other.get("quiet", end)(silent) > 0.8 and end(reward) > 0.9,
        "silent groups": other.get("quiet", end)(silent) > 0.8,
        "steps too large": (end(clip_ratio) > 0.2 and other.get("clips", True))
        or (end(grad_norm) > 10 * start(grad_norm) and other.get("norms", True))
        or (other.get("far", False) and end(kl) > 0.5),
        "entropy collapse": end(entropy) < start(entropy) / 10
        and not (up and other.get("sure", True)),
        "length runs away": end(length) > 2 * start(length)
        and not (up and other.get("long", True)),
    }
    for verdict in other.get("order", rules):
        if rules[verdict]:
            return verdict
    return "healthy"


def reading(**other):
    return lambda *curves: log(*curves, **other)


FIRST_SILENT = ("solved", "silent groups", "answers cut off", "steps too large", "entropy collapse")
SURE_FIRST = ("answers cut off", "solved", "silent groups", "entropy collapse", "steps too large")


def cause(sampler, logits, tokens, mask, **other):
    """The rules with some of them changed."""
    near = other.get("near", 0.02)
    mask = other.get("real", lambda m: m)(mask)

    def score(temperature):
        return (logits / temperature).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]

    mine = torch.where(mask, score(1.0), 0.0)
    gap = torch.where(mask, (sampler - mine).abs(), 0.0)
    if gap.max() <= near:
        return other.get("small", lambda g: "same policy" if g <= 1e-6 else "rounding")(gap.max())
    end = torch.arange(mask.shape[1]) == mask.sum(1, keepdim=True) - 1
    end = other.get("end", lambda e: e)(end)
    if torch.where(end, 0.0, gap).max() <= near:
        return "end dropped"
    both = mask[:, 1:] & mask[:, :-1]
    for way, (a, b) in {
        "later": (sampler[:, 1:], mine[:, :-1]),
        "earlier": (sampler[:, :-1], mine[:, 1:]),
    }.items():
        if way in other.get("ways", ("later", "earlier")) and (a - b)[both].abs().max() <= near:
            return "shifted by one"
    between = (sampler[:, None] - mine[None]).abs().amax(-1) <= near
    if other.get("between", lambda b: b)(between).any(1).all():
        return "rows exchanged"
    for k in range(5, 16):
        hot = other.get("heat", score)(k / 10)
        if callable(hot):
            hot = hot(score(1.0))
        if (sampler - hot)[mask].abs().max() <= near:
            return "another temperature"
    return other.get("rest", "older policy")


def finding(**other):
    return lambda *given: cause(*given, **other)


def by_the_mean(sampler, logits, tokens, mask):
    mine = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    gap = (sampler - mine)[mask].abs()
    if 1e-6 < gap.mean() <= 0.02:
        return "rounding"
    return cause(sampler, logits, tokens, mask)


def last_column(end):
    return torch.arange(end.shape[1]).expand_as(end) == end.shape[1] - 1


def neighbours(between):
    rows = torch.arange(len(between))
    return between & ((rows[:, None] - rows[None]).abs() <= 1)


def divided(temperature):
    return lambda logprobs: logprobs / temperature


# ----------------------------------------------------------------------------------------- prediction

CASES = ((3e-4, "none"), (3e-4, "sequence"), (1e-3, "none"), (1e-3, "tis"), (1e-3, "clip"))


def foretelling(*accuracies):
    """A learner who commits these five numbers, in the order of the cases."""
    return lambda learning_rate, correction: dict(zip(CASES, accuracies, strict=True))[
        learning_rate, correction
    ]


BANK: dict[str, list[Seeded]] = {
    "check_update_memory": [
        seeded("nothing is divided", not_sharded, sampling, room),
        seeded("ZeRO-1", zero_1, sampling, room),
        seeded("ZeRO-2", zero_2, sampling, room),
        seeded("already those of one GPU", all_shared, sampling, room),
        seeded("already those of one GPU", activations_shared, sampling, room),
        seeded("not gigabytes", lambda *x: update(*x) / 1e9, sampling, room),
        seeded("4 bytes per parameter are missing", with_states(12), sampling, room),
        seeded("8 bytes per parameter are missing", with_states(8), sampling, room),
        seeded("12 bytes per parameter are missing", with_states(4), sampling, room),
        seeded("take 4 bytes each", lambda *x: update(*x, logit=4), sampling, room),
        seeded("take 2 bytes each", lambda *x: update(*x, logit=2), sampling, room),
        seeded("no logits here", logits_of_the_prompt, sampling, room),
        seeded("activations of the prompt", completion_only, sampling, room),
        seeded("counted for one", lambda *x: update(*x, depth=1), sampling, room),
        seeded("activations are in bfloat16", lambda *x: update(*x, act=4), sampling, room),
        seeded("several query heads share", update, every_head, room),
        seeded("several query heads share", update, wide_heads, room),
        seeded("two vectors for each head", update, keys_only, room),
        seeded("prompt is in the cache", update, answers_only, room),
        seeded("from which the engine samples", update, lambda *x: sampling(*x, copy=0), room),
        seeded("it is divided here", update, sharded_copy, room),
        seeded("stay on the GPU", update, lambda *x: sampling(*x, states=0), room),
        seeded("cache is in bfloat16", update, lambda *x: sampling(*x, factor=2), room),
        seeded("not subtracted", *third(lambda m, f, r, n, g: m // r * g // n)),
        seeded("number of GPUs is not used", *third(lambda *x: room(*x[:4], 1))),
        seeded("that is the number of rows", *third(lambda *x: room(*x[:3], 1, x[4]))),
        seeded("and not negative", *third(lambda m, f, r, n, g: (m - f) // r * g // n)),
        seeded("parts of a row", *third(lambda m, f, r, n, g: max(0, int((m - f) / r * g / n)))),
        seeded("rounded up", *third(lambda *x: -(-room(*x[:3], 1, x[4]) // x[3]))),
        seeded(
            "rounded down", *third(lambda m, f, r, n, g: max(0, (((m - f) // r + 1) * g - 1) // n))
        ),
        seeded("exactly still fits", *third(lambda m, f, r, n, g: room(m - 1, f, r, n, g))),
        seeded(
            "whole groups stay",
            *third(lambda m, f, r, n, g: max(0, (m - f) // r) // math.ceil(n / g)),
        ),
    ],
    "check_stale_weights": [
        seeded("upside down", lambda a, b, *x: weigh(b, a, *x), loss, ess),
        seeded(
            "logarithm of the ratio",
            changed(ratio=lambda x: x, whole=lambda s, m, cap: s.sum(1).clamp(max=cap)),
            loss,
            ess,
        ),
        seeded("upper bound only", two_sided, loss, ess),
        seeded(
            "set to the cap",
            changed(bound=lambda r, cap: r * (r <= cap)),
            loss,
            ess,
        ),
        seeded(
            "edge of the band", changed(band=lambda r, cap, floor: r.clamp(floor, cap)), loss, ess
        ),
        seeded("no lower edge", changed(band=lambda r, cap, floor: r * (r <= cap)), loss, ess),
        seeded(
            "the weight 1 inside",
            changed(band=lambda r, cap, floor: ((r >= floor) & (r <= cap)).double()),
            loss,
            ess,
        ),
        seeded("whole answers", whole_answers, loss, ess),
        seeded("as GSPO does", changed(whole=gspo), loss, ess),
        seeded("bound the product", changed(whole=bounded_tokens), loss, ess),
        seeded("no upper bound", changed(whole=lambda s, m, cap: s.sum(1).exp()), loss, ess),
        seeded("adds up padding", sum_with_padding, loss, ess),
        seeded("on padding is 1", changed(padded=1.0), loss, ess),
        seeded("each token gets a weight", one_per_answer, loss, ess),
        seeded("0 · nan is nan", product_with_the_mask, loss, ess),
        seeded("and so is their product", zero_ratios, loss, ess),
        seeded("0 · nan is nan", weigh, loss_with_a_product, ess),
        seeded("0 · nan is nan", weigh, loss, share_with_a_product),
        seeded("sign is flipped", weigh, lambda *x: loss(*x, sign=1), ess),
        seeded("weights are not used", weigh, unweighted, ess),
        seeded("B·T", weigh, lambda *x: loss(*x, count=lambda w, m: m.numel()), ess),
        seeded("not divided", weigh, lambda *x: loss(*x, count=lambda w, m: 1), ess),
        seeded(
            "a removed token adds 0",
            weigh,
            lambda *x: loss(*x, count=lambda w, m: (m & (w > 0)).sum()),
            ess,
        ),
        seeded(
            "sum of the weights", weigh, lambda *x: loss(*x, count=lambda w, m: w[m].sum()), ess
        ),
        seeded("within each answer first", weigh, mean_of_answers, ess),
        seeded("mean is over answers", weigh, lambda *x: loss(*x, count=lambda w, m: len(m)), ess),
        seeded("no error if B = T", weigh, along_tokens, ess),
        seeded("a detach is missing", weigh, no_detach, ess),
        seeded("no gradient flows to logprobs", weigh, frozen, ess),
        seeded("at most 1", weigh, loss, lambda *x: 1 / ess(*x)),
        seeded(
            "a number of answers",
            weigh,
            loss,
            but_share(share=lambda w: w.sum() ** 2 / (w**2).sum()),
        ),
        seeded("upside down", weigh, loss, lambda new, old, mask: ess(old, new, mask)),
        seeded("sample of its own", weigh, loss, but_share(logs=lambda s, m: s[m])),
        seeded(
            "mean of the log-ratios", weigh, loss, but_share(logs=lambda s, m: s.sum(1) / m.sum(1))
        ),
        seeded("padding enters", weigh, loss, ess_with_padding),
        seeded("square root", weigh, loss, lambda *x: ess(*x) ** 0.5),
        seeded(
            "only the last token",
            weigh,
            loss,
            but_share(logs=lambda s, m: s[range(len(s)), m.sum(1) - 1]),
        ),
        seeded("returns nan", weigh, loss, overflowing),
    ],
    "check_stale_gradient": [
        seeded("score does not have mean 0", but(none=lambda *x: (x[4], 0.0))),
        seeded(
            "from where do the others", but(token=lambda p, q, n, *x: (n * (1 - p) * p**n, 0.0))
        ),
        seeded("token itself is missing", but(token=lambda p, q, n, *x: (n * (1 - p) * q**n, 0.0))),
        seeded("baseline is not harmless", but(tis=lambda *x: (x[4], 0.0))),
        seeded(
            "wrong token is capped as well",
            but(tis=lambda p, q, n, c, e, d: (e, n * (q * min(p / q, c) - p) * (1 - p))),
        ),
        seeded(
            "cap is not used",
            lambda kind, *x: expected("token" if kind == "tis" else kind, *x),
        ),
        seeded(
            "the whole answer is capped",
            but(tis=lambda p, q, n, c, e, d: (n * (1 - p) * min(p**n, c * q**n), d)),
        ),
        seeded(
            "without a correction",
            lambda kind, *x: expected("none" if kind == "sequence" else kind, *x),
        ),
        seeded(
            "only one of the T ratios",
            lambda kind, *x: expected("token" if kind == "sequence" else kind, *x),
        ),
        seeded("for all four kinds. Which", lambda k, p, q, n, *x: n * (1 - p) * p**n),
        seeded("dropped for all four", lambda k, p, q, n, b, c: expected(k, p, q, n, 0.0, c)),
        seeded(
            "in every answer",
            lambda k, p, q, n, b, c: (1 - b) * expected(k, p, q, n, 0.0, c),
        ),
        seeded("number of tokens is missing", lambda *x: expected(*x) / x[3]),
        seeded("with respect to p", lambda *x: expected(*x) / (x[1] * (1 - x[1]))),
        seeded("of the policy and not", lambda *x: expected(*x) * (1 - x[2]) / (1 - x[1])),
        seeded("wrong sign", lambda k, p, q, n, b, c: expected(k, p, q, n, -b, c)),
        seeded("sign is flipped", lambda *x: -expected(*x)),
        seeded("go through none of them", enumerates),
        seeded("that should be T", lambda k, p, q, n, b, c: expected(k, p, q, min(n, 9), b, c)),
        seeded("too large", lambda *x: expected(*x) + 0.3),
    ],
    "check_sick_run": [
        seeded("take the median", reading(middle=statistics.mean)),
        seeded("single records", reading(n=1)),
        seeded("half of the run", reading(n=6)),
        seeded("highest share", reading(cut=lambda curve: max(curve) > 0.3)),
        seeded("cut answers are not looked for", reading(cut=lambda curve: False)),
        seeded("so the cut is the cause", reading(order=(*FIRST_SILENT, "length runs away"))),
        seeded(
            "all their answers are correct",
            reading(
                order=("answers cut off", *FIRST_SILENT[1:2], *FIRST_SILENT[3:], "length runs away")
            ),
        ),
        seeded(
            "at the start of the run", reading(quiet=lambda curve: statistics.median(curve[:3]))
        ),
        seeded("has become sure", reading(sure=False)),
        seeded("long answers are fine", reading(long=False)),
        seeded("makes the policy sharp", reading(order=(*SURE_FIRST, "length runs away"))),
        seeded("clip ratio is not used", reading(clips=False)),
        seeded("norm of the gradient", reading(norms=False)),
        seeded("the KL is used", reading(far=True)),
        seeded("must return one of", lambda *curves: "broken"),
    ],
    "check_sampler": [
        seeded("padding is compared", finding(real=torch.ones_like)),
        seeded("said of every real token", by_the_mean),
        seeded("equality is asked for", finding(near=1e-6)),
        seeded("returned for what is rounding", finding(small=lambda gap: "same policy")),
        seeded("no difference at all", finding(small=lambda gap: "rounding")),
        seeded("look both ways", finding(ways=("later",))),
        seeded("it may be the other one", finding(ways=("earlier",))),
        seeded("shifted values", finding(ways=())),
        seeded("not in the last column", finding(end=last_column)),
        seeded("the next and the previous", finding(between=neighbours)),
        seeded("exchanged rows are not", finding(between=torch.zeros_like)),
        seeded("log_softmax is taken again", finding(heat=divided)),
        seeded("explains all its tokens", finding(rest="another temperature")),
        seeded("must return one of", finding(rest="stale")),
    ],
    "check_stale_prediction": [
        seeded("numbers of an on-policy run", foretelling(0.96, 0.97, 0.95, 0.95, 0.94)),
        seeded("end near the base", foretelling(0.2, 0.2, 0.2, 0.2, 0.2)),
        seeded("do not repair everything", foretelling(0.85, 0.93, 0.2, 0.9, 0.85)),
        seeded("is not lost", foretelling(0.85, 0.93, 0.2, 0.2, 0.3)),
        seeded("are exchanged", foretelling(0.85, 0.93, 0.2, 0.8, 0.25)),
        seeded("not just slower", foretelling(0.85, 0.93, 0.6, 0.25, 0.8)),
        seeded("does learn", foretelling(0.3, 0.93, 0.2, 0.2, 0.8)),
        seeded("percentages", foretelling(87, 97, 24, 17, 85)),
        seeded("brings back", foretelling(0.93, 0.9, 0.2, 0.2, 0.8)),
        seeded("is not a little worse", foretelling(0.7, 0.95, 0.42, 0.2, 0.8)),
        seeded("far better", foretelling(0.85, 0.95, 0.2, 0.45, 0.65)),
        seeded("between 0 and 1", foretelling(0.85, 0.95, -0.1, 0.2, 0.8)),
        seeded("correction = 'sequence': a little too low", foretelling(0.5, 0.6, 0.15, 0.2, 0.8)),
    ],
}
