"""The room of pictures offers what its modules list, and loads them no earlier than needed."""

import subprocess
import sys
from collections import Counter
from importlib import import_module

import pytest

from rlvr_lab import pictures
from rlvr_lab.pictures import names


def test_every_name_of_every_module_is_offered_once() -> None:
    modules = {name: import_module(f"{names.ROOM}.{name}") for name in names.MODULES}
    count = Counter(name for module in modules.values() for name in module.__all__)
    assert count and max(count.values()) == 1
    assert not count.keys() & modules.keys(), "a name would hide a module"
    for module in modules.values():
        for name in module.__all__:
            assert getattr(pictures, name) is getattr(module, name)
    assert set(dir(pictures)) == count.keys() | modules.keys()


def test_a_module_is_a_name_and_nonsense_is_not() -> None:
    assert pictures.runs.plot_run is pictures.plot_run
    with pytest.raises(AttributeError, match="nothing"):
        _ = pictures.nothing
    with pytest.raises(ImportError, match="nothing"):
        exec("from rlvr_lab.pictures import nothing")


def test_what_draws_a_run_loads_no_model() -> None:
    """The process that draws live runs would need seconds and half a gigabyte more."""
    code = (
        "import sys\n"
        "import rlvr_lab.pictures.runs\n"
        "print({'torch', 'transformers', 'scipy.stats'} & set(sys.modules))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
