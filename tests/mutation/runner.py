"""Runs pytest on mutants without starting Python for each.

One parent imports the heavy libraries but nothing of the package; every mutant is a fork of it. In the
fork Python's own loader hands out the mutated text for one file, so that the hooks of jaxtyping and
pytest work as ever and no file changes. For Linux and macOS.
"""

import contextlib
import gc
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.machinery import SourceFileLoader
from typing import Any, NamedTuple

from tests.mutation.sources import ROOT

MEMORY = 8 * 2**30  # bytes; a mutant may ask for any amount
QUIET = ("-x", "-q", "--tb=short", "-m", "not browser and not slow", "-p", "no:cacheprovider")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "agg",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # nbval alone takes a second
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}
OWN = {"rlvr_lab", "tests", "conftest", "pytest", "_pytest"}


class Job(NamedTuple):
    key: Any
    tests: tuple[str, ...]
    path: str = ""  # "": nothing is mutated
    data: bytes = b""
    limit: float = 600.0  # seconds


class Result(NamedTuple):
    key: Any
    outcome: str  # killed, timeout or survived
    seconds: float
    output: str


def prepare(*modules: str) -> None:
    """Import what every test needs. Nothing is computed: threads do not outlive a fork."""
    os.environ.update(ENVIRONMENT)
    for name in ("torch", "jaxtyping", "beartype", "pytest", *modules):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    gc.freeze()  # so that a child's collector does not copy the parent's memory


def serve(path: str, data: bytes) -> None:
    """From now on ``path`` reads as ``data``, and no compiled file stands in for it."""
    read, stats, target = SourceFileLoader.get_data, SourceFileLoader.path_stats, str(ROOT / path)

    def path_stats(self, name):
        if name == target:
            raise OSError("mutated: a .pyc is neither read nor written")
        return stats(self, name)

    SourceFileLoader.path_stats = path_stats
    SourceFileLoader.get_data = lambda self, name: data if name == target else read(self, name)


def child(job: Job, output: int) -> None:
    code = 99
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if job.path:
            serve(job.path, job.data)
        code = int(sys.modules["pytest"].main([*QUIET, *job.tests]))
        print("" if job.path else " ".join(sys.modules), flush=True)  # for ``clean_run``
    finally:
        os._exit(code)  # whatever happens, a child never returns to the parent's code


def run(jobs: Iterable[Job], at_once: int = 1) -> Iterator[Result]:
    """The results, as they come."""
    waiting, running = iter(jobs), {}
    try:
        while True:
            while len(running) < at_once and (job := next(waiting, None)):
                output = tempfile.TemporaryFile()  # noqa: SIM115
                sys.stdout.flush()
                if not (pid := os.fork()):
                    child(job, output.fileno())
                running[pid] = (job, time.monotonic(), output)
            if not running:
                return
            time.sleep(0.02)
            for pid, (job, began, output) in list(running.items()):
                seconds = time.monotonic() - began
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done and seconds < job.limit:
                    continue
                if not done:
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                del running[pid]
                output.seek(0)
                text = output.read().decode(errors="replace")
                yield Result(job.key, outcome(status, text) if done else "timeout", seconds, text)
    finally:
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def outcome(status: int, text: str) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == 5:
        raise SystemExit(f"pytest found no tests:\n{text}")
    return "killed" if code else "survived"


def clean_run(tests: tuple[str, ...]) -> float:
    """Seconds that the tests take on the code as it is, where they must pass.

    The parent then imports all that they imported, the project's own modules excepted.
    """
    (result,) = run([Job("clean", tests)])
    if result.outcome != "survived":
        raise SystemExit(f"{' '.join(tests)}: not green without a mutant\n{result.output}")
    names = result.output.splitlines()[-1].split()
    prepare(*(n for n in names if n not in sys.modules and n.split(".")[0] not in OWN))
    return result.seconds
