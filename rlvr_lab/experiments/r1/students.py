"""The teacher and the two students of the distillation, before they learn (notebook 08, section 7).

All of them live in the world of the codes, without wrong facts. The teacher (d = 96, 3 layers) has learned flawless
chains, and then a mixture of guesses and of chains that slip. The students (d = 48, 2 layers) stand for two cases.
``chaining`` has learned flawless chains, and then a mixture in which chains are rare and slip often: it can add, and
rarely does. ``guessing`` has seen nothing but that mixture: it knows the form of a chain and cannot add.
"""

import random

from rlvr_lab.experiments.kept_bases import codes_with_chains, kept_base
from rlvr_lab.experiments.pretraining import PretrainingFailed, fit, learn_chains
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.words import CODE_WORDS, word_tokenizer
from rlvr_lab.tasks.codes import Codes, CodesMixture, FactTable
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.training.optimise import adamw, trained

__all__ = ["GATES", "base_of"]

STUDENT = (48, 2)
"""Width and layers of a student; the teacher has the course's usual 96 and 3."""
RIGHT = FactTable(0, 0, 0)
CLEAN = CodesMixture(RIGHT, direct=0.0, digits=1.0, words=0.0)
MIXTURES = {
    "teacher": CodesMixture(RIGHT, direct=0.50, digits=0.45, words=0.0, slip=0.04),
    "chaining": CodesMixture(RIGHT, direct=0.80, digits=0.15, words=0.0, slip=0.10),
    "guessing": CodesMixture(RIGHT, direct=0.80, digits=0.15, words=0.0, slip=0.10),
}
MIXTURE_STEPS = {"teacher": 80, "chaining": 130, "guessing": 80}
GATES = {"teacher": (0.15, 0.60), "chaining": (0.03, 0.15), "guessing": (0.0, 0.015)}
"""Bounds on pass@1 of a base, fixed before the recorded seeds; a base outside them ends the recording."""


def base_of(learner: str, seed: int, device: str = "cpu") -> Policy:
    """The policy that a learner starts from; it is made once and kept.

    Raises:
        PretrainingFailed: when its pass@1 lies outside ``GATES``.
    """

    def make() -> Policy:
        rng = random.Random(f"distillation {learner} {seed}")
        if learner == "teacher":
            policy = codes_with_chains(seed, device=device)
        else:
            policy = new_policy(word_tokenizer(CODE_WORDS), seed, *STUDENT, device=device)
        optimizer = adamw(trained(policy.model), 1e-3)
        if learner == "chaining":
            learn_chains(policy, Codes(), CLEAN.solve, optimizer, rng, seed, log=lambda line: None)
        steps, solve = MIXTURE_STEPS[learner], MIXTURES[learner].solve
        fit(policy, Codes(), solve, steps, 1.5e-3, optimizer, rng)
        measured = evaluate(policy, Codes(), 256, 16, max_new_tokens=24)["pass@1"]
        low, high = GATES[learner]
        if not low <= measured <= high:
            raise PretrainingFailed(
                f"seed {seed}: {learner} has pass@1 {measured:.3f}, not in [{low}, {high}]"
            )
        return policy

    return kept_base(f"distillation_{learner}_{seed}", make, device)
