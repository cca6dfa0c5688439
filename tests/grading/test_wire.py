"""Values arrive as they were sent; malformed bytes never do more than stop one worker."""

import json
import math
import random
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from rlvr_lab.grading import messages, wire
from rlvr_lab.grading.messages import Stopped, pack, receive


def there_and_back(x: Any) -> Any:
    packer = wire.Packer(lambda fn: 0)
    text = json.loads(json.dumps(packer.value(x)))
    return wire.Unpacker(b"".join(packer.blobs), lambda number, name: (number, name)).value(text)


@pytest.mark.parametrize(
    "x",
    [
        *(None, True, 0, -7, 10**300, 0.1, -0.0, math.inf, -math.inf, "ü\ud800", [], ()),
        *([1, (2.0, "x")], {"a": {"b": [None]}, "c": (1,)}, 1 + 2j, {1: "a", None: 2, 0.5: 3}),
    ],
    ids=repr,
)
def test_plain_values(x: Any) -> None:
    back = there_and_back(x)
    assert back == x and type(back) is type(x)
    assert not isinstance(x, float) or math.copysign(1, x) == math.copysign(1, back)


def test_nan() -> None:
    assert math.isnan(there_and_back(math.nan))


@pytest.mark.parametrize("dtype", wire._DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_tensors(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = (torch.arange(math.prod(shape)).reshape(shape) % 3).to(dtype)
    back = there_and_back(x)
    assert back.dtype == dtype and back.shape == x.shape and torch.equal(back, x)


def test_views_and_gradients() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    back = there_and_back(x.T[::2])
    assert torch.equal(back, x.T[::2]) and back.requires_grad and back.is_leaf
    assert there_and_back(torch.nn.Parameter(torch.ones(2))).tolist() == [1, 1]


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "int64", "uint8", "bool", ">f8", "complex128"]
)
def test_arrays(dtype: str) -> None:
    x = np.arange(6).reshape(2, 3).T.astype(dtype)
    back = there_and_back(x)
    assert isinstance(back, np.ndarray) and np.array_equal(back, x)
    assert there_and_back(x[0, 0]) == x[0, 0]
    assert isinstance(there_and_back(np.float64(2.5)), np.float64)


def test_other_objects_keep_only_their_name() -> None:
    back = there_and_back({1, 2})
    assert (
        type(back).__name__ == "set" and repr(back) == "{1, 2}" and isinstance(back, wire.Foreign)
    )
    assert type(there_and_back(np.array([object()]))).__name__ == "ndarray"
    assert there_and_back(len) == (0, "len")

    class Cruel:
        def __repr__(self) -> str:
            raise SystemExit

    assert repr(there_and_back(Cruel())) == "?"
    loop: list[Any] = []
    loop.append(loop)
    assert isinstance(there_and_back(loop), list)


def test_a_message_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST", 100)
    for much in (
        "x" * (wire.LARGEST + 1),
        torch.zeros(1).expand(wire.LARGEST),
        [0] * (wire.MOST + 1),
    ):
        with pytest.raises(ValueError, match="more than"):
            there_and_back(much)


MALFORMED = [
    [1, 2],
    {"t": ["float32", [3], [0, 12], False]},
    {"t": ["float32", [-1], [0, 4], False]},
    {"t": ["float32", [2**62, 2**62], [0, 0], False]},
    {"t": ["object", [0], [0, 0], False]},
    {"t": ["int64", [1], [0, 8], True]},
    {"t": ["float64", [1], [-8, 8], True]},
    {"t": None},
    {"a": ["object", [1], [0, 8], False]},
    {"a": ["<U9", [], [0, 36], True]},
    {"a": ["no dtype", [], [0, 0], True]},
    {"d": [[{"l": []}, 1]]},
    {"d": 3},
    {"z": 1},
    {"a": 1, "b": 2},
    {},
    {"x": ["a\0b", "c"]},
    {"f": ["x", "name"]},
]


@pytest.mark.parametrize("text", MALFORMED, ids=str)
def test_what_is_malformed_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="malformed"):
        wire.Unpacker(bytes(8), lambda number, name: None).value(text)


def test_a_bool_tensor_holds_bools() -> None:
    text = {"t": ["bool", [3], [0, 3], False]}
    assert wire.Unpacker(bytes([0, 255, 2]), lambda *a: None).value(text).tolist() == [
        False,
        True,
        True,
    ]


def fed(data: bytes, seconds: float = 5.0) -> Any:
    here, there = socket.socketpair()
    thread = threading.Thread(target=lambda: (there.sendall(data), there.close()))
    thread.start()
    try:
        return receive(here, time.monotonic() + seconds)
    finally:
        here.close()
        thread.join()


def test_random_bytes_are_no_message() -> None:
    rng, good = random.Random(0), pack({"op": "ok", "value": [1, 2, 3]}, [bytes(16)])
    assert fed(good) == ({"op": "ok", "value": [1, 2, 3]}, bytes(16))
    for data in (b"", b"R", rng.randbytes(50), good[:-1], b"XX" + good[2:]):
        with pytest.raises(Stopped):
            fed(data)
    for text in (b"nothing", b"[" * 100_000, b"[1]", b"\xff\xfe", b'{"a": ' + b"9" * 9999 + b"}"):
        with pytest.raises(Stopped) as caught:
            fed(messages._HEAD.pack(b"RL", len(text), 0) + text)
        assert caught.value.kind == "garbage"
    with pytest.raises(Stopped) as caught:
        fed(messages._HEAD.pack(b"RL", 2**31, 0))
    assert caught.value.kind == "garbage"


def test_one_byte_at_a_time_does_not_outlive_the_deadline() -> None:
    here, there = socket.socketpair()
    there.sendall(messages._HEAD.pack(b"RL", 1000, 0))
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            there.sendall(b" ")

    thread = threading.Thread(target=drip)
    thread.start()
    start = time.monotonic()
    with pytest.raises(Stopped) as caught:
        receive(here, start + 0.3)
    stop.set()
    thread.join()
    assert caught.value.kind == "time" and time.monotonic() - start < 5


def test_bytes_and_values_have_a_budget() -> None:
    """One blob that is named many times, or many small values, must not swell in the marker."""
    tensor = {"t": ["float32", [4], [0, 16], False]}
    wire.Unpacker(bytes(16), lambda n, name: None).value(tensor)
    with pytest.raises(ValueError, match="used twice"):
        wire.Unpacker(bytes(16), lambda n, name: None).value({"l": [tensor, tensor]})
    for many in ({"x": ["Odd", ""]}, {"f": [0, ""]}, None):
        with pytest.raises(ValueError, match="more than 1000000 values"):
            wire.Unpacker(b"", lambda n, name: None).value({"l": [many] * (wire.MOST + 1)})
