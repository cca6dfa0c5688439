"""Small questions for pretrained models, and the conversations they are asked in."""

import random
from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.chat import chat_prompt, skips_template
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.conversation import InChat
from rlvr_lab.tasks.few_shot_words import KINDS, WORDS, FewShotWords, items
from rlvr_lab.tasks.question_file import QuestionFile
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem
from rlvr_lab.tasks.worlds import WORLDS, make_task
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from tests.policy.test_chat import chat_tokenizer

CORRECT = {
    "swap": ("Swap the two words: cat tree", "tree cat"),
    "add": ("Add the numbers: 3 + 9", "12"),
    "capitals": ("Write in capitals: tree", "TREE"),
    "first": ("First letter of the word: tree", "t"),
}


@pytest.fixture(scope="module")
def letters():
    """A chat model with one token per character: it can read every question."""
    tokenizer = chat_tokenizer()
    characters = sorted(set(map(chr, range(32, 127))) - set(tokenizer.get_vocab()))
    tokenizer.add_tokens(characters)
    return new_policy(tokenizer, seed=0, device="cpu")


class TestAnswers:
    def test_every_kind_is_listed(self):
        assert set(CORRECT) == set(KINDS)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_correct_answer(self, kind):
        question, answer = CORRECT[kind]
        item = question.removeprefix(KINDS[kind].question.removesuffix("{}"))
        assert KINDS[kind].answer(item) == answer

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_problem_is_solved_by_its_answer_and_by_no_other(self, kind):
        task = FewShotWords(kind)
        for problem in task.problems(20, random.Random(0)):
            assert task.verify(problem, problem.answer, False).reason == "right"
            assert task.verify(problem, f" {problem.answer}\n", False).reason == "right"
            assert task.verify(problem, problem.answer + "x", False).reason == "wrong"
            assert task.verify(problem, problem.answer, True).reason == "truncated"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("cat tree", "wrong"),
            ("Tree Cat", "wrong"),
            ("tree  cat", "malformed"),
            ("tree cat\ncat tree", "malformed"),
            ("tree cat. tree cat", "malformed"),
            ("", "no_answer"),
            ("…", "no_answer"),
            (" " * 9 + "tree cat", "malformed"),
            ("tree cat " * 1000, "malformed"),
        ],
    )
    def test_form(self, text, reason):
        assert FewShotWords().verify(Problem("", "tree cat"), text, False).reason == reason


class TestHeldOut:
    @pytest.mark.parametrize("kind", KINDS)
    def test_training_and_test_share_no_item(self, kind):
        known, fresh = items(kind, False), items(kind, True)
        assert not set(known) & set(fresh) and len(fresh) >= 20 and len(known) > 2 * len(fresh)

    def test_no_word_of_a_test_problem_occurs_in_training(self):
        seen, fresh = (
            {
                w
                for p in FewShotWords("swap", held_out=h).problems(500, random.Random(0))
                for w in p.answer.split()
            }
            for h in (False, True)
        )
        assert not seen & fresh and seen | fresh == set(WORDS)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_solved_examples_are_no_problems(self, kind):
        every = {*items(kind, True), *items(kind, False)}
        assert not every & {
            one for example in KINDS[kind].examples for one in (example, *example.split())
        }
        assert len(KINDS[kind].examples) == 4

    def test_two_different_words(self):
        assert all(
            len(set(p.answer.split())) == 2 for p in FewShotWords().problems(300, random.Random(1))
        )


# The types of arguments are checked in the tests only; without that the class itself refuses.
@pytest.mark.parametrize("wrong", [{"kind": "spell"}, {"shots": 5}, {"shots": -1}])
def test_a_wrong_field_is_named(wrong):
    with pytest.raises((ValueError, TypeCheckError), match=next(iter(wrong))):
        FewShotWords(**wrong)


class TestInChat:
    """The prompts that the sampler, the rewards and the records see."""

    def test_the_whole_conversation_in_the_template(self, letters):
        task = FewShotWords("first", shots=1).for_policy(letters)
        problem = task.problems(1, random.Random(0))[0]
        plain = FewShotWords("first").problems(1, random.Random(0))[0]
        assert problem.prompt == (
            "<user>First letter of the word: stick<end>\n<bot>s<end>\n"
            f"<user>{plain.prompt}<end>\n<bot>"
        )
        assert replace(problem, prompt=plain.prompt) == plain

    @pytest.mark.parametrize("world", ["words", "questions"])
    def test_begin_writes_the_prompts_for_its_policy(self, letters, world):
        """Without this wire a run would train on bare questions, and nothing would say so."""
        config = PolicyGradientConfig(
            world=world, device="cpu", prompts_per_step=2, group_size=2, max_new_tokens=2
        )
        state = config.begin(letters)
        experience = config.collect(state)
        prompts = [problem.prompt for problem in experience.answers.problems]
        assert not any(skips_template(letters.tokenizer, prompt) for prompt in prompts)
        read = letters.tokenizer.batch_decode(
            experience.batch.prompt_ids, skip_special_tokens=False
        )
        assert all(text.endswith(p) for text, p in zip(read, prompts, strict=True))

    def test_a_policy_without_a_template_is_refused_at_the_beginning(self):
        with pytest.raises(ValueError, match="no chat template"):
            PolicyGradientConfig(world="words").begin(load_policy("sums", "cpu"))

    def test_other_tasks_stay_as_they_are(self, letters):
        task = Sums()
        assert task.for_policy(letters) is task

    def test_again_for_another_policy(self, letters):
        other = new_policy(
            chat_tokenizer("{{ '[' }}" + letters.tokenizer.chat_template), 0, device="cpu"
        )
        task = FewShotWords().for_policy(letters)
        again = task.for_policy(other)
        assert again.problems(1, random.Random(0))[0].prompt.startswith("[<user>")

    def test_verdicts_are_those_of_the_task(self, letters):
        task = QuestionFile().for_policy(letters)
        assert isinstance(task, InChat) and task.well_formed("#### 1") and not task.well_formed("1")
        assert task.verify(Problem("", "1"), "#### 1", False).correct

    def test_sampling_ends_with_the_turn(self, letters):
        prompt = chat_prompt(letters.tokenizer, FewShotWords().messages(Problem("a", "b")))
        batch = sample(letters, [prompt], 2, 2, torch.Generator().manual_seed(0))
        assert (
            letters.tokenizer.convert_tokens_to_ids("<end>") in letters.stop_ids
            and len(batch.texts) == 2
        )


def test_the_worlds_are_offered_to_the_command_line_only():
    for name in ("words", "questions", "gym"):
        assert not WORLDS[name].ready and WORLDS[name].settings["rewards"] == {"accuracy": 1.0}
        assert PolicyGradientConfig(world=name, **WORLDS[name].settings).world == name
    assert make_task("words", {"kind": "add", "held_out": True}) == FewShotWords(
        "add", held_out=True
    )
