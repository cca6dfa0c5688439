"""Notebooks that try to change their marks, to do harm or to see what they must not see.

``HOSTILE`` has a ``Hostile`` for each: a function that turns a solved notebook of ``SHEET`` into a hostile one,
and the exercises that must get 0 then. All other exercises must get their full points.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rlvr_lab.checks import stubs

__all__ = ["HOSTILE", "SAID", "SHEET", "SLOW", "Hostile", "small"]

Notebook = dict[str, Any]
ROOT = Path(__file__).parents[2]
SHEET = "06_grpo"
PLACE, CHECK = "leave-one-out", "leave-one-out-check"
KEPT = ("group-advantages", PLACE, "k3")


class Hostile(NamedTuple):
    """How to make a hostile notebook, and the grade_ids that must get 0."""

    make: Callable[[Notebook], Notebook]
    zero: frozenset[str]


def small(notebook: Notebook) -> Notebook:
    """The sheet with three exercises only; attacks work on it as on the whole sheet."""
    made = copy.deepcopy(notebook)
    ids = {part + end for part in KEPT for end in ("", "-task", "-check")}
    made["cells"] = [c for c in made["cells"] if c["id"] in ids | {"head", "setup", "foot"}]
    return made


def _cell(notebook: Notebook, name: str) -> dict[str, Any]:
    return next(cell for cell in notebook["cells"] if cell["id"] == name)


def _write(name: str, change: Callable[[str], str]) -> Callable[[Notebook], Notebook]:
    def make(notebook: Notebook) -> Notebook:
        made = copy.deepcopy(notebook)
        cell = _cell(made, name)
        cell["source"] = change("".join(cell["source"])).splitlines(keepends=True)
        return made

    return make


def first(code: str) -> Hostile:
    """``code``, then the solution."""
    return Hostile(_write(PLACE, lambda solved: f"{code}\n\n{solved}"), frozenset({CHECK}))


def instead(code: str) -> Hostile:
    """``code``, then a function that is still to be written."""
    return Hostile(
        _write(PLACE, lambda solved: f"{code}\n\n{stubs.stub_source(solved)}"), frozenset({CHECK})
    )


def function(body: str) -> Hostile:
    """A function with this body in place of the solution."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    code = f"def leave_one_out_advantages(rewards, group_size):\n{lines}"
    return Hostile(_write(PLACE, lambda solved: code), frozenset({CHECK}))


def _without(name: str) -> Callable[[Notebook], Notebook]:
    def make(notebook: Notebook) -> Notebook:
        made = copy.deepcopy(notebook)
        made["cells"] = [cell for cell in made["cells"] if cell["id"] != name]
        return made

    return make


def _twice(notebook: Notebook) -> Notebook:
    made = copy.deepcopy(notebook)
    place = made["cells"].index(_cell(made, CHECK))
    extra = copy.deepcopy(made["cells"][place]) | {"id": "again", "source": ["print('✓')"]}
    made["cells"].insert(place + 1, extra)
    return made


def _unsolved(then: Callable[[Notebook], Notebook]) -> Callable[[Notebook], Notebook]:
    return lambda notebook: then(_write(PLACE, stubs.stub_source)(notebook))


LYING = """class Liar{base}:
    def __eq__(self, other): return True
    def __array__(self, *a, **k): return __import__("numpy").zeros(12)
    def __float__(self): return 0.0
    def __torch_function__(self, *a, **k): return True
    def __getattr__(self, name): return lambda *a, **k: True
"""

