"""Drawing in a process of its own, so that a run does not stand still for its pictures.

Two threads of one Python process take turns; a frame of 0.2 s in a thread costs the run 0.2 s.
"""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Painter"]


class Painter:
    """``draw``, called in another process as soon as there is one.

    The process takes a second or two to start. Until then, and should it be lost, ``draw`` is called
    where the picture is asked for. It ends with the process that started it.

    Args:
        draw: a function at the top level of a module that loads fast; what it gets and returns can be pickled.
    """

    def __init__(self, draw: Callable[..., Any]) -> None:
        self._draw = draw
        self._lock = threading.Lock()
        self._pipe: Connection | None = None
        self._ready = False

    def start(self) -> None:
        """Start the process, unless it was started before; does not wait for it."""
        with self._lock:
            if self._pipe is None:
                # Not forked: a copy of a process in which other threads hold locks may wait for ever.
                context = get_context("spawn")
                self._pipe, theirs = context.Pipe()
                context.Process(target=_serve, args=(theirs, self._draw), daemon=True).start()
                theirs.close()

    def __call__(self, *args: Any, **options: Any) -> Any:
        """``draw(*args, **options)``; an exception of ``draw`` is raised here."""
        with self._lock:
            answer = self._ask(args, options)
        if answer is None:
            return self._draw(*args, **options)
        done, result = answer
        if done:
            return result
        raise result

    def _ask(self, args: tuple, options: dict[str, Any]) -> tuple[bool, Any] | None:
        """What the process answers; None when there is none."""
        try:
            if not self._is_ready():
                return None
            self._pipe.send((args, options))
            return self._pipe.recv()
        except BaseException as error:
            # Interrupted in between, the answer would be taken for that of the next call.
            self._pipe.close()
            self._pipe, self._ready = None, False
            if isinstance(error, EOFError | OSError):
                return None
            raise

    def _is_ready(self) -> bool:
        if not self._ready and self._pipe is not None and self._pipe.poll():
            self._pipe.recv()  # the process says that it has loaded
            self._ready = True
        return self._ready


def _serve(pipe: Connection, draw: Callable[..., Any]) -> None:
    """What the process does: draw what comes, until the other end of the pipe is gone."""
    # "Interrupt the kernel" reaches every process of the kernel.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the other end is gone
        pipe.send("ready")
        while True:
            args, options = pipe.recv()
            try:
                answer = True, draw(*args, **options)
            except Exception as error:
                answer = False, error
            pipe.send(answer)
