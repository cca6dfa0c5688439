"""A reward model fitted to preferences, with its own vocabulary (notebook 05).

It reads characters and the policy reads words, so the policy's answers are passed on as text and not as ids.
"""

import string
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import resolve_device
from rlvr_lab.policy.scalar_head import ScalarModel, answer_scores
from rlvr_lab.policy.words import word_tokenizer
from rlvr_lab.tasks.task import Answers

__all__ = ["RewardModel", "character_tokenizer"]


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, for all characters in the answers of the sums.

    >>> character_tokenizer().tokenize("1+2?")
    ['1', '+', '2', '?']
    """
    characters = ["<pad>", *string.digits, *string.ascii_lowercase, *"+.?=<>/_"]
    return word_tokenizer(characters, end=None)


@dataclass
class RewardModel:
    """A network with a scalar head, and its tokenizer.

    Attributes:
        model: the network.
        tokenizer: its tokenizer, which may differ from the policy's.
        accuracy: accuracy on held-out pairs.
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
        place = {text: index for index, text in enumerate(dict.fromkeys(whole))}
        # Each distinct text is read once, so equal answers get bitwise equal scores.
        with torch.no_grad():
            scores = answer_scores(self.model, self.tokenizer, list(place))
        return scores[[place[text] for text in whole]]

    def __call__(self, answers: Answers) -> Float[Tensor, " B"]:
        """The score as a reward."""
        return self.score([problem.prompt for problem in answers.problems], answers.batch.texts)

    def save(self, folder: str | Path) -> None:
        """Write the body, the head and the tokenizer into ``folder``."""
        folder = Path(folder)
        self.model.body.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        head = {name: value.contiguous() for name, value in self.model.head.state_dict().items()}
        save_file(head | {"accuracy": torch.tensor(self.accuracy)}, folder / "head.safetensors")

    @classmethod
    def load(cls, folder: str | Path | None = None, device: str = "auto") -> "RewardModel":
        """Read a reward model; by default the shipped one, ``data/reward_model``.

        Raises:
            FileNotFoundError: when the folder holds no reward model.
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