HOSTILE: dict[str, Hostile] = {
    "an endless loop in a cell": first("while True: pass"),
    "an endless loop in a function": function("while True: pass"),
    "a cell that ends the process": first("import os\nos._exit(0)"),
    "a function that ends the process": function("import os\nos._exit(0)"),
    "sys.exit in a cell": first("import sys\nsys.exit()"),
    "sys.exit in a function": function("import sys\nsys.exit()"),
    "a crash": function("import faulthandler\nfaulthandler._sigsegv()"),
    "the check cell deleted": Hostile(_without(CHECK), frozenset()),
    "the check cell twice": Hostile(_unsolved(_twice), frozenset({CHECK})),
    "the check cell edited": Hostile(
        _unsolved(_write(CHECK, lambda source: "print('✓ all correct')")), frozenset({CHECK})
    ),
    "the answer deleted": Hostile(_without(PLACE), frozenset({CHECK})),
    "a check replaced": instead(
        "checks.check_leave_one_out_advantages = lambda *a, **k: print('✓')\nchecks.kit = None"
    ),
    "names of the package replaced": instead(
        "import rlvr_lab.checks.kit as kit, rlvr_lab.checks.calls as calls, rlvr_lab.grading.link as link\n"
        "kit.judge = kit._agree = calls.call = lambda *a, **k: True\n"
        "kit.Check.__call__ = kit.Check.examine = lambda *a, **k: None\n"
        "calls.Mistake.__init__ = lambda *a: None\nlink.Link.check = link.described = lambda *a: {}"
    ),
    "functions of the libraries replaced": instead(
        "import builtins, numpy\n"
        "numpy.allclose = numpy.isclose = torch.equal = torch.allclose = lambda *a, **k: True\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.print = lambda *a: None"
    ),
    "a result whose == lies": function(LYING.format(base="") + "return Liar()"),
    "a tensor whose functions lie": function(
        "class Liar(torch.Tensor):\n"
        "    @classmethod\n"
        "    def __torch_function__(cls, f, types, args=(), kwargs=None):\n"
        "        return True if f.__name__ in ('equal', 'allclose') else "
        "super().__torch_function__(f, types, args, kwargs or {})\n"
        "return torch.zeros_like(rewards).as_subclass(Liar)"
    ),
    "100 MB printed by a cell": instead("for _ in range(100): print('x' * 10**6)"),
    "100 MB printed by a function": function("print('x' * 10**8)\nreturn rewards"),
    "100 MB returned": function("return 'x' * 10**8"),
    "all memory": first("kept = []\nwhile True: kept.append(torch.empty(1 << 28))"),
    "a huge file": first("with open('big', 'wb') as f:\n    while True: f.write(bytes(1 << 22))"),
    "many files": first("for n in range(10**6): open(f'f{n}', 'wb').write(bytes(1 << 10))"),
    "many processes": first("import os\nwhile True: os.fork()"),
    "many threads": first(
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()"
    ),
    "the solutions": first(f"open({str(ROOT / 'notebooks/solutions/06_grpo.ipynb')!r}).read()"),
    "the solutions, past Python": first(
        f"torch.from_file({str(ROOT / 'notebooks/solutions/06_grpo.ipynb')!r}, size=9, dtype=torch.uint8)"
    ),
    "the solutions, from the package": first(
        f"open({str(ROOT / 'rlvr_lab/../notebooks/solutions/06_grpo.ipynb')!r}).read()"
    ),
    "the password file": first("open('/etc/passwd').read()"),
    "another submission": first("import glob\nglob.glob('../*/*')\nopen('../other/06_grpo.ipynb')"),
    "the folder of the project": first(f"import os\nos.listdir({str(ROOT)!r})"),
    "a socket": first("import socket\nsocket.create_connection(('127.0.0.1', 80))"),
    "ctypes": first("import ctypes\nctypes.string_at(0)"),
    "ctypes, from torch": first("torch.ctypes.CDLL(None).kill(1, 9)"),
    "all objects": instead("import gc\nfor x in gc.get_objects(): pass"),
    "the frames above": instead(
        "import sys, inspect\nframe = sys._getframe()\n"
        "while frame:\n"
        "    for key in list(frame.f_locals):\n"
        "        if 'seed' in key or 'point' in key: frame.f_locals[key] = 1\n"
        "    frame = frame.f_back\n"
        "sys.settrace(lambda *a: None)"
    ),
    "bytes on the marker's pipe": first(
        "import os\n"
        "for fd in range(3, 64):\n"
        "    try: os.write(fd, b'RL' + bytes(8) + b'{}')\n"
        "    except OSError: pass"
    ),
    "an answer forged on the pipe": instead(
        "import os, json\n"
        "from rlvr_lab.grading.messages import pack\n"
        "for fd in range(3, 64):\n"
        "    try: os.write(fd, pack({'op': 'ok', 'value': True, 'points': 99, 'changed': []}, []))\n"
        "    except OSError: pass\n"
        "while True: pass"
    ),
    "the marker killed": first("import os\nos.kill(os.getppid(), 9)"),
    "the marker killed, past Python": first(
        "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)"
    ),
    "a command": first("import os\nos.system('touch /tmp/rlvr-was-here')"),
    "a command of the shell": first("!touch /tmp/rlvr-was-here"),
    "a command without subprocess": first(
        "import _posixsubprocess\n"
        "_posixsubprocess.fork_exec([b'/bin/true'], [b'/bin/true'], True, (), None, None, *[-1] * 8)"
    ),
    "the package overwritten": first(
        f"open({str(ROOT / 'rlvr_lab/checks/kit.py')!r}, 'w').write('')"
    ),
    "rights changed": first(f"import os\nos.chmod({str(ROOT / 'README.md')!r}, 0)"),
    "files moved": first(f"import os\nos.rename({str(ROOT / 'README.md')!r}, 'mine')"),
    "a recursion": function("return leave_one_out_advantages(rewards, group_size)"),
    "a recursion without a limit": function(
        "import sys\nsys.setrecursionlimit(10**9)\n"
        "def again(x): return again([x])\n"
        "return again(rewards)"
    ),
    "a list that holds itself": function("x = []\nx.append(x)\nreturn x"),
    "right for known seeds only": function(
        "import numpy as np\n"
        "check = checks.check_leave_one_out_advantages\n"
        "for seed in (0, 1, 2, 606, 707):\n"
        "    rng = np.random.default_rng(seed)\n"
        "    for turn in range(3):\n"
        "        given = [*check.draw(rng, turn).values()]\n"
        "        if np.array_equal(given[0], rewards.numpy()):\n"
        "            return torch.tensor(check.right(*given))\n"
        "return torch.zeros_like(rewards)"
    ),
}

