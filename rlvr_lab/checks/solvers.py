"""Checks of the exercises on systems without a matrix (notebook 04)."""

import math
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rlvr_lab.checks.calls import Mistake, call, function_name, is_remote, within
from rlvr_lab.checks.kit import Check, softmax

# ------------------------------------------------------------------------------------ Fisher products


def _fisher(pi: Any, vector: Any, damping: float) -> np.ndarray:
    """With the matrix written out: Σ_y π(y)·s_y·s_yᵀ, s_y = e_y − π."""
    scores = np.eye(len(pi)) - pi
    matrix = sum(p * np.outer(s, s) for p, s in zip(pi, scores, strict=True))
    return matrix @ vector + damping * vector


class _LargestTensor(TorchDispatchMode):
    """Notes the shape of the largest tensor that any operation returns."""

    shape: tuple[int, ...] = ()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.numel() > math.prod(self.shape):
                self.shape = tuple(leaf.shape)
        return result


def _space(fn: Any, pi: torch.Tensor, vector: torch.Tensor) -> tuple[int, int]:
    """Numbers in the largest tensor that one call makes, and by how many bytes Python's memory grows."""
    traced = tracemalloc.is_tracing()  # numpy and lists report their memory there, torch does not
    if not traced:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        with _LargestTensor() as largest:
            call(fn, pi=pi, vector=vector, damping=0.1)
        grown = tracemalloc.get_traced_memory()[1] - before
    finally:
        if not traced:
            tracemalloc.stop()
    return math.prod(largest.shape), grown


FAR, MEMORY = (
    6000,
    128 << 20,
)  # classes, and bytes that a call may take: FAR × FAR numbers take more


def _builds_a_matrix(fn: Any, rng: np.random.Generator, size: int) -> bool:
    """Whether ``fn`` makes a tensor or array of K × K numbers on the way."""
    far = FAR if is_remote(fn) else size
    pi, vector = torch.tensor(softmax(rng.normal(0, 1, far))), torch.tensor(rng.normal(0, 1, far))
    if is_remote(fn):  # the memory of another process cannot be watched, but it can be limited
        try:
            call(within(fn, MEMORY), pi=pi, vector=vector, damping=0.1)
        except Mistake:
            return True
        return False
    # What Python loads at the first call also takes memory, so the smaller of two measurements counts.
    shape, grown = min(_space(fn, pi, vector) for _ in range(2))
    return shape >= size * size or grown >= 4 * size * size


def _no_matrix(fn: Any, rng: np.random.Generator) -> None:
    """With K = 600 classes no tensor or array of K × K numbers may appear on the way."""
    size = 600
    if _builds_a_matrix(fn, rng, size):
        raise Mistake(
            f"{function_name(fn)}: the product is correct, but a K × K matrix is built on the way "
            f"({size} × {size} numbers for K = {size}). For a network it would not fit into memory: "
            "work out what the matrix does to the vector, and keep only vectors"
        )


check_fisher_product = Check(
    "fisher_product: the Fisher matrix times a vector, without building the matrix",
    draw=lambda rng, turn: {
        "pi": softmax(rng.normal(0, 1, 4 + turn)),
        "vector": rng.normal(0, 1, 4 + turn),
        "damping": float(rng.uniform(0.1, 0.4)),
    },
    right=_fisher,
    last=_no_matrix,
    instead=lambda pi, v, d: {
        (len(pi), len(pi)): "this is a matrix; its product with a vector is a vector",
        (): "this is one number, like vᵀFv",
    },
    mistakes={
        "only the diagonal of the matrix is used: the probabilities "
        "add up to 1, so they change together": lambda pi, v, d: pi * v + d * v,
        "the outer product has the wrong sign": lambda pi, v, d: pi * v + pi * (pi @ v) + d * v,
        "only the outer product is used: the diagonal is missing": lambda pi, v, d: (
            -pi * (pi @ v) + d * v
        ),
        "the vector is centred, but each entry still has "
        "to be multiplied by its probability": lambda pi, v, d: v - pi @ v + d * v,
        "the vector is centred by its plain mean, not by its mean under π": lambda pi, v, d: (
            pi * (v - v.mean()) + d * v
        ),
        "the damping is missing": lambda pi, v, d: _fisher(pi, v, 0.0),
        "the damping is added to every entry; it should be multiplied "
        "by the vector first": lambda pi, v, d: _fisher(pi, v, 0.0) + d,
        "the damping is subtracted": lambda pi, v, d: _fisher(pi, v, -d),
        "the sum Σ π_j v_j is missing: π·π·v was taken entry by entry": lambda pi, v, d: (
            pi * (1 - pi) * v + d * v
        ),
    },
)


