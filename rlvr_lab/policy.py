"""The policy: a ``transformers`` causal language model, its tokenizer, and its log-probabilities.

``token_logprobs`` is the one place of the package where positions are shifted by one.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from rlvr_lab.batch import RolloutBatch

__all__ = [
    "Policy",
    "build_tokenizer",
    "data_folder",
    "encode_prompts",
    "load_policy",
    "new_policy",
    "resolve_device",
    "token_logprobs",
]

transformers_logging.disable_progress_bar()  # the first thing a reader of a notebook would see

DIGITS = list("0123456789")
NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ADDENDS = [f"+{digit}" for digit in DIGITS]
WORDS = ["<pad>", "<eos>", *DIGITS, *ADDENDS, *NUMBER_WORDS, ".", "?", "="]
WORDS += ["<think>", "</think>", "wait", "/think", "/no_think", "right", "wrong", "ok", "hmm"]


@dataclass
class Policy:
    """A model and the tokenizer that belongs to it.

    Attributes:
        model: a causal language model; on ``device``.
        tokenizer: pads on the left; has an end-of-sequence token.
        name: where it came from.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return self.model.device

    @property
    def stop_ids(self) -> list[int]:
        """Every token id that ends an answer: some chat models have several."""
        config = self.model.generation_config
        ids = config.eos_token_id if config is not None else None
        ids = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
        return sorted({self.tokenizer.eos_token_id, *ids})

    def frozen_copy(self) -> "Policy":
        """A copy that no optimiser moves: the reference policy."""
        model = type(self.model)(self.model.config).to(self.device, self.model.dtype)
        model.load_state_dict(self.model.state_dict())
        return Policy(model.eval().requires_grad_(False), self.tokenizer, self.name)

    def save(self, folder: str | Path) -> None:
        """Write model (safetensors) and tokenizer into ``folder``."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def data_folder() -> Path:
    """The project's ``data/`` folder: beside the package, or in ``$RLVR_LAB_DATA``.

    Raises:
        FileNotFoundError: when there is none.
    """
    folder = Path(os.environ.get("RLVR_LAB_DATA", Path(__file__).parent.parent / "data"))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data folder {folder} not found: work in a clone of the project (installed with "
            "`pip install -e .`), or point the environment variable RLVR_LAB_DATA at its data/ folder"
        )
    return folder


def resolve_device(device: str = "auto") -> torch.device:
    """``auto`` means cuda, then mps, then cpu; anything else is passed to torch.

    Raises:
        ValueError: when the device is unknown or not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} cannot be used here ({error})") from None


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tiny world's tokenizer: one token a word, longest words first."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    longest_first = sorted(WORDS, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def new_policy(
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    hidden: int = 96,
    layers: int = 3,
    heads: int = 4,
    device: str = "auto",
) -> Policy:
    """A small untrained Llama over the tiny world's vocabulary.

    Args:
        tokenizer: from ``build_tokenizer``.
        seed: of the initial weights.
        hidden: width of the residual stream.
        layers: number of blocks.
        heads: attention heads.
        device: see ``resolve_device``.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=int(hidden * 8 / 3) // 8 * 8,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=256,
        # Ten times the usual scale for matrices this small: at 0.02 the attention takes far longer to
        # find the digit it needs.
        initializer_range=0.1,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return Policy(model.to(resolve_device(device)), tokenizer, "untrained")


def load_policy(name: str | Path, device: str = "auto", dtype: torch.dtype | None = None) -> Policy:
    """Load a shipped base (``"sums"``, ``"lab"``), a local folder, or a model of a hub.

    Args:
        name: a shipped name, a folder, or a hub id such as ``HuggingFaceTB/SmolLM2-135M-Instruct``.
        device: see ``resolve_device``.
        dtype: of the weights; float32 if not given.

    Raises:
        FileNotFoundError: when the name is none of the three, or the hub cannot be reached; says what
            to do.
        ValueError: when a folder is incomplete or a file in it is damaged.
    """
    shipped = data_folder() / "models" / str(name)
    local = shipped if (shipped / "config.json").is_file() else Path(name)
    source = str(local if local.is_dir() else name)
    if local.is_dir():
        _check_folder(local)
    try:
        # The shipped bases share one tokenizer, so that there is one source of the vocabulary.
        tokenizer_source = data_folder() / "tokenizer" if local == shipped else source
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype or torch.float32)
    except OSError as error:
        if local.is_dir():
            raise ValueError(f"name: the model in {source} cannot be read ({error})") from None
        known = sorted(p.parent.name for p in (data_folder() / "models").glob("*/config.json"))
        raise FileNotFoundError(
            f"name: {source!r} is no shipped model ({', '.join(known)}), no local folder, and could "
            "not be fetched from a model hub. If you are offline, use a shipped model, or download "
            "the model where there is a network (`hf download MODEL --local-dir FOLDER`) and pass "
            "that folder"
        ) from error
    except Exception as error:  # safetensors raises its own, undocumented type
        raise ValueError(f"name: the model in {source} cannot be read ({error})") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return Policy(model.eval().to(resolve_device(device)), tokenizer, str(name))


def _check_folder(folder: Path) -> None:
    """Say which part of a model folder is missing before a library says it in its own words."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"name: folder {folder} has no config.json, so it holds no model")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ValueError(f"name: folder {folder} has no weights (*.safetensors)")
    shipped = folder.parent == data_folder() / "models"
    tokenizer = [*folder.glob("tokenizer.json"), *folder.glob("tokenizer.model")]
    if not shipped and not tokenizer and not (folder / "vocab.json").is_file():
        raise ValueError(
            f"name: folder {folder} has no tokenizer (tokenizer.json); save it beside the model with "
            "`tokenizer.save_pretrained(folder)`"
        )


