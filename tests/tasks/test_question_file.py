"""Questions from a file: everything wrong with the file is said when it is opened."""

import json
import random

import pytest

from rlvr_lab.tasks.held_out import kept_for_the_test
from rlvr_lab.tasks.number_answers import read_number
from rlvr_lab.tasks.question_file import QuestionFile, read_questions
from rlvr_lab.tasks.task import Problem
from rlvr_lab.tasks.worlds import make_task


@pytest.fixture
def written(tmp_path):
    """A function that writes lines (objects as JSON, texts as they are) and returns the path."""

    def write(*lines):
        path = tmp_path / "questions.jsonl"
        path.write_text(
            "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines), "utf-8"
        )
        return path

    return write


GOOD = {"question": "6 times 7?", "answer": "It is 42. #### 42"}


def test_a_good_file(written):
    third = {"question": "A third?", "answer": "#### 1/3"}
    assert read_questions(written(GOOD, "", third)) == [
        Problem("6 times 7?", "42"),
        Problem("A third?", "1/3"),
    ]


def test_a_line_ends_at_a_line_feed_only(written):
    """JSON may hold U+2028 and U+0085 as they are, where Python also ends a line."""
    asked = "6 times\u20287,\x85or so?"
    path = written(json.dumps({**GOOD, "question": asked}, ensure_ascii=False))
    assert read_questions(path) == [Problem(asked, "42")]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[" * 100_000, "expected an object"),
        ('{"question": "a", "answer": ' + "9" * 5000 + "}", "expected an object"),
        ("{", "expected an object"),
        ("[1, 2]", "expected an object"),
        ("null", "expected an object"),
        ({"question": "Why?"}, "expected an object"),
        ({"question": " ", "answer": "#### 1"}, "question is empty"),
        ({"question": 3, "answer": "#### 1"}, "question is empty"),
        ({"question": "How many?", "answer": "42"}, "no number that can be read"),
        ({"question": "How many?", "answer": "#### many"}, "no number that can be read"),
        ({"question": "How many?", "answer": "#### 1/0"}, "no number that can be read"),
        ({"question": "How many?", "answer": None}, "no number that can be read"),
        (GOOD, "asked before"),
    ],
)
def test_a_bad_line_is_named(written, line, what):
    with pytest.raises(ValueError, match=rf"line 2: .*{what}"):
        read_questions(written(GOOD, line))


def test_no_questions_and_no_file(written, tmp_path):
    with pytest.raises(ValueError, match="has no questions"):
        read_questions(written(""))
    with pytest.raises(FileNotFoundError, match="file: there is no file"):
        QuestionFile(str(tmp_path / "nowhere.jsonl"))


def test_a_bad_file_is_refused_before_a_run_begins(written):
    path = written({"question": "How many?", "answer": "#### many"})
    with pytest.raises(ValueError, match="no number"):
        make_task("questions", {"file": str(path)})


def test_a_file_that_has_changed_is_read_again(written, tmp_path):
    import os

    kept = [f"{n}?" for n in range(40) if not kept_for_the_test(f"{n}?")]
    path = written({"question": kept[0], "answer": "#### 1"})
    assert [one.answer for one in QuestionFile(str(path)).members] == ["1"]
    written({"question": kept[0], "answer": "#### 2"})
    os.utime(path, ns=(1, 1))
    assert [one.answer for one in QuestionFile(str(path)).members] == ["2"]


class TestTheCoursesFile:
    def test_training_and_test_share_no_question(self):
        parts = [QuestionFile(held_out=held_out).members for held_out in (False, True)]
        first, second = ({one.prompt for one in part} for part in parts)
        assert len(first) == 18 and len(second) == 10 and not first & second

    def test_its_answers(self):
        answers = [
            str(p.answer) for held in (False, True) for p in QuestionFile(held_out=held).members
        ]
        numbers = [read_number(one) for one in answers]
        assert None not in numbers
        assert any(n.denominator > 1 for n in numbers) and any(n < 0 for n in numbers)

    def test_drawing(self):
        task = QuestionFile()
        drawn = task.problems(18, random.Random(0))
        assert len({one.prompt for one in drawn}) == 18
        assert drawn != task.problems(18, random.Random(1))
        assert len(task.problems(40, random.Random(0))) == 40

    def test_each_worked_solution_is_correct_by_its_own_verifier(self):
        from rlvr_lab.policy.data import data_folder

        task = QuestionFile()
        for line in (data_folder() / "questions.jsonl").read_text("utf-8").splitlines():
            one = json.loads(line)
            gold = one["answer"].rpartition("####")[2].strip()
            assert task.verify(Problem(one["question"], gold), one["answer"], False).correct

    def test_the_conversation(self):
        task = QuestionFile(shots=1)
        said = task.messages(Problem("How many?", "3"))
        assert [m["role"] for m in said] == ["user", "assistant", "user"]
        assert said[-1]["content"].startswith("How many?\n") and "####" in said[-1]["content"]
        assert task.verify(
            Problem("", "22"), said[1]["content"], False
        ).correct  # it shows the form

    def test_the_form_earns_its_reward_whatever_the_number(self):
        task = QuestionFile()
        assert (
            task.well_formed("#### 7")
            and not task.well_formed("7")
            and not task.well_formed("#### x")
        )

    @pytest.mark.parametrize("shots", [-1, 3])
    def test_shots(self, shots):
        with pytest.raises(ValueError, match="shots"):
            QuestionFile(shots=shots)
