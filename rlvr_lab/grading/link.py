"""Call functions that live in another process, with gradients.

Both ends are equal: each can call the functions that the other has handed over. A call keeps its graph
where it ran, and answers vector-Jacobian products later, so ``torch.autograd.grad`` works through it.
Arguments that a call has changed in place are sent back.
"""

import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rlvr_lab.grading.effects import bare, described, fingerprint, overwrite, rebuilt
from rlvr_lab.grading.messages import Stopped, pack, receive, send
from rlvr_lab.grading.wire import Json, Packer, Unpacker

__all__ = ["Link"]

GRAPHS = 256  # calls whose gradients can still be asked for


class Link:
    """One end of a socket.

    Attributes:
        deadline: when the work that the other end does now has to be finished; None for no limit.
        seconds: how long one call of a function of the other end may take.
        squeeze: limits the memory that the other end may take from now on, in bytes; None lifts the limit.
        strict: whether an attempt that was refused ends the work with the other end.
        tried: what the other end has tried and was refused, where that is not so.
        untrusted: whether this is the end that runs a student's code.
        handlers: further operations that the other end may ask for.
    """

    def __init__(
        self, end: socket.socket, seconds: float | None = None, untrusted: bool = False
    ) -> None:
        self.end, self.seconds, self.untrusted = end, seconds, untrusted
        self.deadline: float | None = None
        self.strict = True
        self.tried: list[str] = []
        self.squeeze: Callable[[int | None], None] | None = None
        self.handlers: dict[str, Callable[[Json, bytes], tuple[Json, list[bytes]]]] = {}
        self.forget()

    def forget(self) -> None:
        """Drop the functions and graphs of the calls so far."""
        self.functions: list[Any] = []
        self.graphs: OrderedDict[int, tuple[list[Tensor], list[Tensor]]] = OrderedDict()
        self.calls = 0
        self.rough: set[str] = set()  # types with fewer than 32 bits among the results

    # ---------------------------------------------------------------------------- asking the other end

    def ask(self, request: Json, blobs: Sequence[bytes] = (), seconds: float | None = None) -> Any:
        """Send a request, serve what the other end asks meanwhile, and return its answer and bytes.

        Raises:
            Stopped: when the other end is too late, has ended, or sends something malformed.
        """
        ends = [time.monotonic() + seconds] if seconds is not None else []
        ends += [self.deadline] if self.deadline is not None else []
        deadline = min(ends, default=None)
        if deadline is not None:
            self.end.settimeout(max(0.001, deadline - time.monotonic()))
        mark = secrets.token_hex(8)
        send(self.end, pack(request | {"mark": mark}, blobs))
        while True:
            answer, blob = receive(self.end, deadline)
            match answer.get("op"):
                case "refused":
                    raise Stopped("refused", _words(answer.get("hex")))
                case "tried" if not self.untrusted:
                    if self.strict:
                        raise Stopped("refused", _words(answer.get("hex")))
                    self.tried.append(_words(answer.get("hex")))
                case "ok" | "error":
                    if answer.get("mark") != mark:
                        raise Stopped("garbage", "it sent an answer to no question")
                    return answer, blob
                case _:
                    self.serve(answer, blob)

    def _call(self, number: int, args: tuple[Any, ...]) -> Any:
        leaves: list[Tensor] = []
        packer = Packer(self._register, leaves)
        request = {"op": "call", "fn": number, "args": [packer.value(x) for x in args]}
        answer, blob = self.ask(request, packer.blobs, self.seconds)
        self.check(answer)
        return self._guarded(lambda: self._result(answer, blob, args, leaves))

    def _result(
        self, answer: Json, blob: bytes, args: tuple[Any, ...], leaves: list[Tensor]
    ) -> Any:
        changes = Unpacker(blob, self._proxy)  # one, so that all of them share its budget
        for place, change in answer["changed"]:
            overwrite(args[int(place)], changes.value(change))
        first = Unpacker(blob, self._proxy)
        value = first.value(answer["value"])
        self.rough |= first.rough
        if not first.leaves:
            return value
        again = Unpacker(blob, self._proxy)
        outs = [leaf.detach() for leaf in first.leaves]
        start = torch.zeros((), requires_grad=True)  # the result requires a gradient in any case
        again.made = list(_Remote.apply(self, int(answer["graph"]), outs, start, *leaves))
        return again.value(answer["value"])

    def vjp(self, graph: int, slopes: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """Gradients with respect to the leaves of an earlier call."""
        packer = Packer(self._register)
        request = {"op": "vjp", "graph": graph, "slopes": [packer.value(x) for x in slopes]}
        answer, blob = self.ask(request, packer.blobs, self.seconds)
        self.check(answer)
        return self._guarded(lambda: Unpacker(blob, self._proxy).value(answer["value"]))

    def check(self, answer: Json) -> None:
        """Raise the error that the other end reports, under its own name and with its lines."""
        if answer["op"] == "error":
            raise self._guarded(lambda: rebuilt(answer))

    def _guarded(self, build: Callable[[], Any]) -> Any:
        try:
            return build()
        except Stopped:
            raise
        except Exception as error:
            raise Stopped(
                "garbage", f"it sent something malformed ({type(error).__name__})"
            ) from None

    def value(self, answer: Json, blob: bytes) -> Any:
        """The value of an answer."""
        return self._guarded(lambda: Unpacker(blob, self._proxy).value(answer["value"]))

    def _proxy(self, number: int, name: str) -> Callable[..., Any]:
        """A function that calls function ``number`` of the other end."""

        def remote(*args: Any, **named: Any) -> Any:
            return self._call(number, (*args, *named.values()))

        def within(memory: int, *args: Any) -> Any:
            if self.squeeze is None:
                return remote(*args)
            self.squeeze(memory)
            try:
                return remote(*args)
            finally:
                self.squeeze(None)

        remote.__name__ = remote.__qualname__ = name
        remote.is_remote, remote.within = True, within
        return remote

    def _register(self, fn: Any) -> int:
        for number, known in enumerate(self.functions):
            if known is fn:
                return number
        self.functions.append(fn)
        return len(self.functions) - 1

    # ------------------------------------------------------------------------- answering the other end

    def serve(self, request: Json, blob: bytes) -> None:
        """Do what the other end asks for, and answer.

        Raises:
            Stopped: when the request is malformed.
        """
        work = {"call": self._serve_call, "vjp": self._serve_vjp} | self.handlers
        try:
            answer, blobs = work[str(request.get("op"))](request, blob)
        except Stopped:
            raise
        except BaseException as error:
            if not (isinstance(error, Exception) or self.untrusted):
                raise  # Ctrl-C of the instructor
            answer, blobs = {"op": "error", **described(error)}, []
        send(self.end, pack(answer | {"mark": request.get("mark")}, blobs))

    def _serve_call(self, request: Json, blob: bytes) -> tuple[Json, list[bytes]]:
        given = Unpacker(blob, self._proxy)
        args = [given.value(x) for x in request["args"]]
        before = [fingerprint(x) for x in args]
        result = self.functions[int(request["fn"])](*args)
        outs: list[Tensor] = []
        packer = Packer(self._register, outs)
        value = packer.value(result)
        changed = [
            [n, packer.value(bare(x))] for n, x in enumerate(args) if fingerprint(x) != before[n]
        ]
        self.calls += 1
        if outs:
            self.graphs[self.calls] = (outs, given.leaves)
            if len(self.graphs) > GRAPHS:
                self.graphs.popitem(last=False)
        answer = {"op": "ok", "value": value, "changed": changed, "graph": self.calls}
        return answer, packer.blobs

    def _serve_vjp(self, request: Json, blob: bytes) -> tuple[Json, list[bytes]]:
        outs, leaves = self.graphs[int(request["graph"])]
        given = Unpacker(blob, self._proxy)
        slopes = [given.value(x) for x in request["slopes"]]
        pairs = [pair for pair in zip(outs, slopes, strict=True) if pair[1] is not None]
        found: Any = [None] * len(leaves)
        if leaves and pairs:
            found = torch.autograd.grad(
                [out for out, _ in pairs],
                leaves,
                [slope for _, slope in pairs],
                allow_unused=True,
                retain_graph=True,
            )
        packer = Packer(self._register)
        return {"op": "ok", "value": packer.value(list(found))}, packer.blobs


class _Remote(torch.autograd.Function):
    """The results of a call in another process, as a node of this process's graph."""

    @staticmethod
    def forward(ctx: Any, link: Link, graph: int, outs: list[Tensor], *leaves: Tensor) -> Any:
        ctx.link, ctx.graph, ctx.shapes = link, graph, [leaf.shape for leaf in leaves[1:]]
        ctx.set_materialize_grads(False)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> Any:
        found = ctx.link.vjp(ctx.graph, slopes)
        right = isinstance(found, list) and len(found) == len(ctx.shapes)
        if not right or any(
            slope is not None and (not isinstance(slope, Tensor) or slope.shape != shape)
            for slope, shape in zip(found, ctx.shapes, strict=True)
        ):
            raise Stopped("garbage", "it sent something malformed (a gradient)")
        return None, None, None, None, *found


def _words(code: Any) -> str:
    try:
        return bytes.fromhex(code).decode("utf-8", "replace")[:300]
    except (TypeError, ValueError):
        return "did something that is not allowed"
