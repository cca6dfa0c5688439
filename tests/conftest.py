"""Every test sees the package with its shape annotations enforced, offline, on one thread."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "agg")

from jaxtyping import install_import_hook

# Before anything imports the package. An int is accepted where a float is asked for (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook("rlvr_lab", CHECKER)

import torch

torch.set_num_threads(1)
