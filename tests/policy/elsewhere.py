"""A second device on a machine that has only one, to find tensors that are made on the wrong one.

A tensor *elsewhere* holds its numbers on the CPU and says that it lies on ``meta``. As on a real accelerator, an
operation may take tensors of one device only, except for CPU scalars; copies between the two are explicit.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")
ALLOWED = {"_to_copy", "copy_", "index", "index_put", "index_put_", "_index_put_impl_"}
"""Copies between devices, and indices, which PyTorch copies itself."""


class Elsewhere(Tensor):
    """A tensor that says it lies on ``meta``; its numbers are in ``here``."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            here.stride(),
            here.storage_offset(),
            dtype=here.dtype,
            device=ELSEWHERE,
        )
        made.here = here
        return made

    def __repr__(self) -> str:
        return f"Elsewhere({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Factories(TorchFunctionMode):
    """``torch.tensor``, ``tolist`` and an index that is a list touch numbers before any operation can be seen."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].here.tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]), *args[2:])
        if func is torch.tensor and kwargs.get("device") is not None:
            made = func(*args, **{**kwargs, "device": "cpu"})
            return _wrapped(made, torch.device(kwargs["device"]).type == ELSEWHERE.type)
        return func(*args, **kwargs)


class TwoDevices(TorchDispatchMode):
    """Inside, ``device="meta"`` makes tensors elsewhere, and mixing the devices raises."""

    def __enter__(self) -> "TwoDevices":
        self.factories = _Factories()
        self.factories.__enter__()
        return super().__enter__()

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.factories.__exit__(*raised)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


@torch.inference_mode(False)  # a tensor of that mode cannot be wrapped
@torch.no_grad()
def _run(func, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    # An empty tensor may have been made where the modes are not seen: in a thread of the backward pass.
    away = [x for x in tensors if x.device.type == ELSEWHERE.type]
    near = [x for x in tensors if x.device.type != ELSEWHERE.type and x.dim() > 0]
    if away and near and name not in ALLOWED:
        raise RuntimeError(f"{name}: expected all tensors on the same device")
    asked = kwargs.get("device")
    lands = bool(away) if asked is None else torch.device(asked).type == ELSEWHERE.type
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = func(*tree_map(bare, args), **tree_map(bare, kwargs))
    if func._schema.is_mutable and args and isinstance(args[0], Tensor):
        same = bare(args[0])
        wrap = lambda x: args[0] if x is same else _wrapped(x, lands)  # noqa: E731
        return tree_map(wrap, result)
    return tree_map(lambda x: _wrapped(x, lands), result)


def bare(x: Any) -> Any:
    """The tensor with the numbers."""
    if isinstance(x, Elsewhere):
        return x.here
    lost = isinstance(x, Tensor) and x.device.type == ELSEWHERE.type
    return torch.empty(x.shape, dtype=x.dtype) if lost and x.numel() == 0 else x


def _wrapped(x: Any, away: bool) -> Any:
    return Elsewhere(x) if away and isinstance(x, Tensor) else x


def move(module: nn.Module) -> nn.Module:
    """The module with its parameters and buffers elsewhere."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                moved = Elsewhere(parameter.detach().clone())
                part._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Elsewhere(buffer.clone())
    return module
