"""The exact gradient of a batch of several prompts, for groups of any size, without listing the groups.

``estimators`` lists all groups of one prompt. A batch of N prompts with G answers each has far too many, but
for rewards 0 and 1 most of them are alike: an advantage depends on the other answers only through the number
C of correct ones, an average only through their number M of tokens. So it is enough to know the joint
distribution of (C, M) of the *other* answers, which is a convolution of small tables. Advantages, losses and
averages are the functions that the trainer calls. (Notebook 07)

Shapes: N prompts, G answers a prompt, Y possible answers, T tokens, D parameters. Gradients are flat [D] and
point *uphill*. A *state* of a group is (number correct, number of tokens).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.averages import Average
from rlvr_lab.objectives.objective import Advantage, Objective, Rows

__all__ = ["BatchGradient", "batch_gradient"]


@dataclass(frozen=True)
class BatchGradient:
    """An estimator of the gradient from a batch of N groups.

    Attributes:
        parts: E[ĝ_n], the expected gradient that flows through the answers to prompt n, [N, D].
        variance: trace of the covariance of ĝ = Σ_n ĝ_n.
        clipped: expected number of tokens whose gradient the clip changes, ÷ expected number of tokens.
    """

    parts: Tensor
    variance: float
    clipped: float

    @property
    def expected(self) -> Float[Tensor, " D"]:
        """E[ĝ]."""
        return self.parts.sum(dim=0)


def advantage_table(
    advantage: Advantage, prompts: int, group_size: int
) -> tuple[Float[Tensor, "2 K"], bool]:
    """The advantage of an incorrect and of a correct answer, for each number of correct answers.

    The number is that of the answer's group (K = G + 1), or, when the baseline looks at the whole batch, that
    of the batch (K = N·G + 1). Which of the two it is, is found by trying.

    >>> advantage_table(lambda r, g: r - r.mean(), prompts=1, group_size=2)[0]
    tensor([[ 0.0000, -0.5000,  0.0000],
            [ 0.0000,  0.5000,  0.0000]], dtype=torch.float64)
    """

    def table(rows: int, others: Tensor) -> Tensor:
        """Advantages when 0 … ``rows`` of the first rows are correct; 0 where there is no such answer."""
        found = torch.zeros(2, rows + 1, dtype=torch.float64)
        for count in range(rows + 1):
            rewards = torch.cat([(torch.arange(rows) < count).double(), others])
            each = advantage(rewards, group_size)
            if count < rows:
                found[0, count] = each[rows - 1]
            if count > 0:
                found[1, count] = each[0]
        return found

    rest = torch.zeros((prompts - 1) * group_size, dtype=torch.float64)
    alone = table(group_size, rest)
    if torch.equal(alone, table(group_size, rest + 1)):
        return alone, False
    return table(prompts * group_size, rest[:0]), True


@lru_cache(maxsize=64)
def average_weights(
    average: Average, rows: int, longest: int
) -> tuple[Float[Tensor, " L"], Float[Tensor, " M"]]:
    """Weight of a token in an average of B ≥ 2 rows: (by its answer's length) × (by the batch's tokens).

    Raises:
        ValueError: when the weight is no such product, so that C and M would not be enough.

    >>> from rlvr_lab.objectives.averages import sequence_mean
    >>> average_weights(sequence_mean, rows=2, longest=2)[0]
    tensor([0.0000, 0.5000, 0.2500], dtype=torch.float64)
    """
    weights = torch.zeros(longest + 1, rows * longest + 1, dtype=torch.float64)
    position, others = torch.arange(longest), torch.arange(rows - 1)
    even = True
    for own in range(1, longest + 1):
        for spare in range((rows - 1) * (longest - 1) + 1):  # the others' tokens beyond one each
            theirs = 1 + (spare - others * (longest - 1)).clamp(0, longest - 1)
            lengths = torch.cat([torch.tensor([own]), theirs])
            x = torch.zeros(rows, longest, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(average(x, position < lengths[:, None]), x)
            even = even and bool((slope[0, :own] == slope[0, 0]).all())
            weights[own, own + rows - 1 + spare] = slope[0, 0]
    common = longest + rows - 1  # a number of tokens that goes with every own length
    by_length = weights[:, common] / weights[1, common]
    by_total = (weights[1:] / by_length[1:, None]).amax(dim=0)
    product, possible = torch.outer(by_length, by_total), weights > 0
    if not even or not torch.allclose(product[possible], weights[possible], rtol=1e-12, atol=0):
        raise ValueError("average: a token's weight must be (by its length) × (by the tokens)")
    scale = by_total[common]
    return by_length * scale, by_total / scale


# -------------------------------------------------------------------------- tables of (correct, tokens)


def convolve(a: Float[Tensor, "_ _"], b: Float[Tensor, "_ _"]) -> Float[Tensor, "_ _"]:
    """Distribution of the sum of two independent states."""
    rows, columns = (size - 1 for size in b.shape)
    return conv2d(a[None, None], b.flip(0, 1)[None, None], padding=(rows, columns))[0, 0]


def power(table: Float[Tensor, "_ _"], count: int) -> Float[Tensor, "_ _"]:
    """Distribution of the sum of ``count`` independent states with this distribution."""
    total = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(count):
        total = convolve(total, table)
    return total


def over_others(values: Float[Tensor, "J _ _"], chance: Float[Tensor, "_ _"]) -> Tensor:
    """Expected value of a function of the sum, as a function of one's own part of it."""
    return conv2d(values[:, None], chance[None, None])[:, 0]


