"""Losses on preferences: gradients by autograd, limits, identities between variants, bad input."""

import math

import pytest
import torch

from rlvr_lab.objectives import preferences as pref
from rlvr_lab.objectives.preferences import PAIR_OBJECTIVES, Sides

torch.manual_seed(0)
M = 7
LENGTHS = (
    torch.arange(1.0, M + 1, dtype=torch.float64),
    torch.arange(M, 0.0, -1, dtype=torch.float64),
)


def pairs(seed: int = 0, count: int = 4) -> list[torch.Tensor]:
    """Log-probs of chosen, rejected, and the reference's, float64 with gradient in the first two."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        -5 * torch.rand(M, dtype=torch.float64, generator=generator) - 0.1 for _ in range(count)
    ]
    return [x.requires_grad_(i < 2) for i, x in enumerate(drawn)]


def numerically(loss, values: list[torch.Tensor], which: int, h: float = 1e-6) -> torch.Tensor:
    slopes = []
    for i in range(M):
        ends = []
        for sign in (1, -1):
            moved = [v.detach().clone() for v in values]
            moved[which][i] += sign * h
            ends.append(float(loss(*moved)))
        slopes.append((ends[0] - ends[1]) / (2 * h))
    return torch.tensor(slopes, dtype=torch.float64)


LOSSES = {
    "dpo": lambda w, b, rw, rl: pref.dpo_loss(w, b, rw, rl, beta=0.3),
    "ln-dpo": lambda w, b, rw, rl: pref.length_normalised_dpo_loss(
        w, b, rw, rl, *LENGTHS, beta=2.0
    ),
    "simpo": lambda w, b, rw, rl: pref.simpo_loss(w, b, *LENGTHS, beta=2.0, margin=0.4),
    "ipo": lambda w, b, rw, rl: pref.ipo_loss(w, b, rw, rl, tau=0.3),
    "orpo": lambda w, b, rw, rl: pref.orpo_loss(w, b, *LENGTHS, weight=0.7),
}
# The definitions once more, for one pair, in plain floats: the loss of h, and h.
PLAIN = {
    "dpo": lambda w, b, rw, rl, nw, nl: nls(0.3 * (w - rw) - 0.3 * (b - rl)),
    "ln-dpo": lambda w, b, rw, rl, nw, nl: nls(2 * (w - rw) / nw - 2 * (b - rl) / nl),
    "simpo": lambda w, b, rw, rl, nw, nl: nls(2 * w / nw - 2 * b / nl - 0.4),
    "ipo": lambda w, b, rw, rl, nw, nl: ((w - rw) - (b - rl) - 1 / 0.6) ** 2,
    "orpo": lambda w, b, rw, rl, nw, nl: (
        -w / nw + 0.7 * nls(logit(math.exp(w / nw)) - logit(math.exp(b / nl)))
    ),
}


def nls(h: float) -> float:
    return math.log(1 + math.exp(-h))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_mean_of_its_definition(name: str) -> None:
    values = pairs(1)
    rows = zip(*(v.tolist() for v in [*values, *LENGTHS]), strict=True)
    expected = sum(PLAIN[name](*row) for row in rows) / M
    assert LOSSES[name](*values).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    values = pairs(2)
    found = torch.autograd.grad(LOSSES[name](*values), values[:2])
    for which in (0, 1):
        expected = numerically(LOSSES[name], values, which)
        torch.testing.assert_close(found[which], expected, atol=1e-8, rtol=1e-7)


def test_the_gradient_of_dpo_weighs_pairs_by_how_wrong_they_are() -> None:
    beta, (chosen, rejected, ref_chosen, ref_rejected) = 0.3, pairs(3)
    loss = pref.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta)
    up, down = torch.autograd.grad(loss, [chosen, rejected])
    weight = pref.dpo_weight(
        pref.implicit_reward(chosen, ref_chosen, beta).detach(),
        pref.implicit_reward(rejected, ref_rejected, beta).detach(),
    )
    torch.testing.assert_close(up, -beta * weight / M, atol=1e-15, rtol=0)
    torch.testing.assert_close(down, beta * weight / M, atol=1e-15, rtol=0)
    assert weight.min() < 0.5 < weight.max()


def test_no_gradient_reaches_the_reference() -> None:
    values = [v.detach().requires_grad_() for v in pairs(4)]
    pref.dpo_loss(*values).backward()
    assert values[0].grad is not None and values[2].grad is None and values[3].grad is None


def test_bradley_terry_ignores_a_common_constant_and_learns_the_preference() -> None:
    chosen, rejected = pairs(5, 2)
    loss = pref.bradley_terry_loss(chosen, rejected)
    assert float(pref.bradley_terry_loss(chosen + 3, rejected + 3)) == pytest.approx(float(loss))
    both = pref.preference_probability(chosen, rejected) + pref.preference_probability(
        rejected, chosen
    )
    torch.testing.assert_close(both, torch.ones_like(both))


def test_variants_differ_by_a_line() -> None:
    chosen, rejected, ref_chosen, ref_rejected = (v.detach() for v in pairs(6))
    ones = torch.ones(M, dtype=torch.float64)
    dpo = pref.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, 0.5)
    normalised = pref.length_normalised_dpo_loss(
        chosen, rejected, ref_chosen, ref_rejected, ones, ones, 0.5
    )
    assert float(dpo) == float(normalised)
    no_reference = pref.length_normalised_dpo_loss(
        chosen, rejected, 0 * ref_chosen, 0 * ref_rejected, *LENGTHS, 0.5
    )
    simpo = pref.simpo_loss(chosen, rejected, *LENGTHS, beta=0.5, margin=0.0)
    assert float(no_reference) == pytest.approx(float(simpo), abs=1e-15)


def test_padding_does_not_count() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    logprobs = torch.tensor([[-1.0, -2.0, math.nan], [-3.0, -math.inf, math.nan]])
    assert pref.answer_logprobs(logprobs, mask).tolist() == [-3.0, -3.0]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda v: pref.dpo_loss(*v, beta=0.0), "beta: must be positive, got 0.0"),
        (lambda v: pref.ipo_loss(*v, tau=-1.0), "tau: must be positive, got -1.0"),
        (lambda v: pref.simpo_loss(*v[:2], *LENGTHS, margin=-0.1), "margin"),
        (lambda v: pref.simpo_loss(*v[:2], *LENGTHS, beta=0.0), "beta"),
        (lambda v: pref.simpo_loss(*v[:2], LENGTHS[0], 0 * LENGTHS[1]), "rejected_lengths"),
        (
            lambda v: pref.length_normalised_dpo_loss(*v, 0 * LENGTHS[0], LENGTHS[1]),
            "chosen_lengths",
        ),
        (lambda v: pref.orpo_loss(*v[:2], *LENGTHS, weight=-1.0), "weight"),
        (lambda v: pref.orpo_loss(0 * v[0], v[1], *LENGTHS), "chosen_logprobs"),
    ],
)
def test_bad_input_is_named(call, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call([v.detach() for v in pairs(7)])


# ------------------------------------------------------------------------------ variants by name

CHOSEN, REJECTED = torch.tensor([-3.0, -8.0]), torch.tensor([-6.0, -2.0])
REFERENCES = torch.tensor([-4.0, -4.0]), torch.tensor([-5.0, -9.0])
TWO = Sides(CHOSEN, REJECTED, *REFERENCES, torch.tensor([2.0, 4.0]), torch.tensor([3.0, 1.0]))


@pytest.mark.parametrize(
    ("name", "margin"),
    [
        ("dpo", [0.5 * (1 + 1), 0.5 * (-4 - 7)]),
        ("ipo", [2.0, -11.0]),
        ("ln_dpo", [0.5 * (1 / 2 + 1 / 3), 0.5 * (-4 / 4 - 7 / 1)]),
        ("simpo", [0.5 * (-3 / 2 + 6 / 3), 0.5 * (-8 / 4 + 2 / 1)]),
        ("orpo", [0.5 * (-3 / 2 + 6 / 3), 0.5 * (-8 / 4 + 2 / 1)]),
    ],
)
def test_the_margin_of_a_variant_by_hand(name: str, margin: list[float]) -> None:
    torch.testing.assert_close(PAIR_OBJECTIVES[name].margin(TWO, 0.5), torch.tensor(margin))


@pytest.mark.parametrize(
    ("name", "chosen", "rejected"),
    [
        ("dpo", [0.5 * 1, 0.5 * -4], [0.5 * -1, 0.5 * 7]),
        ("ipo", [1.0, -4.0], [-1.0, 7.0]),
        ("ln_dpo", [0.5 * 1 / 2, 0.5 * -4 / 4], [0.5 * -1 / 3, 0.5 * 7 / 1]),
        ("simpo", [0.5 * -3 / 2, 0.5 * -8 / 4], [0.5 * -6 / 3, 0.5 * -2 / 1]),
        ("orpo", [0.5 * -3 / 2, 0.5 * -8 / 4], [0.5 * -6 / 3, 0.5 * -2 / 1]),
    ],
)
def test_the_implicit_rewards_of_a_variant_by_hand(
    name: str, chosen: list[float], rejected: list[float]
) -> None:
    found = PAIR_OBJECTIVES[name].rewards(TWO, 0.5)
    torch.testing.assert_close(found, (torch.tensor(chosen), torch.tensor(rejected)))


def test_without_the_reference_log_pi_itself_is_compared() -> None:
    bare = TWO.without_reference()
    assert torch.equal(bare.chosen, CHOSEN) and torch.equal(bare.rejected, REJECTED)
    torch.testing.assert_close(
        PAIR_OBJECTIVES["dpo"].loss(bare, 0.5, 0.0),
        pref.bradley_terry_loss(0.5 * CHOSEN, 0.5 * REJECTED),
    )
    simpo = PAIR_OBJECTIVES["simpo"].loss(TWO, 0.5, 0.0)
    torch.testing.assert_close(PAIR_OBJECTIVES["ln_dpo"].loss(bare, 0.5, 0.0), simpo)


@pytest.mark.parametrize("name", PAIR_OBJECTIVES)
def test_a_variant_is_the_loss_of_its_name(name: str) -> None:
    w, x, rw, rx, nw, nx = TWO
    expected = {
        "dpo": lambda: pref.dpo_loss(w, x, rw, rx, 0.5),
        "ln_dpo": lambda: pref.length_normalised_dpo_loss(w, x, rw, rx, nw, nx, 0.5),
        "simpo": lambda: pref.simpo_loss(w, x, nw, nx, 0.5, 0.3),
        "ipo": lambda: pref.ipo_loss(w, x, rw, rx, 0.5),
        "orpo": lambda: pref.orpo_loss(w, x, nw, nx, 0.5),
    }[name]()
    objective = PAIR_OBJECTIVES[name]
    torch.testing.assert_close(objective.total(TWO, 0.5, 0.3), expected)
    likelihood = -0.2 * (-3 / 2 - 8 / 4) / 2
    torch.testing.assert_close(objective.total(TWO, 0.5, 0.3, 0.2), expected + likelihood)


def test_the_usual_settings_of_simpo() -> None:
    args = (CHOSEN, REJECTED, torch.tensor([2.0, 4.0]), torch.tensor([3.0, 1.0]))
    assert torch.equal(pref.simpo_loss(*args), pref.simpo_loss(*args, beta=2.0, margin=1.0))
