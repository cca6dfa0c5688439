"""The processes that run students' code: a warm nursery, and one worker for each start that it forks.

The nursery imports everything once and never runs a student's code. A worker gets its own session, an empty
folder as its working directory, a clean environment and its limits; then it is confined, and from then on
it runs cells with IPython and answers calls of the functions they define. Nothing that belongs to the
marker is in its memory.
"""

import io
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from rlvr_lab.grading import confine, guard, shell
from rlvr_lab.grading.link import Link
from rlvr_lab.grading.messages import Stopped, pack, receive, send
from rlvr_lab.grading.wire import Json, Packer

__all__ = ["main"]

KEPT = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "MPLBACKEND")
UNAUDITED = {
    "_posixsubprocess": "fork_exec",
    "subprocess": "_fork_exec",
    "_signal": "pidfd_send_signal",
}


class Printed(io.TextIOBase):
    """Keeps the first characters that are written, and counts the others."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.clear()

    def clear(self) -> None:
        self.kept: list[str] = []
        self.size = 0

    def write(self, text: str) -> int:
        if self.size < self.most:
            self.kept.append(text[: self.most - self.size])
        self.size += len(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def text(self) -> str:
        more = f"\n… {self.size} characters in all" if self.size > self.most else ""
        return "".join(self.kept)[: self.most] + more


class Student:
    """A student's interactive shell, as a marker's link sees it."""

    def __init__(self, link: Link, printed: int) -> None:
        self.link, self.printed = link, Printed(printed)
        self.shell = shell.make()
        sys.stdout = sys.stderr = self.printed
        link.handlers |= {"cell": self.cell, "find": self.find, "forget": self.forget}

    def cell(self, request: Json, blob: bytes) -> tuple[Json, list[bytes]]:
        """Run a cell; the answer has what it printed and its error."""
        self.printed.clear()
        error = shell.run(self.shell, request["source"], request.get("each") is True)
        return {"op": "ok", "printed": self.printed.text(), "error": shell.shown(error)}, []

    def find(self, request: Json, blob: bytes) -> tuple[Json, list[bytes]]:
        """The value of an expression, most often the name of a function."""
        packer = Packer(self.link._register)
        found = eval(request["source"], self.shell.user_ns)
        if isinstance(found, type):  # a class in the place of a function
            found = _called(found)
        return {"op": "ok", "value": packer.value(found)}, packer.blobs

    def forget(self, request: Json, blob: bytes) -> tuple[Json, list[bytes]]:
        self.link.forget()
        return {"op": "ok"}, []


def _called(kind: type) -> Any:
    def made(*args: Any, **named: Any) -> Any:
        return kind(*args, **named)

    made.__name__ = made.__qualname__ = kind.__name__
    return made


def work(end: socket.socket, order: Json) -> None:
    """Be a worker until the marker closes the socket; never returns."""
    try:
        os.setsid()
        scratch = os.path.realpath(order["scratch"])
        os.chdir(scratch)
        home = {"HOME": scratch, "TMPDIR": scratch, "MPLCONFIGDIR": scratch, "IPYTHONDIR": scratch}
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        os.environ.clear()
        os.environ.update(kept | home)
        tempfile.tempdir = scratch
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        link = Link(end, untrusted=True)
        Student(link, order["printed"])
        read = [Path(p) for p in order["read"]]
        bounds = confine.Bounds(order["memory"], order["file"])
        held = confine.confine(read, Path(scratch), bounds)
        for module, function in UNAUDITED.items():
            setattr(sys.modules[module], function, _unaudited(f"subprocess.{function}"))
        guard.install(end.fileno(), order["read"], scratch)
        send(end, pack({"op": "ready", "isolation": [*held, "audit hook"]}, []))
        while True:
            link.serve(*receive(end))
    except Stopped:
        os._exit(0)
    except BaseException:
        os._exit(70)


def _unaudited(event: str) -> Any:
    def refuse(*args: Any) -> None:
        sys.audit(event)

    return refuse


# -------------------------------------------------------------------------------------- the nursery


def warm() -> None:
    """Import what notebooks import, so that a worker starts at once."""
    import importlib

    import matplotlib
    import torch

    torch.set_num_threads(1)
    matplotlib.use("Agg")
    for name in (
        "matplotlib.pyplot",
        "matplotlib_inline.backend_inline",
        "IPython.core.magics",
        "scipy.stats",
    ):
        importlib.import_module(name)
    for room in (
        "checks",
        "pictures",
        "policy",
        "training",
        "experiments",
        "tasks",
        "rewards",
        "exact",
    ):
        importlib.import_module(f"rlvr_lab.{room}")
    importlib.import_module("rlvr_lab.experiments.evaluated")
    sys.dont_write_bytecode = True
    package = str(Path(confine.__file__).parents[2])
    sys.path[:] = [p for p in sys.path if p and os.path.realpath(p) != os.path.realpath(package)]


def main() -> None:
    """Fork and end workers, as the marker orders on the socket whose number is the argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the marker
    warm()
    from rlvr_lab.policy.data import data_folder

    package = Path(confine.__file__).parents[1]
    read = [str(p) for p in confine.readable(package.resolve(), data_folder().resolve())]
    send(control, pack({"op": "ready", "read": read}, []))
    while True:
        try:
            order, _ = receive(control)
        except Stopped:
            os._exit(0)
        if order["op"] == "fork":
            _, [fd], _, _ = socket.recv_fds(control, 1, 1)
            pid = os.fork()
            if pid == 0:
                control.close()
                work(socket.socket(fileno=fd), order | {"read": read})
            os.close(fd)
            send(control, pack({"op": "ok", "pid": pid}, []))
        elif order["op"] == "squeeze":
            confine.squeeze(order["pid"], order["memory"])
            send(control, pack({"op": "ok"}, []))
        else:
            os.kill(order["pid"], signal.SIGKILL)
            _, status = os.waitpid(order["pid"], 0)
            send(control, pack({"op": "ok", "status": status}, []))


if __name__ == "__main__":
    main()
