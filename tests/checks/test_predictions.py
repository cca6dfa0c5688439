"""The predictions of notebooks 02, 05, 06 and 07 are graded against what was recorded."""

import re
from pathlib import Path

import numpy as np
import pytest

from rlvr_lab.checks import stubs
from rlvr_lab.checks.predictions import GOLD, HELD, LENGTHS, PASSED, PROXY
from rlvr_lab.experiments import recorded, recorded_seeds
from rlvr_lab.experiments.equal_kl import at_equal
from rlvr_lab.experiments.kl_runs import kl_curves
from rlvr_lab.records.runs import curves

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize(("table", "key"), [(GOLD, "gold"), (PROXY, "proxy")])
def test_the_changes_of_the_rewards_are_those_of_the_recording(table: dict, key: str) -> None:
    for (beta, step), change in table.items():
        run = recorded(f"overoptimisation/fresh/ppo_300_flips{f'_beta{beta:g}' if beta else ''}")
        curve = run.curves(key)
        assert len(curve) >= 5
        found = curve[:, step - 1] - curve[:, 0]
        assert found.mean() == pytest.approx(change, abs=0.02)


def test_the_gold_reward_has_the_same_direction_in_each_seed() -> None:
    for (beta, step), change in GOLD.items():
        run = recorded(f"overoptimisation/fresh/ppo_300_flips{f'_beta{beta:g}' if beta else ''}")
        gold = run.curves("gold")
        assert (np.sign(gold[:, step - 1] - gold[:, 0]) == np.sign(change)).all()


def test_the_shares_under_a_verifier_and_a_model_are_those_of_the_recording() -> None:
    names = {"verifier": "sums_ppo", "model": "sums_ppo_model"}
    for (reward, step), share in PASSED.items():
        found = curves(recorded_seeds(names[reward]), "pass_rate")[:, step - 1]
        assert len(found) == 5
        assert found.mean() == pytest.approx(share, abs=0.01)


def test_the_shares_under_a_kl_term_are_those_of_the_recording() -> None:
    runs = recorded("grpo_kl")
    for (estimator, place, beta), share in HELD.items():
        name = f"{place} {estimator} β={beta:g}"
        found = kl_curves(runs, name, "pass_rate")[:, 9:12]
        assert len(found) == 10
        assert found.mean() == pytest.approx(share, abs=0.01)


def test_the_lengths_in_the_laboratory_are_those_of_the_recording() -> None:
    for (average, p, which), length in LENGTHS.items():
        runs = recorded_seeds(f"lab_{average}_p{p}")
        correct, incorrect = (
            curves(runs, f"exact_length_{name}")[:, -1] for name in ("right", "wrong")
        )
        found = incorrect if which == "incorrect" else p * correct + (1 - p) * incorrect
        assert len(found) == 5
        assert found.mean() == pytest.approx(length, abs=0.1)


def test_the_table_of_the_essay_on_the_penalty_is_that_of_the_recordings() -> None:
    """Means over seeds: √KL and gold after step 50, gold at √KL = 1 and 1.5; gold of the base."""
    sheet = NOTEBOOKS / "solutions" / "02_overoptimisation.ipynb"
    tasks = ["".join(cell["source"]) for cell in stubs.read(sheet)["cells"]]
    (task,) = [text for text in tasks if "Does the penalty prevent" in text.splitlines()[0]]
    rows = [row.split("|")[1:-1] for row in task.splitlines() if row.startswith("| β = ")]
    assert len(rows) == 3
    assert "ten seeds without one, ten with β = 0.2 and five with β = 0.5, 50 steps each" in task
    (base,) = re.findall(r"The base itself, .* mean gold reward of −(\d\.\d)", task)
    for name, *shown in rows:
        beta = float(name.split("=")[1])
        run = recorded(f"overoptimisation/fresh/ppo_300_flips{f'_beta{beta:g}' if beta else ''}")
        assert run.curves("gold").shape == (5 if beta == 0.5 else 10, 50)
        assert run.curves("gold")[:, 0].mean() == pytest.approx(-float(base), abs=0.051)
        assert (run.curves("distance")[:, 0] == 0).all()
        gold = at_equal(run, "gold", [1.0, 1.5])
        reached = np.isfinite(gold).sum(axis=0)
        means = [run.curves(key)[:, -1].mean() for key in ("distance", "gold")]
        for text, mean in zip(shown[:2], means, strict=True):
            assert float(text.replace("−", "-")) == pytest.approx(mean, abs=0.051)
        for text, mean, seeds in zip(shown[2:], np.nanmean(gold, axis=0), reached, strict=True):
            if seeds == len(gold):
                assert float(text) == pytest.approx(mean, abs=0.051)
            else:
                words = {1: "one of five", 4: "four of five"}[int(seeds)]
                assert len(gold) == 5 and words in text
