"""The mixed pool: its items, their answers, their verifier, and what a base is taught."""

import random
import re
from collections import Counter

import pytest

from rlvr_lab.policy.words import word_tokenizer
from rlvr_lab.tasks.mixed_pool import (
    GUESS,
    KINDS,
    POOL_WORDS,
    MixedPool,
    PoolMixture,
    answer_text,
    kind_of,
    way_of,
    worked_chain,
)
from rlvr_lab.tasks.task import Problem


def items(kind: str, count: int = 300, seed: int = 0) -> list[Problem]:
    return MixedPool({kind: 1}).problems(count, random.Random(seed))


def by_hand(prompt: str) -> tuple[str, str]:
    """The chain and the last two results, computed apart from the module."""
    body = prompt.split(":")[-1].rstrip("?").rstrip(".")
    numbers = [int(c) for c in body if c.isdigit()]
    chain = [numbers[0]]
    for n in numbers[1:]:
        if "," in body:
            chain.append(max(chain[-1], n))
        else:
            chain.append((chain[-1] + (-n if "-" in body else n)) % 10)
    text = "".join(map(str, chain))
    return text, text[-2:]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_follow_from_the_prompt(kind: str) -> None:
    for item in items(kind):
        assert kind_of(item.prompt) == kind
        chain, last = by_hand(item.prompt)
        assert worked_chain(item.prompt) == chain
        front = item.prompt.split(":")[0]
        expected = {
            "sums": last,
            "differences": last,
            "tricks": last,
            "comparisons": max(c for c in item.prompt if c.isdigit()),
            "true_false": "yes" if int(last[-1]) < 3 else "no",
            "options": last[-1],
        }[kind]
        assert answer_text(item) == expected
        assert item.difficulty == len(chain) - 1
        if kind == "true_false":
            assert front == "<3"
        if kind == "options":
            assert expected in front.split("/") and len(set(front.split("/"))) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_have_eight_places_and_known_words(kind: str) -> None:
    tokenizer = word_tokenizer(POOL_WORDS)
    terms = Counter()
    for item in items(kind):
        body = item.prompt.split(":")[-1]
        assert re.fullmatch(r"[0-9]([-+,][0-9])*\.*\?", body)
        digits = sum(c.isdigit() for c in body)
        assert digits + body.count(".") == 8
        terms[digits] += 1
        ids = tokenizer.encode(item.prompt, add_special_tokens=False)
        assert tokenizer.decode(ids) == item.prompt and tokenizer.pad_token_id not in ids
        assert len(ids) == 9 + {"true_false": 1, "options": 2}.get(kind, 0)
    assert sorted(terms) == [3, 4, 5, 6, 7, 8]


def test_a_trick_looks_like_a_sum_and_its_answer_is_a_digit_of_the_prompt_twice() -> None:
    for item in items("tricks"):
        assert set(item.prompt[1:].rstrip("?").rstrip(".")) == set("+0")
        assert answer_text(item) == item.prompt[0] * 2
    assert not any(re.fullmatch(r"[0-9](\+0)+\.*\?", item.prompt) for item in items("sums", 3000))


def test_shares_of_the_kinds_the_claims_and_the_options() -> None:
    drawn = MixedPool({"sums": 3, "tricks": 1}).problems(4000, random.Random(1))
    assert Counter(kind_of(i.prompt) for i in drawn)["tricks"] / 4000 == pytest.approx(
        0.25, abs=0.02
    )
    assert {kind_of(i.prompt) for i in drawn} == {"sums", "tricks"}
    every = Counter(kind_of(i.prompt) for i in MixedPool().problems(6000, random.Random(2)))
    assert all(every[kind] / 6000 == pytest.approx(1 / 6, abs=0.02) for kind in KINDS)
    said = Counter(answer_text(i) for i in items("true_false", 4000))
    assert said["yes"] / 4000 == pytest.approx(0.3, abs=0.02)
    first = sum(item.prompt[0] == answer_text(item) for item in items("options", 4000))
    assert first / 4000 == pytest.approx(0.5, abs=0.03)
    wrong = Counter((int(i.prompt[0]) - int(i.prompt[2])) % 10 for i in items("options", 4000))
    assert sorted(wrong) == list(range(1, 10)) and min(wrong.values()) > 300
    for bad in ({"sums": -1.0}, {"sums": 0.0}, {}):
        with pytest.raises(ValueError, match=r"^shares"):
            MixedPool(bad)
    with pytest.raises(ValueError, match=r"^count"):
        MixedPool().problems(0, random.Random(0))
    with pytest.raises(ValueError, match=r"^prompt"):
        kind_of("7*5?")


