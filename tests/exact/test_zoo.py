"""The zoo's numbers: from the gradients of the batch, and each cell of the table reaches them."""

from dataclasses import fields, replace

import pytest
import torch

from rlvr_lab.exact.batches import batch_gradient
from rlvr_lab.exact.estimators import compare, expected_gradient
from rlvr_lab.exact.oracle import World
from rlvr_lab.exact.zoo import FRESH_SEEDS, KINDS, ROWS, SEEDS, Cells, Numbers, Zoo, describe
from rlvr_lab.objectives.advantages import batch_advantages
from rlvr_lab.objectives.objective import ALGORITHMS
from rlvr_lab.training.policy_gradient import PRESETS

ZOO = Zoo()
NO_CLIP = {"clip_low": 1.0, "clip_high": float("inf")}


@pytest.mark.parametrize("seed", SEEDS + FRESH_SEEDS)
def test_the_prompts_are_hard_medium_and_easy(seed: int) -> None:
    hard, medium, easy = Zoo(seed).pass_rates
    assert 0.02 <= hard <= 0.1 and 0.4 <= medium <= 0.6 and 0.9 <= easy <= 0.98


def test_the_exact_gradient_is_that_of_the_mean_pass_rate() -> None:
    rates = torch.stack([world.expected_reward() for world in ZOO.worlds])
    wanted = ZOO.worlds[0].gradient(rates.mean())
    torch.testing.assert_close(ZOO.gradient.sum(dim=0), wanted, rtol=0, atol=1e-12)
    lengths = [w.answer_logprobs().exp() @ w.mask.sum(dim=1).double() for w in ZOO.worlds]
    wanted = ZOO.worlds[0].gradient(torch.stack(lengths).mean())
    torch.testing.assert_close(ZOO.length_gradient, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("distance", [0, 4])
@pytest.mark.parametrize("name", [n for n in ROWS if n not in ("REINFORCE", "DAPO", "CISPO")])
def test_numbers_equal_those_of_the_oracle(name: str, distance: int) -> None:
    """Rows that do not mix prompts: mean and variance from the list of all groups, prompt by prompt."""
    cells, G = ROWS[name], 4
    worlds = ZOO.sampled(distance)
    alone = [expected_gradient(world, cells.objective, G) for world in worlds]
    parts = torch.stack([mean for mean, _ in alone]) / 3
    exact = ZOO.gradient.sum(dim=0)
    found = ZOO.numbers(cells, distance, group_size=G)
    mean = parts.sum(dim=0)
    assert found.bias == pytest.approx(float((mean - exact).norm() / exact.norm()), abs=1e-10)
    assert found.factor == pytest.approx(float(mean @ exact / (exact @ exact)), abs=1e-10)
    cosine = float(torch.cosine_similarity(mean, exact, dim=0))
    assert found.cosine == pytest.approx(cosine, abs=1e-10)
    variance = sum(spread for _, spread in alone) / 9
    assert found.variance == pytest.approx(variance, abs=1e-10)
    assert found.noise == pytest.approx(variance / float(mean @ mean), rel=1e-9)
    sizes = parts.norm(dim=1)
    assert found.shares == pytest.approx((sizes / sizes.sum()).tolist(), abs=1e-10)
    step = 0.01 / float(exact.norm()) * mean / mean.norm()
    assert found.length == pytest.approx(float(ZOO.length_gradient @ step), abs=1e-10)


@pytest.mark.parametrize("name", ROWS)
def test_for_one_prompt_the_numbers_are_those_of_compare(name: str) -> None:
    world = World.tiny(2, off_policy=True)
    wanted = compare(world, ROWS[name].objective, 3)
    found = batch_gradient([world], ROWS[name].objective, 3)
    torch.testing.assert_close(found.expected, wanted.expected, rtol=0, atol=1e-10)
    assert found.variance == pytest.approx(wanted.variance, abs=1e-10)


def test_a_step_moves_the_pass_rate_and_the_length_as_the_numbers_say() -> None:
    """Finite differences: π itself takes a small part of the step."""
    found, part = ZOO.numbers(ROWS["GRPO"], 0), 1e-4
    mean = batch_gradient(ZOO.sampled(0), ROWS["GRPO"].objective, 8).expected
    step = part * 0.01 / float(ZOO.gradient.sum(dim=0).norm()) * mean / mean.norm()
    moved = Zoo()
    sizes = [weights.numel() for weights in moved.worlds[0].parameters]
    for weights, piece in zip(moved.worlds[0].parameters, step.split(sizes), strict=True):
        weights.data += piece.view_as(weights)
    rates, lengths = [], []
    for zoo in (ZOO, moved):
        chances = [world.answer_logprobs().exp().detach() for world in zoo.worlds]
        pairs = list(zip(chances, zoo.worlds, strict=True))
        rates.append(sum(float(chance @ world.rewards) for chance, world in pairs) / 3)
        lengths.append(sum(float(c @ world.mask.sum(dim=1).double()) for c, world in pairs) / 3)
    assert (rates[1] - rates[0]) / part == pytest.approx(0.01 * found.cosine, rel=1e-2)
    assert (lengths[1] - lengths[0]) / part == pytest.approx(found.length, rel=1e-2)


def changed(cells: Cells, **change) -> tuple[Numbers, Numbers]:
    return ZOO.numbers(cells), ZOO.numbers(replace(cells, **change))


@pytest.mark.parametrize(
    ("start", "change"),
    [
        ("GRPO", {"baseline": "batch"}),
        ("GRPO", {"divide_by_std": False}),
        ("Dr. GRPO", {"baseline": "none"}),
        ("Dr. GRPO", {"baseline": "leave_one_out"}),
        ("Dr. GRPO", {"baseline": "maxrl"}),
        ("GRPO", {"ratio": "none"}),
        ("GRPO", {"ratio": "sequence"}),
        ("GRPO", {"ratio": "cispo"}),
        ("GRPO", {"ratio": "answer"}),
        ("GRPO", {"ratio": "sapo"}),
        ("GRPO", {"ratio": "vespo"}),
        ("GRPO", {"clip_low": 1.0}),
        ("GRPO", {"clip_high": 0.28}),
        ("CISPO", {"clip_high": 0.1}),
        ("GSPO", {"clip_low": 0.1}),
        ("GSPO", {"clip_high": 0.01}),
        ("GRPO", {"average": "token"}),
        ("GRPO", {"average": "constant"}),
    ],
    ids=str,
)
def test_a_changed_cell_moves_its_row(start: str, change: dict) -> None:
    before, after = changed(ROWS[start], **change)
    assert abs(after.bias - before.bias) > 1e-3
    assert abs(after.variance - before.variance) > 1e-4


def test_dials_move_the_numbers() -> None:
    start = ZOO.numbers(ROWS["GRPO"])
    for other in ({"distance": 8}, {"drift": "noise"}, {"group_size": 4}):
        assert abs(ZOO.numbers(ROWS["GRPO"], **other).bias - start.bias) > 1e-3
    with pytest.raises(ValueError, match="drift: expected one of"):
        ZOO.older(1, "sideways")


def test_the_rows_are_the_presets_of_the_trainer() -> None:
    """A row's cells are the fields of the configuration; REINFORCE stands in its original form."""
    names = dict(zip(ROWS, ALGORITHMS, strict=True))
    for title, key in names.items():
        cells, preset = ROWS[title], PRESETS[key]
        for field in fields(Cells):
            if title == "REINFORCE" and field.name == "average":
                assert (cells.average, preset.average) == ("constant", "sequence")
            elif preset.ratio != "none" or not field.name.startswith("clip"):
                assert getattr(cells, field.name) == getattr(preset, field.name), (title, field)


def test_the_older_policy_is_worse_the_older_it_is_and_noise_has_its_size() -> None:
    rates = [
        sum(float(replace(w, model=ZOO.older(k)).expected_reward().detach()) for w in ZOO.worlds)
        for k in range(5)
    ]
    assert rates == sorted(rates, reverse=True) and rates[0] - rates[4] > 0.1
    assert 0.05 < ZOO.far(4) < 0.6 and ZOO.far(0) == 0
    pairs = zip(ZOO.older(8, "noise").parameters(), ZOO.older(0).parameters(), strict=True)
    noise = torch.cat([(noisy - clean).detach().flatten() for noisy, clean in pairs])
    assert float(noise.std()) == pytest.approx(0.04, rel=0.1)


def test_whole_answers_stay_unbiased_however_old() -> None:
    cells = Cells("leave_one_out", False, "answer", **NO_CLIP, average="constant")
    for drift in ("updates", "noise"):
        assert ZOO.numbers(cells, 8, drift).bias < 1e-10
    assert ZOO.numbers(replace(cells, clip_high=0.2), 8).clipped > 0.01


def test_a_row_without_gradient_has_no_direction() -> None:
    found = ZOO.numbers(Cells("group", True, "token", 0.0, 0.0), 1)
    assert found.clipped > 0.3
    nothing = replace(
        ROWS["Dr. GRPO"].objective, loss=lambda rows, average: 0 * rows.logprobs.sum()
    )
    empty = batch_gradient(ZOO.sampled(0), nothing, 2)
    words = describe(empty.parts, 0.0, 0.0, ZOO.gradient, ZOO.length_gradient)
    assert words.bias == 1 and words.cosine != words.cosine and len(words.shares) == len(KINDS)


def test_the_batch_is_a_plain_baseline_and_is_whitened_only_with_the_std() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).double()
    centred, whitened = (
        Cells("batch", std).objective.advantage(rewards, 3) for std in (False, True)
    )
    torch.testing.assert_close(centred, rewards - rewards.mean())
    torch.testing.assert_close(whitened, batch_advantages(rewards))
    on_policy = ZOO.numbers(ROWS["REINFORCE"], 0)
    assert on_policy.factor == pytest.approx(23 / 24, abs=1e-10)
    assert on_policy.bias == pytest.approx(1 / 24, abs=1e-10)


def test_a_std_needs_a_mean() -> None:
    with pytest.raises(ValueError, match="divide_by_std: not with the baseline 'none'"):
        Cells("none", True)
