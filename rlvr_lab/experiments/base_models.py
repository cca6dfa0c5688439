"""The base models: made by one command, gated, so that a bad one is never shipped in silence."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from rlvr_lab.experiments.kept_bases import taught_codes
from rlvr_lab.experiments.pretraining import BATCH, PretrainingFailed, fit, learn_chains
from rlvr_lab.experiments.qwen3.checkpoints import COURTEOUS, FUSION_STEPS, fused
from rlvr_lab.experiments.qwen3.checkpoints import MIXED_STEPS as TWO_MODES_STEPS
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.data import bases_folder
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import CODE_WORDS, build_tokenizer, word_tokenizer
from rlvr_lab.tasks.codes import LANGUAGES, Codes, CodesMixture, FactTable, way_of
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.length_lab import LengthLab, exact_lengths
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.tasks.two_modes import FLAGS, KINDS, TwoModes, TwoModesMixture
from rlvr_lab.training.optimise import adamw, trained

__all__ = [
    "BASE_MODELS",
    "MIXED_STEPS",
    "SHIPPED",
    "codes_base",
    "pretrain_codes",
    "pretrain_lab",
    "pretrain_mixed_languages",
    "pretrain_sums",
    "pretrain_two_modes",
    "sums_base",
]

MIXED_STEPS = 130
"""Supervised steps on the mixture of two languages."""
SHIPPED = 0
"""The table of wrong facts of the base in ``data/models/codes``."""
REPLACEMENT = 1000  # added to the seed of a base that fails its gate


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


def pretrain_mixed_languages(
    folder: str | Path, seed: int = 0, device: str = "cpu", log: Callable[[str], None] = print
) -> dict:
    """Make a base model of the codes that sometimes changes the language within a chain (notebook 08).

    Its chains without errors are those of ``codes_with_chains``, which are kept; then the mixture, with 12 facts that
    are wrong in digits and 12 others that are wrong in words.

    Args:
        folder: where the model goes, with its tokenizer.
        seed: of weights, problems, solutions and of the table of wrong facts.
        device: where to train.
        log: receives a line at the end.

    Raises:
        PretrainingFailed: when the chain is not learned in 600 steps, or the result lies outside the
            gate: pass@1 ∈ [.10, .30], and at least 80 % of the chains in each language are those
            of the table, wrong facts included.
    """
    mixture = CodesMixture.two_languages(FactTable(seed, 12, 12))
    policy = taught_codes(mixture, MIXED_STEPS, seed, device)
    measured = evaluate(policy, Codes(), 256, 16)
    measured |= {f"as taught|{name}": x for name, x in _as_taught(policy, mixture).items()}
    log(f"mixture: step {MIXED_STEPS}, measured {measured}")
    taught = min(measured["as taught|digits"], measured["as taught|words"])
    if not (0.10 <= measured["pass@1"] <= 0.30 and taught >= 0.80):
        raise PretrainingFailed(f"seed {seed}: outside the gate: {measured}")
    card = {
        "mixture": asdict(mixture),
        "seed": seed,
        "mixture_steps": MIXED_STEPS,
        "batch_size": BATCH,
        "measured": measured,
    }
    _write(policy, Path(folder), card)
    policy.tokenizer.save_pretrained(folder)
    return card


def pretrain_two_modes(
    folder: str | Path, seed: int = 0, device: str = "cpu", log: Callable[[str], None] = print
) -> dict:
    """Make the model with two modes, after Qwen3's first three stages, and write it to ``folder`` (notebook 10).

    The stages are those of ``qwen3.checkpoints``; their checkpoints are kept.

    Args:
        folder: where the model goes; its vocabulary is the shared one.
        seed: of all stages.
        device: where to train.
        log: receives a line at the end.

    Raises:
        PretrainingFailed: when the chain is not learned, or with ``/think`` less than 95 % of the answers to either
            task are correct, or with ``/no_think`` less than 90 % of those to the maxima.
    """
    policy = fused(seed, device=device)
    measured = {
        f"{kind}|{flag}": evaluate(policy, TwoModes(kind, flag), 256, 16)
        for kind in KINDS
        for flag in FLAGS
    }
    found = {name: values["pass@1"] for name, values in measured.items()}
    log(f"two modes: pass@1 {found}")
    thinking = min(found["sums|think"], found["maxima|think"])
    if not (thinking >= 0.95 and found["maxima|no_think"] >= 0.90):
        raise PretrainingFailed(f"seed {seed}: outside the gate: {found}")
    card = {
        "mixture": asdict(TwoModesMixture()),
        "seed": seed,
        "mixture_steps": TWO_MODES_STEPS,
        "fusion_steps": FUSION_STEPS,
        "polite": COURTEOUS,
        "batch_size": BATCH,
        "measured": measured,
    }
    _write(policy, Path(folder), card)
    return card


# ------------------------------------------------------------------------- one for each seed


def sums_base(seed: int, device: str = "auto") -> tuple[Policy, int]:
    """The sums' base model of one seed, made if it is not there yet, and the seed that its pretraining used.

    A base can miss the gate of ``pretrain_sums``. The rule, fixed before any base was made: the seed plus
    1,000 takes its place, then plus 2,000, up to plus 4,000. The other seeds of the run stay.

    Raises:
        PretrainingFailed: when all five miss the gate.
    """
    for used in range(seed, seed + 5 * REPLACEMENT, REPLACEMENT):
        folder = bases_folder() / f"sums_{used}"
        try:
            if not (folder / "tokenizer.json").is_file():  # it is written last
                pretrain_sums(folder, used, device, log=lambda line: None)
                build_tokenizer().save_pretrained(folder)
        except PretrainingFailed:
            continue
        return load_policy(folder, device), used
    raise PretrainingFailed(f"seed {seed}: five bases in a row missed the gate")


def codes_base(table: int, device: str = "auto") -> Policy:
    """The base of one table of wrong facts: shipped, or made and kept if it is not there yet.

    Raises:
        PretrainingFailed: see ``pretrain_codes``.
    """
    if table == SHIPPED:
        return load_policy("codes", device)
    folder = bases_folder() / f"codes_{table}"
    if not (folder / "pretraining.json").is_file():
        pretrain_codes(folder, table, device)
    return load_policy(folder, device)


BASE_MODELS: dict[str, Callable[..., dict]] = {
    "sums": pretrain_sums,
    "lab": pretrain_lab,
    "codes": pretrain_codes,
    "mixed_languages": pretrain_mixed_languages,
    "two_modes": pretrain_two_modes,
}
"""World → what makes its base model."""
