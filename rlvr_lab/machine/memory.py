"""The memory that a trainer needs, measured on its tensors."""

import torch
from torch import nn

__all__ = ["held_bytes"]


def held_bytes(
    models: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer]
) -> dict[str, int]:
    """Bytes of a trainer's tensors: parameters of each model, gradients, optimiser states.

    Tensors that two models share are counted once, for the first model.
    """
    seen: set[int] = set()

    def size(tensors) -> int:
        fresh = [t for t in tensors if t is not None and t.data_ptr() not in seen]
        seen.update(t.data_ptr() for t in fresh)
        return sum(t.numel() * t.element_size() for t in fresh)

    held = {name: size(model.parameters()) for name, model in models.items()}
    held["gradients"] = size(p.grad for model in models.values() for p in model.parameters())
    states = [s for o in optimizers for s in o.state.values()]
    held["optimiser"] = size(t for s in states for t in s.values() if torch.is_tensor(t))
    return held
