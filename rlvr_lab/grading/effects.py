"""What a call leaves besides its result: arguments changed in place, or an error with its lines."""

import builtins
import traceback
from typing import Any

import numpy as np
from torch import Tensor

from rlvr_lab.grading.messages import pack
from rlvr_lab.grading.wire import Json, Packer

__all__ = ["bare", "clean", "described", "fingerprint", "overwrite", "rebuilt", "said"]

FRAMES = 30


def fingerprint(x: Any) -> bytes:
    """Bytes that tell whether a value has changed."""
    packer = Packer(lambda fn: 0)
    return pack(packer.value(bare(x)), packer.blobs)


def bare(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def overwrite(old: Any, new: Any) -> None:
    """Make the same change to the caller's own object."""
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        old.data = new.detach()
    elif isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        old[...] = new if new.shape == old.shape else np.zeros_like(old) + 1
    elif isinstance(old, list) and isinstance(new, list):
        old[:] = new
    elif isinstance(old, dict) and isinstance(new, dict):
        old.clear()
        old.update(new)


def clean(text: str) -> str:
    """Text that can be written to a file: without lone surrogates."""
    return str.encode(text, "utf-8", "replace").decode()


def said(error: BaseException) -> str:
    """The message of an error whose ``__str__`` may fail, or return anything."""
    try:
        return clean(str.__str__(str(error)))
    except BaseException:
        return "?"


def described(error: BaseException) -> Json:
    """An error as plain data: its type, the built-in type below it, its message and its lines."""
    kinds = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"]
    try:
        frames = [
            [f.name[:80], (f.line or "")[:300]] for f in traceback.extract_tb(error.__traceback__)
        ]
    except BaseException:
        frames = []
    below = vars(error).get("frames_below") if isinstance(error, Exception) else None
    frames = frames + (below if isinstance(below, list) else [])
    kept = frames[:FRAMES] + frames[FRAMES:][-FRAMES:]
    return {
        "type": type(error).__name__[:80],
        "kinds": kinds[:9],
        "said": said(error)[:2000],
        "frames": kept,
    }


def rebuilt(answer: Json) -> Exception:
    """The exception for a description; only built-in exceptions can be below it."""
    below = Exception
    for name in answer["kinds"]:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            below = kind
            break
    words = clean(str(answer["said"]))[:2000]
    members = {"__init__": lambda self: None, "__str__": lambda self: words}
    error = type(clean(str(answer["type"]))[:80], (below,), members)()
    error.frames_below = [
        [clean(str(name))[:80], clean(str(line))[:300]] for name, line in answer["frames"]
    ]
    return error
