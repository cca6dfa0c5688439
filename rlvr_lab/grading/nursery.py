"""The marker's side of the workers: start the nursery, get a worker, run cells, fetch functions, end it."""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_lab.grading.effects import clean
from rlvr_lab.grading.link import Link
from rlvr_lab.grading.messages import Stopped, pack, receive, send

__all__ = ["Limits", "Nursery", "Worker", "close", "nursery"]

START = 300.0  # seconds for the imports of the nursery
SWEEP = 60.0  # seconds to remove a worker's files


@dataclass(frozen=True)
class Limits:
    """What a student's code may use.

    Attributes:
        cell: seconds for a cell.
        call: seconds for one call of a function.
        check: seconds for a check, with all its calls.
        train: seconds for a check of an exercise of the kind *train*.
        notebook: seconds for everything; what is not marked by then gets 0.
        memory: bytes above what a worker has at its start.
        file: bytes of the largest file.
        files, disk: how many files and folders may be left after a cell, and their bytes.
        printed: characters of output that are kept for each cell.
        notebook_bytes: the largest file that is read as a notebook.
    """

    cell: float = 30.0
    call: float = 10.0
    check: float = 60.0
    train: float = 300.0
    notebook: float = 900.0
    memory: int = 2 << 30
    file: int = 16 << 20
    files: int = 200
    disk: int = 64 << 20
    printed: int = 10_000
    notebook_bytes: int = 20 << 20


class Nursery:
    """A warm process that forks workers. It ends with ``close``, or when this process ends."""

    def __init__(self) -> None:
        self.end, other = socket.socketpair()
        # A folder: Python 3.11 has to find the package, and the environment says nothing else.
        package = str(Path(__file__).parents[2])
        keep = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "LC_ALL") if k in os.environ}
        fixed = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rlvr_lab.grading.worker", str(other.fileno())],
            env=keep | fixed | {"PYTHONPATH": package},
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        other.close()
        self.end.settimeout(START)
        receive(self.end)

    def _order(self, order: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        self.end.settimeout(START)
        send(self.end, pack(order, []))
        if fds:
            socket.send_fds(self.end, [b"x"], fds)
        return receive(self.end)[0]

    def worker(self, limits: Limits) -> "Worker":
        """A new worker."""
        scratch = tempfile.mkdtemp(prefix="rlvr-worker-")
        mine, other = socket.socketpair()
        order = {"op": "fork", "scratch": scratch, "printed": limits.printed}
        order |= {"memory": limits.memory, "file": limits.file}
        pid = self._order(order, [other.fileno()])["pid"]
        other.close()
        return Worker(self, pid, mine, Path(scratch), limits)

    def kill(self, pid: int) -> int:
        """End a worker; its exit status as ``os.waitpid`` gives it."""
        return self._order({"op": "end", "pid": pid}, [])["status"]

    def squeeze(self, pid: int, memory: int | None) -> None:
        """Let a worker take so many bytes more than it has now, or as many as at its start (Linux)."""
        self._order({"op": "squeeze", "pid": pid, "memory": memory}, [])

    def close(self) -> None:
        """End the nursery."""
        self.end.close()
        self.process.wait(10)


class Worker:
    """A process that runs a student's code.

    Attributes:
        isolation: what confines it.
    """

    def __init__(
        self, nursery: Nursery, pid: int, end: socket.socket, scratch: Path, limits: Limits
    ) -> None:
        self.nursery, self.pid, self.scratch, self.limits = nursery, pid, scratch, limits
        self.link, self.alive = Link(end, limits.call), True
        self.link.squeeze = self._squeeze
        end.settimeout(START)
        self.isolation = tuple(map(str, receive(end)[0]["isolation"]))

    def run(self, source: str, each: bool = False) -> tuple[str, str]:
        """Run a cell: what it printed, and its error or nothing.

        With ``each``, an error in a statement does not stop the next.

        Raises:
            Stopped: when the worker is of no use any more.
        """
        order = {"op": "cell", "source": source, "each": each}
        answer, _ = self.link.ask(order, seconds=self.limits.cell)
        self.link.check(answer)
        printed, error = clean(str(answer.get("printed"))), clean(str(answer.get("error")))
        self.tidy()
        return printed[: self.limits.printed + 50], error[:300]

    def tidy(self) -> None:
        """Raise ``Stopped`` when there are too many files, or too large ones."""
        waiting, files, size = [str(self.scratch)], 0, 0
        while waiting:
            try:
                with os.scandir(waiting.pop()) as found:
                    for entry in found:
                        files += 1
                        if files > self.limits.files:
                            raise Stopped("refused", f"left more than {self.limits.files} files")
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        else:
                            size += entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
        if size > self.limits.disk:
            raise Stopped("refused", f"left files of more than {self.limits.disk >> 20} MB")

    def find(self, expression: str) -> Any:
        """The value of an expression: for a function, one that calls it there.

        Raises:
            Stopped: when the worker is of no use any more.
        """
        answer, blob = self.link.ask({"op": "find", "source": expression}, seconds=self.limits.call)
        self.link.check(answer)
        return self.link.value(answer, blob)

    def _squeeze(self, memory: int | None) -> None:
        self.nursery.squeeze(self.pid, memory)

    def forget(self) -> None:
        """Drop the functions and graphs of earlier checks."""
        self.link.check(self.link.ask({"op": "forget"}, seconds=self.limits.call)[0])
        self.link.forget()

    def close(self) -> str:
        """End the worker and remove its files; says how it ended before, or nothing."""
        if not self.alive:
            return ""
        self.alive = False
        try:
            status = self.nursery.kill(self.pid)
        except (Stopped, OSError):  # the nursery has ended, and its workers with it
            status = signal.SIGKILL
        self.link.end.close()
        _remove(self.scratch)
        if os.WIFEXITED(status):
            return f"the process ended itself (exit status {os.WEXITSTATUS(status)})"
        return {9: "", 11: "it crashed (segmentation fault)", 6: "it crashed (abort)"}.get(
            os.WTERMSIG(status), f"it ended by signal {os.WTERMSIG(status)}"
        )


def _remove(folder: Path) -> None:
    """Remove a folder that may hold anything, also folders within folders without an end."""
    try:
        gone = subprocess.run(
            ["rm", "-rf", "--", str(folder)],
            timeout=SWEEP,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if gone.returncode == 0:
            return
    except (OSError, subprocess.SubprocessError):
        pass
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder, ignore_errors=True)


_STARTED: list[Nursery] = []


def nursery() -> Nursery:
    """The warm process from which workers are forked; started at the first use."""
    if not _STARTED or _STARTED[0].process.poll() is not None:
        _STARTED[:] = [Nursery()]
    return _STARTED[0]


@atexit.register
def close() -> None:
    """End the warm process."""
    while _STARTED:
        _STARTED.pop().close()
