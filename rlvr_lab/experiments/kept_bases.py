"""Base models that experiments make for each of their seeds and keep in a folder that git ignores."""

import random
from collections.abc import Callable

from rlvr_lab.experiments.pretraining import fit, learn_chains
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.data import bases_folder
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.words import CODE_WORDS, word_tokenizer
from rlvr_lab.tasks.codes import Codes, CodesMixture
from rlvr_lab.training.optimise import adamw, trained

__all__ = ["codes_with_chains", "kept_base", "taught_codes"]


def kept_base(name: str, make: Callable[[], Policy], device: str = "auto") -> Policy:
    """The policy in ``bases_folder() / name``; it is made and kept if it is not there yet.

    Args:
        name: of its folder. It has to contain everything that the policy depends on, such as the seed.
        make: trains the policy.
        device: see ``policy.loading.resolve_device``.
    """
    folder = bases_folder() / name
    if not (folder / "made").is_file():
        make().save(folder)
        (folder / "made").touch()  # an interrupted save is not taken for a base
    return load_policy(folder, device)


def codes_with_chains(seed: int, hidden: int = 96, layers: int = 3, device: str = "auto") -> Policy:
    """A policy that has learned flawless chains of the codes in both languages, and nothing else.

    It is the first stage of each base model in the world of the codes. The second stage, a mixture, takes
    half a minute; this one takes a minute, so it is kept (``kept_base``).

    Raises:
        PretrainingFailed: when the chain is not learned in 600 steps.
    """

    def make() -> Policy:
        policy = new_policy(word_tokenizer(CODE_WORDS), seed, hidden, layers, device=device)
        optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"chains {seed}")
        solve = CodesMixture.clean().solve
        learn_chains(policy, Codes(), solve, optimizer, rng, seed, log=lambda line: None)
        return policy

    return kept_base(f"codes_chains_{hidden}x{layers}_{seed}", make, device)


def taught_codes(mixture: CodesMixture, steps: int, seed: int, device: str = "auto") -> Policy:
    """The policy of ``codes_with_chains`` after supervised steps on a mixture, a cosine from 1.5e-3."""
    policy = codes_with_chains(seed, device=device)
    optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"mixture {seed}")
    fit(policy, Codes(), mixture.solve, steps, 1.5e-3, optimizer, rng)
    return policy