SLOW = frozenset(
    name
    for name in HOSTILE
    if name.startswith(("an endless", "many threads", "a recursion without"))
)
"""Attacks that only a time limit ends."""

SAID: dict[str, str] = {
    "an endless loop in a cell": "took too long: stopped after",
    "an endless loop in a function": "took too long: stopped after",
    "a cell that ends the process": "ended itself (exit status 0)",
    "a function that ends the process": "ended itself (exit status 0)",
    "sys.exit in a function": "SystemExit",
    "a crash": "crashed",
    "the check cell deleted": "the check cell was deleted; the original was used",
    "the check cell twice": "the check cell is there 2 times",
    "the check cell edited": "the check cell was edited; the original was used",
    "the answer deleted": "cell leave-one-out is missing",
    "100 MB returned": "more than 64 MB",
    "all memory": "memory",
    "a huge file": "File too large",
    "many files": "more than 64 files",
    "many processes": "wanted to use os.fork: refused",
    "the solutions": "solutions/06_grpo.ipynb: refused",
    "the solutions, past Python": "Permission denied",
    "the solutions, from the package": "solutions/06_grpo.ipynb: refused",
    "the password file": "wanted to read /etc/passwd: refused",
    "another submission": "refused",
    "the folder of the project": "wanted to list",
    "a socket": "refused",
    "ctypes": "wanted to import ctypes: refused",
    "ctypes, from torch": "ctypes.dlopen: refused",
    "all objects": "gc.get_objects: refused",
    "the frames above": "sys.settrace: refused",
    "bytes on the marker's pipe": "bytes that are no message",
    "an answer forged on the pipe": "an answer to no question",
    "the marker killed": "os.kill: refused",
    "the marker killed, past Python": "Operation not permitted",
    "a command": "os.system: refused",
    "a command of the shell": "refused",
    "a command without subprocess": "fork_exec: refused",
    "the package overwritten": "wanted to write to",
    "rights changed": "wanted to change",
    "files moved": "wanted to change",
    "a recursion": "RecursionError",
}
"""Words that the log, or what a cell is said to have done, must contain."""
