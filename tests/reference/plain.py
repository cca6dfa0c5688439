"""What every reference needs, written from definitions: one row at a time, no padding, no cache.

Nothing here comes from ``rlvr_lab`` except the bag ``Policy`` that its loops ask for. A task is used
only for its ``problems`` and ``forced_words``; verdicts are given anew, in ``record``.
"""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlvr_lab.policy.loading import Policy

DATA = Path(__file__).parents[2] / "data"
TOKENIZER = PreTrainedTokenizerFast.from_pretrained(DATA / "tokenizer")
WORDS = sorted(TOKENIZER.get_vocab(), key=len, reverse=True)
END = TOKENIZER.eos_token_id


# ------------------------------------------------------------------------------------- the policy


@contextmanager
def double() -> Iterator[None]:
    """New tensors are float64 inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class DoubleLlama(LlamaForCausalLM):
    """Llama whose norms compute in the dtype they are given; the library's compute in float32."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        for layer in self.model.layers:
            layer.input_layernorm = _norm(config)
            layer.post_attention_layernorm = _norm(config)
        self.model.norm = _norm(config)


def _norm(config: LlamaConfig) -> nn.RMSNorm:
    norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
    norm.variance_epsilon = config.rms_norm_eps  # the name by which the library's norm calls it
    return norm


def base_policy(name: str = "sums", dtype: torch.dtype = torch.float64) -> Policy:
    """A shipped base, ``sums`` or ``lab``."""
    kind = DoubleLlama if dtype == torch.float64 else LlamaForCausalLM
    model = kind.from_pretrained(DATA / "models" / name, dtype=dtype)
    return Policy(model.eval(), TOKENIZER, name)


def random_policy(seed: int = 0, hidden: int = 8, scale: float = 0.4) -> Policy:
    """An untrained policy of about 1,400 parameters, in float64."""
    config = LlamaConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=scale,
        tie_word_embeddings=False,
        pad_token_id=TOKENIZER.pad_token_id,
        eos_token_id=END,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DoubleLlama(config).double()
    return Policy(model.eval(), TOKENIZER, "random")


def frozen(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).requires_grad_(False)


def elsewhere(model: nn.Module, distance: float = 0.02) -> nn.Module:
    """A frozen copy with other weights: a reference that a policy has already left."""
    moved = frozen(model)
    for parameter in moved.parameters():
        parameter *= 1 - distance
    return moved


def parameters(model: nn.Module) -> list[Tensor]:
    return list(model.parameters())


