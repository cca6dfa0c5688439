r"""The parts of TRPO: Fisher-vector products, conjugate gradient, line search (notebook 04).

    max_θ L(θ) = E[π_θ/π_old · A]   subject to   E[KL(π_old‖π_θ)] ≤ δ      (TRPO, eq. 14, arXiv:1502.05477)

To second order the constraint is ½·sᵀFs ≤ δ. F is the Fisher matrix, the Hessian of the KL at θ_old.
The step is therefore s = √(2δ/(gᵀF⁻¹g))·F⁻¹g. Only products F·v are needed, so F is not built.

Vectors are flat [D], in the order of the list of parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "LineSearch",
    "conjugate_gradient",
    "fisher_product",
    "flatten",
    "line_search",
    "move",
    "trust_region_step",
]

Vector = Float[Tensor, " D"]
Product = Callable[[Tensor], Tensor]
"""v [D] → M·v [D] for some symmetric positive definite matrix M."""


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All tensors as one flat vector [D]."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@torch.no_grad()
def move(parameters: Sequence[Tensor], step: Vector) -> None:
    """θ ← θ + step, in place.

    Raises:
        ValueError: when ``step`` does not have as many entries as the parameters.
    """
    sizes = [p.numel() for p in parameters]
    if len(step) != sum(sizes):
        raise ValueError(f"step: expected {sum(sizes)} entries, got {len(step)}")
    for parameter, piece in zip(parameters, step.split(sizes), strict=True):
        parameter += piece.view_as(parameter)


def fisher_product(kl: Tensor, parameters: Sequence[Tensor], damping: float = 0.0) -> Product:
    """v ↦ (F + damping·I)·v by double backward: F·v = ∇(∇KL · v)  (TRPO, appendix C).

    Args:
        kl: KL(π_old‖π_θ) at θ = θ_old, a scalar with its graph: value 0, gradient 0, Hessian F.
        parameters: θ.
        damping: ≥ 0; keeps the product positive definite in directions that the data do not determine.

    Raises:
        ValueError: when ``damping`` is negative.

    >>> theta = torch.zeros(2, requires_grad=True)
    >>> old = torch.tensor([0.5, 0.5])
    >>> fisher_product((old * (old.log() - theta.log_softmax(0))).sum(), [theta])(torch.tensor([1.0, 0]))
    tensor([ 0.2500, -0.2500])
    """
    if damping < 0:
        raise ValueError(f"damping: must not be negative, got {damping}")
    slope = flatten(torch.autograd.grad(kl, parameters, create_graph=True))

    def product(vector: Tensor) -> Tensor:
        rows = torch.autograd.grad(slope @ vector, parameters, retain_graph=True)
        return flatten(rows) + damping * vector

    return product


def conjugate_gradient(
    product: Product, b: Vector, iterations: int = 10, tolerance: float = 1e-10
) -> Vector:
    """Solve M·x ≈ b with products M·v only (Hestenes and Stiefel 1952).

    The result is exact after D iterations. Far fewer suffice when the eigenvalues of M lie close together.

    Args:
        product: v ↦ M·v, M symmetric and positive definite.
        b: right-hand side.
        iterations: largest number of products.
        tolerance: stop when ‖b − M·x‖² falls below this share of ‖b‖².

    Raises:
        ValueError: when ``iterations`` < 1, or M is not positive definite along a direction.

    >>> conjugate_gradient(lambda v: torch.tensor([2.0, 4.0]) * v, torch.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    if iterations < 1:
        raise ValueError(f"iterations: need at least 1, got {iterations}")
    x, residual = torch.zeros_like(b), b.clone()
    direction, size = b.clone(), b @ b
    start = size
    for _ in range(iterations):
        if not size > tolerance * start:
            break
        image = product(direction)
        curvature = direction @ image
        if not curvature > 0:
            raise ValueError(
                f"product: not positive definite (vᵀMv = {float(curvature):.3g}); increase the damping"
            )
        length = size / curvature
        x = x + length * direction
        residual = residual - length * image
        new_size = residual @ residual
        direction = residual + new_size / size * direction
        size = new_size
    return x


@dataclass(frozen=True)
class LineSearch:
    """The result of a backtracking line search.

    Attributes:
        fraction: fraction of the full step that was taken; 0 when none was accepted.
        gain: improvement of the surrogate at that fraction.
        kl: KL at that fraction, in nats.
    """

    fraction: float
    gain: float
    kl: float


def line_search(
    evaluate: Callable[[float], tuple[float, float]],
    max_kl: float,
    shrink: float = 0.5,
    tries: int = 10,
) -> LineSearch:
    """The first of 1, s, s², … that improves the surrogate and keeps KL ≤ δ  (TRPO, appendix C).

    Args:
        evaluate: fraction → (improvement of the surrogate, KL).
        max_kl: δ > 0, in nats.
        shrink: s in (0, 1).
        tries: number of fractions.

    Raises:
        ValueError: for an argument that is out of range.

    >>> line_search(lambda fraction: (fraction, fraction**2), max_kl=0.3)
    LineSearch(fraction=0.5, gain=0.5, kl=0.25)
    """
    if not max_kl > 0:
        raise ValueError(f"max_kl: δ must be positive, got {max_kl}")
    if not 0 < shrink < 1:
        raise ValueError(f"shrink: must lie strictly between 0 and 1, got {shrink}")
    if tries < 1:
        raise ValueError(f"tries: need at least 1, got {tries}")
    for attempt in range(tries):
        fraction = shrink**attempt
        gain, kl = evaluate(fraction)
        if gain > 0 and kl <= max_kl:  # nan is neither
            return LineSearch(fraction, gain, kl)
    return LineSearch(0.0, 0.0, 0.0)


def trust_region_step(
    parameters: Sequence[Tensor],
    surrogate: Callable[[], Tensor],
    kl: Callable[[], Tensor],
    max_kl: float,
    damping: float = 0.1,
    iterations: int = 10,
    fisher_kl: Callable[[], Tensor] | None = None,
    shrink: float = 0.5,
    tries: int = 10,
) -> LineSearch:
    """One step of TRPO, in place. If no step is accepted, the parameters do not change.

    Args:
        parameters: θ, at θ_old.
        surrogate: L(θ), to be maximised; a scalar with its graph.
        kl: E[KL(π_old‖π_θ)] over the states of the batch, in nats.
        max_kl: δ. It limits the *measured* KL, not its quadratic model.
        damping, iterations: of the conjugate gradient.
        fisher_kl: the KL whose Hessian is used, if not ``kl`` itself. TRPO uses a tenth of the states
            here, because this part takes most of the time.
        shrink, tries: of the line search.

    >>> theta = torch.zeros(2, requires_grad=True)
    >>> half = torch.tensor([0.5, 0.5])
    >>> gain = lambda: theta.softmax(0)[0]
    >>> trust_region_step([theta], gain, lambda: -(2 * half * theta.softmax(0)).log() @ half, 0.01).kl <= 0.01
    True
    """
    before = surrogate()
    gradient = flatten(torch.autograd.grad(before, parameters))
    start = float(before.detach())
    if not bool(gradient.any()):
        return LineSearch(0.0, 0.0, 0.0)
    product = fisher_product((fisher_kl or kl)(), parameters, damping)
    direction = conjugate_gradient(product, gradient, iterations)
    full = direction * torch.sqrt(2 * max_kl / (direction @ product(direction)))
    at = 0.0

    def evaluate(fraction: float) -> tuple[float, float]:
        nonlocal at
        move(parameters, (fraction - at) * full)
        at = fraction
        with torch.no_grad():
            return float(surrogate()) - start, float(kl())

    origin = [p.detach().clone() for p in parameters]
    found = line_search(evaluate, max_kl, shrink, tries)
    if found.fraction == 0.0:
        with torch.no_grad():  # copied back instead of subtracted, so they are restored bit for bit
            for parameter, value in zip(parameters, origin, strict=True):
                parameter.copy_(value)
    return found
