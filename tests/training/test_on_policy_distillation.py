"""One on-policy step: the named loss reaches the parameters, the teacher stays, the tokens are counted."""

import inspect

import pytest
import torch

from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import whole_texts
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import CODE_WORDS, word_tokenizer
from rlvr_lab.training.on_policy_distillation import distillation_step, kl_to_teacher
from rlvr_lab.training.optimise import OPTIMIZERS, trained

PROMPTS = ["7+5+8,3+4+1,9+2+2?", "7+5?"]


def tiny(seed: int) -> Policy:
    policy = new_policy(word_tokenizer(CODE_WORDS), seed, 16, 1, device="cpu")
    with torch.no_grad():  # so that the two models really differ
        for p in policy.model.parameters():
            p.mul_(3.0)
    return policy


def answers(policy: Policy):
    return sample(policy, PROMPTS, 3, 40, torch.Generator().manual_seed(0), 1.0)


def plain_logits(policy: Policy, batch) -> torch.Tensor:
    """One forward pass over each whole text."""
    ids, mask, positions = whole_texts(batch)
    logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    tokens = batch.completion_ids.shape[1]
    return logits[:, -tokens - 1 : -1]


def loss_by_hand(student: Policy, teacher: Policy, batch, form: str, temperature: float):
    p, q = ((plain_logits(x, batch) / temperature).log_softmax(-1) for x in (student, teacher))
    on = batch.completion_mask
    if form == "full":
        return (p.exp() * (p - q.detach())).sum(-1)[on].mean()
    ids = batch.completion_ids[..., None]
    p, q = p.gather(2, ids)[..., 0][on], q.gather(2, ids)[..., 0][on]
    return (p * (p - q).detach()).mean()


@pytest.mark.parametrize("form", ["full", "sampled"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_step_follows_the_named_loss(form: str, temperature: float) -> None:
    student, mine, teacher = tiny(0), tiny(0), tiny(1)
    batch = answers(student)
    assert len(set(batch.lengths.tolist())) > 1  # ragged
    before = [p.detach().clone() for p in teacher.model.parameters()]
    loss = loss_by_hand(mine, teacher, batch, form, temperature)
    optimizer = OPTIMIZERS["sgd"](trained(mine.model), 0.5)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(mine.model.parameters(), 0.1)
    optimizer.step()
    done = distillation_step(
        student,
        teacher,
        batch,
        OPTIMIZERS["sgd"](trained(student.model), 0.5),
        form,
        temperature,
        0.1,
    )
    assert done.loss == pytest.approx(float(loss.detach()), abs=1e-5)
    start = tiny(0)
    moved = 0.0
    for a, b, c in zip(
        student.model.parameters(), mine.model.parameters(), start.model.parameters(), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
        moved = max(moved, float((b - c).detach().abs().max()))
    assert moved > 1e-3
    for a, b in zip(teacher.model.parameters(), before, strict=True):
        assert torch.equal(a, b) and a.grad is None
    prompts = [len(student.tokenizer.encode(text)) for text in PROMPTS]
    assert done.read == 3 * sum(prompts) + int(batch.lengths.sum())


def test_the_distance_is_the_exact_kl_per_token() -> None:
    student, teacher = tiny(0), tiny(1)
    batch = answers(student)
    expected = float(loss_by_hand(student, teacher, batch, "full", 0.7).detach())
    assert kl_to_teacher(student, teacher, batch, 0.7) == pytest.approx(expected, abs=1e-5)
    assert kl_to_teacher(student, student, batch) == pytest.approx(0, abs=1e-6)
    assert expected > 0.01


def test_steps_bring_the_student_to_the_teacher() -> None:
    student, teacher = tiny(0), tiny(1)
    optimizer = OPTIMIZERS["adamw"](trained(student.model), 1e-2)
    first = kl_to_teacher(student, teacher, answers(student))
    for _ in range(40):
        distillation_step(student, teacher, answers(student), optimizer, "full")
    assert kl_to_teacher(student, teacher, answers(student)) < 0.6 * first


@pytest.mark.parametrize("form", ["full", "sampled"])
def test_a_forced_word_is_read_and_not_trained(form: str) -> None:
    student, teacher = tiny(0), tiny(1)
    generator = torch.Generator().manual_seed(0)
    batch = sample(student, PROMPTS, 3, 40, generator, 1.0, forced_words=["<think>"] * 6)
    assert (batch.attention_mask & ~batch.completion_mask).sum() == 6
    expected = loss_by_hand(student, teacher, batch, form, 1.0)
    done = distillation_step(
        student, teacher, batch, OPTIMIZERS["sgd"](trained(student.model), 0.0), form
    )
    assert done.loss == pytest.approx(float(expected.detach()), abs=1e-5)


def test_by_default_the_temperature_is_one_and_the_gradient_clipped_at_one() -> None:
    step = inspect.signature(distillation_step).parameters
    assert (step["temperature"].default, step["max_norm"].default) == (1.0, 1.0)
    assert inspect.signature(kl_to_teacher).parameters["temperature"].default == 1.0
