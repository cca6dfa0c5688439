"""The weights of tokens: they add up to the parameter gradient, and their factors multiply to them."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.objectives.objective import ALGORITHMS, Objective, Rows, objective_from
from rlvr_lab.objectives.token_weights import loss_weights, objective_weights

GRPO = {"baseline": "group", "divide_by_std": True, "average": "sequence", "ratio": "token"}
GRPO |= {"clip_low": 0.2, "clip_high": 0.2}
VOCABULARY, TOKENS, SIZE = 7, 6, 4


def objective(name: str, **more: object) -> Objective:
    settings = GRPO | ALGORITHMS[name] | {"length": 4.0} | more
    in_reward = settings.pop("kl_in", "loss") == "reward"
    return objective_from(**settings, kl_in_reward=in_reward)


def batch(far: float = 0.3) -> tuple[torch.Tensor, torch.Tensor, Rows]:
    """Logits of a small table, tokens, and ragged rows; the policy has left the one that sampled."""
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    logits = draw(8, TOKENS, VOCABULARY).requires_grad_()
    tokens = torch.randint(VOCABULARY, (8, TOKENS), generator=generator)
    lengths = torch.tensor([1, 6, 3, 2, 5, 6, 1, 4])
    mask = torch.arange(TOKENS) < lengths[:, None]
    logprobs = read(logits, tokens)
    old, reference = (torch.where(mask, logprobs.detach() + far * draw(8, TOKENS), 0) for _ in "ab")
    rewards = torch.tensor([1.0, 0, 0, 1.1, 0.1, 0, 1, 0], dtype=torch.float64)
    return logits, tokens, Rows(logprobs, old, rewards, mask, reference)


def read(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(-1).gather(2, tokens[..., None]).squeeze(2)


def with_advantages(one: Objective, rows: Rows) -> Rows:
    given = (rows.old_logprobs, rows.ref_logprobs, rows.mask)
    return rows._replace(advantages=one.advantages(rows.advantages, SIZE, *given))


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_weights_times_the_scores_are_the_gradient(name: str, beta: float) -> None:
    logits, tokens, rows = batch()
    one = objective(name, kl_coef=0.0 if name == "maxrl" else beta)
    rows = with_advantages(one, rows)
    (gradient,) = torch.autograd.grad(one.total(rows), logits)
    found = objective_weights(one, rows)
    (added_up,) = torch.autograd.grad((found.total * read(logits, tokens)).sum(), logits)
    assert float((gradient + added_up).abs().max()) < 1e-12
    assert float(gradient.abs().max()) > 1e-3
    assert bool((found.total[~rows.mask] == 0).all())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_advantage_times_ratio_times_average_is_the_weight(name: str) -> None:
    _, _, rows = batch()
    one = objective(name)
    rows = with_advantages(one, rows)
    found = objective_weights(one, rows)
    ratio = (rows.logprobs - rows.old_logprobs).exp().detach()
    a, lengths = rows.advantages[:, None], rows.mask.sum(1, keepdim=True).double()
    whole = (torch.where(rows.mask, ratio.log(), 0).sum(1, keepdim=True) / lengths).exp()
    row = GRPO | ALGORITHMS[name]
    low, high = 1 - row["clip_low"], 1 + row["clip_high"]
    of = {"none": torch.ones_like(ratio), "sequence": whole.expand_as(ratio)}.get(
        row["ratio"], ratio
    )
    if row["ratio"] == "cispo":
        touched, left = of > high, of.clamp(max=high)
    else:
        touched = ((a > 0) & (of > high)) | ((a < 0) & (of < low))
        touched &= row["ratio"] != "none"
        left = torch.where(touched, 0, of)
    counts = {
        "sequence": 1 / (8 * lengths),
        "token": 1 / rows.mask.sum().double(),
        "constant": torch.tensor(1 / 32).double(),
    }[row["average"]]
    m = rows.mask
    torch.testing.assert_close(found.policy[m], (a * left * counts)[m], rtol=1e-12, atol=0)
    torch.testing.assert_close(found.factor[m], left[m], rtol=1e-12, atol=0)
    torch.testing.assert_close(
        found.average[m], counts.expand_as(m)[m].double(), rtol=1e-12, atol=0
    )
    assert torch.equal(found.clipped, touched & m)
    assert torch.equal(found.advantages[m], a.expand_as(m)[m])
    assert bool(touched[m].any()) == (row["ratio"] != "none")


def test_the_kl_term_is_the_rest() -> None:
    """k3 in the loss pulls with −β·(1 − π_ref/π) times the average, whatever the advantage."""
    _, _, rows = batch()
    with_kl, without = objective("grpo", kl_coef=0.3), objective("grpo")
    rows = with_advantages(without, rows)
    found, bare = objective_weights(with_kl, rows), objective_weights(without, rows)
    m, pull = rows.mask, (rows.ref_logprobs - rows.logprobs.detach()).exp() - 1
    torch.testing.assert_close(found.kl[m], (0.3 * pull * found.average)[m], rtol=1e-10, atol=1e-14)
    assert torch.equal(found.policy, bare.policy)
    assert not bool(bare.kl.any())


def test_an_answer_without_advantage_has_no_factor() -> None:
    _, _, rows = batch()
    found = objective_weights(objective("grpo"), rows._replace(advantages=torch.zeros(8).double()))
    assert bool(found.factor.isnan().all())
    assert not bool(found.clipped.any())


def test_a_loss_written_by_hand_has_its_removed_gradients_flagged() -> None:
    """Its clip cannot be opened by name, so only a weight of exactly 0 tells of it."""
    _, _, rows = batch()
    one = objective("grpo")
    rows = with_advantages(one, rows)
    by_hand = replace(one, loss=lambda given, average: one.loss(given, average))
    assert torch.equal(
        objective_weights(by_hand, rows).clipped, objective_weights(one, rows).clipped
    )


def test_a_loss_without_a_gradient_has_weight_zero() -> None:
    assert not bool(loss_weights(lambda lp: (lp.detach() ** 2).sum(), torch.ones(2, 3)).any())
    one = replace(objective("grpo"), loss=lambda given, average: given.logprobs.detach().sum())
    assert not bool(
        objective_weights(one, batch()[2]._replace(advantages=torch.ones(8).double())).total.any()
    )
