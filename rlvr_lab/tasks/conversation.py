"""Tasks for chat models: problems asked in a conversation, written in the policy's own chat template.

``Conversation.problems`` gives questions, as any task does. ``for_policy`` gives the same task with each question
written as the whole text that the policy reads: instructions, solved examples, the question, and the marker after
which the model answers. Sampling, rewards, records and the hand-over to another trainer then see the same strings.
"""

import random
from abc import abstractmethod
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from rlvr_lab.policy.chat import Message, chat_prompt
from rlvr_lab.policy.loading import Policy
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["Conversation", "InChat", "examples"]


class Conversation(Task):
    """A task whose problems are asked in a conversation."""

    @abstractmethod
    def messages(self, problem: Problem) -> list[Message]:
        """The conversation whose last message asks ``problem``."""

    def for_policy(self, policy: Policy) -> "InChat":
        """This task with prompts in the policy's chat template.

        Raises:
            ValueError: when the policy has no chat template.
        """
        task = InChat(self, policy.tokenizer)
        chat_prompt(policy.tokenizer, [{"role": "user", "content": "?"}])  # refuse it now
        return task


@dataclass(frozen=True)
class InChat(Task):
    """A conversation task whose prompts are rendered for one chat model.

    Attributes:
        task: draws the problems and verifies the answers.
        tokenizer: carries the chat template.
    """

    task: Conversation
    tokenizer: PreTrainedTokenizerBase

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """The task's problems; each prompt is a whole conversation."""
        return [
            replace(one, prompt=chat_prompt(self.tokenizer, self.task.messages(one)))
            for one in self.task.problems(count, rng)
        ]

    def for_policy(self, policy: Policy) -> "InChat":
        """The same task for another policy."""
        return self.task.for_policy(policy)

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """The verdict of the task."""
        return self.task.verify(problem, text, truncated)

    def well_formed(self, text: str) -> bool:
        """As the task."""
        return self.task.well_formed(text)


def examples(pairs: list[tuple[str, str]], question: str) -> list[Message]:
    """Solved examples as earlier turns, then the question.

    >>> [message["role"] for message in examples([("1 + 1", "2")], "1 + 2")]
    ['user', 'assistant', 'user']
    """
    turns = [
        {"role": role, "content": content}
        for pair in pairs
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]
    return [*turns, {"role": "user", "content": question}]