# --------------------------------------------------------------------------------- conjugate gradient


def _draw_system(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    size = 4 + turn
    half = rng.normal(0, 1, (size, size))
    matrix = half @ half.T / size + np.eye(size)

    def product(v: Any) -> Any:  # the learner's vectors are tensors, the oracle's are arrays
        return torch.tensor(matrix) @ v if isinstance(v, torch.Tensor) else matrix @ v

    return {"product": product, "b": rng.normal(0, 1, size), "iterations": (2, 3, size)[turn]}


def _conjugate_gradient(product: Any, b: Any, iterations: int) -> np.ndarray:
    """The point in the span of b, Mb, …, M^(k−1)b that is nearest to the solution in the norm of M."""
    krylov = [b]
    for _ in range(iterations - 1):
        krylov.append(product(krylov[-1]) / np.linalg.norm(krylov[-1]))
    basis, _ = np.linalg.qr(np.stack(krylov, axis=1))
    image = np.stack([product(column) for column in basis.T], axis=1)
    return basis @ np.linalg.solve(basis.T @ image, basis.T @ b)


def _iterate(
    product: Any,
    b: Any,
    iterations: int,
    *,
    beta: Callable[[float, float], float] = lambda new, old: new / old,
    alpha: Callable[[Any, Any, Any], float] = lambda r, p, image: (r @ r) / (p @ image),
    residual_sign: float = -1.0,
    update: bool = True,
    start: bool = False,
    answer: str = "x",
) -> np.ndarray:
    """The recursion, with options for mistakes."""
    x = b.copy() if start else np.zeros_like(b)
    r = p = b
    for _ in range(iterations):
        image = product(p)
        a = alpha(r, p, image)
        x = x + a * p
        new = r + residual_sign * a * image if update else r
        p = new + beta(new @ new, r @ r) * p
        r = new
    return {"x": x, "r": r, "p": p}[answer]


check_conjugate_gradient = Check(
    "conjugate_gradient: after k products it is the best point of the k-th Krylov space",
    draw=_draw_system,
    right=_conjugate_gradient,
    calls=2,
    mistakes={
        "the residual grows: subtract α·Mp from it": partial(_iterate, residual_sign=1.0),
        "β is upside down: the new squared length of the residual belongs in the numerator": partial(
            _iterate, beta=lambda new, old: old / new
        ),
        "β is the ratio of the lengths; it is the ratio of the *squared* lengths": partial(
            _iterate, beta=lambda new, old: math.sqrt(new / old)
        ),
        "β has the wrong sign: the old direction must be added": partial(
            _iterate, beta=lambda new, old: -new / old
        ),
        "the new direction is only the residual. That is steepest descent, which zigzags: each direction "
        "must keep a part of the last one": partial(_iterate, beta=lambda new, old: 0.0),
        "the residual is not updated": partial(_iterate, update=False),
        "α has p·p in the denominator: the matrix belongs between the two": partial(
            _iterate, alpha=lambda r, p, image: (r @ r) / (p @ p)
        ),
        "α is upside down": partial(_iterate, alpha=lambda r, p, image: (p @ image) / (r @ r)),
        "x starts at b, but the residual belongs to x = 0: start with x = 0": partial(
            _iterate, start=True
        ),
        "the residual is returned, not the solution": partial(_iterate, answer="r"),
        "the direction is returned, not the solution": partial(_iterate, answer="p"),
        "one iteration too few": lambda f, b, k: _iterate(f, b, k - 1),
        "one iteration too many": lambda f, b, k: _iterate(f, b, min(k + 1, len(b))),
    },
)
