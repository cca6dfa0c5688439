"""Mistakes in the exercises of notebook 05."""

import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


def slope(ratio, a, clip):
    flat = torch.where(a > 0, ratio > 1 + clip, ratio < 1 - clip)
    return torch.where(flat, 0.0, a)


def outside(ratio, clip):
    return (ratio - 1).abs() > clip


def wrong_way(ratio, a, clip):
    flat = torch.where(a > 0, ratio < 1 - clip, ratio > 1 + clip)
    return torch.where(flat, 0.0, a)


def objective(ratio, a, clip):
    return torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)


def slope_without_cases(ratio, a, clip):
    if a > 0:
        return a * (ratio < 1 + clip)
    return a * (ratio > 1 - clip)


def toll(lp, ref, mask, beta):
    return -beta * (lp - ref) * mask


def pay(out, rewards, mask, shift=0):
    out = out.clone()
    out[torch.arange(len(out)), mask.sum(dim=1) - 1 + shift] += rewards
    return out


def pay_instead(out, rewards, mask):
    out = out.clone()
    out[torch.arange(len(out)), mask.sum(dim=1) - 1] = rewards
    return out


def pay_column(out, rewards, column):
    out = out.clone()
    out[:, column] += rewards
    return out


def gae(r, v, m, gamma, lam, decay=None, gamma_next=None, end=None, take_off=True, keep=True):
    decay = gamma * lam if decay is None else decay
    gamma_next = gamma if gamma_next is None else gamma_next
    out, running = torch.zeros_like(r), torch.zeros_like(r[:, 0])
    for t in reversed(range(r.shape[1])):
        last = t + 1 == r.shape[1]
        after = torch.zeros_like(running) if last else v[:, t + 1]
        if end == "itself":
            inside = torch.zeros_like(m[:, 0]) if last else m[:, t + 1]
            after = torch.where(inside, after, v[:, t])
        delta = r[:, t] + gamma_next * after - (v[:, t] if take_off else 0.0)
        running = (delta * m[:, t] if keep else delta) + decay * running
        out[:, t] = running
    return out * m


def gae_right(r, v, m, gamma, lam, **how):
    return gae(r * m, v * m, m, gamma, lam, **how)


def gae_forwards(r, v, m, gamma, lam):
    delta = gae_right(r, v, m, gamma, lam, decay=0.0)
    out, running = torch.zeros_like(r), torch.zeros_like(r[:, 0])
    for t in range(r.shape[1]):
        running = delta[:, t] + gamma * lam * running
        out[:, t] = running
    return out * m


def errors(v, old, returns, clip):
    old, returns = old.detach(), returns.detach()
    return (v - returns) ** 2, (old + (v - old).clamp(-clip, clip) - returns) ** 2


def value_loss(v, old, returns, mask, clip):
    return 0.5 * (torch.maximum(*errors(v, old, returns, clip)) * mask).sum() / mask.sum()


def value_loss_without_detach(v, old, returns, mask, clip):
    near = old + (v - old).clamp(-clip, clip)
    worst = torch.maximum((v - returns) ** 2, (near - returns) ** 2)
    return 0.5 * (worst * mask).sum() / mask.sum()


