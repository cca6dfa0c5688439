"""Every test sees the package with its shape annotations enforced, offline, on one thread."""

import os
from pathlib import Path

import torch
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported, which is later
os.environ.setdefault("MPLBACKEND", "agg")
torch.set_num_threads(1)

# Before anything imports the package. An int is accepted where a float is asked for (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
# Configurations are left out: they refuse bad values themselves, with a sentence, and that is tested.
OWN_CHECKS = {"config", "ppo", "trpo", "dpo_training", "overoptimisation"}
MODULES = sorted(path.stem for path in (Path(__file__).parents[1] / "rlvr_lab").glob("*.py"))
install_import_hook(
    [f"rlvr_lab.{name}" for name in [*MODULES, "checks"] if name not in OWN_CHECKS], CHECKER
)
