"""PPO's details: every switch acts, and the three mistakes on purpose are the mistakes they say."""

from dataclasses import asdict, replace

import pytest
import torch

from rlvr_lab.experiments.ppo_details import (
    BASE,
    DETAILS,
    EndUntrained,
    PaddedWhitening,
    ShiftedValues,
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
    assert detail.bug == (detail.kind is not PPOConfig)
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
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure_details(0))


def test_the_bug_that_counts_padding_whitens_over_the_whole_rectangle() -> None:
    x = torch.tensor([[1.0, 3.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False, False]])
    wrong = PaddedWhitening().whitened(x, mask)
    torch.testing.assert_close(wrong, (x - 1) / x.std(correction=0))
    torch.testing.assert_close(PPOConfig().whitened(x, mask), torch.tensor([[-1.0, 1.0, 0.0, 0.0]]))
