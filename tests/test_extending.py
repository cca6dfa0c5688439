"""The README's example: a task, a reward and an algorithm are one file and one line each."""

import re
import sys
import types
from pathlib import Path

import pytest

from rlvr_lab.__main__ import main
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Run
from rlvr_lab.rewards import registry
from rlvr_lab.tasks import worlds
from rlvr_lab.training.config import RunConfig

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(
    r"```(?:python|bash)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three files as modules, and their lines in the three lists."""
    monkeypatch.setattr(RunConfig, "KINDS", dict(RunConfig.KINDS))
    space: dict = {"load_policy": load_policy, "KnownWorld": worlds.KnownWorld}
    for block in BLOCKS:
        file = re.match(r"# rlvr_lab/(.+)\.py\n", block)
        if file:
            name = "rlvr_lab." + file[1].replace("/", ".")
            assert not (ROOT / "rlvr_lab" / f"{file[1]}.py").exists()
            module = types.ModuleType(name)
            monkeypatch.setitem(sys.modules, name, module)
            exec(compile(block, f"{file[1]}.py", "exec"), vars(module))
            space |= vars(module)
    for key, table in (("first", worlds.WORLDS), ("brevity", registry.REWARDS)):
        (line,) = (block for block in BLOCKS if block.startswith(f'"{key}": '))
        monkeypatch.setitem(table, *eval("{" + line + "}", space).popitem())


def test_what_is_added_trains_from_the_command_line(added: None, tmp_path: Path) -> None:
    (command,) = (block for block in BLOCKS if "--algorithm expert-iteration" in block)
    arguments = command.split()[3:]
    tiny = ["--prompts-per-step", "4", "--group-size", "4", "--device", "cpu"]
    out = tmp_path / "run.json"
    assert main([*arguments, *tiny, "--out", str(out)]) == 0
    run = Run.load(out)
    assert run.config.KIND == "expert-iteration" and run.config.world_options == {"terms": 5}
    assert run.curve("step").tolist() == [1, 2, 3]
    for record in run.records:
        parts = record["reward_accuracy"] + 0.1 * record["reward_brevity"]
        assert record["reward"] == pytest.approx(parts) and record["grad_norm"] > 0
