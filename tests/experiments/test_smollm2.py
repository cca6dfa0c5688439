"""The study on a real model, run here with tiny chat models that know the words; and what it recorded."""

import random
from dataclasses import replace

import pytest

from rlvr_lab.experiments import smollm2
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.experiments.smollm2 import STUDY, VARIANTS, SmolLM2Config, measure, plain_text
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.chat import skips_template
from rlvr_lab.tasks.few_shot_words import WORDS, FewShotWords, items
from tests.policy.test_chat import chat_tokenizer

SMALL = replace(
    VARIANTS["swap"],
    steps=2,
    every=2,
    test_problems=3,
    test_samples=2,
    shown=2,
    prompts_per_step=2,
    group_size=2,
    max_new_tokens=4,
)


def chat_model():
    """A chat model with a token for each character."""
    tokenizer = chat_tokenizer()
    tokenizer.add_tokens(sorted(set(map(chr, range(32, 127))) - set(tokenizer.get_vocab())))
    return new_policy(tokenizer, seed=0, device="cpu")


@pytest.fixture(scope="module")
def runs():
    return list(measure(2, {"swap": SMALL}, 5, load=lambda config: chat_model()))


def test_a_record_for_each_step_and_the_test_where_it_is_due(runs):
    assert [run.config.seed for run in runs] == [run.config.table for run in runs] == [5, 6]
    first, one, last = runs[0].records
    assert [first["step"], one["step"], last["step"]] == [0, 1, 2]
    tested = {"accuracy", "accuracy_greedy", "pass_all", "length", "entropy", "samples"}
    assert tested <= set(first) and tested <= set(last) and not tested & set(one)
    assert {"accuracy_cooler", "accuracy_plain"} <= set(first) and "accuracy_plain" not in last
    assert first["pass_rate"] is None and one["pass_rate"] is not None


def test_a_seed_begins_with_the_model_that_was_loaded_and_not_with_the_last_ones():
    loaded = []

    def load(config):
        loaded.append(chat_model())
        return loaded[-1]

    # A reward that this model does earn: with none it would not move, and nothing would be tested.
    moving = replace(SMALL, rewards={"random": 1.0}, group_size=4, learning_rate=1e-2)
    runs = list(measure(2, {"swap": moving}, 5, load=load))
    alone = list(measure(1, {"swap": moving}, 6, load=load))
    assert runs[0].records[0]["entropy"] != runs[0].records[-1]["entropy"]
    assert len(loaded) == 2 and runs[1].records == alone[0].records


class TestTheTest:
    @pytest.fixture
    def state(self):
        return SMALL.begin(chat_model())

    def test_its_words_are_held_out(self, state):
        problems = SMALL.test_questions(replace(state, task=SMALL.test_task(state)))
        words = {word for problem in problems for word in problem.answer.split()}
        assert words <= set(items("swap", True))
        trained = state.task.problems(50, random.Random(0))
        assert {w for p in trained for w in p.answer.split()} <= set(items("swap", False))

    def test_it_is_asked_in_the_template_and_once_without(self, state, monkeypatch):
        asked = []
        monkeypatch.setattr(
            smollm2,
            "sample",
            lambda policy, prompts, size, *rest: (
                asked.append((prompts, size, rest[2:])) or sampled(policy, prompts, size, *rest)
            ),
        )
        from rlvr_lab.policy.sampling import sample as sampled

        SMALL.opening(state)
        skipped = [skips_template(state.policy.tokenizer, prompts[0]) for prompts, _, _ in asked]
        decoded = [(size, temperature, top_p) for _, size, (temperature, top_p) in asked]
        assert skipped == [False, False, False, True]
        assert decoded == [(2, 1.0, 1.0), (1, 1.0, 1e-6), (2, 0.7, 1.0), (2, 1.0, 1.0)]
        assert all(len(prompts) == 3 for prompts, _, _ in asked)

    def test_greedy_is_the_most_probable_token(self, state):
        import torch

        answers = SMALL._answers(state, SMALL.test_task(state), top_p=smollm2.GREEDY)
        ids, mask = answers.batch.prompt_ids, answers.batch.prompt_mask.long()
        row = int(mask.sum(1).argmax())  # the longest prompt has no padding
        best = state.policy.model(ids[row : row + 1]).logits[0, -1].argmax()
        assert torch.equal(answers.batch.completion_ids[row, 0], best)

    def test_shares(self, state, monkeypatch):
        """Correct answers put into the model's mouth count, and only they."""
        task = SMALL.test_task(state)
        problems = SMALL.test_questions(replace(state, task=task))
        given = [p.answer for p in problems for _ in range(2)]
        given[1] = given[2] = given[3] = "no"
        real = smollm2.sample

        def speak(policy, prompts, size, *rest):
            batch = real(policy, prompts, size, *rest)
            texts = given if size == 2 else given[::2]
            return replace(batch, texts=texts, truncated=batch.truncated & False)

        monkeypatch.setattr(smollm2, "sample", speak)
        said = SMALL.test(state)
        assert said["accuracy"] == 3 / 6 and said["accuracy_greedy"] == 2 / 3
        assert said["pass_all"] == 2 / 3
        assert [one["reason"] for one in said["samples"]] == ["right", "wrong"]
        question = said["samples"][0]["question"]
        assert question.startswith("Swap the two words: ") and question in problems[0].prompt


def test_without_the_template_the_words_are_the_same():
    task = FewShotWords("first", shots=1)
    problem = task.problems(1, random.Random(0))[0]
    assert plain_text(task, problem) == f"First letter of the word: stick\ns\n{problem.prompt}\n"


def test_a_wrong_world_is_refused():
    with pytest.raises(ValueError, match="world: must be words"):
        SmolLM2Config(world="sums")


@pytest.fixture(scope="module")
def kept():
    return recorded("smollm2")


class TestTheRecording:
    def test_it_is_what_the_study_records(self, kept):
        expected = [
            replace(config, seed=seed, table=seed)
            for config in VARIANTS.values()
            for seed in range(STUDY.seeds)
        ]
        assert [run.config for run in kept.runs] == expected
        assert kept.command == "python -m rlvr_lab record smollm2"

    def test_its_questions_are_held_out(self, kept):
        for run in kept.runs:
            for record in (run.records[0], run.records[-1]):
                for one in record["samples"]:
                    words = one["question"].rpartition(": ")[2].split()
                    assert set(words) <= set(items("swap", True)) and set(words) <= set(WORDS)