def test_a_blind_guess_is_correct_as_often_as_stated() -> None:
    rng, n = random.Random(3), 6000
    for kind in KINDS:
        right = 0
        for item in items(kind, n, 5):
            guess = {
                "comparisons": str(rng.randrange(10)),
                "true_false": "yes" if rng.random() < 0.3 else "no",
                "options": rng.choice(item.prompt[:3:2]),
            }.get(kind, f"{rng.randrange(100):02d}")
            right += guess == answer_text(item)
        assert right / n == pytest.approx(GUESS[kind], abs=4 * (GUESS[kind] / n) ** 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_verifier_wants_the_whole_text_and_the_answer_of_the_kind(kind: str) -> None:
    task = MixedPool()
    for item in items(kind, 30):
        chain, answer = by_hand(item.prompt)[0], answer_text(item)
        for text, reason in {
            f"={answer}": "right",
            f"<think>{chain}</think>={answer}": "right",
            f"<think></think>={answer}": "right",
            f"{chain}={answer}": "malformed",
            f"<think>{chain}={answer}": "malformed",
            f"={answer}=": "malformed",
            f"<think>{chain}</think>": "no_answer",
            "": "no_answer",
        }.items():
            assert task.verify(item, text, False).reason == reason
            assert task.verify(item, text, True).reason == "truncated"
            assert task.well_formed(text) == (reason == "right")
        for other in {"yes", "no", "7", "42", "07", "3"} - {answer}:
            assert task.verify(item, f"={other}", False).reason == "wrong"
    assert not task.well_formed("<think>" + "1" * 5000 + "</think>=11")


@pytest.mark.parametrize("kind", KINDS)
def test_ways_tell_a_flawless_chain_from_another_one(kind: str) -> None:
    for item in items(kind, 30):
        chain = by_hand(item.prompt)[0]
        wrong = chain[:-1] + str((int(chain[-1]) + 1) % 10)
        assert way_of(item, f"<think>{chain}</think>=no") == "right_chain"
        assert way_of(item, f"<think>{wrong}</think>=no") == "wrong_chain"
        assert way_of(item, f"<think>{chain[:-1]}</think>=no") == "wrong_chain"
        assert way_of(item, "<think></think>=no") == "wrong_chain"
        assert way_of(item, "=no") == "direct"
        assert way_of(item, f"<think>{chain}=no") == way_of(item, f"{chain}=no") == "malformed"


@pytest.mark.parametrize("kind", KINDS)
def test_clean_solutions_are_correct_and_flawless(kind: str) -> None:
    rng = random.Random(4)
    for item in items(kind):
        text = PoolMixture.clean().solve(item, rng)
        assert MixedPool().verify(item, text, False).correct
        assert way_of(item, text) == "right_chain"


@pytest.mark.parametrize("kind", KINDS)
def test_the_mixture_has_the_stated_shares(kind: str) -> None:
    mixture, rng, n = PoolMixture(), random.Random(6), 3000
    ways = Counter(way_of(i, mixture.solve(i, rng)) for i in items(kind, n))
    assert ways["direct"] / n == pytest.approx(mixture.direct, abs=0.03)
    assert ways["malformed"] / n == pytest.approx(mixture.malformed, abs=0.03)
    guesses = PoolMixture(direct=1.0, malformed=0.0)
    right = sum(MixedPool().verify(i, guesses.solve(i, rng), False).correct for i in items(kind, n))
    stated = {"tricks": 1.0, "comparisons": 0.9 + 0.1 * 0.1}.get(kind, GUESS[kind])
    assert right / n == pytest.approx(stated, abs=0.03)


def test_a_slip_is_carried_on_and_the_answer_follows_from_the_chain() -> None:
    rng = random.Random(7)
    always = PoolMixture(0.0, 0.0, slip=1.0)
    for kind, step in (("sums", 1), ("differences", -1)):
        for item in items(kind, 50):
            text = always.solve(item, rng)
            chain, answer = text.removeprefix("<think>").split("</think>=")
            digits = [int(c) for c in item.prompt if c.isdigit()]
            assert int(chain[0]) == digits[0] and answer == chain[-2:]
            for before, digit, now in zip(chain, digits[1:], chain[1:], strict=False):
                assert int(now) != (int(before) + step * digit) % 10
    for kind in ("true_false", "options"):
        for item in items(kind, 200):
            text = always.solve(item, rng)
            chain, answer = text.removeprefix("<think>").split("</think>=")
            assert answer == (
                ("no", "yes")[int(chain[-1]) < 3] if kind == "true_false" else chain[-1]
            )
    half = PoolMixture(0.0, 0.0, slip=0.5)
    slips = steps = 0
    for item in items("sums", 400):
        chain = half.solve(item, rng).removeprefix("<think>").split("<")[0]
        digits = [int(c) for c in item.prompt if c.isdigit()]
        for before, digit, now in zip(chain, digits[1:], chain[1:], strict=False):
            slips += (int(before) + digit) % 10 != int(now)
            steps += 1
    assert slips / steps == pytest.approx(0.5, abs=0.05)


def test_a_mixture_refuses_what_is_no_share() -> None:
    for name in ("direct", "malformed", "slip", "sees"):
        for bad in (-0.1, 1.1):
            with pytest.raises(ValueError, match=f"^{name}"):
                PoolMixture(**{name: bad})
    with pytest.raises(ValueError, match=r"^direct, malformed"):
        PoolMixture(direct=0.6, malformed=0.6)
