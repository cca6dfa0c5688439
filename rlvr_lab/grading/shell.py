"""The interactive shell of a worker: what a notebook may say in Jupyter, and has no place while marking.

Commands of the shell, windows, questions to the user and another working directory are left out with a printed
sentence, so that an honest notebook goes on. Each is still reported as an attempt (``guard``).
"""

import ast
import builtins
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

from rlvr_lab.grading.effects import said

__all__ = ["make", "run", "shown"]

SCRIPTS = [
    "bash",
    "sh",
    "script",
    "system",
    "sx",
    "perl",
    "ruby",
    "python2",
    "python3",
    "python",
    "pypy",
]

QUIET = ("agg", "svg", "pdf", "ps", "cairo", "pgf", "template")  # backends without a window


def make() -> Any:
    """A shell for the whole process, with nothing in it."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    settings.InteractiveShell.xmode = "Minimal"

    class Shell(InteractiveShell):
        def enable_gui(self, gui: Any = None) -> None:
            """``%matplotlib inline`` asks for it; there is no window here."""

        def enable_matplotlib(self, gui: Any = None) -> Any:
            return super().enable_matplotlib("inline")

        def system(self, cmd: str) -> None:
            _leave_out("command", cmd)

        system_piped = system_raw = system

        def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
            _leave_out("command", cmd)
            return [] if split else ""

    shell = Shell.instance(config=settings, ipython_dir=os.getcwd())
    shell.displayhook.write_output_prompt = lambda: None
    for name in SCRIPTS:
        shell.register_magic_function(_script(name), "line_cell", name)
    shell.register_magic_function(lambda line: _leave_out("command", "cd " + line), "line", "cd")
    shell.register_magic_function(lambda line: _leave_out("command", "pip " + line), "line", "pip")
    _quiet()
    return shell


def _leave_out(kind: str, what: str) -> None:
    with contextlib.suppress(PermissionError):
        sys.audit(f"shell.{kind}")
    print(f"not run while marking: {str(what).strip()[:200]}")


def _script(name: str) -> Callable[..., None]:
    return lambda line, cell="": _leave_out("command", f"%%{name} {line}")


def _quiet() -> None:
    """Functions of the libraries that would ask, open a window or leave the folder."""
    import matplotlib
    import matplotlib.pyplot as plt

    def ask(prompt: object = "", *rest: Any) -> str:
        print(prompt)
        return ""

    def without_windows(switch: Callable[..., None]) -> Callable[..., None]:
        def to(backend: Any, **named: Any) -> None:
            name = str(backend).lower()
            if isinstance(backend, str) and "inline" not in name and name not in QUIET:
                print(f"not run while marking: the backend {backend} of matplotlib")
                backend = "agg"
            switch(backend, **named)

        return to

    builtins.input = ask
    matplotlib.use = without_windows(matplotlib.use)
    plt.switch_backend = without_windows(plt.switch_backend)
    os.chdir = lambda path: _leave_out("chdir", f"os.chdir({path!r})")


def run(shell: Any, source: str, each: bool) -> BaseException | None:
    """Run a cell; its first error. With ``each``, an error in a statement does not stop the next."""
    try:
        for name in _imported(shell.transform_cell(source)):
            sys.audit("import", name, None, None, None, None)  # it may be loaded already
        parts = _statements(shell.transform_cell(source)) if each else []
        usual = shell.ast_node_interactivity
        error = None
        for number, part in enumerate(parts or [source]):
            shell.ast_node_interactivity = "none" if number + 1 < len(parts) else usual
            found = shell.run_cell(part, store_history=False)
            error = error or found.error_before_exec or found.error_in_exec
        shell.ast_node_interactivity = usual
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
    except BaseException as own:  # of the student's, in what they have replaced
        return own
    return error


def _statements(source: str) -> list[str]:
    try:
        return [ast.unparse(node) for node in ast.parse(source).body]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _imported(source: str) -> set[str]:
    """The modules that a cell imports by a statement."""
    try:
        nodes = [*ast.walk(ast.parse(source))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in found}


def shown(error: BaseException | None) -> str:
    """An error in one line, or nothing."""
    if error is None:
        return ""
    return f"{type(error).__name__}: {(said(error).splitlines() or [''])[0]}"[:300]
