"""Drawing in another process: that it happens there, and what happens when the process is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from rlvr_lab.widgets.painter import Painter

IMPATIENT = "nothing to draw with"


def draw(what: str, fails: bool = False, seconds: float = 0.0) -> tuple[int, str]:
    """Stands for a picture: the process that drew it, and what it shows."""
    time.sleep(seconds)
    if fails:
        raise ValueError(IMPATIENT)
    return os.getpid(), what


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def painter() -> Iterator[Painter]:
    started = Painter(draw)
    started.start()
    wait(lambda: started("ready?")[0] != os.getpid())
    yield started
    if started._pipe is not None:
        started._pipe.close()


def gone(process: int) -> bool:
    """Whether the process has ended; a child that nobody asked about is a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_draws_elsewhere_once_it_can_and_here_until_then() -> None:
    painter = Painter(draw)
    assert painter("a") == (os.getpid(), "a")
    painter.start()
    wait(lambda: painter("b")[0] != os.getpid())
    elsewhere, shown = painter("c")
    painter.start()
    assert painter("d", seconds=0.01) == (elsewhere, "d"), "it was started twice"
    assert shown == "c"
    painter._pipe.close()
    wait(lambda: gone(elsewhere))


def test_what_goes_wrong_there_is_raised_here(painter: Painter) -> None:
    with pytest.raises(ValueError, match=IMPATIENT):
        painter("a", fails=True)
    assert painter("b")[1] == "b"
    assert painter("b")[0] != os.getpid()


def test_interrupting_the_kernel_leaves_it_alive(painter: Painter) -> None:
    elsewhere, _ = painter("a")
    os.kill(elsewhere, signal.SIGINT)
    assert painter("b") == (elsewhere, "b")


def test_a_lost_process_is_made_up_for_and_can_be_started_again(painter: Painter) -> None:
    elsewhere, _ = painter("a")
    os.kill(elsewhere, signal.SIGKILL)
    wait(lambda: gone(elsewhere))
    assert painter("b") == (os.getpid(), "b")
    painter.start()
    wait(lambda: painter("c")[0] != os.getpid())


def test_an_answer_that_nobody_took_is_not_the_next_one(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(painter._pipe, "recv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            painter("a")
    assert painter("b")[1] == "b"


def test_it_ends_with_a_process_that_is_killed() -> None:
    code = (
        "import os, time\n"
        "from rlvr_lab.widgets.painter import Painter\n"
        "from tests.widgets.test_painter import draw\n"
        "if __name__ == '__main__':\n"
        "    painter = Painter(draw)\n"
        "    painter.start()\n"
        "    while (drawn := painter('a'))[0] == os.getpid():\n"
        "        time.sleep(0.01)\n"
        "    print(drawn[0], flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        elsewhere = int(parent.stdout.readline())
        parent.kill()
    wait(lambda: gone(elsewhere))
