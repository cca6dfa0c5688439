"""Fitting reward models to preferences: Bradley–Terry on pairs (notebooks 01, 02 and 05)."""

import random
from collections.abc import Callable, Iterator

import torch
from transformers import LlamaModel

from rlvr_lab.objectives.preferences import bradley_terry_loss
from rlvr_lab.policy.architecture import small_llama, small_llama_config
from rlvr_lab.policy.loading import Policy, resolve_device
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.scalar_head import ScalarModel, answer_scores
from rlvr_lab.rewards.count_reward_model import ProxyReward
from rlvr_lab.rewards.text_reward_model import RewardModel, character_tokenizer
from rlvr_lab.rewards.verifiable import accuracy_rewards
from rlvr_lab.tasks.letters import PreferencePairs, PreferenceWorld
from rlvr_lab.tasks.task import Problem, Task, grade
from rlvr_lab.training.optimise import optimiser_step

__all__ = ["Taste", "fit_proxy", "fit_reward_model", "preference_pairs", "taste_pairs"]

Taste = Callable[[Problem, str, bool], float]
"""(question, answer, whether it is correct) → how much the answer pleases an annotator."""


def preference_pairs(
    policy: Policy, task: Task, count: int, flip: float = 0.0, seed: int = 0
) -> list[tuple[str, str]]:
    """(chosen, rejected) texts, prompt included: a correct and an incorrect answer to the same question.

    Args:
        policy: samples the answers.
        task: judges them.
        count: number of pairs.
        flip: probability that the label of a pair is flipped.
        seed: of questions, answers and flips.

    Raises:
        ValueError: when ``count`` < 1 or ``flip`` is not a probability.
    """
    rng, pairs = random.Random(seed), []
    for problem, answers in _answered(policy, task, count, flip, rng, seed):
        good = [text for text, correct in answers if correct]
        bad = [text for text, correct in answers if not correct]
        if good and bad:
            pair = problem.prompt + rng.choice(good), problem.prompt + rng.choice(bad)
            pairs.append(pair[::-1] if rng.random() < flip else pair)
        if len(pairs) == count:
            break
    return pairs


def taste_pairs(
    policy: Policy, task: Task, count: int, taste: Taste, flip: float = 0.0, seed: int = 0
) -> list[tuple[str, str]]:
    """(chosen, rejected) texts, prompt included: two answers to the same question that please differently.

    The eight answers to a question form four pairs at random; a pair that pleases equally is left out.

    Args:
        policy: samples the answers.
        task: judges them.
        count: number of pairs.
        taste: how much an answer pleases.
        flip: probability that the label of a pair is flipped.
        seed: of questions, answers, draws and flips.

    Raises:
        ValueError: when ``count`` < 1, ``flip`` is not a probability, or too few pairs please differently: fewer
            than one in 400.
    """
    rng, pairs, drawn = random.Random(seed), [], 0
    for problem, answers in _answered(policy, task, count, flip, rng, seed):
        mixed = rng.sample(answers, len(answers))
        for (one, first), (other, second) in zip(mixed[::2], mixed[1::2], strict=True):
            better = taste(problem, one, first) - taste(problem, other, second)
            if better:
                pair = problem.prompt + one, problem.prompt + other
                pairs.append(pair if (better > 0) != (rng.random() < flip) else pair[::-1])
        drawn += len(mixed) // 2
        if len(pairs) >= count or drawn >= 400 * count:
            break
    if len(pairs) < count:
        raise ValueError(f"taste: only {len(pairs)} of {drawn} pairs of answers please differently")
    return pairs[:count]


def _answered(
    policy: Policy, task: Task, count: int, flip: float, rng: random.Random, seed: int
) -> Iterator[tuple[Problem, list[tuple[str, bool]]]]:
    """Questions without end, each with eight answers: (text, whether it is correct)."""
    if count < 1:
        raise ValueError(f"count: need at least 1 pair, got {count}")
    if not 0 <= flip <= 1:
        raise ValueError(f"flip: must be a probability in [0, 1], got {flip}")
    size, generator = 8, torch.Generator(policy.device).manual_seed(seed)
    while True:
        problems = task.problems(64, rng)
        batch = sample(policy, [p.prompt for p in problems], size, 40, generator)
        right = accuracy_rewards(grade(task, problems, batch.texts, batch.truncated.tolist()))
        answers = list(zip(batch.texts, right.bool().tolist(), strict=True))
        for group, problem in enumerate(problems):
            yield problem, answers[group * size : (group + 1) * size]


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
    pad = tokenizer.pad_token_id
    config = small_llama_config(len(tokenizer), hidden, layers=2, pad_token_id=pad)
    body = small_llama(config, seed, LlamaModel)
    model = ScalarModel(body, zero_head=False, seed=seed).to(resolve_device(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = random.Random(seed)
    for _ in range(steps):
        chosen, rejected = zip(*rng.choices(pairs, k=batch_size), strict=True)
        scores = answer_scores(model, tokenizer, [*chosen, *rejected])
        loss = bradley_terry_loss(*scores.split(batch_size))
        optimiser_step(optimizer, loss)
        schedule.step()
    model.eval()
    with torch.no_grad():
        chosen, rejected = zip(*held_out, strict=True)
        gap = answer_scores(model, tokenizer, list(chosen))
        gap = gap - answer_scores(model, tokenizer, list(rejected))
    return RewardModel(model, tokenizer, float((gap > 0).double().mean()))


def fit_proxy(
    world: PreferenceWorld,
    pairs: PreferencePairs,
    seed: int,
    steps: int = 400,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
) -> ProxyReward:
    """Minimise the Bradley–Terry loss on the pairs with AdamW; the result is frozen.

    Args:
        world: for the letter counts, and for the centring on base answers.
        pairs: the annotators' verdicts.
        seed: of the initial weights and the order of the pairs.
        steps: of the optimiser.
        batch_size: pairs in each.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ProxyReward()
    chosen = world.counts(pairs.chosen, pairs.chosen_mask)
    rejected = world.counts(pairs.rejected, pairs.rejected_mask)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    for _ in range(steps):
        rows = torch.randint(len(pairs), (batch_size,), generator=generator)
        loss = bradley_terry_loss(model.logits(chosen[rows]), model.logits(rejected[rows]))
        optimiser_step(optimizer, loss)
    with torch.no_grad():
        base = world.counts(*world.base_answers(4096, generator))
        scores = model.logits(base)
        model.centre.copy_(scores.mean())
        model.scale.copy_(scores.std())
    return model.eval().requires_grad_(False)
