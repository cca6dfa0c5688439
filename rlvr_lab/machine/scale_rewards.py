"""The course's problems and rewards in the form that TRL reads: a dataset of prompts, and reward functions."""

import random
from collections.abc import Callable
from typing import Any

import torch

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy, encode_prompts
from rlvr_lab.rewards.registry import make_reward
from rlvr_lab.tasks.task import Answers, Problem, Task, grade
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["Grader", "problems_of_run", "reward_functions"]


def problems_of_run(config: PolicyGradientConfig, task: Task) -> list[Problem]:
    """The problems that ``training.rollouts.collect`` draws in all steps of the run, in order.

    Step k draws them from (seed, k), so they are known before the run starts, in every process alike.
    """
    return [
        problem
        for step in range(1, config.steps + 1)
        for problem in task.problems(
            config.prompts_per_step, random.Random(f"{config.seed} {step}")
        )
    ]


class Grader:
    """Turns TRL's completions into the ``Answers`` that every reward of the course reads.

    TRL decodes completions without special tokens. The course decodes everything but the token that ends an
    answer, so that a stray special token counts as malformed; here too. What only the sampling policy knows is
    ``nan``: log π_old and the entropy.

    Args:
        task: verifies the answers.
        problems: those of the run; TRL passes on the row of each prompt in its dataset.
        policy: its tokenizer and its stop tokens.
        group_size: G; the rows of a group are contiguous.
    """

    def __init__(
        self, task: Task, problems: list[Problem], policy: Policy, group_size: int
    ) -> None:
        self.task, self.problems, self.policy = task, problems, policy
        self.group_size = group_size
        self._last: tuple[Any, Answers] | None = None

    def answers(self, completion_ids: list[list[int]], problem: list[int]) -> Answers:
        """The answers of one process in one step.

        Args:
            completion_ids: B token lists, each with the token that ended it, if one did.
            problem: B row numbers.

        Raises:
            ValueError: when the rows are not whole groups.
        """
        if self._last is not None and self._last[0] is completion_ids:
            return self._last[1]  # the next reward of the same step
        size, rows = self.group_size, len(completion_ids)
        asked = problem[::size]
        if rows % size or [row for row in asked for _ in range(size)] != list(problem):
            raise ValueError(f"problem: {rows} rows are not whole groups of {size} answers")
        problems = [self.problems[row] for row in asked]
        batch = self._batch([one.prompt for one in problems], completion_ids)
        verdicts = grade(self.task, problems, batch.texts, batch.truncated.tolist())
        answers = Answers(self.task, problems, batch, verdicts)
        self._last = (completion_ids, answers)
        return answers

    def _batch(self, prompts: list[str], completion_ids: list[list[int]]) -> RolloutBatch:
        stops = set(self.policy.stop_ids)
        truncated = torch.tensor([ids[-1] not in stops for ids in completion_ids])
        lengths = torch.tensor([len(ids) for ids in completion_ids])
        pad, width = self.policy.tokenizer.pad_token_id, int(lengths.max())
        mask = torch.arange(width) < lengths[:, None]
        ended = zip(completion_ids, truncated.tolist(), strict=True)
        prompt_ids, prompt_mask = encode_prompts(self.policy, prompts)
        return RolloutBatch(
            prompt_ids=prompt_ids.cpu(),
            prompt_mask=prompt_mask.cpu().bool(),
            completion_ids=torch.tensor(
                [ids + [pad] * (width - len(ids)) for ids in completion_ids]
            ),
            completion_mask=mask,
            attention_mask=mask,
            old_logprobs=torch.full(mask.shape, torch.nan),
            entropy=torch.full(mask.shape, torch.nan),
            truncated=truncated,
            texts=self.policy.tokenizer.batch_decode(
                [ids if cut else ids[:-1] for ids, cut in ended]
            ),
            group_size=self.group_size,
        )


def reward_functions(
    config: PolicyGradientConfig, grader: Grader
) -> list[Callable[..., list[float]]]:
    """One function for each reward of the configuration, in its order, as TRL calls them.

    Each is named like the reward, so TRL logs it as ``rewards/<name>/mean``. The weights stand in ``reward_weights``.
    """
    return [_reward_function(name, config.device, grader) for name in config.rewards]


def _reward_function(name: str, device: str, grader: Grader) -> Callable[..., list[float]]:
    reward = make_reward(name, device)

    def function(completion_ids: list[list[int]], problem: list[int], **given: Any) -> list[float]:
        rewards = reward(grader.answers(completion_ids, problem))
        if not bool(torch.isfinite(rewards).all()):
            # TRL would leave such an answer out without a word.
            raise ValueError(
                f"rewards: {name!r} is not finite; a reward that reads the log-probabilities or the entropy of "
                "the sampling cannot be computed in TRL"
            )
        return rewards.tolist()

    function.__name__ = name
    return function
