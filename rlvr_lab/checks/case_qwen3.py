"""Checks of the exercises on the case study of Qwen3 (notebook 10): budgets and the two modes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, Series

# ---------------------------------------------------------------------------------- stop at a budget

OPEN, CLOSE = "<think>", "</think>"


def _forced(
    tokens: list[str],
    budget: int,
    stop: str,
    *,
    direct: bool = False,
    ended: bool = False,
    everything: bool = False,
    extra: int = 0,
    rest: bool = False,
    cut: bool = True,
    unclosed: bool = True,
    unlimited: bool = False,
) -> str:
    """Token by token, as an engine would; the keywords are options for mistakes."""
    if not tokens or tokens[0] != OPEN:
        return "".join(tokens) + (stop if direct else "")
    if (unlimited and budget == 0) or (not unclosed and CLOSE not in tokens):
        return "".join(tokens)
    written = [OPEN]
    for place, token in enumerate(tokens[1:], start=1):
        if token == CLOSE and not everything:
            return "".join(tokens) + (stop if ended else "")
        if place - 1 == max(0, budget + extra):
            left = "".join(tokens[place:]) if rest else ""
            return "".join(written if cut else tokens) + stop + left
        written.append(token)
    return "".join(tokens)


def _draw_completion(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Chains below, at and above the budget; a direct answer; a block without an end; a long answer; budget 0."""
    kinds = ("above", "below", "equal", "direct", "unclosed", "answer", "zero", "above", "stray")
    kind, budget = kinds[turn], int(rng.integers(3, 6))
    more = {"below": -2, "equal": 0, "direct": 0, "answer": -1}.get(kind, int(rng.integers(2, 4)))
    chain = [str(x) for x in rng.integers(0, 10, budget + more)]
    answer = ["=", *(str(x) for x in rng.integers(0, 10, 6 if kind == "answer" else 1))]
    tokens = [OPEN, *chain, CLOSE, *answer]
    if kind == "direct":
        tokens = ["=", *(str(x) for x in rng.integers(0, 10, budget + 2))]
    if kind == "unclosed":
        tokens = [OPEN, *chain]
    if kind == "stray":  # a block that is not closed, and shorter than the budget
        tokens = [OPEN, *chain[: budget - 1]]
    stop = CLOSE if turn else f"(time is up){CLOSE}"
    return {"tokens": tokens, "budget": 0 if kind == "zero" else budget, "stop": stop}


check_forced_answer = Check(
    "force_answer: chains below, at and above the budget, and texts without one",
    draw=_draw_completion,
    right=_forced,
    calls=9,
    mistakes={
        "a chain that ended within the budget gets the stop text too": partial(_forced, ended=True),
        "a direct answer gets the stop text, although it has no thought to stop": partial(
            _forced, direct=True
        ),
        "the tag <think> is counted: the budget counts the tokens after it": partial(
            _forced, extra=-1
        ),
        "one token more than the budget is kept": partial(_forced, extra=1),
        "a chain of exactly the budget is stopped. It has ended in time": lambda tokens, budget, stop: (
            "".join(tokens[: budget + 1]) + stop
            if tokens[0] == OPEN and tokens[budget + 1 : budget + 2] == [CLOSE]
            else _forced(tokens, budget, stop)
        ),
        "tokens after </think> are counted: the budget limits the thought, and not the answer": partial(
            _forced, everything=True
        ),
        "the old answer is kept. It was written with the whole chain in view": partial(
            _forced, rest=True
        ),
        "the stop text comes at the end of the whole text; the thought is not cut": partial(
            _forced, cut=False
        ),
        "a block without an end is not stopped. Such chains need a budget most": partial(
            _forced, unclosed=False
        ),
        "budget 0 is taken for no limit. It means: do not think at all": partial(
            _forced, unlimited=True
        ),
    },
)


# ------------------------------------------------------------------------------- the two modes as data

Part = Callable[[str], str]


def _mode(messages: list[str]) -> str:
    """The last flag of the conversation, read from the back, character by character."""
    text = " ".join(messages)
    for end in range(len(text), 0, -1):
        for flag in ("/no_think", "/think"):
            if text[:end].endswith(flag):
                return flag
    return "/think"


def _example(chain: str, answer: str, mode: str, empty: str = OPEN + CLOSE) -> str:
    return f"{OPEN}{chain}{CLOSE}{answer}" if mode == "/think" else empty + answer


