"""The reverse KL to a teacher: two forms with one expected gradient, checked by summing over every answer."""

from itertools import product

import pytest
import torch

from rlvr_lab.objectives.averages import constant_mean, token_mean
from rlvr_lab.objectives.distillation import reverse_kl_full, reverse_kl_sampled

V, T = 3, 2


def prefixes() -> list[tuple[int, ...]]:
    return [p for t in range(T) for p in product(range(V), repeat=t)]


def tables() -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token logits of student and teacher after each prefix, [prefixes, V]."""
    generator = torch.Generator().manual_seed(0)
    two = torch.randn(2, len(prefixes()), V, generator=generator, dtype=torch.float64)
    return two[0].requires_grad_(), two[1]


def rows(answers: list[tuple[int, ...]]) -> torch.Tensor:
    """The index of the prefix before each token, [answers, T]."""
    return torch.tensor([[prefixes().index(a[:t]) for t in range(T)] for a in answers])


def every_answer() -> tuple[list[tuple[int, ...]], torch.Tensor]:
    answers = list(product(range(V), repeat=T))
    return answers, torch.tensor(answers)


def by_hand(student: torch.Tensor, teacher: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """KL(π‖π_T) after each prefix, written out."""
    p, q = student.softmax(-1), teacher.softmax(-1)
    return (p * (p.log() - q.log())).sum(-1)[at]


def expected_gradient(loss_of, student: torch.Tensor) -> torch.Tensor:
    """Σ over all answers of π(answer) · ∇loss(answer), with the answers' probabilities held fixed."""
    answers, ids = every_answer()
    total = torch.zeros_like(student)
    at = rows(answers)
    with torch.no_grad():
        probs = student.log_softmax(-1)[at].gather(2, ids[..., None])[..., 0].sum(1).exp()
    for i in range(len(answers)):
        (gradient,) = torch.autograd.grad(loss_of(at[i : i + 1], ids[i : i + 1]), student)
        total += probs[i] * gradient
    assert float(probs.sum()) == pytest.approx(1)
    return total


def logprobs(table: torch.Tensor, at: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return table.log_softmax(-1)[at].gather(2, ids[..., None])[..., 0]


ON = torch.ones(1, T, dtype=torch.bool)


def test_the_full_form_is_the_reverse_kl_of_each_next_token() -> None:
    student, teacher = tables()
    at = rows([(0, 1), (2, 0)])
    mask = torch.tensor([[True, True], [True, False]])
    loss = reverse_kl_full(student[at], teacher[at], mask)
    expected = by_hand(student, teacher, at)[mask].mean()
    torch.testing.assert_close(loss, expected, atol=1e-12, rtol=0)
    (mine,) = torch.autograd.grad(loss, student)
    (theirs,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=0)
    # Not the forward KL, and the average is the one that was asked for.
    assert abs(float(loss) - float(by_hand(teacher, student, at)[mask].mean())) > 1e-2
    summed = reverse_kl_full(student[at], teacher[at], mask, constant_mean(1))
    torch.testing.assert_close(summed, expected * 3 / 2, atol=1e-12, rtol=0)


def test_both_forms_have_the_same_expected_gradient() -> None:
    student, teacher = tables()
    full = expected_gradient(lambda at, ids: reverse_kl_full(student[at], teacher[at], ON), student)
    sampled = expected_gradient(
        lambda at, ids: reverse_kl_sampled(
            logprobs(student, at, ids), logprobs(teacher, at, ids), ON
        ),
        student,
    )
    torch.testing.assert_close(sampled, full, atol=1e-10, rtol=0)
    assert float(full.abs().max()) > 1e-2
    # A single answer does not have that gradient: the form is noisier.
    at, ids = rows([(0, 1)]), torch.tensor([[0, 1]])
    one = reverse_kl_sampled(logprobs(student, at, ids), logprobs(teacher, at, ids), ON)
    other = reverse_kl_full(student[at], teacher[at], ON)
    gradients = [torch.autograd.grad(x, student)[0] for x in (one, other)]
    assert float((gradients[0] - gradients[1]).abs().max()) > 1e-2


def test_with_what_follows_it_is_the_gradient_of_the_kl_between_whole_answers() -> None:
    student, teacher = tables()
    answers, ids = every_answer()
    at = rows(answers)
    own, given = (logprobs(x, at, ids).sum(1) for x in (student, teacher))
    (whole,) = torch.autograd.grad((own.exp() * (own - given)).sum(), student)

    def loss_of(to_go: bool):
        return lambda at, ids: reverse_kl_sampled(
            logprobs(student, at, ids), logprobs(teacher, at, ids), ON, constant_mean(1), to_go
        )

    with_rest = expected_gradient(loss_of(True), student)
    torch.testing.assert_close(with_rest, whole, atol=1e-10, rtol=0)
    without = expected_gradient(loss_of(False), student)
    assert float((without - whole).abs().max()) > 1e-2
    # They differ only before the last token: after it nothing follows.
    last = [i for i, prefix in enumerate(prefixes()) if len(prefix) == T - 1]
    torch.testing.assert_close(without[last], whole[last], atol=1e-10, rtol=0)


def test_the_sampled_form_by_hand() -> None:
    own = torch.tensor([[-1.0, -2.0, 5.0]], requires_grad=True)
    given = torch.tensor([[-3.0, -1.5, 7.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    loss = reverse_kl_sampled(own, given, mask)
    loss.backward()
    torch.testing.assert_close(own.grad, torch.tensor([[2.0, -0.5, 0.0]]) / 2)
    assert given.grad is None
    assert float(loss) == pytest.approx((2 * -1 + -0.5 * -2) / 2)
    own.grad = None
    reverse_kl_sampled(own, given, mask, token_mean, to_go=True).backward()
    torch.testing.assert_close(own.grad, torch.tensor([[1.5, -0.5, 0.0]]) / 2)


def test_no_gradient_reaches_the_teacher_and_bad_numbers_are_refused() -> None:
    student, teacher = tables()
    teacher.requires_grad_()
    at = rows([(0, 1)])
    reverse_kl_full(student[at], teacher[at], ON).backward()
    assert teacher.grad is None and student.grad is not None
    bad = torch.full((1, 2), -torch.inf)
    with pytest.raises(ValueError, match="teacher_logprobs: a trained token"):
        reverse_kl_sampled(torch.zeros(1, 2), bad, ON)
    with pytest.raises(ValueError, match="logprobs: a trained token"):
        reverse_kl_sampled(bad, torch.zeros(1, 2), ON)
    with pytest.raises(ValueError, match=r"^logits: a trained token"):
        reverse_kl_full(torch.full((1, T, V), torch.nan), torch.zeros(1, T, V), ON)
    with pytest.raises(ValueError, match="mask: it selects no token"):
        reverse_kl_full(student[at], teacher[at], ~ON)
