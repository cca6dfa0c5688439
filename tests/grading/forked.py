"""A process beside the tests that answers calls of functions it was forked with."""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rlvr_lab.grading import confine
from rlvr_lab.grading.link import Link
from rlvr_lab.grading.messages import receive

__all__ = ["forked"]


@contextmanager
def forked(
    functions: Sequence[Any], seconds: float, memory: int | None = None
) -> Iterator[Callable[[Any], Any]]:
    """Fork; yield what turns one of ``functions`` into one that is called over there.

    Args:
        functions: known to the other process.
        seconds: time limit of a call.
        memory: address space of the other process, so that calls can be limited further.
    """
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            here.close()
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            link = Link(there, untrusted=True)
            link.functions = list(functions)
            while True:
                link.serve(*receive(there))
        except BaseException:
            os._exit(0)
    there.close()
    link = Link(here, seconds=seconds)
    link.squeeze = lambda more: confine.squeeze(pid, more)
    numbers = {id(fn): number for number, fn in enumerate(functions)}
    yield lambda fn: link._proxy(numbers[id(fn)], getattr(fn, "__name__", ""))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
