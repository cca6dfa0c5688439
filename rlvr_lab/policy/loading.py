"""The policy: a ``transformers`` causal language model and its tokenizer."""

import copy
import io
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from rlvr_lab.policy.chat import turn_end
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.packaged import PACKAGED, packaged_folder

__all__ = ["Policy", "encode_prompts", "load_policy", "resolve_device"]

transformers_logging.disable_progress_bar()  # it would clutter the notebooks' output


@dataclass
class Policy:
    """A model and its tokenizer.

    Attributes:
        model: a causal language model, on ``device``.
        tokenizer: pads on the left and has an end-of-sequence token.
        name: the name or path that it was loaded from.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str

    @property
    def device(self) -> torch.device:
        """The device of the model's parameters."""
        return self.model.device

    @property
    def stop_ids(self) -> list[int]:
        """All token ids that end an answer; some chat models have several.

        The tokenizer's end of sequence, those of the generation config, and the end of a turn in the chat
        template. If one were missing, answers that end with it would run on to the length limit.
        """
        config = self.model.generation_config
        ids = config.eos_token_id if config is not None else None
        ids = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
        return sorted({self.tokenizer.eos_token_id, turn_end(self.tokenizer), *ids} - {None})

    def frozen_copy(self) -> "Policy":
        """A copy with frozen parameters: the reference policy."""
        model = _with_weights_of(self.model, self.model.config)
        return Policy(model.eval().requires_grad_(False), self.tokenizer, self.name)

    def cast(self, dtype: torch.dtype) -> "Policy":
        """Round the weights to ``dtype`` in place; returns the policy."""
        # The parameters only: see ``_with_weights_of``.
        for parameter in self.model.parameters():
            parameter.data = parameter.data.to(dtype)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the model (safetensors) and the tokenizer into ``folder``."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def resolve_device(device: str = "auto") -> torch.device:
    """``auto`` chooses cuda if available, then mps, then cpu; other names are passed to torch.

    Raises:
        ValueError: when the device is unknown or not available.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} cannot be used here ({error})") from None


def load_policy(name: str | Path, device: str = "auto", dtype: torch.dtype | None = None) -> Policy:
    """Load a shipped base model (``"sums"``, ``"lab"``, ``"codes"``), a local folder, or a model from a hub.

    Args:
        name: the name of a shipped model, the name of a packaged one (``smollm2``, see ``policy.packaged``), a
            folder (with safetensors, or with one GGUF file), or a hub id such as
            ``HuggingFaceTB/SmolLM2-135M-Instruct``.
        device: see ``resolve_device``.
        dtype: of the weights; float32 if not given.

    Raises:
        FileNotFoundError: when the name is none of these, or the hub cannot be reached, or a packaged model
            is not installed; the message says what to do.
        ValueError: when a folder is incomplete or a file in it is damaged.
    """
    models = data_folder() / "models"
    known = sorted(path.parent.name for path in models.glob("*/config.json"))
    local = models / name if str(name) in known else Path(name)
    if str(name) in PACKAGED:
        local = packaged_folder(str(name))
    shipped = local.resolve().parent == models.resolve()
    source, options = str(local if local.is_dir() else name), {}
    if local.is_dir():
        options = _check_folder(local, shipped)
    try:
        # The shipped models share one tokenizer, so the vocabulary is stored once. A base model whose
        # world has its own words stores its tokenizer next to the weights.
        shared = shipped and not (local / "tokenizer.json").is_file()
        words = data_folder() / "tokenizer" if shared else source
        tokenizer = AutoTokenizer.from_pretrained(words, **options)
        # Reading GGUF draws a progress bar of its own, which no setting turns off.
        with redirect_stderr(io.StringIO()) if options else nullcontext():
            model, found = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype or torch.float32, output_loading_info=True, **options
            )
    except OSError as error:
        if local.is_dir():
            raise ValueError(f"name: the model in {source} cannot be read ({error})") from None
        raise FileNotFoundError(
            f"name: {source!r} is no shipped model ({', '.join(known)}), no local folder, and could "
            "not be fetched from a model hub. If you are offline, use a shipped model, or download "
            "the model where there is a network (`hf download MODEL --local-dir FOLDER`) and pass "
            "that folder"
        ) from error
    except Exception as error:  # safetensors raises an undocumented type of its own
        raise ValueError(f"name: the model in {source} cannot be read ({error})") from None
    if found["missing_keys"]:  # the library would initialise them at random and only warn
        missing = ", ".join(sorted(found["missing_keys"]))
        raise ValueError(f"name: the model in {source} lacks weights: {missing}")
    if options:
        model = _plain_weights(model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return Policy(model.eval().to(resolve_device(device)), tokenizer, str(name))


def _check_folder(folder: Path, shipped: bool) -> dict[str, str]:
    """Report which part of a model folder is missing; for a GGUF folder, return the name of its file.

    The libraries report it much later and less clearly.
    """
    if not (folder / "config.json").is_file():
        packed = sorted(path.name for path in folder.glob("*.gguf"))
        if len(packed) == 1:
            if lacking := [name for name in ("gguf", "accelerate") if find_spec(name) is None]:
                raise ValueError(
                    f"name: reading {folder / packed[0]} needs the package {' and '.join(lacking)}: "
                    "`pip install -c constraints.txt gguf accelerate`"
                )
            return {"gguf_file": packed[0]}
        raise ValueError(
            f"name: folder {folder} has no config.json, so it does not contain a model"
            + (f" (and which of {', '.join(packed)} is meant?)" if packed else "")
        )
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ValueError(f"name: folder {folder} has no weights (*.safetensors)")
    tokenizer = [*folder.glob("tokenizer.json"), *folder.glob("tokenizer.model")]
    if not shipped and not tokenizer and not (folder / "vocab.json").is_file():
        raise ValueError(
            f"name: folder {folder} has no tokenizer (tokenizer.json); save it next to the model with "
            "`tokenizer.save_pretrained(folder)`"
        )
    return {}


def _plain_weights(model: PreTrainedModel) -> PreTrainedModel:
    """The weights in a model that can be saved; a model read from GGUF is still marked as quantised."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return _with_weights_of(model, config)


def _with_weights_of(model: PreTrainedModel, config: PreTrainedConfig) -> PreTrainedModel:
    """A new model with the weights of ``model``, in their dtype and on their device."""
    # Not ``.to(dtype)``: it would also round the frequencies of the positions, which stay in float32 when a
    # model is loaded, and a bfloat16 reference would differ from its policy before the first step.
    made = type(model)._from_config(config, dtype=model.dtype).to(model.device)
    made.load_state_dict(model.state_dict())
    made.generation_config = model.generation_config
    return made


def encode_prompts(
    policy: Policy, prompts: list[str]
) -> tuple[Int[Tensor, "N P"], Int[Tensor, "N P"]]:
    """Token ids and mask of the prompts, left-padded, on the policy's device.

    Raises:
        ValueError: when a prompt is empty.
    """
    if not prompts or not all(prompts):
        raise ValueError("prompts: need at least one prompt, and no empty ones")
    encoded = policy.tokenizer(
        prompts, return_tensors="pt", padding=True, add_special_tokens=False
    ).to(policy.device)
    return encoded["input_ids"], encoded["attention_mask"]
