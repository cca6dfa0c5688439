"""A model's answers as a tree to search in, the values of its prefixes, and what blind guessing gets (notebook 08).

The world is ``tasks.doubtful_codes``: the base is unsure of two thirds of the additions and prefers the wrong
result there.
"""

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy import ndarray
from scipy.stats import rankdata

from rlvr_lab.exact.search import Prefix, Problems
from rlvr_lab.experiments.kept_bases import codes_with_chains, kept_base
from rlvr_lab.experiments.pretraining import fit
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.rewards.verifiable import accuracy_rewards
from rlvr_lab.tasks.codes import FactTable
from rlvr_lab.tasks.doubtful_codes import DoubtfulMixture, ShownCodes, still_correct
from rlvr_lab.tasks.task import Problem, grade
from rlvr_lab.training.optimise import adamw, trained

__all__ = [
    "CHAIN",
    "LONGEST",
    "PolicyTree",
    "ValueOf",
    "answers_of",
    "auc",
    "blind_guessing",
    "doubtful_base",
    "prefix_auc",
]

LONGEST = 20
"""Tokens after which an answer is cut off."""
CHAIN = 18
"""Tokens of a whole answer, with its end."""

ValueOf = Callable[[Problems, Sequence[Prefix]], ndarray]


class PolicyTree:
    """A policy's answers to K problems as a ``search.Space``; its distributions are computed once.

    Args:
        policy: whose next-token probabilities are the prior.
        problems: K; their prompts have the same number of tokens.
        value: of prefixes; 0 by default.
    """

    def __init__(
        self, policy: Policy, problems: list[Problem], value: ValueOf | None = None
    ) -> None:
        self.policy, self.problems, self.task, self.value = policy, problems, ShownCodes(), value
        self.branching = policy.model.config.vocab_size
        self.prompts = [policy.tokenizer.encode(problem.prompt) for problem in problems]
        self.known: dict[tuple[int, Prefix], ndarray] = {}

    def expand(self, problems: Problems, prefixes: Sequence[Prefix]) -> tuple[ndarray, ndarray]:
        """As ``search.Space.expand``."""
        keys = [(int(p), prefix) for p, prefix in zip(problems, prefixes, strict=True)]
        if new := [key for key in dict.fromkeys(keys) if key not in self.known]:
            self.known |= dict(zip(new, self._read(new), strict=True))
        prior = np.stack([self.known[key] for key in keys])
        value = self.value(problems, prefixes) if self.value else np.zeros(len(keys))
        return prior, value

    def outcome(self, problem: int, prefix: Prefix) -> float | None:
        """As ``search.Space.outcome``: an answer ends with the end word, or at ``LONGEST`` tokens."""
        ended = prefix[-1] in self.policy.stop_ids
        if not ended and len(prefix) < LONGEST:
            return None
        text = self.policy.tokenizer.decode(prefix[:-1] if ended else prefix)
        return float(self.task.verify(self.problems[problem], text, not ended).correct)

    def words(self, prefix: Prefix) -> list[str]:
        """The words of a prefix."""
        return self.policy.tokenizer.convert_ids_to_tokens(list(prefix))

    def ids(self, keys: Sequence[tuple[int, Prefix]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompt and prefix, padded on the right, [R, L], and the place of the last word [R]."""
        rows = [[*self.prompts[p], *prefix] for p, prefix in keys]
        last = torch.tensor([len(row) - 1 for row in rows])
        pad, width = self.policy.tokenizer.pad_token_id, int(last.max()) + 1
        return torch.tensor([row + [pad] * (width - len(row)) for row in rows]), last

    @torch.no_grad()
    def _read(self, keys: list[tuple[int, Prefix]]) -> ndarray:
        # The padding stands behind: causal attention does not see it from the last word.
        ids, last = self.ids(keys)
        hidden = self.policy.model.base_model(input_ids=ids).last_hidden_state
        logits = self.policy.model.lm_head(hidden[torch.arange(len(ids)), last])
        return logits.double().softmax(-1).numpy()

    def exact_value(self, problems: Problems, prefixes: Sequence[Prefix]) -> ndarray:
        """1 while a prefix is the beginning of a correct answer, else 0."""
        pairs = zip(problems, prefixes, strict=True)
        return np.array([float(still_correct(self.problems[p], self.words(x))) for p, x in pairs])

    @torch.no_grad()
    def learned_value(
        self, model: ScalarModel, problems: Problems, prefixes: Sequence[Prefix]
    ) -> ndarray:
        """σ(V) at the last word of each prefix."""
        ids, last = self.ids([(int(p), x) for p, x in zip(problems, prefixes, strict=True)])
        hidden = model.body(input_ids=ids).last_hidden_state[torch.arange(len(ids)), last]
        return model.head(hidden).squeeze(-1).sigmoid().numpy()


# ---------------------------------------------------------------------------------- the base


def doubtful_base(seed: int, steps: int = 150) -> Policy:
    """The base of a replicate: flawless chains, then chains with doubtful additions. It is kept."""

    def make() -> Policy:
        policy = codes_with_chains(seed, device="cpu")
        solve = DoubtfulMixture(FactTable(seed, 60, 0)).solve
        optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"doubts {seed}")
        fit(policy, ShownCodes(), solve, steps, 1.5e-3, optimizer, rng)
        return policy

    return kept_base(f"codes_doubtful_{seed}", make, "cpu")


def answers_of(
    policy: Policy, count: int, seed: int
) -> tuple[list[Problem], RolloutBatch, torch.Tensor]:
    """``count`` answers, four to each problem, and their outcomes."""
    problems = ShownCodes().problems(count // 4, random.Random(f"value answers {seed}"))
    generator = torch.Generator().manual_seed(seed)
    batch = sample(policy, [problem.prompt for problem in problems], 4, LONGEST, generator)
    verdicts = grade(ShownCodes(), problems, batch.texts, batch.truncated.tolist())
    return problems, batch, accuracy_rewards(verdicts)


# ---------------------------------------------------------------------------------- the value


def auc(scores: ndarray, positive: ndarray) -> float:
    """Probability that a positive has a larger score than a negative; ties count one half; NaN without both.

    >>> auc(np.array([1.0, 2.0, 3.0, 2.0]), np.array([False, False, True, True]))
    0.875
    """
    positive = np.asarray(positive, dtype=bool)
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))


def prefix_auc(tree: PolicyTree, value: ValueOf, answers: int, seed: int) -> float:
    """AUC of a value for "this prefix is still correct", at the places behind an addition, mean over the places.

    Only prefixes of one length are compared with each other: how far an answer has come says nothing here.

    Args:
        tree: the problems that the answers are sampled for.
        value: of prefixes.
        answers: sampled per problem.
        seed: of the sampling.
    """
    generator = torch.Generator().manual_seed(seed)
    prompts = [problem.prompt for problem in tree.problems]
    batch = sample(tree.policy, prompts, answers, LONGEST, generator)
    found = []
    for length in (3, 4, 7, 8, 11, 12):  # <think> and the numbers up to each sum
        rows = [row for row in range(len(batch.texts)) if batch.lengths[row] > length]
        keys = [
            (row // answers, tuple(batch.completion_ids[row, :length].tolist())) for row in rows
        ]
        owners, prefixes = [key[0] for key in keys], [key[1] for key in keys]
        correct = tree.exact_value(owners, prefixes) == 1
        found.append(auc(value(owners, prefixes), correct))
    return float(np.nanmean(found))


def blind_guessing(budget: int, cached: bool = False) -> float:
    """Probability that blind guessing solves a problem with ``budget`` tokens.

    A guess is a whole chain of any numbers with its answer; it is correct once in 1,000 times. No answer is
    tried twice. With a cache the guesses share their beginnings, which makes them cheaper.

    >>> blind_guessing(18 * 50), round(blind_guessing(18 * 50, cached=True), 3)
    (0.05, 0.12)
    """
    if not cached:
        return min(1000, budget // CHAIN) / 1000
    # The numbers of a chain that decide are the last of each sum; only what follows a change is new:
    # with its end a guess costs 7 new tokens, 11 when the second sum changes, 15 when the first does.
    spent, guesses = CHAIN, int(budget >= CHAIN)
    while guesses and guesses < 1000:
        spent += 15 if guesses % 100 == 0 else 11 if guesses % 10 == 0 else 7
        if spent > budget:
            break
        guesses += 1
    return guesses / 1000
