"""PPO's details: every switch acts, the mistakes on purpose are the mistakes they say, halves add up."""

from dataclasses import asdict, replace

import pytest
import torch

from rlvr_lab.experiments.ppo_details import (
    BASE,
    DETAILS,
    EndUntrained,
    PaddedMean,
    PaddedScale,
    PaddedWhitening,
    ScaledRewards,
    ShiftedValues,
    TaxedRewards,
    measure_details,
)
from rlvr_lab.records.runs import Recording
from rlvr_lab.training.ppo import PPOConfig
from tests.training.test_ppo import SMALL, filled


@pytest.mark.parametrize("detail", DETAILS, ids=lambda d: d.name)
def test_a_detail_changes_what_it_says_and_nothing_else(detail) -> None:
    """That each field reaches the parameters is shown in ``tests/reference``."""
    changed = detail.config(BASE, seed=3)
    expected = {**asdict(BASE), **detail.change, "seed": 3}
    assert asdict(changed) == expected and type(changed) is detail.kind
    assert detail.bug == detail.name.startswith("bug:")
    assert detail.change or detail.kind is not PPOConfig or detail.name == "as it is"
    assert all(getattr(BASE, name) != value for name, value in detail.change.items())


def test_the_bug_that_shifts_values_takes_the_next_state() -> None:
    config = replace(SMALL, zero_value_head=False)
    _, right, _ = filled(config)
    _, wrong, _ = filled(ShiftedValues(**asdict(config)))
    torch.testing.assert_close(wrong.values[:, :-1], right.values[:, 1:])
    assert not torch.allclose(wrong.advantages, right.advantages)


def test_the_bug_that_forgets_the_end_masks_one_token_an_answer() -> None:
    _, right, _ = filled(SMALL)
    _, wrong, _ = filled(EndUntrained(**asdict(SMALL)))
    stopped = ~right.batch.truncated & (right.mask.sum(1) > 1)
    torch.testing.assert_close(right.mask.sum(1) - wrong.mask.sum(1), stopped.long())


def test_the_table_of_details_has_a_row_for_each_run(tmp_path) -> None:
    two = [DETAILS[0], DETAILS[-1]]
    rows = list(measure_details(2, replace(SMALL, steps=1), two))
    found = [(r.records[0]["name"], r.config.seed) for r in rows]
    assert found == [(d.name, s) for d in two for s in (0, 1)]
    assert 0 <= rows[0].records[0]["pass_rate"] <= 1
    assert Recording.load(Recording(rows).save(tmp_path / "details.json")).runs == rows
    assert len([d for d in DETAILS if d.change and not d.bug]) >= 8
    later = next(measure_details(1, replace(SMALL, steps=1), DETAILS[:1], first=7))
    assert later.config.seed == 7 and later.records[0]["curve"] == [later.records[0]["area"]]
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure_details(0))


def test_the_two_halves_of_a_mistake_and_of_a_detail() -> None:
    x = torch.tensor([[1.0, 3.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    trained, every = x[mask], x.flatten()
    mean, scale = PaddedMean().whitened(x, mask)[mask], PaddedScale().whitened(x, mask)[mask]
    torch.testing.assert_close(mean, (trained - every.mean()) / trained.std(correction=0))
    torch.testing.assert_close(scale, (trained - trained.mean()) / every.std(correction=0))
    whole = PPOConfig(whiten_rewards=True).shaped(x, mask)
    std = trained.std(correction=0)
    divided, taxed = ScaledRewards().shaped(x, mask), TaxedRewards().shaped(x, mask)
    torch.testing.assert_close(divided[mask], trained / std)
    # In units of the divided rewards, the tax is what whitening adds to the division.
    torch.testing.assert_close((taxed - x)[mask] / std, (whole - divided)[mask])
    assert not taxed[~mask].any() and torch.equal(PPOConfig().shaped(x, mask), x)


def test_the_bug_that_counts_padding_whitens_over_the_whole_rectangle() -> None:
    x = torch.tensor([[1.0, 3.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False, False]])
    wrong = PaddedWhitening().whitened(x, mask)
    torch.testing.assert_close(wrong, (x - 1) / x.std(correction=0))
    torch.testing.assert_close(PPOConfig().whitened(x, mask), torch.tensor([[-1.0, 1.0, 0.0, 0.0]]))
