"""A reward model that was learned from preferences, in a vocabulary of its own (notebook 05).

It reads characters where the policy reads words, so texts cross from one to the other, never ids.
"""

import random
import string
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from rlvr_lab.policy import Policy, data_folder, resolve_device
from rlvr_lab.preferences import bradley_terry_loss
from rlvr_lab.rewards import accuracy_rewards, grade
from rlvr_lab.rollouts import sample
from rlvr_lab.scalar_head import ScalarModel, answer_scores
from rlvr_lab.tasks import Task

__all__ = ["RewardModel", "character_tokenizer", "fit_reward_model", "preference_pairs"]


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, for all characters that the tiny world writes.

    >>> character_tokenizer().tokenize("1+2?")
    ['1', '+', '2', '?']
    """
    characters = ["<pad>", *string.digits, *string.ascii_lowercase, *"+.?=<>/_"]
    vocabulary = {character: index for index, character in enumerate(characters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", padding_side="left"
    )


@dataclass
class RewardModel:
    """A scalar head on a body of its own, and the tokenizer that belongs to it.

    Attributes:
        model: the network.
        tokenizer: its vocabulary, which need not be the policy's.
        accuracy: share of held-out pairs that it orders rightly.
    """

    model: ScalarModel
    tokenizer: PreTrainedTokenizerBase
    accuracy: float

    def score(self, prompts: list[str], texts: list[str]) -> Float[Tensor, " B"]:
        """Score of each text after its prompt, groups contiguous; no gradient.

        Raises:
            ValueError: when the number of texts is no multiple of the number of prompts.
        """
        if not prompts or len(texts) % len(prompts):
            raise ValueError(f"texts: {len(texts)} texts do not fit {len(prompts)} prompts")
        size = len(texts) // len(prompts)
        whole = [prompts[row // size] + text for row, text in enumerate(texts)]
        with torch.no_grad():
            return answer_scores(self.model, self.tokenizer, whole)

    def save(self, folder: str | Path) -> None:
        """Write body, head and tokenizer into ``folder``."""
        folder = Path(folder)
        self.model.body.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        head = {name: value.contiguous() for name, value in self.model.head.state_dict().items()}
        save_file(head | {"accuracy": torch.tensor(self.accuracy)}, folder / "head.safetensors")

    @classmethod
    def load(cls, folder: str | Path | None = None, device: str = "auto") -> "RewardModel":
        """Read a reward model; by default the shipped one, ``data/reward_model``.

        Raises:
            FileNotFoundError: when there is none.
        """
        folder = Path(folder or data_folder() / "reward_model")
        if not (folder / "head.safetensors").is_file():
            raise FileNotFoundError(
                f"folder: no reward model in {folder}; make one with `python -m rlvr_lab reward-model`"
            )
        model = ScalarModel(AutoModel.from_pretrained(folder))
        head = load_file(folder / "head.safetensors")
        accuracy = float(head.pop("accuracy"))
        model.head.load_state_dict(head)
        where = resolve_device(device)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
        return cls(model.eval().to(where), tokenizer, accuracy)


def preference_pairs(
    policy: Policy, task: Task, count: int, flip: float = 0.0, seed: int = 0
) -> list[tuple[str, str]]:
    """(chosen, rejected) texts, prompt included: a right and a wrong answer to one question.

    Args:
        policy: samples the answers.
        task: judges them.
        count: number of pairs.
        flip: chance that the label of a pair is the wrong way round.
        seed: of questions, answers and flips.

    Raises:
        ValueError: when ``count`` < 1 or ``flip`` is no chance.
    """
    if count < 1:
        raise ValueError(f"count: need at least 1 pair, got {count}")
    if not 0 <= flip <= 1:
        raise ValueError(f"flip: must be a chance in [0, 1], got {flip}")
    rng, size = random.Random(seed), 8
    generator = torch.Generator(policy.device).manual_seed(seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        problems = task.problems(64, rng)
        batch = sample(policy, [p.prompt for p in problems], size, 40, generator)
        right = accuracy_rewards(grade(task, problems, batch.texts, batch.truncated.tolist()))
        for group, problem in enumerate(problems):
            rows = range(group * size, (group + 1) * size)
            good = [batch.texts[row] for row in rows if right[row]]
            bad = [batch.texts[row] for row in rows if not right[row]]
            if good and bad:
                pair = problem.prompt + rng.choice(good), problem.prompt + rng.choice(bad)
                pairs.append(pair[::-1] if rng.random() < flip else pair)
    return pairs[:count]


def fit_reward_model(
    pairs: list[tuple[str, str]],
    held_out: list[tuple[str, str]],
    seed: int = 0,
    steps: int = 300,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    hidden: int = 48,
    device: str = "auto",
) -> RewardModel:
    """Fit a reward model to preferences: Bradley–Terry, AdamW, cosine to 0.

    Raises:
        ValueError: when there are no pairs.
    """
    if not pairs or not held_out:
        raise ValueError("pairs, held_out: need at least one pair each")
    tokenizer = character_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ScalarModel(LlamaModel(config), zero_head=False, seed=seed).to(
            resolve_device(device)
        )
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = random.Random(seed)
    for _ in range(steps):
        chosen, rejected = zip(*rng.choices(pairs, k=batch_size), strict=True)
        scores = answer_scores(model, tokenizer, [*chosen, *rejected])
        loss = bradley_terry_loss(*scores.split(batch_size))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        chosen, rejected = zip(*held_out, strict=True)
        gap = answer_scores(model, tokenizer, list(chosen))
        gap = gap - answer_scores(model, tokenizer, list(rejected))
    return RewardModel(model, tokenizer, float((gap > 0).double().mean()))