def moved(table: Float[Tensor, "_ _"], correct: int, tokens: int, shape: torch.Size) -> Tensor:
    """The table of a sum to which this is added, in a table of ``shape``."""
    found = torch.zeros(shape, dtype=torch.float64)
    rows, columns = table.shape
    found[correct : correct + rows, tokens : tokens + columns] = table
    return found


class Prompt:
    """One prompt: chances of its answers under π_old, slopes of their tokens, moments of its group.

    ``first`` [J, c, m, Y·T] and ``second`` [J, c, m] are E[ĝ; state] and E[‖ĝ‖²; state] of one group, without
    the average's factor for the tokens of the batch. J is 1; if the baseline looks at the whole batch, there
    is one for each number of correct answers in the batch.
    """

    def __init__(
        self,
        world: World,
        objective: Objective,
        group_size: int,
        table: Float[Tensor, "2 K"],
        by_batch: bool,
        by_length: Float[Tensor, " L"],
        count_tokens: bool,
    ) -> None:
        logprobs, old = world.fixed_logprobs
        self.chance = old.sum(dim=1).exp()
        self.correct, self.lengths = world.rewards.long(), world.mask.sum(dim=1)
        if not torch.equal(self.correct.double(), world.rewards):
            raise ValueError("rewards: must all be 0 or 1")
        self.jacobian = world.jacobian.flatten(0, 1)
        self.group_size, self.by_batch = group_size, by_batch
        self.advantages = table[self.correct]
        counted = self.lengths if count_tokens else torch.zeros_like(self.lengths)
        one = torch.zeros(2, int(counted.max()) + 1, dtype=torch.float64)
        one.index_put_((self.correct, counted), self.chance, accumulate=True)
        self.less = [power(one, group_size - missing) for missing in (0, 1, 2)]
        self.share = self._clipped(world, objective, logprobs, old)
        slopes = self._slopes(world, objective, logprobs, old) * by_length[self.lengths, None, None]
        self._moments(slopes, counted)

    def _slopes(self, world: World, objective: Objective, new: Tensor, old: Tensor) -> Tensor:
        """−∂loss/∂log π of each token for each advantage that its answer may get, [Y, K, T], summed."""
        K = self.advantages.shape[1]
        leaf, old, mask = (x.repeat_interleave(K, dim=0) for x in (new, old, world.mask))
        leaf.requires_grad_()
        rows = Rows(leaf, old, self.advantages.flatten(), mask)
        loss = objective.loss(rows, lambda x, mask: torch.where(mask, x, 0.0).sum())
        return -torch.autograd.grad(loss, leaf)[0].view(len(new), K, -1)

    def _clipped(self, world: World, objective: Objective, new: Tensor, old: Tensor) -> Tensor:
        """Share of each answer's tokens that the clip changes, for each of its advantages, [Y, K]."""
        found = torch.zeros_like(self.advantages)
        for y, sign in itertools.product(range(len(new)), (-1.0, 0.0, 1.0)):
            here = self.advantages[y].sign() == sign
            if bool(here.any()):
                row = (new[[y]], old[[y]], torch.tensor([sign]).double(), world.mask[[y]])
                found[y, here] = objective.clipped(Rows(*row))
        return found

    def _moments(self, slopes: Float[Tensor, "Y K T"], counted: Tensor) -> None:
        G, shape = self.group_size, self.less[0].shape
        gram = self.jacobian @ self.jacobian.T
        Y, K, T = slopes.shape
        spread = torch.zeros(K, Y, Y, T, dtype=torch.float64)  # each answer in its own coordinates
        spread[:, range(Y), range(Y)] = slopes.transpose(0, 1)
        each = spread.flatten(2)
        alone = ((each @ gram) * each).sum(dim=2)  # [K, Y]
        kinds = sorted(set(zip(self.correct.tolist(), counted.tolist(), strict=True)))
        member = torch.stack([(self.correct == r) & (counted == m) for r, m in kinds]).double()
        mean = torch.einsum("qy,y,kyd->kqd", member, self.chance, each)
        alone = torch.einsum("qy,y,ky->kq", member, self.chance, alone)
        inner = mean @ gram @ mean.transpose(1, 2)  # [K, q, q]
        # K belongs to the group's own count (a row of the state) or to the batch's (J).
        J, rows = (K, 1) if self.by_batch else (1, K)
        mean, alone, inner = (x.reshape(J, rows, 1, *x.shape[1:]) for x in (mean, alone, inner))
        self.first, self.second = torch.zeros(1), torch.zeros(1)
        for q, (r, m) in enumerate(kinds):
            chance = G * moved(self.less[1], r, m, shape)
            self.first = self.first + chance[..., None] * mean[..., q, :]
            self.second = self.second + chance * alone[..., q]
            for p, (s, n) in enumerate(kinds):
                pair = G * (G - 1) * moved(self.less[2], r + s, m + n, shape) if G > 1 else 0.0
                self.second = self.second + pair * inner[..., q, p]

    def clipped_tokens(self, others: Float[Tensor, "_ _"]) -> float:
        """Expected number of clipped tokens of this prompt's group; ``others``: states of the other groups."""
        rest = convolve(self.less[1], others) if self.by_batch else self.less[1]
        count = rest.sum(dim=1)
        total = 0.0
        for r in (0, 1):
            index = torch.zeros(self.share.shape[1], dtype=torch.float64)
            index[r : r + len(count)] = count
            rows = self.correct == r
            weight = self.group_size * self.chance[rows] * self.lengths[rows]
            total += float(weight @ (self.share[rows] @ index))
        return total


