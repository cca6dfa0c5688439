"""What a forward pass saves for its backward pass, counted by autograd itself."""

from collections.abc import Callable

import torch
from torch import nn


def saved_storages(work: Callable[[], object], model: nn.Module | None = None) -> dict[int, int]:
    """Address → bytes of every storage that ``work`` saves, without the parameters of ``model``."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()} if model else set()
    found: dict[int, int] = {}
    alive = []  # a freed storage would give its address to another one

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        alive.append(work())
    return found


def largest_saved(work: Callable[[], object]) -> int:
    """Bytes of the largest saved storage."""
    return max(saved_storages(work).values(), default=0)
