"""The base models: made by one command, gated, so that a bad one is never shipped in silence."""

import json
import math
import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.data import bases_folder
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import CODE_WORDS, build_tokenizer, word_tokenizer
from rlvr_lab.tasks.codes import LANGUAGES, Codes, CodesMixture, FactTable, way_of
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.length_lab import LengthLab, exact_lengths
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.tasks.task import Task
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.supervised import Solver, supervised_steps

__all__ = [
    "BASE_MODELS",
    "PretrainingFailed",
    "codes_with_chains",
    "fit",
    "kept_base",
    "learn_chains",
    "pretrain_codes",
    "pretrain_lab",
    "pretrain_sums",
    "sums_base",
]

BATCH = 128


class PretrainingFailed(RuntimeError):
    """The base did not pass its gate; nothing was written."""


def _write(policy: Policy, folder: Path, card: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    policy.model.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def learn_chains(
    policy: Policy,
    task: Task,
    solve: Solver,
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    seed: int,
    log: Callable[[str], None],
) -> int:
    """Train on flawless chains until 95 % of the answers are correct; returns the number of steps."""
    steps, accuracy = 0, 0.0
    while accuracy < 0.95:
        if steps >= 600:
            raise PretrainingFailed(
                f"seed {seed}: chains are right only {accuracy:.0%} of the time after "
                f"{steps} steps; try another seed"
            )
        stage = supervised_steps(policy, task, solve, 50, lambda _: 2e-3, optimizer, rng)
        loss = list(stage)[-1]
        steps += 50
        accuracy = evaluate(policy, task, 64, 1, seed=steps)["pass@1"]
        log(f"clean chains: step {steps}, loss {loss:.3f}, right {accuracy:.0%}")
    return steps


def pretrain_sums(
    folder: str | Path, seed: int = 0, device: str = "cpu", log: Callable[[str], None] = print
) -> dict:
    """Make the sums' base model and write it to ``folder``.

    Two stages. Flawless chains at a constant rate *until* the chain is learned (it comes suddenly,
    with a delay that depends on the seed); then the mixture, which hides that skill behind direct
    answers, skipped steps and broken tags, for RL to bring out again.

    Args:
        folder: where the model goes.
        seed: of weights, problems and solutions.
        device: where to train.
        log: receives one line of progress now and then.

    Returns:
        The card that is written beside the weights: mixture, seed, steps, measured pass rates.

    Raises:
        PretrainingFailed: when the chain is not learned in 600 steps, or the result lies outside
            the gate pass@1 ∈ [.15, .40], pass@16 ≥ .90.
    """
    task, rng = Sums(), random.Random(f"pretraining {seed}")
    policy = new_policy(build_tokenizer(), seed, device=device)
    optimizer = adamw(trained(policy.model), 1e-3)
    clean_steps = learn_chains(policy, task, SumsMixture.clean().solve, optimizer, rng, seed, log)
    mixture, mixed_steps = SumsMixture(), 150
    loss = fit(policy, task, mixture.solve, mixed_steps, 1.5e-3, optimizer, rng)
    measured = evaluate(policy, task, 256, 16)
    log(f"mixture: step {mixed_steps}, loss {loss:.3f}, measured {measured}")
    if not (0.15 <= measured["pass@1"] <= 0.40 and measured["pass@16"] >= 0.90):
        raise PretrainingFailed(f"seed {seed}: outside the gate: {measured}")
    card = {
        "task": asdict(task),
        "mixture": asdict(mixture),
        "seed": seed,
        "clean_steps": clean_steps,
        "mixture_steps": mixed_steps,
        "batch_size": BATCH,
        "measured": measured,
    }
    _write(policy, Path(folder), card)
    return card


def fit(
    policy: Policy,
    task: Task,
    solve: Solver,
    steps: int,
    peak: float,
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    batch_size: int = BATCH,
    trained_from: int = 0,
) -> float:
    """Supervised steps whose learning rate falls from ``peak`` to 0 along a cosine; the last loss."""

    def cosine(step: int) -> float:
        return peak * (1 + math.cos(math.pi * step / steps)) / 2

    losses = supervised_steps(
        policy, task, solve, steps, cosine, optimizer, rng, batch_size, trained_from
    )
    return list(losses)[-1]


def pretrain_lab(
    folder: str | Path, seed: int = 0, device: str = "cpu", log: Callable[[str], None] = print
) -> dict:
    """Make the length laboratory's base model and write it to ``folder``.

    Raises:
        PretrainingFailed: when a mean length is off its target 2 + (1 − stop)/stop by over 15 %.
    """
    task, rng = LengthLab(), random.Random(f"pretraining {seed}")
    policy = new_policy(build_tokenizer(), seed, hidden=48, layers=2, device=device)
    optimizer = adamw(trained(policy.model), 1e-3)
    steps = 200
    loss = fit(policy, task, task.solve, steps, 3e-3, optimizer, rng, 256, trained_from=1)
    measured = exact_lengths(policy, 32)
    log(f"length laboratory: step {steps}, loss {loss:.3f}, measured {measured}")
    target = 2 + (1 - task.stop) / task.stop
    if any(abs(length / target - 1) > 0.15 for length in measured.values()):
        raise PretrainingFailed(f"seed {seed}: lengths {measured} are far from {target:.2f}")
    card = {
        "stop": task.stop,
        "seed": seed,
        "steps": steps,
        "batch_size": 256,
        "measured": measured,
    }
    _write(policy, Path(folder), card)
    return card


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


def sums_base(seed: int, device: str = "auto") -> Policy:
    """A base model of the sums of its own for each seed, made by ``pretrain_sums`` and kept.

    Raises:
        PretrainingFailed: as of ``pretrain_sums``.
    """

    def make() -> Policy:
        with tempfile.TemporaryDirectory() as folder:
            pretrain_sums(folder, seed, log=lambda line: None)
            build_tokenizer().save_pretrained(folder)
            return load_policy(folder)

    return kept_base(f"sums_{seed}", make, device)


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


def pretrain_codes(
    folder: str | Path, seed: int = 0, device: str = "cpu", log: Callable[[str], None] = print
) -> dict:
    """Make a base model of the codes and write it, with its tokenizer, to ``folder``.

    Two stages, as for the sums. Flawless chains, half in digits and half in words, until they are learned;
    then the mixture, in which each language has its own wrong facts.

    Args:
        folder: where the model goes.
        seed: of weights, problems, solutions *and of the table of wrong facts*: another seed is
            another base with other wrong facts.
        device: where to train.
        log: receives one line of progress now and then.

    Raises:
        PretrainingFailed: when the chain is not learned in 600 steps, or the result lies outside the
            gate: pass@1 ∈ [.15, .30], and at least 80 % of the chains in each language are those
            of the table, wrong facts included.
    """
    task, rng = Codes(), random.Random(f"pretraining {seed}")
    policy = new_policy(word_tokenizer(CODE_WORDS), seed, device=device)
    optimizer = adamw(trained(policy.model), 1e-3)
    clean_steps = learn_chains(policy, task, CodesMixture.clean().solve, optimizer, rng, seed, log)
    mixture, mixed_steps = CodesMixture(FactTable(seed)), 200
    loss = fit(policy, task, mixture.solve, mixed_steps, 1.5e-3, optimizer, rng)
    measured = evaluate(policy, task, 256, 16)
    measured |= {f"as taught|{name}": x for name, x in _as_taught(policy, mixture).items()}
    log(f"mixture: step {mixed_steps}, loss {loss:.3f}, measured {measured}")
    taught = min(measured["as taught|digits"], measured["as taught|words"])
    if not (0.15 <= measured["pass@1"] <= 0.30 and taught >= 0.80):
        raise PretrainingFailed(f"seed {seed}: outside the gate: {measured}")
    card = {
        "mixture": asdict(mixture),
        "seed": seed,
        "clean_steps": clean_steps,
        "mixture_steps": mixed_steps,
        "batch_size": BATCH,
        "measured": measured,
    }
    _write(policy, Path(folder), card)
    policy.tokenizer.save_pretrained(folder)
    return card


def _as_taught(policy: Policy, mixture: CodesMixture) -> dict[str, float]:
    """Share of a policy's chains in each language that are exactly the chain of the table."""
    problems = Codes().problems(256, random.Random("as taught"))
    generator = torch.Generator(policy.device).manual_seed(0)
    batch = sample(policy, [problem.prompt for problem in problems], 16, 24, generator)
    shares = {}
    for language in LANGUAGES:
        same = []
        for row, text in enumerate(batch.texts):
            if way_of(text) == language:
                chain, answer = mixture.chain(problems[row // 16], language, random.Random(0))
                same.append(text == f"<think>{chain}</think>={answer}")
        shares[language] = sum(same) / max(1, len(same))
    return shares


BASE_MODELS: dict[str, Callable[..., dict]] = {
    "sums": pretrain_sums,
    "lab": pretrain_lab,
    "codes": pretrain_codes,
}
"""World → what makes its base model."""