BANK: dict[str, list[Seeded]] = {
    "check_clip_slope": [
        seeded("everywhere outside", lambda q, a, e: torch.where(outside(q, e), 0.0, a)),
        seeded("clip is missing", lambda q, a, e: a.clone()),
        seeded("cases are exchanged", wrong_way),
        seeded("only the upper bound", lambda q, a, e: torch.where(q > 1 + e, 0.0, a)),
        seeded("only the lower bound", lambda q, a, e: torch.where(q < 1 - e, 0.0, a)),
        seeded("value of the objective", objective),
        seeded("multiplied by the ratio", lambda q, a, e: q * slope(q, a, e)),
        seeded("sign is flipped", lambda q, a, e: -slope(q, a, e)),
        seeded("1 or 0", lambda q, a, e: (slope(q, a, e) != 0).double()),
        seeded("get a slope of 0", lambda q, a, e: torch.where(a > 0, slope(q, a, e), 0.0)),
        seeded("stopped with RuntimeError", slope_without_cases),
    ],
    "check_token_rewards": [
        seeded("sign of the KL", lambda r, n, o, m, b: pay(-toll(n, o, m, b), r, m)),
        seeded("last column", lambda r, n, o, m, b: pay_column(toll(n, o, m, b), r, -1)),
        seeded("every token", lambda r, n, o, m, b: (toll(n, o, m, b) + r[:, None]) * m),
        seeded("first token", lambda r, n, o, m, b: pay_column(toll(n, o, m, b), r, 0)),
        seeded("one place before", lambda r, n, o, m, b: pay(toll(n, o, m, b), r, m, shift=-1)),
        seeded("penalty is also on padding", lambda r, n, o, m, b: pay(-b * (n - o), r, m)),
        seeded("β is not used", lambda r, n, o, m, b: pay(toll(n, o, m, 1.0), r, m)),
        seeded("multiplies the reward", lambda r, n, o, m, b: b * pay(toll(n, o, m, 1.0), r, m)),
        seeded(
            "last token has no KL penalty",
            lambda r, n, o, m, b: pay_instead(toll(n, o, m, b), r, m),
        ),
        seeded(
            "the whole answer",
            lambda r, n, o, m, b: pay(0 * n, r + toll(n, o, m, b).sum(1), m),
        ),
        seeded("KL penalty is missing", lambda r, n, o, m, b: pay(0 * n, r, m)),
        seeded("clamp", lambda r, n, o, m, b: pay(-b * (n - o).clamp(min=0) * m, r, m)),
        seeded("one number per answer", lambda r, n, o, m, b: r + toll(n, o, m, b).sum(1)),
    ],
    "check_gae": [
        seeded("λ is missing", lambda r, v, m, g, k: gae_right(r, v, m, g, k, decay=g)),
        seeded("γ is missing", lambda r, v, m, g, k: gae_right(r, v, m, g, k, decay=k)),
        seeded("not discounted", lambda r, v, m, g, k: gae_right(r, v, m, g, k, gamma_next=1.0)),
        seeded("padding is in the recursion", lambda r, v, m, g, k: gae(r, v, m, g, k, keep=False)),
        seeded("a value on padding", gae),
        seeded("its own value", lambda r, v, m, g, k: gae_right(r, v, m, g, k, end="itself")),
        seeded("returns A + V", lambda r, v, m, g, k: (gae_right(r, v, m, g, k) + v) * m),
        seeded("later δ are missing", lambda r, v, m, g, k: gae_right(r, v, m, g, k, decay=0.0)),
        seeded("is not subtracted", lambda r, v, m, g, k: gae_right(r, v, m, g, k, take_off=False)),
        seeded("runs forwards", gae_forwards),
        seeded("values are missing", lambda r, v, m, g, k: gae_right(r, 0 * v, m, g, k, decay=g)),
    ],
    "check_value_loss": [
        seeded(
            "smaller of the two",
            lambda v, o, r, m, e: 0.5 * (torch.minimum(*errors(v, o, r, e)) * m).sum() / m.sum(),
        ),
        seeded(
            "clip is missing",
            lambda v, o, r, m, e: 0.5 * (errors(v, o, r, e)[0] * m).sum() / m.sum(),
        ),
        seeded(
            "only the clipped",
            lambda v, o, r, m, e: 0.5 * (errors(v, o, r, e)[1] * m).sum() / m.sum(),
        ),
        seeded("½ is missing", lambda *a: 2 * value_loss(*a)),
        seeded(
            "padding is averaged in",
            lambda v, o, r, m, e: 0.5 * torch.maximum(*errors(v, o, r, e)).mean(),
        ),
        seeded(
            "counted in the denominator",
            lambda v, o, r, m, e: 0.5 * (torch.maximum(*errors(v, o, r, e)) * m).mean(),
        ),
        seeded(
            "averaged separately first",
            lambda v, o, r, m, e: (
                0.5 * ((torch.maximum(*errors(v, o, r, e)) * m).sum(1) / m.sum(1)).mean()
            ),
        ),
        seeded("average them", lambda v, o, r, m, e: value_loss(v, o, r, m, e) * m.sum()),
        seeded("near 0", lambda v, o, r, m, e: value_loss(v, torch.zeros_like(o), r, m, e)),
        seeded("fixed at 0.2", lambda v, o, r, m, e: value_loss(v, o, r, m, 0.2)),
        seeded("a detach is missing", value_loss_without_detach),
        seeded("no gradient flows", lambda *a: value_loss(*a).detach()),
    ],
    "check_state_columns": [
        seeded("already read", lambda v, p: v[:, p:]),
        seeded("one token too early", lambda v, p: v[:, p - 2 : -2]),
        seeded("reversed", lambda v, p: v[:, p - 1 : -1].flip(1)),
        seeded("prompt's columns", lambda v, p: v[:, : v.shape[1] - p]),
        seeded("value of the prompt", lambda v, p: v[:, [p - 1]].repeat(1, v.shape[1] - p)),
        seeded("rolled", lambda v, p: v[:, p:].roll(1, dims=1)),
        seeded("whole row", lambda v, p: v.clone()),
        seeded("one column too many", lambda v, p: v[:, p - 1 :]),
        seeded("first or the last", lambda v, p: v[:, p:-1]),
    ],
}
