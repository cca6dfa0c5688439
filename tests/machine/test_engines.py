"""The settings in ``data/engines`` are read by the programs they are for."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from rlvr_lab.machine.gpu_memory import memory_table
from rlvr_lab.machine.scale_command import EPILOG
from rlvr_lab.policy.data import data_folder

ENGINES = data_folder() / "engines"
ACCELERATE = ["fsdp2", "two_cpu_processes", "zero3"]
TRL = ["checkpointing", "vllm"]


def test_every_file_is_tested() -> None:
    found = sorted(path.stem for path in ENGINES.glob("*.yaml"))
    assert found == sorted([*ACCELERATE, *TRL])
    said = (ENGINES / "README.md").read_text("utf-8")
    assert all(f"`{name}.yaml`" in said for name in found)


@pytest.mark.scale
@pytest.mark.parametrize("name", ACCELERATE)
def test_accelerate_reads_its_files(name: str) -> None:
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    found = config_args.load_config_from_file(str(ENGINES / f"{name}.yaml"))
    wanted = {"fsdp2": "FSDP", "two_cpu_processes": "MULTI_GPU", "zero3": "DEEPSPEED"}[name]
    assert str(found.distributed_type).endswith(wanted)
    assert found.num_processes == (2 if name == "two_cpu_processes" else 8)


@pytest.mark.scale
def test_accelerate_knows_each_setting_of_fsdp_and_deepspeed() -> None:
    dataclasses = pytest.importorskip("accelerate.utils.dataclasses")
    launch = pytest.importorskip("accelerate.commands.launch")
    flags = vars(launch.launch_command_parser().parse_args(["script.py"]))
    fsdp = yaml.safe_load((ENGINES / "fsdp2.yaml").read_text("utf-8"))["fsdp_config"]
    zero = yaml.safe_load((ENGINES / "zero3.yaml").read_text("utf-8"))["deepspeed_config"]
    assert set(fsdp) | set(zero) <= set(flags)
    known = {field.name for field in fields(dataclasses.FullyShardedDataParallelPlugin)}
    assert {"fsdp_version", "reshard_after_forward", "activation_checkpointing"} <= known


@pytest.mark.scale
@pytest.mark.parametrize("name", TRL)
def test_trl_knows_the_arguments(name: str) -> None:
    trl = pytest.importorskip("trl")
    given = yaml.safe_load((ENGINES / f"{name}.yaml").read_text("utf-8"))
    for config in (trl.GRPOConfig, trl.RLOOConfig):
        known = {field.name for field in fields(config)}
        # RLOO has no correction for what vLLM computes differently.
        assert {n for n in given if "importance" not in n or config is trl.GRPOConfig} <= known
    if name == "vllm":
        assert given["vllm_mode"] in ("colocate", "server")
        assert given["vllm_importance_sampling_mode"] in inspect.getsource(trl.GRPOConfig)


def test_the_table_in_the_readme_is_computed() -> None:
    said = Path(ENGINES / "README.md").read_text("utf-8")
    assert memory_table() in said


def test_the_help_starts_several_processes_by_files_that_exist() -> None:
    """With ``--cpu --num_processes 2`` accelerate starts one, and the command stops."""
    files = [word for word in EPILOG.split() if word.endswith(".yaml")]
    assert len(files) == 3 and all((ENGINES / Path(file).name).is_file() for file in files)
    assert "--num_processes" not in EPILOG
