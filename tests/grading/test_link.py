"""A function that runs in another process behaves as one that runs here."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from rlvr_lab.checks.calls import Mistake, call
from rlvr_lab.grading.link import Link
from rlvr_lab.grading.messages import Stopped
from tests.grading.forked import forked

Calls = Callable[[Any], Any]


def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x * y).sum()


def several(x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
    return {"a": x**2, "b": [y, (x * 3, 1.5)], "same": x, "cut": x.detach()}


def own_leaf(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(2, requires_grad=True) * 2


def in_place(x: torch.Tensor, values: list[float]) -> float:
    x.unsqueeze_(0)
    values.append(3.0)
    return 1.0


def fails(x: torch.Tensor) -> torch.Tensor:
    return x.view(-1, 7)


def needs_a_key(train: Callable[[int], float]) -> float:
    try:
        train(2)
    except KeyError:
        return train(1) + 1.0
    return 0.0


def passes_the_error_on(train: Callable[[int], float]) -> float:
    return train(2)


def differentiates(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(f(leaf), leaf)[0]


def makes_a_function(n: int) -> Callable[[int], int]:
    return lambda x: x + n


def leaves(x: Any) -> Any:
    raise SystemExit(3)


class Odd(BaseException):
    pass


def odd(x: Any) -> Any:
    raise Odd("odd")


FUNCTIONS = [product, several, own_leaf, in_place, fails, needs_a_key, passes_the_error_on]
FUNCTIONS += [differentiates, makes_a_function, leaves, odd]


@pytest.fixture(scope="module")
def far() -> Iterator[Calls]:
    with forked(FUNCTIONS, seconds=20) as found:
        yield found


def test_gradients_come_back(far: Calls) -> None:
    x, y = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    result = far(product)(x, y)
    assert result.requires_grad and float(result) == pytest.approx(float(product(x, y)))
    by_x, by_y = torch.autograd.grad(result.sum(), [x, y], allow_unused=True)
    assert torch.equal(by_x, y) and torch.equal(by_y, x)
    again = torch.autograd.grad(far(product)(x, x), x)[0]
    assert torch.allclose(again, 2 * x), "one tensor as two arguments"


def test_gradients_of_several_results(far: Calls) -> None:
    x, y = torch.randn(3, requires_grad=True), torch.randn(3)
    found = far(several)(x, y)
    assert not found["b"][0].requires_grad and not found["cut"].requires_grad
    total = found["a"].sum() + found["b"][1][0].sum() + found["same"].sum()
    assert torch.allclose(torch.autograd.grad(total, x, retain_graph=True)[0], 2 * x + 4)
    assert torch.allclose(torch.autograd.grad(found["a"].sum(), x)[0], 2 * x), "the graph is kept"


def test_a_gradient_that_does_not_reach_the_input_is_none(far: Calls) -> None:
    x = torch.randn(3, requires_grad=True)
    result = far(own_leaf)(x)
    assert result.requires_grad
    assert torch.autograd.grad(result.sum(), [x], allow_unused=True) == (None,)


def test_a_change_in_place_is_seen(far: Calls) -> None:
    x, values = torch.zeros(3), [1.0]
    assert far(in_place)(x, values) == 1.0
    assert x.shape == (1, 3) and values == [1.0, 3.0]
    with pytest.raises(Mistake, match="overwrites its input `x`"):
        call(far(in_place), x=torch.zeros(3), values=[1.0])


def test_an_error_has_its_name_its_message_and_its_line(far: Calls) -> None:
    with pytest.raises(RuntimeError, match="shape"):
        far(fails)(torch.zeros(3))
    with pytest.raises(
        Mistake, match=r"fails stopped with RuntimeError: .*at its line `return x.view\(-1, 7\)`"
    ):
        call(far(fails), x=torch.zeros(3))
    with pytest.raises(Mistake, match="SystemExit: 3"):
        call(far(leaves), x=1)
    with pytest.raises(Mistake, match="Odd: odd"):
        call(far(odd), x=1)


def test_functions_of_this_side_are_called_here(far: Calls) -> None:
    asked: list[int] = []

    def train(n: int) -> float:
        asked.append(n)
        return {1: 0.5}[n]

    assert far(needs_a_key)(train) == 1.5 and asked == [2, 1]
    with pytest.raises(Mistake, match=r"KeyError: 2, at its line `return train\(2\)`"):
        call(far(passes_the_error_on), train=train)


def test_a_gradient_through_a_function_of_this_side(far: Calls) -> None:
    x = torch.randn(3)
    assert torch.allclose(far(differentiates)(lambda z: (z**3).sum(), x), 3 * x**2)


def test_a_function_may_return_a_function(far: Calls) -> None:
    assert far(makes_a_function)(4)(3) == 7


@pytest.mark.parametrize(
    "answer",
    [
        {"op": "ok"},
        {"op": "ok", "value": {"q": 1}, "changed": []},
        {"op": "ok", "value": 1, "changed": [[9, 1]]},
        {"op": "ok", "value": 1, "changed": 5},
        {"op": "ok", "value": {"t": ["float32", [], [0, 4], True]}, "changed": []},
        {"op": "error"},
        {"op": "error", "type": "E", "kinds": [["x"]], "said": "", "frames": [1]},
        {"op": "error", "type": "E\0", "kinds": [], "said": "", "frames": []},
        {"op": "call", "fn": 99, "args": []},
        {"op": "call"},
        {"op": "vjp", "graph": 1, "slopes": []},
        {"op": "who knows"},
        {"op": ["x"]},
        {"op": "refused", "hex": "zz"},
    ],
    ids=str,
)
def test_a_malformed_answer_stops_the_worker_and_nothing_else(
    answer: dict, monkeypatch: Any
) -> None:
    here, there = socket.socketpair()
    monkeypatch.setattr("rlvr_lab.grading.link.secrets.token_hex", lambda n: "mark")
    from rlvr_lab.grading.messages import pack

    there.sendall(pack(answer | {"mark": "mark"}, [bytes(4)]))
    link = Link(here, seconds=1)
    with pytest.raises(Stopped):
        link._proxy(0, "f")(torch.zeros(1, requires_grad=True))
    here.close()
    there.close()


def test_an_answer_to_another_question_is_refused() -> None:
    from rlvr_lab.grading.messages import pack

    here, there = socket.socketpair()
    there.sendall(pack({"op": "ok", "value": 1, "changed": []}, []))
    with pytest.raises(Stopped, match="no question"):
        Link(here, seconds=1)._proxy(0, "f")(1)
