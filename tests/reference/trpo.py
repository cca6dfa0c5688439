"""TRPO's step from its definition  (arXiv:1502.05477): the Fisher matrix is a mean of outer products.

The package takes the Hessian of a KL instead; at θ_old both are the same matrix.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.reference.plain import Answer, logits_of, logprobs_of, parameters, sample, snapshot
from tests.reference.policy_gradient import compare, task_of
from tests.reference.record import describe, exact_lengths, reward

SMALL = 2000  # parameters: up to so many the Fisher matrix is written down


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def gradient_of(value: Tensor, model: nn.Module) -> Tensor:
    return flat(torch.autograd.grad(value, parameters(model), retain_graph=True))


def fisher_matrix(config, model, answers: list[Answer]) -> Tensor:
    """Mean over states of Σ_v π(v)·∇log π(v)·∇log π(v)ᵀ, [D, D]."""
    total, states = 0.0, 0
    for answer in answers:
        table = logits_of(model, answer, config.temperature).log_softmax(-1)
        for t in answer.trained:
            slopes = torch.stack([gradient_of(x, model) for x in table[t]])
            total = total + slopes.T @ (table[t].detach().exp()[:, None] * slopes)
            states += 1
    return total / states


def fisher_times(config, model, answers: list[Answer], vector: Tensor) -> Tensor:
    """The same matrix times a vector, for models whose matrix is too large: Jᵀ(diag π − ππᵀ)J·v."""
    total, states = torch.zeros_like(vector), 0
    for answer in answers:
        with sdpa_kernel(SDPBackend.MATH):  # the quick kernels have no second derivative
            logits = logits_of(model, answer, config.temperature)[answer.trained]
        dual = torch.zeros_like(logits, requires_grad=True)
        pulled = torch.autograd.grad(logits, parameters(model), dual, create_graph=True)
        (pushed,) = torch.autograd.grad(flat(pulled) @ vector, dual, retain_graph=True)
        p = logits.detach().softmax(-1)
        weighted = p * (pushed - (p * pushed).sum(-1, keepdim=True))
        total += flat(torch.autograd.grad(logits, parameters(model), weighted))
        states += len(answer.trained)
    return total / states


def fisher(config, model, answers: list[Answer]) -> Callable[[Tensor], Tensor]:
    few = answers[: config.fisher_groups * config.group_size]
    if sum(p.numel() for p in model.parameters()) > SMALL:
        return lambda v: fisher_times(config, model, few, v) + config.damping * v
    matrix = fisher_matrix(config, model, few)
    return lambda v: matrix @ v + config.damping * v


def solve(product: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Conjugate gradient: each direction is M-orthogonal to those before it."""
    x, direction = torch.zeros_like(b), b
    residual = b
    for _ in range(iterations):
        if residual @ residual <= 1e-10 * (b @ b):
            break
        image = product(direction)
        x = x + (residual @ residual) / (direction @ image) * direction
        left = b - product(x)
        direction = left + (left @ left) / (residual @ residual) * direction
        residual = left
    return x


def surrogate(config, model, answers: list[Answer], advantages: list[float]) -> Tensor:
    """Mean over trained tokens of ρ·A."""
    terms = []
    for answer, a in zip(answers, advantages, strict=True):
        ratio = (logprobs_of(model, answer, config.temperature) - answer.old).exp()
        terms += [ratio[t] * a for t in answer.trained]
    return sum(terms) / len(terms)


@torch.no_grad()
def tables(config, model, answers: list[Answer]) -> list[Tensor]:
    """log π(v) at every state that the policy acted in, one table an answer."""
    rows = [logits_of(model, a, config.temperature).log_softmax(-1)[a.trained] for a in answers]
    return [row.clone() for row in rows]


def kl_between(old: list[Tensor], new: list[Tensor]) -> float:
    """Mean over states of Σ_v π_old·(log π_old − log π)."""
    values = [(o.exp() * (o - n)).sum(-1) for o, n in zip(old, new, strict=True)]
    return float(torch.cat(values).mean())


@torch.no_grad()
def place(model: nn.Module, weights: list[Tensor], step: Tensor) -> None:
    """θ = weights + step."""
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        piece, step = step[: weight.numel()], step[weight.numel() :]
        parameter.copy_(weight + piece.view_as(weight))


def limit(config, step: int) -> float:
    """δ at step t = 1 … T."""
    shares = {"constant": 1.0, "quadratic": ((config.steps - step + 1) / config.steps) ** 2}
    return config.max_kl * shares[config.delta_schedule]


def update(config, model, answers: list[Answer], advantages: list[float], delta: float) -> dict:
    """Direction, length, backtracking."""
    before = surrogate(config, model, answers, advantages)
    gradient = gradient_of(before, model)
    nothing = {"accepted": False, "fraction": 0.0, "step_kl": 0.0, "surrogate_gain": 0.0}
    nothing["max_kl"] = delta
    if not any(advantages):
        return nothing
    product = fisher(config, model, answers)
    direction = solve(product, gradient, config.cg_iterations) if config.natural else gradient
    full = math.sqrt(2 * delta / float(direction @ product(direction))) * direction
    weights, old = snapshot(model), tables(config, model, answers)
    for k in range(config.line_search_tries):
        place(model, weights, full * 0.5**k)
        with torch.no_grad():
            gain = float(surrogate(config, model, answers, advantages) - before)
        kl = kl_between(old, tables(config, model, answers))
        if gain > 0 and kl <= delta:
            found = {"accepted": True, "fraction": 0.5**k, "step_kl": kl}
            return found | {"surrogate_gain": gain, "max_kl": delta}
    place(model, weights, torch.zeros_like(full))
    return nothing


def train(config, model: nn.Module, reference: nn.Module) -> Iterator[dict]:
    """Records of a run; ``model`` moves in place."""
    for step in range(1, config.steps + 1):
        answers = sample(config, model, task_of(config), step)
        record = describe(config, answers, reference, every_row=False)
        record |= {"step": step, "changed": [], **exact_lengths(config, model)}
        rewards = [reward(config, a) for a in answers]
        size = config.group_size
        groups = [rewards[i : i + size] for i in range(0, len(rewards), size)]
        advantages = [a for group in groups for a in compare(group, lambda r: 1.0)]
        yield record | update(config, model, answers, advantages, limit(config, step))
