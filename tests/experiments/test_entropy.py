"""The runs with the covariance law: each number is what it is called, and the variants are what they say."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments import entropy as experiment
from rlvr_lab.experiments import recorded
from rlvr_lab.experiments.entropy import (
    ENTROPY_BASE,
    ENTROPY_VARIANTS,
    EntropyConfig,
    at_equal_pass_rate,
    entropy_curves,
    law_correlation,
    measure_entropy,
    sampled_covariance,
)
from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.policy.data import data_folder
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training.loop import train

SMALL = EntropyConfig(
    steps=2,
    prompts_per_step=3,
    group_size=4,
    max_new_tokens=12,
    updates_per_batch=2,
    learning_rate=1e-3,
    every=2,
    test_problems=3,
    test_samples=8,
    device="cpu",
)


@pytest.mark.parametrize("name", ENTROPY_VARIANTS)
def test_a_variant_changes_what_it_says_and_nothing_else(name: str) -> None:
    config = replace(ENTROPY_BASE, **ENTROPY_VARIANTS[name])
    assert asdict(config) == {**asdict(ENTROPY_BASE), **ENTROPY_VARIANTS[name]}
    number = name.split()[-1]
    if "clip" in name:
        assert (config.clip_low, config.clip_high) == (0.2, float(number))
    if "bonus" in name:
        assert config.entropy_coef == float(number)
    assert config.updates_per_batch == (1 if name == "one update" else 4)


def test_the_covariance_is_that_of_the_trained_tokens() -> None:
    mask = torch.arange(4) < torch.tensor([4, 1, 2])[:, None]
    logprobs = -torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    a = torch.tensor([1.0, -2.0, 0.5])
    x = [float(logprobs[i, t]) for i in range(3) for t in range(4) if mask[i, t]]
    y = [float(a[i]) for i in range(3) for t in range(4) if mask[i, t]]
    found = sampled_covariance(logprobs.masked_fill(~mask, 99.0), a, mask)
    assert found == pytest.approx(np.cov(x, y, bias=True)[0, 1], abs=1e-6)


def tables(model, batch) -> list[torch.Tensor]:
    """log π of the next token at each trained token, one answer at a time and without any padding."""
    found = []
    for row in range(len(batch.texts)):
        where = row // batch.group_size
        prompt = batch.prompt_ids[where][batch.prompt_mask[where]]
        answer = batch.completion_ids[row][batch.attention_mask[row]]
        with torch.no_grad():
            logits = model(torch.cat([prompt, answer])[None]).logits[0]
        found += list(logits[len(prompt) - 1 : -1].double().log_softmax(-1))
    return found


def test_a_record_says_what_the_step_did_to_the_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    original = experiment.PolicyGradientConfig.update

    def update(config, state, experience):
        seen["before"] = tables(state.policy.model, experience.batch)
        found = original(config, state, experience)
        seen["after"] = tables(state.policy.model, experience.batch)
        seen["experience"], seen["clipped"] = experience, found["clip_fraction"]
        return found

    monkeypatch.setattr(experiment.PolicyGradientConfig, "update", update)
    state = SMALL.begin()
    records = [record for record in train(SMALL, state=state) if record["step"]]
    before, after = (torch.stack(seen[key]) for key in ("before", "after"))
    spread = lambda logs: -(logs.exp() * logs).sum(-1)  # noqa: E731
    last = records[-1]
    assert last["change"] == pytest.approx(float((spread(after) - spread(before)).mean()), abs=1e-5)
    moved = after - before
    law = []
    for p, logs, d in zip(before.exp(), before, moved, strict=True):
        law.append(-float((p * logs * d).sum() - (p * logs).sum() * (p * d).sum()))
    assert last["predicted"] == pytest.approx(np.mean(law), abs=1e-5)
    batch, rewards = seen["experience"].batch, seen["experience"].rewards
    expected = sampled_covariance(
        batch.old_logprobs, group_advantages(rewards, 4), batch.completion_mask
    )
    assert last["covariance"] == pytest.approx(expected, abs=1e-9)
    assert last["clip_fraction"] == seen["clipped"]
    tokens = batch.entropy[batch.completion_mask]
    assert last["entropy"] == pytest.approx(float(tokens.double().mean()))
    assert abs(last["change"]) > 1e-4 and last["predicted"] != last["change"]


def test_a_test_is_answered_before_the_first_step_and_when_it_is_due() -> None:
    records = list(train(replace(SMALL, steps=3)))
    assert [r["step"] for r in records] == [0, 1, 2, 3]
    assert [r["accuracy"] is not None for r in records] == [True, False, True, False]
    assert records[0]["change"] is None and records[1]["change"] is not None
    assert len({frozenset(r) - {"changed", "seconds_update"} for r in records}) == 1
    for record in (records[0], records[2]):
        assert record["pass@8"] >= record["accuracy"]


def made_up(values: dict[str, list[dict]]) -> Recording:
    """Variant → for each seed its curves."""
    return Recording(
        [
            Run(
                replace(ENTROPY_BASE, **ENTROPY_VARIANTS[name], seed=seed, table=seed),
                [{"step": 0, **dict.fromkeys(curves)}]
                + [
                    {"step": t + 1, **{key: curve[t] for key, curve in curves.items()}}
                    for t in range(len(next(iter(curves.values()))))
                ],
            )
            for name, seeds in values.items()
            for seed, curves in enumerate(seeds)
        ]
    )


def test_correlations_with_and_without_the_trend() -> None:
    change = np.array([[-4.0, -2.0, -1.0], [-4.2, -2.1, -0.9]])
    opposite = change.mean(axis=0) - (change - change.mean(axis=0))  # same trend, wrong seed
    runs = made_up(
        {
            "GRPO": [
                {"change": list(c), "predicted": list(2 * c), "covariance": list(-o)}
                for c, o in zip(change, opposite, strict=True)
            ]
        }
    )
    np.testing.assert_allclose(law_correlation(runs, "GRPO", "predicted"), 1)
    np.testing.assert_allclose(law_correlation(runs, "GRPO", "predicted", trend=False), 1)
    assert (law_correlation(runs, "GRPO", "covariance") > 0.9).all()
    np.testing.assert_allclose(law_correlation(runs, "GRPO", "covariance", trend=False), -1)
    assert len(law_correlation(runs, "GRPO", "predicted", first=1)) == 1


def test_entropies_are_compared_at_equal_pass_rate() -> None:
    grpo = {"pass_rate": [0.2, 0.4, 0.8], "entropy": [9.0, 0.6, 0.2]}
    bonus = {"pass_rate": [0.4, 0.45, 0.6], "entropy": [0.7, 0.9, 0.5]}
    none = {"pass_rate": [0.1, 0.1, 0.1], "entropy": [1.0, 1.0, 1.0]}
    runs = made_up({"GRPO": [grpo, grpo], "entropy bonus 0.03": [bonus, none]})
    found = at_equal_pass_rate(runs, "entropy bonus 0.03")
    assert found[0] == pytest.approx(0.2) and np.isnan(found[1])


def test_runs_are_measured_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "ENTROPY_BASE", replace(SMALL, steps=1))
    some = {name: ENTROPY_VARIANTS[name] for name in ("GRPO", "entropy bonus 0.1")}
    runs = list(measure_entropy(2, some, 3))
    assert [(r.config.seed, r.config.table) for r in runs] == [(3, 3), (3, 3), (4, 4), (4, 4)]
    found = entropy_curves(Recording(runs[::-1]), "entropy bonus 0.1", "entropy", first=4)
    np.testing.assert_array_equal(found, [runs[3].curve("entropy")])
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure_entropy(0))


def test_the_recording_is_the_study() -> None:
    found = recorded("entropy")
    assert len(found.runs) == 10 * len(ENTROPY_VARIANTS)
    for name in ENTROPY_VARIANTS:
        curves = entropy_curves(found, name, "entropy")
        assert curves.shape == (10, 13) and np.isfinite(curves[:, 1:]).all()
    start = [entropy_curves(found, name, "accuracy")[:, 0] for name in ENTROPY_VARIANTS]
    assert (np.array(start) == start[0]).all()  # the same test of the same base
    assert (data_folder() / "runs" / "entropy.json").stat().st_size < 300_000