def encode_prompts(
    policy: Policy, prompts: list[str]
) -> tuple[Int[Tensor, "N P"], Int[Tensor, "N P"]]:
    """Token ids and mask of the prompts, left-padded, on the policy's device.

    Raises:
        ValueError: when a prompt is empty.
    """
    if not prompts or not all(prompts):
        raise ValueError("prompts: need at least one prompt, and none of them empty")
    encoded = policy.tokenizer(
        prompts, return_tensors="pt", padding=True, add_special_tokens=False
    ).to(policy.device)
    return encoded["input_ids"], encoded["attention_mask"]


def prefill(model: PreTrainedModel, prompt_ids: Tensor, prompt_mask: Tensor) -> tuple:
    """Read the prompts once: the cache of their keys and values, and the logits after them [N, V]."""
    positions = (prompt_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    output = model(
        input_ids=prompt_ids,
        attention_mask=prompt_mask.long(),
        position_ids=positions,
        past_key_values=DynamicCache(config=model.config),
        use_cache=True,
        logits_to_keep=1,
    )
    return output.past_key_values, output.logits[:, -1]


def _select(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    """A new cache with the given rows; gradient flows back into the old one."""
    chosen = DynamicCache()
    for index, layer in enumerate(cache.layers):
        chosen.update(layer.keys[rows], layer.values[rows], index)
    return chosen


def token_logprobs(
    model: PreTrainedModel,
    batch: RolloutBatch,
    temperature: float = 1.0,
    rows: Bool[Tensor, " B"] | None = None,
    rows_per_pass: int = 64,
) -> Float[Tensor, "B T"]:
    """log π of every completion token, in nats, with gradient.

    ``logprobs[:, t]`` scores ``completion_ids[:, t]`` given the prompt and the tokens before it. Each
    prompt is read once for its whole group, answers that a group gave twice are computed once, and
    rows are taken in order of length so that little padding is computed; all of that changes the
    time, not the value.

    Args:
        model: the policy or the reference.
        batch: the rollouts.
        temperature: divides the logits, as it did when the tokens were sampled.
        rows: compute only these rows; the others keep ``batch.old_logprobs``, without gradient.
        rows_per_pass: how many completions share one forward pass.

    Returns:
        [B, T]; 0 outside ``batch.attention_mask``.

    Raises:
        ValueError: when ``temperature`` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: must be positive, got {temperature}")
    lengths = batch.lengths
    every = torch.arange(len(lengths), device=lengths.device)
    wanted = every if rows is None else every[rows]
    logprobs = batch.old_logprobs
    if len(wanted) == 0:
        return logprobs
    order, twin = _distinct(batch, wanted)
    computed = logprobs.new_zeros(len(order), logprobs.shape[1])
    # Only the prompts that some wanted row belongs to are read.
    prompts, place = torch.unique(order // batch.group_size, return_inverse=True)
    cache, first = prefill(model, batch.prompt_ids[prompts], batch.prompt_mask[prompts])
    rank = torch.arange(len(order), device=order.device)
    for part in rank.split(rows_per_pass):
        chunk, owner = order[part], place[part]
        longest = int(lengths[chunk].max())
        logits = first[owner, None]
        if longest > 1:
            later = _continue(model, _select(cache, owner), batch, chunk, longest - 1)
            logits = torch.cat([logits, later], dim=1)
        ids = batch.completion_ids[chunk, :longest, None]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        scores = logits.log_softmax(-1).gather(2, ids).squeeze(2).to(computed)
        scores = scores.masked_fill(~batch.attention_mask[chunk, :longest], 0.0)
        padded = torch.nn.functional.pad(scores, (0, logprobs.shape[1] - longest))
        computed = computed.index_put((part,), padded)
    return logprobs.index_put((wanted,), computed[twin])


def _distinct(batch: RolloutBatch, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of which no two are the same answer to the same prompt, shortest first.

    Also, for each wanted row, the place of its twin among them: gradient adds up over twins by itself.
    """
    ids = batch.completion_ids.masked_fill(~batch.attention_mask, -1)[wanted]
    key = torch.cat([batch.lengths[wanted, None], wanted[:, None] // batch.group_size, ids], dim=1)
    distinct, twin = torch.unique(key, dim=0, return_inverse=True)  # sorted, so by length first
    first = wanted.new_empty(len(distinct)).scatter_(0, twin, wanted)
    return first, twin


def _continue(model, cache: DynamicCache, batch: RolloutBatch, chunk: Tensor, width: int) -> Tensor:
    """Logits after each of the first ``width`` completion tokens of the rows in ``chunk``."""
    prompt_mask = batch.prompt_mask[chunk // batch.group_size]
    mask = torch.cat([prompt_mask, batch.attention_mask[chunk, :width]], dim=1).long()
    start = prompt_mask.sum(dim=1, keepdim=True)
    return model(
        input_ids=batch.completion_ids[chunk, :width],
        attention_mask=mask,
        position_ids=start + torch.arange(width, device=start.device),
        past_key_values=cache,
        use_cache=True,
    ).logits
