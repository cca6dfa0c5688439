"""The verifier of numbers, against texts that try to get a reward they have not earned."""

import time
from fractions import Fraction

import pytest

from rlvr_lab.tasks.number_answers import read_number, verify_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("42", 42), ("-3", -3), ("+3", 3), ("−3", -3), ("007", 7), ("0", 0), ("-0", 0)),
        *(("1,234", 1234), ("1,234,567", 1234567), ("1,234.5", Fraction(2469, 2))),
        *(("3/4", Fraction(3, 4)), ("-3/4", Fraction(-3, 4)), ("6/8", Fraction(3, 4))),
        *(("0.5", Fraction(1, 2)), ("-0.25", Fraction(-1, 4)), ("2.50", Fraction(5, 2))),
        ("9" * 18, 10**18 - 1),
        ("0.1", Fraction(1, 10)),  # and not the nearest binary fraction
    ],
)
def test_numbers_are_read_exactly(text, number):
    assert read_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " 42",
            "42 ",
            "4 2",
            "42\n",
            "--3",
            "- 3",
            "3-",
            "1e3",
            "0x10",
            "1_000",
            "nan",
            "inf",
            "∞",
        ),
        *(
            ".5",
            "5.",
            "1.2.3",
            "1/2/3",
            "1/0",
            "0/0",
            "1/-2",
            "1.5/2",
            "1/2.5",
            "3 1/2",
            "½",
            "50%",
            "$5",
        ),
        *("1,23", "12,34", ",123", "1,234,56", "1,,234", "1234,567", "1.234,5", "1, 234"),
        *("٤٢", "４２", "²", "forty-two", "42 apples", "x=42", "6*7", "__import__('os')", "(42)"),
        *("9" * 19, "1/" + "9" * 19, "0." + "9" * 19, "1" + ",000" * 6, "9" * 100_000),
    ],
)
def test_nothing_else_is_a_number(text):
    assert read_number(text) is None


def reason(text: str, answer: str = "42") -> str:
    return verify_number(text, answer).reason


class TestVerdicts:
    @pytest.mark.parametrize(
        "text",
        [
            "#### 42",
            "####42",
            "6 * 7 = 42 #### 42\n",
            "I say 41, no: #### 42.0",
            "#### 84/2",
            "## 1 #### +42",
        ],
    )
    def test_right(self, text):
        assert reason(text) == "right"

    @pytest.mark.parametrize(
        "text", ["#### 41", "42 #### 41", "#### -42", "#### 42.0001", "#### 1/42"]
    )
    def test_wrong(self, text):
        assert reason(text) == "wrong"

    @pytest.mark.parametrize(
        "text",
        [
            "#### 41 #### 42",
            "#### 42 #### 42",
            "#### 42 or 43",
            "#### 42, 43",
            "#### 42\n43",
            "########42",
            "#### forty-two",
            "####",
            "#### 42\u200b",
            "#### ４２",
            "#### " + "0" * 5000 + "42",
        ],
    )
    def test_malformed(self, text):
        assert reason(text) == "malformed"

    @pytest.mark.parametrize("text", ["", "42", "The answer is 42.", "### 42", "# # # # 42"])
    def test_no_answer(self, text):
        assert reason(text) == "no_answer"

    def test_a_cut_answer_is_not_judged(self):
        """``#### 4`` may have been on its way to 42."""
        assert verify_number("#### 42", "42", truncated=True).reason == "truncated"

    def test_thirds(self):
        assert reason("#### 2/6", "1/3") == "right"
        assert reason("#### 0.333333333333333333", "1/3") == "wrong"

    @pytest.mark.parametrize("gold", ["", "forty-two", "1/0", "42 apples", "9" * 19, "nan"])
    @pytest.mark.parametrize("text", ["", "#### 42", "#### nan", "####"])
    def test_an_unreadable_gold_answer_is_refused_whatever_was_said(self, gold, text):
        with pytest.raises(ValueError, match="answer"):
            verify_number(text, gold)

    @pytest.mark.parametrize(
        "text",
        [
            "#" * 4096,
            "#### " + "1," * 2000,
            "#### " + "1/" * 2000,
            "#### " + "-" * 4000,
            "9" * 10**6 + "####",
        ],
    )
    def test_no_text_takes_long(self, text):
        begin = time.process_time()
        assert reason(text) != "right"
        assert time.process_time() - begin < 0.5
