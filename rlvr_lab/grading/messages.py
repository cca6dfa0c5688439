"""Messages on the socket between the marker and a worker, with deadlines."""

import json
import socket
import struct
import time
from collections.abc import Sequence

from rlvr_lab.grading.wire import LARGEST, Json

__all__ = ["Stopped", "pack", "receive", "send"]

_HEAD = struct.Struct("!2sII")  # mark, bytes of the header, bytes of the tensors
_MARK = b"RL"
COMMAS = 10_000_000  # of a header: its values take much more memory than its text


class Stopped(BaseException):
    """The other process is of no use any more. It is no ``Exception``: no check may swallow it.

    Attributes:
        kind: ``time``, ``dead``, ``garbage`` or ``refused``.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def pack(header: Json, blobs: Sequence[bytes]) -> bytes:
    """The bytes of a message."""
    text, data = json.dumps(header).encode(), b"".join(blobs)
    return _HEAD.pack(_MARK, len(text), len(data)) + text + data


def send(end: socket.socket, message: bytes) -> None:
    """Send a message.

    Raises:
        Stopped: when the other end is closed or does not read.
    """
    try:
        end.sendall(message)
    except TimeoutError:
        raise Stopped("time", "it did not answer in time") from None
    except OSError:
        raise Stopped("dead", "the process ended") from None


def receive(end: socket.socket, deadline: float | None = None) -> tuple[Json, bytes]:
    """The next message: its header and the bytes of its tensors.

    Raises:
        Stopped: at the deadline (``time.monotonic``), at the end of the other process, or when it sent
            something that is no message.
    """
    mark, header, data = _HEAD.unpack(_exactly(end, _HEAD.size, deadline))
    if mark != _MARK or header + data > LARGEST + (8 << 20):
        raise Stopped("garbage", "it sent bytes that are no message")
    text, blob = _exactly(end, header, deadline), _exactly(end, data, deadline)
    if text.count(b",") > COMMAS:
        raise Stopped("garbage", "it sent too many values")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError, MemoryError):
        raise Stopped("garbage", "it sent bytes that are no message") from None
    if not isinstance(found, dict):
        raise Stopped("garbage", "it sent bytes that are no message")
    return found, blob


def _exactly(end: socket.socket, size: int, deadline: float | None) -> bytes:
    parts, left = [], size
    while left:
        if deadline is not None:
            end.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = end.recv(min(left, 1 << 20))
        except TimeoutError:
            raise Stopped("time", "it did not answer in time") from None
        except OSError:
            part = b""
        if not part:
            raise Stopped("dead", "the process ended")
        if deadline is not None and time.monotonic() > deadline:
            raise Stopped("time", "it did not answer in time")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