def _read_first(messages: list[str]) -> str:
    found = [m for m in messages if "think" in m]
    return _mode(found[:1]) if found else "/think"


def _draw_messages(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    talks = (
        ["{}? /no_think"],
        ["{}?"],
        ["{}? /think", "and {}? /no_think"],
        ["{}? /no_think", "and {}? /think"],
        ["{}? /no_think", "and {}?"],
        ["/no_think no, wait: /think {}?"],
        ["{}? /think"],
        ["{}? /no_think", "/think and {}?", "then {}?"],
    )
    numbers = [f"{a}+{b}" for a, b in rng.integers(1, 10, (3, 2)).tolist()]
    chain, answer = "".join(map(str, rng.integers(0, 10, 3))), f"={rng.integers(0, 10)}"
    talk = [line.format(x) for line, x in zip(talks[turn], numbers, strict=False)]
    return {"messages": talk, "chain": chain, "answer": answer}


def _by(mode: Callable[[list[str]], str], **options: str) -> Callable[[list[str], str, str], str]:
    return lambda messages, chain, answer: _example(chain, answer, mode(messages), **options)


def _trained(
    tokens: list[str],
    prompt: int,
    kind: str,
    *,
    first: dict[str, str] | None = None,
    prompts: bool = False,
    shift: int = 0,
    end: bool = True,
) -> np.ndarray:
    """Token by token; ``first`` says from where each kind is trained: the start, the tag, the answer."""
    close = tokens.index(CLOSE)
    starts = {"start": prompt, "close": close, "answer": close + 1}
    plan = {"whole": "start", "no_think": "start", "cut": "answer"} | (first or {})
    begin = 0 if prompts else starts[plan[kind]] + shift
    last = len(tokens) - (0 if end else 1)
    return np.array([begin <= place < last for place in range(len(tokens))])


def _draw_tokens(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    kind = ("whole", "cut", "no_think")[turn % 3]
    prompt = [str(rng.integers(10)), "+", str(rng.integers(10)), "?"]
    chain = [str(x) for x in rng.integers(0, 10, 0 if kind == "no_think" else rng.integers(2, 4))]
    tokens = [*prompt, OPEN, *chain, CLOSE, "=", str(rng.integers(10)), "<end>"]
    return {"tokens": tokens, "prompt": len(prompt), "kind": kind}


check_fusion = Series(
    "fusion_text and trained_tokens: both modes, and chains that were cut",
    (
        Check(
            "fusion_text",
            draw=_draw_messages,
            right=_by(_mode),
            calls=8,
            label=" (first function)",
            mistakes={
                "the first flag of the conversation decides; the last one should": _by(_read_first),
                "only the last message is read. A flag holds until another one follows": _by(
                    lambda messages: _mode(messages[-1:])
                ),
                "/no_think wins wherever it stands; the last flag should": _by(
                    lambda messages: "/no_think" if "/no_think" in " ".join(messages) else "/think"
                ),
                "/think wins wherever it stands; the last flag should": _by(
                    lambda messages: "/think" if "/think" in " ".join(messages) else _mode(messages)
                ),
                "without a flag the model should think": _by(
                    lambda messages: (
                        _mode(messages) if "think" in " ".join(messages) else "/no_think"
                    )
                ),
                "the empty block is missing: an answer without thinking begins with both tags": _by(
                    _mode, empty=""
                ),
                "the empty block is not closed": _by(_mode, empty=OPEN),
                "the flag is ignored: every answer has its chain": _by(lambda messages: "/think"),
                "the two modes are exchanged": _by(
                    lambda messages: "/think" if _mode(messages) == "/no_think" else "/no_think"
                ),
            },
        ),
        Check(
            "trained_tokens",
            draw=_draw_tokens,
            right=_trained,
            label=" (second function)",
            mistakes={
                "the tokens of the prompt are trained": partial(_trained, prompts=True),
                "a cut chain is trained as a whole. Then the model learns to stop by itself, too early": (
                    partial(_trained, first={"cut": "start"})
                ),
                "the </think> of a cut chain is trained. Nobody wants the model to write it there": partial(
                    _trained, first={"cut": "close"}
                ),
                "with /no_think only the answer is trained. The model has to learn the empty block as well": (
                    partial(_trained, first={"no_think": "answer"})
                ),
                "of a whole chain only the answer is trained": partial(
                    _trained, first={"whole": "answer"}
                ),
                "the end of the answer is not trained: the model would not stop": partial(
                    _trained, end=False
                ),
                "the mask is shifted by one token to the left": partial(_trained, shift=-1),
                "the mask is shifted by one token to the right": partial(_trained, shift=1),
                "the mask is inverted: True where a token is trained": lambda *given: (
                    ~_trained(*given)
                ),
            },
        ),
    ),
    functions=2,
)


# ---------------------------------------------------------------------------- accuracy and price of a budget


def _curve(
    needs: list[float],
    q: float,
    g: float,
    ends: Callable[[int, int], bool] = lambda n, budget: n <= budget,
) -> list[float]:
    """Budget by budget, length by length; needs[n − 1] is the probability that a chain needs n tokens."""
    return [
        sum(chance * (q if ends(n, k) else g) for n, chance in enumerate(needs, start=1))
        for k in range(len(needs) + 1)
    ]


def _used(needs: list[float], budget: int) -> float:
    return sum(chance * min(n, budget) for n, chance in enumerate(needs, start=1))


def _best(
    needs: list[float],
    q: float,
    g: float,
    price: float,
    cost: Callable[[list[float], int], float] = _used,
) -> int:
    worth = [x - price * cost(needs, k) for k, x in enumerate(_curve(needs, q, g))]
    return int(np.argmax(worth))


def _first_peak(needs: list[float], q: float, g: float, price: float) -> int:
    worth = [x - price * _used(needs, k) for k, x in enumerate(_curve(needs, q, g))]
    return next((k for k in range(len(needs)) if worth[k + 1] <= worth[k]), len(needs))


def _draw_needs(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Easy problems of two or three tokens and hard ones of six to eight, few in between."""
    easy = float(rng.uniform(0.3, 0.5))
    needs = np.array([0.01, easy * 0.6, easy * 0.4, 0.01, 0.01, 0.0, 0.0, 0.0, 0.03])
    needs[5:8] = (1 - needs.sum()) * rng.dirichlet((6, 6, 6))
    return {
        "needs": needs.tolist(),
        "q": float(rng.uniform(0.8, 0.95)),
        "g": float(rng.uniform(0.05, 0.2)),
    }


def _draw_price(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """A low price: thinking to the end of the hard problems pays. A high one: only easy problems pay."""
    price = (0.05, 0.21, 0.13)[turn]
    return {**_draw_needs(rng, turn), "price": float(price * rng.uniform(0.97, 1.03))}


check_budget = Series(
    "budget_curve and best_budget: agree with every budget and length",
    (
        Check(
            "budget_curve",
            draw=_draw_needs,
            right=_curve,
            tolerance=1e-7,
            label=" (first function)",
            mistakes={
                "a chain that needs exactly the budget has ended in time": partial(
                    _curve, ends=lambda n, budget: n < budget
                ),
                "a chain that is cut earns nothing here; the model still guesses": lambda w, q, g: (
                    _curve(w, q, 0.0)
                ),
                "a chain that ends is always correct here; it is with probability q": lambda w, q, g: (
                    _curve(w, 1.0, g)
                ),
                "the guess is added to every answer; only chains that are cut guess": lambda w, q, g: [
                    x + g for x in _curve(w, q, 0.0)
                ],
                "these are the steps of the curve: add up the probabilities of all shorter chains": (
                    lambda w, q, g: [g, *(q * x + g * (1 - x) for x in w)]
                ),
                "cut and ended are exchanged": lambda w, q, g: _curve(w, g, q),
                "the list is reversed: it begins with budget 0": lambda w, q, g: _curve(w, q, g)[
                    ::-1
                ],
            },
        ),
        Check(
            "best_budget",
            draw=_draw_price,
            right=_best,
            label=" (second function)",
            mistakes={
                "every problem is charged the whole budget. A chain that ends early uses fewer tokens": (
                    partial(_best, cost=lambda needs, budget: budget)
                ),
                "this is the first budget after which one more token does not pay. Further on there may be "
                "a higher maximum": _first_peak,
                "this is one token too few": lambda *given: _best(*given) - 1,
                "this is one token too many": lambda *given: _best(*given) + 1,
                "this is the largest budget: the price is not used, or every problem is charged its whole "
                "chain": lambda w, q, g, price: len(w),
            },
        ),
    ),
    functions=2,
)
