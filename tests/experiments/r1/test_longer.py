"""Growth of the answers: against the base, paired by seed, and in parts that add up."""

from dataclasses import replace

import numpy as np
import pytest

from rlvr_lab.experiments.answer_kinds import ANSWER_KINDS
from rlvr_lab.experiments.r1.longer import by_variant, contributions, growth, growth_parts
from rlvr_lab.experiments.r1.zero import VARIANTS
from rlvr_lab.records.runs import Run

LENGTHS = {"guess": 3.0, "short_chain": 7.0, "chain": 11.0, "wait": 13.0, "malformed": 9.0}


def run(name: str, seed: int, end: float) -> Run:
    lengths = [(0, 6.0), (2, 7.0), (4, end)]
    config = replace(VARIANTS[name], seed=seed, table=seed)
    return Run(config, [{"step": step, "length": length} for step, length in lengths])


ENDS = {
    "sequence": 12.0,
    "constant": 11.5,
    "hidden_sequence": 4.0,
    "hidden_constant": 5.0,
    "no_format": 11.0,
    "format_only": 3.0,
    "tags": 12.0,
    "hidden_tags": 9.0,
}


def test_growth_is_split_into_three_steps_that_add_up() -> None:
    runs = [run(name, seed, end + seed) for name, end in ENDS.items() for seed in (2, 1)]
    variants = by_variant(runs)
    assert list(variants) == list(VARIANTS)
    assert [one.config.seed for one in variants["constant"]] == [1, 2]
    np.testing.assert_allclose(growth(variants["sequence"], 4), [7, 8])
    np.testing.assert_allclose(growth(variants["sequence"], 2), [1, 1])
    found = {name: float(values[0]) for name, values in contributions(variants, 4).items()}
    assert found == {
        "all": 7.0,
        "rest": 0.0,
        "skill": 6.5,
        "objective": 0.5,
        "skill_sequence": 8.0,
        "objective_hidden": -1.0,
        "format": 1.0,
        "format_only": -2.0,
    }
    assert found["all"] == found["rest"] + found["skill"] + found["objective"]
    with pytest.raises(ValueError, match="step"):
        growth(variants["sequence"], 3)


def test_variants_are_paired_by_seed() -> None:
    runs = [run(name, 1, end) for name, end in ENDS.items()]
    with pytest.raises(ValueError, match="runs: the variants have different seeds"):
        by_variant([*runs, run("constant", 2, 1.0)])
    with pytest.raises(ValueError, match="runs: none has the settings"):
        by_variant(runs[1:])


def mixed(shares: list[list[float]], lengths: list[list[float | None]]) -> Run:
    records = []
    for step, (own, long) in enumerate(zip(shares, lengths, strict=True)):
        record = {"step": step} | {f"share_{k}": x for k, x in zip(ANSWER_KINDS, own, strict=True)}
        records.append(record | {f"length_{k}": x for k, x in zip(ANSWER_KINDS, long, strict=True)})
    return Run(VARIANTS["sequence"], records)


def test_growth_comes_from_the_mix_or_from_longer_kinds() -> None:
    usual = [LENGTHS[kind] for kind in ANSWER_KINDS]
    base = [0.5, 0.1, 0.2, 0.0, 0.2]
    fewer = mixed([base, [0.25, 0.15, 0.3, 0.0, 0.3]], [usual, usual])  # in proportion
    longer = mixed([base, base], [usual, [3, 7, 12, None, 9]])
    other = mixed([base, [0.5, 0.0, 0.5, 0.0, 0.0]], [usual, [3, None, 11, None, None]])
    for one, name, wanted in (
        (fewer, "guesses", -0.25 * (3 - (0.1 * 7 + 0.2 * 11 + 0.2 * 9) / 0.5)),
        (longer, "lengths", 0.2 * 1),
        (other, "mix", 0.3 * 11 - 0.1 * 7 - 0.2 * 9),
    ):
        parts = growth_parts([one], 1)._asdict()
        assert {key: float(parts[key][0]) for key in parts} == pytest.approx(
            {"total": wanted, "guesses": 0, "mix": 0, "lengths": 0} | {name: wanted}
        )
