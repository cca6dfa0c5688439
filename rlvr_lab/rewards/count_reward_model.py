"""A reward model that reads letter counts, ensembles of such models, and their accuracy.

The input is how often each letter occurs in an answer, so two hidden layers suffice.
``training.reward_models`` fits it on pairs. Notebooks 01 and 02.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rlvr_lab.objectives.preferences import preference_accuracy
from rlvr_lab.tasks.letters import LETTERS, PreferenceWorld

__all__ = ["ProxyReward", "Score", "ensemble", "held_out_accuracy"]

Score = Callable[[Float[Tensor, "B V"]], Float[Tensor, " B"]]


class ProxyReward(nn.Module):
    """From letter counts [B, 16] to one score per answer [B]; only differences of scores matter.

    After fitting, ``centre`` and ``scale`` give the scores of the base policy's answers mean 0 and
    standard deviation 1, so a KL coefficient has the same meaning for all reward models. ``logits``
    are the unscaled scores, whose differences are the log-odds of a preference.
    """

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(len(LETTERS), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def logits(self, counts: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
        """The unscaled scores, used in the Bradley–Terry loss; gradient flows through them."""
        return self.layers(counts).squeeze(1)

    def forward(self, counts: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
        """Scores, in standard deviations of the base policy's scores."""
        return (self.logits(counts) - self.centre) / self.scale


def ensemble(models: list[ProxyReward], reduce: str = "min") -> Score:
    """One score from several models: their mean or their minimum (arXiv:2310.02743).

    The minimum is low for answers on which the members disagree. Optimising against a single model
    would lead to such answers.

    Raises:
        ValueError: for an empty list of models, or an unknown ``reduce``.
    """
    if not models:
        raise ValueError("models: an ensemble needs at least one")
    if reduce not in ("mean", "min"):
        raise ValueError(f"reduce: must be mean or min, got {reduce!r}")

    def score(counts: Tensor) -> Tensor:
        scores = torch.stack([model(counts) for model in models])
        return scores.mean(dim=0) if reduce == "mean" else scores.amin(dim=0)

    return score


@torch.no_grad()
def held_out_accuracy(
    score: Score, world: PreferenceWorld, count: int = 4096, seed: int = 10_000
) -> float:
    """Accuracy of ``score`` on new pairs that are labelled by the gold reward without errors."""
    pairs = world.pairs(count, flip=0.0, seed=seed)
    chosen = score(world.counts(pairs.chosen, pairs.chosen_mask))
    return preference_accuracy(chosen - score(world.counts(pairs.rejected, pairs.rejected_mask)))
