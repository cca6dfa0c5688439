"""The preference world: a known gold reward, and annotators who sometimes make mistakes.

An answer is a sequence of up to 12 letters from ``a`` to ``p``. Its gold reward counts letters:

    gold = Σ_v w_v · min(c_v, 2) − Σ_v max(0, c_v − 2),    w_v ~ N(0, 1) once and for all

so a good letter earns reward twice and costs reward from the third time on. A reward model that learns
"more of v is better" from few pairs is misled. The base policy gives every letter *exactly* equal
probability, so KL(π‖π_base) needs no second model. Notebooks 01 and 02.
"""

import math
import random
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rlvr_lab.policy.architecture import small_llama, small_llama_config
from rlvr_lab.policy.loading import Policy, resolve_device
from rlvr_lab.policy.words import word_tokenizer
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["PreferencePairs", "PreferenceWorld"]

LETTERS = "abcdefghijklmnop"
STOP, PAD, PROMPT = len(LETTERS), len(LETTERS) + 1, "?"


class LetterLlama(LlamaForCausalLM):
    """A Llama whose head has a fixed bias, which defines the base policy."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size)
        self.lm_head.weight.data.zero_()
        self.lm_head.bias.requires_grad_(False)


@dataclass(frozen=True)
class PreferencePairs:
    """N pairs of answers, the preferred one first.

    Attributes:
        chosen: [N, T] letter ids, padded on the right.
        rejected: [N, T].
        chosen_mask: [N, T], True on sampled tokens, including the end-of-sequence token.
        rejected_mask: [N, T].
        flipped: [N], True where the annotator made a mistake; the learner does not see it.
    """

    chosen: Int[Tensor, "N T"]
    rejected: Int[Tensor, "N T"]
    chosen_mask: Bool[Tensor, "N T"]
    rejected_mask: Bool[Tensor, "N T"]
    flipped: Bool[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.chosen)


@dataclass(frozen=True)
class PreferenceWorld(Task):
    """Letters, their gold reward, the base policy and the annotators.

    Attributes:
        length: longest answer, in tokens.
        stop: probability that the base policy ends its answer after each token; with 0 all answers have
            ``length`` tokens.
        length_bias: amount per token that annotators add to the gold reward: they prefer long answers.
        weight_seed: seed of the weights w.
        bar: gold reward at which ``verify`` counts an answer as correct.

    Raises:
        ValueError: for a length below 1 or a probability of stopping outside [0, 1).
    """

    length: int = 12
    stop: float = 0.0
    length_bias: float = 0.0
    weight_seed: int = 7
    bar: float = 2.0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length: need at least 1 token, got {self.length}")
        if not 0 <= self.stop < 1:
            raise ValueError(f"stop: must lie in [0, 1), got {self.stop}")

    @property
    def weights(self) -> Float[Tensor, " V"]:
        """w_v of the 16 letters."""
        generator = torch.Generator().manual_seed(self.weight_seed)
        return torch.randn(len(LETTERS), generator=generator)

    def counts(self, ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """How often each letter occurs in each answer."""
        hot = torch.nn.functional.one_hot(ids, PAD + 2)[..., : len(LETTERS)]
        return (hot * mask[..., None]).sum(dim=1).to(torch.get_default_dtype())

    def gold(self, counts: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
        """The gold reward of answers with these letter counts.

        >>> world = PreferenceWorld()
        >>> twice, thrice = torch.zeros(2, 16).index_fill(1, torch.tensor([3]), 1) * torch.tensor([[2.0], [3.0]])
        >>> float(world.gold(thrice[None]) - world.gold(twice[None]))
        -1.0
        """
        return counts.clamp(max=2) @ self.weights.to(counts) - (counts - 2).clamp(min=0).sum(dim=1)

    def base_answers(
        self, count: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
        """Answers of the base policy and their mask, drawn without a network."""
        ids = torch.randint(len(LETTERS), (count, self.length), generator=generator)
        stops = torch.rand(count, self.length, generator=generator) < self.stop
        before = torch.cat([stops.new_zeros(count, 1), stops[:, :-1]], dim=1).cumsum(dim=1)
        ids = torch.where(stops, STOP, ids)
        return ids.masked_fill(before > 0, PAD), before == 0

    def base_logprobs(
        self, ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """The exact log π_base of each token; 0 on padding."""
        stop = math.log(self.stop) if self.stop > 0 else -math.inf
        letter = math.log((1 - self.stop) / len(LETTERS))
        return torch.where(ids == STOP, stop, letter).masked_fill(~mask, 0.0)

    def pairs(
        self, count: int, flip: float, seed: int, temperature: float = 0.0
    ) -> PreferencePairs:
        """Pairs of base answers, ordered by gold reward (plus the length bias), some flipped.

        Args:
            count: N.
            flip: probability that an annotator's choice is reversed, equal for all pairs.
            seed: of the answers and the errors.
            temperature: τ ≥ 0 of annotators who make more mistakes when a pair is close, as people do:
                they prefer the first answer with probability σ(gap/τ), the Bradley–Terry model.

        Raises:
            ValueError: for no pairs, a probability outside [0, 1], or a negative temperature.
        """
        if not temperature >= 0:
            raise ValueError(f"temperature: must not be negative, got {temperature}")
        if count < 1:
            raise ValueError(f"count: need at least 1 pair, got {count}")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip: must lie in [0, 1], got {flip}")
        generator = torch.Generator().manual_seed(seed)
        first, first_mask = self.base_answers(count, generator)
        second, second_mask = self.base_answers(count, generator)
        pleases = [
            self.gold(self.counts(ids, mask)) + self.length_bias * mask.sum(dim=1)
            for ids, mask in ((first, first_mask), (second, second_mask))
        ]
        gap = pleases[0] - pleases[1]
        flipped = torch.rand(count, generator=generator) < flip
        if temperature > 0:
            chance = torch.sigmoid(gap / temperature)
            flipped = flipped ^ ((torch.rand(count, generator=generator) < chance) ^ (gap > 0))
        swap = ((gap < 0) ^ flipped)[:, None]
        return PreferencePairs(
            torch.where(swap, second, first),
            torch.where(swap, first, second),
            torch.where(swap, second_mask, first_mask),
            torch.where(swap, first_mask, second_mask),
            flipped,
        )

    def base_policy(
        self, seed: int, hidden: int = 48, layers: int = 2, device: str = "cpu"
    ) -> Policy:
        """An untrained network that equals the base policy: only the bias of its head is not 0."""
        tokenizer = word_tokenizer([*LETTERS, "<eos>", "<pad>", PROMPT])
        config = small_llama_config(
            len(tokenizer), hidden, layers, positions=64, pad_token_id=PAD, eos_token_id=STOP
        )
        model = small_llama(config, seed, LetterLlama)
        bias = torch.full((len(tokenizer),), -math.inf)
        bias[: len(LETTERS)] = math.log((1 - self.stop) / len(LETTERS))
        if self.stop > 0:
            bias[STOP] = math.log(self.stop)
        model.lm_head.bias.data.copy_(bias)
        return Policy(model.eval().to(resolve_device(device)), tokenizer, "letters")

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """The only prompt, ``count`` times."""
        return [Problem(PROMPT, 0)] * count

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """``right`` if the gold reward is at least ``bar``; reaching the length limit is no mistake."""
        counts = torch.tensor([[float(text.count(letter)) for letter in LETTERS]])
        return Verdict("right" if float(self.gold(counts)) >= self.bar else "wrong")
