"""The base models: made by one command, gated, so that a bad one is never shipped in silence."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.length_lab import LengthLab, exact_lengths
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.supervised import supervised_steps

__all__ = ["BASE_MODELS", "PretrainingFailed", "pretrain_lab", "pretrain_sums"]

BATCH = 128


class PretrainingFailed(RuntimeError):
    """The base did not pass its gate; nothing was written."""


def _write(policy: Policy, folder: Path, card: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    policy.model.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


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
    clean_steps, accuracy = 0, 0.0
    while accuracy < 0.95:
        if clean_steps >= 600:
            raise PretrainingFailed(
                f"seed {seed}: chains are right only {accuracy:.0%} of the time after "
                f"{clean_steps} steps; try another seed"
            )
        stage = supervised_steps(
            policy, task, SumsMixture.clean().solve, 50, lambda _: 2e-3, optimizer, rng
        )
        loss = list(stage)[-1]
        clean_steps += 50
        accuracy = evaluate(policy, task, 64, 1, seed=clean_steps)["pass@1"]
        log(f"clean chains: step {clean_steps}, loss {loss:.3f}, right {accuracy:.0%}")
    mixture, mixed_steps = SumsMixture(), 150
    cosine = lambda step: 1.5e-3 * (1 + math.cos(math.pi * step / mixed_steps)) / 2  # noqa: E731
    losses = list(
        supervised_steps(policy, task, mixture.solve, mixed_steps, cosine, optimizer, rng)
    )
    measured = evaluate(policy, task, 256, 16)
    log(f"mixture: step {mixed_steps}, loss {losses[-1]:.3f}, measured {measured}")
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
    cosine = lambda step: 3e-3 * (1 + math.cos(math.pi * step / steps)) / 2  # noqa: E731
    losses = list(
        supervised_steps(
            policy, task, task.solve, steps, cosine, optimizer, rng, batch_size=256, trained_from=1
        )
    )
    measured = exact_lengths(policy, 32)
    log(f"length laboratory: step {steps}, loss {losses[-1]:.3f}, measured {measured}")
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


BASE_MODELS: dict[str, Callable[..., dict]] = {"sums": pretrain_sums, "lab": pretrain_lab}
"""World → what makes its base model."""
