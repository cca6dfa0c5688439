"""Values as plain bytes between the marker and the process that runs a student's code.

A value is JSON, with raw bytes for the tensors. Nothing is ever unpickled: what arrives can only
become None, a bool, a number, a string, a list, a tuple, a dict, a tensor, an array, a function that calls
back, or a ``Foreign`` object that has the name of a type and nothing else.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["LARGEST", "Foreign", "Json", "Packer", "Unpacker"]

LARGEST = 64 << 20  # bytes of a message
DEEPEST = 40  # lists within lists
MOST = 1_000_000  # values in a message
DIGITS = 4000  # of an int

_NAMES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128"
_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _NAMES.split()}

Json = Any


class Foreign:
    """A stand-in for an object that cannot be sent: its type has the right name."""

    shown = ""

    def __repr__(self) -> str:
        return self.shown

    @staticmethod
    def named(name: str, shown: str) -> "Foreign":
        return type(name[:80], (Foreign,), {"shown": shown[:300]})()


# ------------------------------------------------------------------------------------------- packing


class Packer:
    """Turns values into JSON and collects the bytes of tensors.

    Attributes:
        blobs: bytes of tensors and arrays.
        leaves: tensors that require a gradient, in their order; None when they go as plain values.
    """

    def __init__(self, register: Callable[[Any], int], leaves: list[Tensor] | None = None) -> None:
        self.register, self.leaves = register, leaves
        self.blobs: list[bytes] = []
        self.size = self.count = self.end = 0

    def value(self, x: Any, depth: int = 0) -> Json:
        """JSON for ``x``; what cannot be sent becomes a ``Foreign``.

        Raises:
            ValueError: when the message becomes too large.
        """
        self.count += 1
        if self.count > MOST:
            raise ValueError(f"more than {MOST} values")
        if isinstance(x, Tensor):
            return self._tensor(x)
        if isinstance(x, np.generic | np.ndarray):
            return self._array(x)
        if x is None or isinstance(x, bool):
            return x
        if isinstance(x, int):
            x = int.__index__(x)
            return x if x.bit_length() < 3 * DIGITS else _foreign(x, "a huge int")
        if isinstance(x, float):
            return float.__mul__(x, 1.0)
        if isinstance(x, str):
            self._room(len(x))
            return str.__getitem__(x, slice(None))
        if isinstance(x, complex):
            return {"c": [x.real, x.imag]}
        if depth < DEEPEST and isinstance(x, list | tuple):
            make, tag = (tuple, "p") if isinstance(x, tuple) else (list, "l")
            return {tag: [self.value(y, depth + 1) for y in make.__iter__(x)]}
        if depth < DEEPEST and isinstance(x, dict) and all(map(_plain_key, x)):
            pairs = [(k, v) for k, v in dict.items(x)]
            return {"d": [[self.value(k), self.value(v, depth + 1)] for k, v in pairs]}
        if callable(x) and not isinstance(x, type):
            name = getattr(x, "__name__", "")
            return {"f": [self.register(x), name if type(name) is str else ""]}
        return _foreign(x)

    def _room(self, size: int) -> None:
        self.size += size
        if self.size > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MB")

    def _tensor(self, x: Tensor) -> Json:
        if x.requires_grad and self.leaves is not None:
            self.leaves.append(x)
        grad, plain = x.requires_grad, x.detach().as_subclass(Tensor)
        name = str(plain.dtype).removeprefix("torch.")
        if name not in _DTYPES or plain.layout != torch.strided:
            return _foreign(x)
        if plain.numel() * plain.element_size() > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MB")
        flat = plain.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        return {"t": [name, list(plain.shape), self._here(data), grad]}

    def _array(self, x: np.generic | np.ndarray) -> Json:
        plain = np.asarray(x)
        if plain.dtype.kind not in "biufc" or plain.dtype.itemsize > 16:
            return _foreign(x)
        plain = plain.astype(plain.dtype.newbyteorder("="), copy=False)
        data = np.ascontiguousarray(plain).tobytes()
        scalar = isinstance(x, np.generic)
        return {"a": [plain.dtype.name, list(plain.shape), self._here(data), scalar]}

    def _here(self, data: bytes) -> list[int]:
        self._room(len(data))
        start, self.end = self.end, self.end + len(data)
        self.blobs.append(data)
        return [start, len(data)]


def _plain_key(key: Any) -> bool:
    return key is None or type(key) in (bool, int, float, str)


def _foreign(x: Any, shown: str = "") -> Json:
    try:
        shown = shown or repr(x)
    except BaseException:
        shown = "?"
    return {"x": [str(type(x).__name__)[:80], str(shown)[:300]]}


# ----------------------------------------------------------------------------------------- unpacking


class Unpacker:
    """Builds values from JSON and bytes that are not trusted.

    Attributes:
        leaves: tensors that require a gradient, in their order.
        rough: names of the types with fewer than 32 bits that were among the values.
    """

    def __init__(self, blob: bytes, function: Callable[[int, str], Any]) -> None:
        self.blob, self.function = blob, function
        self.leaves: list[Tensor] = []
        self.count = self.taken = 0
        self.rough: set[str] = set()
        self.made: list[Tensor] | None = None  # takes the place of the leaves, once it is known

    def value(self, x: Json) -> Any:
        """The value.

        Raises:
            ValueError: when it is malformed.
        """
        try:
            return self._value(x)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"malformed: {error}") from None
        except (RuntimeError, MemoryError, OverflowError, RecursionError) as error:
            raise ValueError(f"malformed: {type(error).__name__}") from None

    def _spend(self, values: int) -> None:
        self.count += values
        if self.count > MOST:
            raise ValueError(f"more than {MOST} values")

    def _value(self, x: Json) -> Any:
        self._spend(1)
        if x is None or isinstance(x, bool | int | float | str):
            return x
        if len(x) != 1:
            raise ValueError("not one tag")
        [(tag, x)] = x.items()
        match tag:
            case "l":
                return [self._value(y) for y in x]
            case "p":
                return tuple(self._value(y) for y in x)
            case "d":
                return {self._value(key): self._value(y) for key, y in x}
            case "c":
                return complex(*map(float, x))
            case "t":
                return self._tensor(*x)
            case "a":
                return self._array(*x)
            case "f":
                self._spend(20)
                return self.function(int(x[0]), str(x[1])[:80])
            case "x":
                self._spend(100)  # each makes a type
                return Foreign.named(str(x[0]), str(x[1]))
        raise ValueError(f"unknown tag {tag!r}")

    def _bytes(self, place: Json, shape: Json, width: int) -> tuple[bytearray, list[int]]:
        start, size = map(int, place)
        sizes = [int(n) for n in shape]
        if len(sizes) > 32 or any(n < 0 for n in sizes) or math.prod(sizes) * width != size:
            raise ValueError("shape")
        if not 0 <= start <= start + size <= len(self.blob):
            raise ValueError("place")
        self.taken += size
        if self.taken > len(self.blob):  # a packer mentions no byte twice
            raise ValueError("bytes that are used twice")
        return bytearray(self.blob[start : start + size]), sizes

    def _tensor(self, name: str, shape: Json, place: Json, grad: bool) -> Tensor:
        dtype = _DTYPES[name]
        self._note(name)
        data, sizes = self._bytes(place, shape, dtype.itemsize)
        stored = torch.uint8 if dtype == torch.bool else dtype
        flat = torch.frombuffer(data, dtype=stored) if data else torch.empty(0, dtype=stored)
        made = (flat != 0 if dtype == torch.bool else flat).reshape(sizes)
        if grad:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise ValueError("gradient")
            self.leaves.append(made)
            if self.made is not None:
                return self.made[len(self.leaves) - 1]
            made.requires_grad_()
        return made

    def _note(self, name: str) -> None:
        if name in ("float16", "bfloat16"):
            self.rough.add(name)

    def _array(self, name: str, shape: Json, place: Json, scalar: bool) -> Any:
        dtype = np.dtype(str(name))
        if dtype.kind not in "biufc":
            raise ValueError("dtype")
        self._note(dtype.name)
        data, sizes = self._bytes(place, shape, dtype.itemsize)
        flat = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype)
        made = (flat != 0 if dtype.kind == "b" else flat).reshape(sizes)
        return made[()] if scalar and made.ndim == 0 else made