def snapshot(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def encode(text: str) -> list[int]:
    """Token ids, the longest word that fits first.

    >>> [TOKENIZER.convert_ids_to_tokens(i) for i in encode("7+5.?")]
    ['7', '+5', '.', '?']
    """
    ids = []
    while text:
        word = next(w for w in WORDS if text.startswith(w))
        ids.append(TOKENIZER.convert_tokens_to_ids(word))
        text = text[len(word) :]
    return ids


# -------------------------------------------------------------------------------------- sampling


@dataclass
class Answer:
    """One sampled answer.

    ``ids`` are its tokens, a forced first word and the end token included; ``trained`` are the
    positions in ``ids`` that the policy chose. ``old`` and ``entropy`` [T] belong to the policy that
    sampled, at its temperature.
    """

    prompt: str
    goal: int
    prompt_ids: list[int]
    ids: list[int]
    trained: list[int]
    truncated: bool
    text: str = ""
    old: Tensor | None = None
    entropy: Tensor | None = None


def logits_of(model: nn.Module, answer: Answer, temperature: float) -> Tensor:
    """Tempered logits [T, V] at every state of the answer: what each of its tokens was drawn from."""
    ids = torch.tensor([answer.prompt_ids + answer.ids])
    logits = model(ids).logits[0] / temperature
    start = len(answer.prompt_ids) - 1
    return logits[start : start + len(answer.ids)]


def logprobs_of(model: nn.Module, answer: Answer, temperature: float = 1.0) -> Tensor:
    """log π of each token of the answer, [T], with gradient."""
    return pick(logits_of(model, answer, temperature), answer.ids)


def pick(logits: Tensor, ids: list[int]) -> Tensor:
    """log π of the tokens that were drawn from the rows of ``logits``."""
    table = logits.log_softmax(-1)
    return torch.stack([table[t, token] for t, token in enumerate(ids)])


def entropy_of(logits: Tensor) -> Tensor:
    """−Σ π·log π of each row of logits."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def step_random(config, step: int) -> random.Random:
    """Everything random in step k comes from (seed, k)."""
    return random.Random(f"{config.seed} {step}")


@torch.no_grad()
def sample(config, model: nn.Module, task, step: int) -> list[Answer]:
    """The answers of step k, the ``group_size`` answers to a problem side by side."""
    rng = step_random(config, step)
    problems = task.problems(config.prompts_per_step, rng)
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    answers = [
        Answer(p.prompt, p.answer, encode(p.prompt), [], [], truncated=True)
        for p in problems
        for _ in range(config.group_size)
    ]
    forced = task.forced_words(len(answers), rng)
    draw_answers(config, model, answers, generator, forced)
    return answers


@torch.no_grad()
def draw_answers(config, model, answers: list[Answer], generator, forced=None) -> None:
    """Fill in empty answers. At each token one draw for all answers that have not ended, in order."""
    for t in range(config.max_new_tokens):
        alive = [a for a in answers if a.truncated]
        if not alive:
            break
        if t == 0 and forced is not None:
            for answer, word in zip(alive, forced, strict=True):
                answer.ids.append(TOKENIZER.convert_tokens_to_ids(word))
            continue
        probs = next_probabilities(model, alive, config.temperature)
        probs = torch.stack([nucleus(row, config.top_p) for row in probs])
        tokens = torch.multinomial(probs, 1, generator=generator)[:, 0].tolist()
        for answer, token in zip(alive, tokens, strict=True):
            answer.trained.append(t)
            answer.ids.append(token)
            answer.truncated = token != END
    for answer in answers:
        shown = answer.ids if answer.truncated else answer.ids[:-1]
        answer.text = "".join(TOKENIZER.convert_ids_to_tokens(shown))
        logits = logits_of(model, answer, config.temperature)
        answer.old = pick(logits, answer.ids)
        answer.entropy = entropy_of(logits)


def next_probabilities(model, alive: list[Answer], temperature: float) -> Tensor:
    """[R, V]. Rows of one length are read together, which needs no padding."""
    rows = [a.prompt_ids + a.ids for a in alive]
    if len({len(row) for row in rows}) == 1:
        logits = model(torch.tensor(rows)).logits[:, -1]
    else:
        logits = torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])
    return (logits / temperature).softmax(-1)


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """The smallest set of tokens whose probability reaches ``top_p``; 0 elsewhere."""
    kept, mass = torch.zeros_like(probs), 0.0
    for index in probs.argsort(descending=True).tolist():
        if top_p < 1 and mass >= top_p:
            break
        kept[index] = probs[index]
        mass += float(probs[index])
    return kept


# --------------------------------------------------------------------------------------- optimisers


def clip_norm(gradients: list[Tensor], limit: float | None) -> tuple[list[Tensor], float]:
    """Gradients scaled down to the norm ``limit`` if theirs is larger, and their norm before that."""
    norm = sum(float((g * g).sum()) for g in gradients) ** 0.5
    if limit is None:
        return gradients, norm
    return [g * min(1.0, limit / (norm + 1e-6)) for g in gradients], norm


class Sgd:
    """θ ← θ − η·g."""

    def step(self, weights: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        with torch.no_grad():
            for w, g in zip(weights, gradients, strict=True):
                w -= rate * g


class AdamW:
    """Adam with bias correction, β = (.9, .95) and no decay  (arXiv:1711.05101)."""

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps
        self.count, self.first, self.second = 0, None, None

    def step(self, weights: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        self.count += 1
        self.first = self.first or [torch.zeros_like(w) for w in weights]
        self.second = self.second or [torch.zeros_like(w) for w in weights]
        with torch.no_grad():
            for w, g, m, v in zip(weights, gradients, self.first, self.second, strict=True):
                m.copy_(0.9 * m + 0.1 * g)
                v.copy_(0.95 * v + 0.05 * g * g)
                corrected = m / (1 - 0.9**self.count)
                spread = (v / (1 - 0.95**self.count)).sqrt()
                w -= rate * corrected / (spread + self.eps)
