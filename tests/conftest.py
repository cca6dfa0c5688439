"""Every test sees the package with its shape annotations enforced, offline, on one thread."""

import os

import torch
from jaxtyping import install_import_hook

import tests.typechecking  # noqa: F401  the hook finds it by name

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported, which is later
os.environ.setdefault("MPLBACKEND", "agg")
torch.set_num_threads(1)

# Before anything imports the package: all of it, every room and every file.
install_import_hook("rlvr_lab", "tests.typechecking.check")
