"""reasoning-gym: its generators only, and a clear sentence where it is missing."""

import random
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
from jaxtyping import TypeCheckError

from rlvr_lab.tasks.gym import Gym
from rlvr_lab.tasks.held_out import kept_for_the_test
from rlvr_lab.tasks.task import Problem
from rlvr_lab.tasks.worlds import make_task


class Entries:
    """A data set of the package: items by index, and a scorer that must not be called."""

    def __init__(self, seed: int, size: int, answer: str = "") -> None:
        self.seed, self.size, self.answer = seed, size, answer

    def __getitem__(self, index: int) -> dict[str, str]:
        number = self.seed % 1000 + index
        return {"question": f"What is {number}?", "answer": self.answer or str(number)}

    def score_answer(self, *given):
        raise AssertionError("a scorer of the package was called")


@pytest.fixture
def fake(monkeypatch):
    """The package, replaced; ``asked`` holds the data sets that were created."""
    module, module.asked = ModuleType("reasoning_gym"), []
    module.answer = ""

    def create_dataset(name, seed, size):
        module.asked.append((name, seed, size))
        return Entries(seed, size, module.answer)

    module.create_dataset = create_dataset
    monkeypatch.setitem(sys.modules, "reasoning_gym", module)
    return module


def test_problems_come_from_the_generator_and_the_seed(fake):
    task = make_task("gym", {"dataset": "gcd"})
    drawn = task.problems(5, random.Random(0))
    assert drawn == task.problems(5, random.Random(0)) != task.problems(5, random.Random(1))
    assert {name for name, _, _ in fake.asked} == {"gcd"}
    assert all(one.prompt == f"What is {one.answer}?" for one in drawn)


def test_training_and_test_share_no_question(fake):
    for held_out in (False, True):
        drawn = Gym(held_out=held_out).problems(20, random.Random(0))
        assert {kept_for_the_test(one.prompt) for one in drawn} == {held_out}


def test_answers_are_verified_by_our_own_rules(fake):
    task, problem = Gym(), Problem("What is 7?", "7")
    reasons = [
        task.verify(problem, text, False).reason for text in ("#### 7", "#### 8", "7", "exit()")
    ]
    assert reasons == ["right", "wrong", "no_answer", "no_answer"]


def test_an_answer_that_is_no_number_is_refused_when_it_is_drawn(fake):
    fake.answer = "seven"
    with pytest.raises(ValueError, match="dataset: chain_sum gave the answer 'seven'"):
        Gym().problems(1, random.Random(0))


def test_too_few_questions(fake, monkeypatch):
    monkeypatch.setattr("rlvr_lab.tasks.gym.kept_for_the_test", lambda question: False)
    with pytest.raises(ValueError, match="count: found 0 problems"):
        Gym(held_out=True).problems(2, random.Random(0))


def test_the_package_is_imported_late_and_its_absence_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    task = make_task("gym")  # a configuration can be made without it
    with pytest.raises(ValueError, match=r"pip install -c constraints\.txt reasoning-gym"):
        task.problems(1, random.Random(0))


@pytest.mark.parametrize("wrong", [{"dataset": "rubiks_cube"}, {"shots": 3}])
def test_a_wrong_field_is_named(wrong):
    with pytest.raises((ValueError, TypeCheckError), match=next(iter(wrong))):
        Gym(**wrong)


@pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed")
@pytest.mark.parametrize("dataset", Gym.__dataclass_fields__["dataset"].type.__args__)
def test_the_real_package_gives_numbers(dataset):
    task = Gym(dataset)
    for problem in task.problems(10, random.Random(0)):
        assert task.verify(problem, f"#### {problem.answer}", False).correct
