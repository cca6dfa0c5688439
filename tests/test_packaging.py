"""The three ways to install (make, conda, Binder) install the same thing; shapes are enforced."""

import json
import re
import tomllib
from importlib import import_module, metadata
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
EXTRAS = PROJECT["optional-dependencies"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in requirements)
    names = [line.split("==")[0] for line in requirements]
    assert names == sorted(set(names)), "constraints.txt: one line a package, in order"
    return dict(line.split("==") for line in requirements)


def test_environment_installs_this_package_with_its_constraints() -> None:
    *conda, by_pip = ENVIRONMENT["dependencies"]
    assert ENVIRONMENT["name"] == PROJECT["name"] == "rlvr-lab"
    assert by_pip == {"pip": ["--constraint constraints.txt", "--editable ."]}
    assert [re.split("[=<>]", spec)[0] for spec in conda] == ["python", "pip"]


def test_environment_has_the_oldest_python_that_the_project_allows() -> None:
    python = ENVIRONMENT["dependencies"][0].removeprefix("python=")
    assert PROJECT["requires-python"] == f">={python}"


def test_environment_has_no_build_strings() -> None:
    conda = [spec for spec in ENVIRONMENT["dependencies"] if isinstance(spec, str)]
    assert all(re.fullmatch(r"[a-z0-9_-]+(=[0-9.]+)?", spec) for spec in conda), conda


def test_every_direct_dependency_is_pinned_to_a_version_it_allows() -> None:
    from packaging.requirements import Requirement

    pinned = pins()
    direct = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    for requirement in map(Requirement, direct):
        version = pinned.get(normal(requirement.name))
        assert version, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_what_is_installed_is_what_is_pinned() -> None:
    differing = {}
    for name, version in pins().items():
        try:
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed, or a package of another platform
        if installed != version:
            differing[name] = f"installed {installed}, pinned {version}"
    assert not differing


def test_lab_settings_name_settings_that_this_jupyterlab_has() -> None:
    import jupyterlab.commands

    schemas = Path(jupyterlab.commands.get_app_dir()) / "schemas"
    overrides = json.loads((ROOT / "rlvr_lab/jupyter/overrides.json").read_text("utf-8"))
    for plugin, settings in overrides.items():
        folder, name = plugin.split(":")
        schema = json.loads((schemas / folder / f"{name}.json").read_text("utf-8"))
        assert set(settings) <= set(schema["properties"]), plugin


def test_shapes_are_enforced_in_the_tests() -> None:
    averages = import_module("rlvr_lab.objectives.averages")
    x = torch.zeros(2, 3)
    averages.masked_mean(x, torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(Exception, match="Type-check error"):
        averages.masked_mean(x, torch.ones(2, 4, dtype=torch.bool))
    worlds = import_module("rlvr_lab.tasks.worlds")
    with pytest.raises(Exception, match="Type-check error"):
        worlds.make_task(7)


def test_readme_knows_every_module() -> None:
    """Each room's line in the tree names the files in it, and no others."""
    readme = (ROOT / "README.md").read_text("utf-8")
    package = ROOT / "rlvr_lab"
    rooms = [path.parent for path in package.rglob("__init__.py") if path.parent != package]
    for room in rooms:
        named = re.search(rf"^ +{room.name}/ +(.+(?:\n {{16,}}.+)*)", readme, re.MULTILINE)
        assert named, room.name
        known = {path.stem for path in room.glob("*.py")} - {"__init__"}
        assert set(re.findall(r"\b(\w+)\.py\b", named[1])) == known, room.name