def batch_gradient(worlds: Sequence[World], objective: Objective, group_size: int) -> BatchGradient:
    """The expected gradient of a batch with one group for each prompt, and the trace of its covariance.

    E[ĝ] = Σ_n E[ĝ_n],  tr Cov = Σ_{n,m} E⟨ĝ_n, ĝ_m⟩ − ‖E[ĝ]‖²

    For one prompt it equals ``estimators.expected_gradient``.

    Args:
        worlds: one for each prompt: the same policy, the same answers; rewards 0 and 1.
        objective: advantage, loss and average, without a KL term.
        group_size: G ≥ 2.

    Raises:
        ValueError: for other rewards, G < 2, a KL term, or an average that (C, M) does not determine.

    >>> found = batch_gradient([World.tiny()], Objective(), group_size=2)
    >>> world = World.tiny(); exact = world.gradient(world.expected_reward())
    >>> bool((found.expected - exact).norm() < 1e-12)
    True
    """
    if group_size < 2:
        raise ValueError(f"group_size: need at least 2, got {group_size}")
    if objective.kl_coef > 0:
        raise ValueError(f"objective: its KL term has kl_coef {objective.kl_coef}, not 0")
    N, longest = len(worlds), worlds[0].ids.shape[1]
    table, by_batch = advantage_table(objective.advantage, N, group_size)
    by_length, by_total = average_weights(objective.average, N * group_size, longest)
    possible = by_total[by_total > 0]
    count_tokens = not torch.allclose(possible, possible[:1], rtol=1e-12, atol=0)
    args = (objective, group_size, table, by_batch, by_length, count_tokens)
    prompts = [Prompt(world, *args) for world in worlds]

    factor = by_total if count_tokens else possible[:1]
    weight = factor.expand(1, N * group_size + 1, -1)
    if by_batch:  # in the table of a given number of correct answers, only that number counts
        weight = torch.eye(N * group_size + 1, dtype=torch.float64)[:, :, None] * factor

    def others(*away: int) -> Tensor:
        total = torch.ones(1, 1, dtype=torch.float64)
        for n, prompt in enumerate(prompts):
            total = total if n in away else convolve(total, prompt.less[0])
        return total

    parts, square, clipped = [], 0.0, 0.0
    for n, prompt in enumerate(prompts):
        rest = others(n)
        mean = torch.einsum("jcm,jcmd->d", over_others(weight, rest), prompt.first)
        parts.append(mean @ prompt.jacobian)
        square += float((over_others(weight.square(), rest) * prompt.second).sum())
        clipped += prompt.clipped_tokens(rest)
    for (n, a), (m, b) in itertools.combinations(enumerate(prompts), 2):
        square += 2 * cross(a, b, over_others(weight.square(), others(n, m)))
    tokens = group_size * sum(float(p.chance @ p.lengths.double()) for p in prompts)
    stacked = torch.stack(parts)
    mean = stacked.sum(dim=0)
    return BatchGradient(stacked, square - float(mean @ mean), clipped / tokens)


def cross(a: Prompt, b: Prompt, weight: Float[Tensor, "J _ _"]) -> float:
    """E⟨ĝ_a, ĝ_b⟩ of two groups; ``weight``: by the state of both together."""
    _, correct, tokens, _ = a.first.shape
    left = a.first.flatten(1, 2) @ (a.jacobian @ b.jacobian.T)
    inner = left @ b.first.flatten(1, 2).transpose(1, 2)
    c = torch.arange(correct).repeat_interleave(tokens)
    m = torch.arange(tokens).repeat(correct)
    return float((inner * weight[:, c[:, None] + c, m[:, None] + m]).sum())
