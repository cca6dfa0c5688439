"""Install nbgrader beside the course: a second environment, layered on the learner's.

nbgrader adds menus and a server error to JupyterLab, so the learner's environment does not have it. The
instructor's environment sees every package of the learner's and holds only what is missing there.
``make instructor`` calls this module with the learner's Python: ``python -m rlvr_lab.grading.layer FOLDER``.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

__all__ = ["install"]

REQUIRED = "extra == 'instructor'"


def install(folder: Path) -> None:
    """Make the instructor's environment in ``folder``, on top of the one that runs this.

    Raises:
        subprocess.CalledProcessError: when pip fails.
    """
    venv.EnvBuilder(clear=True, with_pip=True, symlinks=os.name != "nt").create(folder)
    below, python = Path(sys.prefix), folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    paths = {"base": str(folder.resolve()), "platbase": str(folder.resolve())}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (packages / "_learner.pth").write_text(_layer(below) + "\n", "utf-8")
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    pins = Path(__file__).parents[2] / "constraints.txt"
    pip += ["--constraint", str(pins)] if pins.is_file() else []
    subprocess.run([*pip, *_requirements()], check=True)


def _layer(below: Path) -> str:
    """A line for a ``.pth`` file: the learner's packages, and Jupyter's files that belong to them."""
    seen = {
        "JUPYTER_PATH": below / "share" / "jupyter",
        "JUPYTER_CONFIG_PATH": below / "etc" / "jupyter",
        "JUPYTERLAB_DIR": below / "share" / "jupyter" / "lab",
    }
    steps = [f"site.addsitedir({sysconfig.get_path('purelib')!r})"]
    steps += [f"os.environ.setdefault({name!r}, {str(path)!r})" for name, path in seen.items()]
    return "import os, site; " + "; ".join(steps)


def _requirements() -> list[str]:
    """What the project's extra ``instructor`` asks for."""
    asked = (line.partition(";") for line in metadata.requires("rlvr-lab") or [])
    return [what.strip() for what, _, when in asked if when.strip().replace('"', "'") == REQUIRED]


if __name__ == "__main__":
    install(Path(sys.argv[1]))
