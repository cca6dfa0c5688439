"""A sampler that is not the policy: every field against a reference written apart, and the state of a run."""

import copy
from dataclasses import replace
from itertools import islice

import pytest
import torch

from rlvr_lab.policy.perturbed import ROUNDINGS
from rlvr_lab.records.checkpoint import load_checkpoint, save_checkpoint
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.stale import StaleConfig
from tests.reference import stale
from tests.reference.plain import base_policy, double, elsewhere, snapshot

BASE = StaleConfig(
    steps=4,
    prompts_per_step=4,
    group_size=4,
    max_new_tokens=12,
    optimizer="sgd",
    learning_rate=0.4,
    max_grad_norm=None,
    device="cpu",
)
OFF = {"updates_per_batch": 2, "minibatches": 2, "prompts_per_step": 5, "group_size": 3}
CASES = {
    "lag 1": {"lag": 1, "correction": "tis", "cap": 1.05},
    "lag 2, ignored": {"lag": 2, "correction": "none", **OFF},
    "lag 2, clip": {"lag": 2, "correction": "clip", **OFF, "clip_low": 0.1, "clip_high": 0.3},
    "lag 3, tis": {"lag": 3, "correction": "tis", "cap": 1.2, "average": "token", **OFF},
    "lag 3, icepop": {"lag": 3, "correction": "icepop", "cap": 1.2, "floor": 0.8, **OFF},
    "lag 2, sequence": {
        "lag": 2,
        "correction": "sequence",
        "cap": 1.5,
        "average": "constant",
        **OFF,
    },
    "adam": {"lag": 2, "correction": "sequence", "optimizer": "adamw", "learning_rate": 3e-3},
    "kl in the loss": {
        "lag": 2,
        "correction": "icepop",
        "cap": 1.1,
        "floor": 0.9,
        "kl_coef": 0.2,
        "learning_rate": 0.02,
    },
    "no ratio": {"lag": 2, "correction": "tis", "ratio": "none", "cap": 1.3, "seed": 1},
    "cispo": {
        "lag": 2,
        "correction": "tis",
        "ratio": "cispo",
        **OFF,
        "temperature": 1.3,
        "baseline": "batch",
        "divide_by_std": False,
    },
    "longer lag than run": {"lag": 9, "correction": "tis", "steps": 3},
    "bf16": {"rounding": "bf16", "correction": "tis", "cap": 1.001, "steps": 2},
    "fp8": {"rounding": "fp8", "correction": "icepop", "cap": 1.1, "floor": 0.95, "steps": 2},
    "int4 and lag": {"rounding": "int4", "lag": 1, "correction": "sequence", "steps": 3},
}  # fmt: skip


def begin(config: StaleConfig):
    """A state in float64 whose policy has left its reference."""
    state = config.begin(base_policy())
    state.reference.model = elsewhere(state.policy.model)
    return state


def rounded(config: StaleConfig):
    """The sampler of a policy; the numbers of the rounding itself are tested in ``test_perturbed``."""

    def make(model):
        if config.rounding == "none":
            return model
        model = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.copy_(ROUNDINGS[config.rounding](parameter))
        return model

    return make


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_its_definition(name: str) -> None:
    config = replace(BASE, **CASES[name])
    with double():
        model = base_policy().model
        theirs = stale.train(config, model, elsewhere(model), rounded(config))
        state, count, furthest = begin(config), 0, 0.0
        for wanted, found in zip(theirs, train(config, state=state), strict=True):
            count += 1
            for key, value in wanted.items():
                assert found[key] == pytest.approx(value, abs=1e-9), f"step {count}: {key}"
            furthest = max(furthest, abs(found["mismatch_kl"]))
            for ours, other in zip(snapshot(state.policy.model), snapshot(model), strict=True):
                torch.testing.assert_close(ours, other, atol=1e-10, rtol=0)
        assert count == config.steps
        assert furthest > 1e-6, "the sampler must differ from the policy in some step"


def test_the_cases_meet_every_side_of_every_bound() -> None:
    with double():
        for name in ("lag 3, icepop", "fp8"):
            records = list(
                train(replace(BASE, **CASES[name]), state=begin(replace(BASE, **CASES[name])))
            )
            assert any(0 < record["masked_share"] < 1 for record in records), name
        for name in ("lag 3, tis", "lag 2, sequence"):
            config = replace(BASE, **CASES[name])
            records = list(train(config, state=begin(config)))
            assert any(record["weight_max"] == config.cap for record in records), name


# ----------------------------------------------------------------------------- the run without a mismatch


@pytest.mark.parametrize("correction", ["none", "clip", "tis", "icepop", "sequence"])
def test_without_a_mismatch_it_is_a_plain_run_bit_for_bit(correction: str) -> None:
    small = {
        "steps": 3,
        "prompts_per_step": 4,
        "group_size": 4,
        "updates_per_batch": 2,
        "device": "cpu",
    }
    plain, here = PolicyGradientConfig(**small), StaleConfig(**small, correction=correction)
    states = [plain.begin(), here.begin()]
    records = [list(train(c, state=s)) for c, s in zip((plain, here), states, strict=True)]
    for a, b in zip(*(s.policy.model.parameters() for s in states), strict=True):
        assert torch.equal(a, b)
    for first, second in zip(*records, strict=True):
        same = {k: v for k, v in first.items() if not k.startswith("seconds_")}
        assert {k: second[k] for k in same} == same
        extra = ("mismatch_kl", "effective_share", "weight_mean", "weight_max", "masked_share")
        assert [second[k] for k in extra] == [0.0, pytest.approx(1), 1.0, 1.0, 0.0]


# --------------------------------------------------------------------------------------------- the noise

SMALL = StaleConfig(steps=2, prompts_per_step=4, group_size=4, device="cpu", learning_rate=1e-3)


def test_noise_is_on_the_sampler_alone() -> None:
    config = replace(SMALL, noise=1.0, correction="tis")
    state = config.begin()
    model, before = state.policy.model, snapshot(state.policy.model)
    experience = config.collect(state)
    assert state.policy.model is model
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(model), strict=True))
    again = config.collect(state)
    mask = experience.batch.completion_mask
    assert torch.equal(experience.batch.old_logprobs, again.batch.old_logprobs)
    assert torch.equal(experience.trainer_logprobs, again.trainer_logprobs)
    clean = replace(config, noise=0.0).collect(state)
    assert not torch.equal(clean.batch.old_logprobs, experience.batch.old_logprobs)
    gap = (experience.trainer_logprobs - experience.batch.old_logprobs)[mask]
    assert 0.05 < float(gap.std()) < 3
    # The trainer's own log-probabilities of these tokens have no noise.
    from rlvr_lab.policy.logprobs import token_logprobs

    with torch.no_grad():
        torch.testing.assert_close(
            token_logprobs(model, experience.batch)[mask], experience.trainer_logprobs[mask]
        )


def test_more_noise_is_more_mismatch_and_each_step_and_seed_has_its_own() -> None:
    first = lambda config: next(iter(train(replace(config, steps=1))))["mismatch_kl"]  # noqa: E731
    found = [first(replace(SMALL, prompts_per_step=16, noise=std)) for std in (0.0, 0.3, 1.0)]
    assert found[0] == 0 < found[1] < found[2]
    config = replace(SMALL, noise=0.5, learning_rate=1e-12)
    state = config.begin()
    one = config.sampler(state).model.lm_head.generator.initial_seed()
    state.step = 1
    two = config.sampler(state).model.lm_head.generator.initial_seed()
    other = replace(config, seed=1).sampler(state).model.lm_head.generator.initial_seed()
    assert len({one, two, other}) == 3


# --------------------------------------------------------------------------------------- the state of a run


def test_the_batch_holds_the_log_probabilities_of_who_sampled() -> None:
    config = replace(SMALL, steps=3, lag=2, learning_rate=3e-3)
    state = config.begin()
    start = state.policy.frozen_copy()
    list(islice(train(config, state=state), 2))  # after 2 steps the sampler of lag 2 is the start
    experience = config.collect(state)
    from rlvr_lab.policy.logprobs import token_logprobs

    mask = experience.batch.completion_mask
    with torch.no_grad():
        old = token_logprobs(start.model, experience.batch)[mask]
        new = token_logprobs(state.policy.model, experience.batch)[mask]
    torch.testing.assert_close(experience.batch.old_logprobs[mask], old, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(experience.trainer_logprobs[mask], new)
    assert float((old - new).abs().max()) > 0.01


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_a_run_that_is_saved_and_resumed_is_the_run_in_one_piece(tmp_path, lag: int) -> None:
    config = replace(SMALL, steps=5, lag=lag, noise=0.2, correction="sequence")
    whole = config.begin()
    list(train(config, state=whole))
    half = config.begin()
    list(islice(train(config, state=half), 2))
    save_checkpoint(config, half, tmp_path / "half")
    found = load_checkpoint(tmp_path / "half")
    list(train(found.config, state=found.state))
    for a, b in zip(
        whole.policy.model.parameters(), found.state.policy.model.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_a_checkpoint_of_a_shorter_past_is_refused(tmp_path) -> None:
    config = replace(SMALL, lag=1)
    state = config.begin()
    list(train(config, state=state))
    save_checkpoint(config, state, tmp_path / "one")
    with pytest.raises(ValueError, match="holds no whole checkpoint"):
        load_checkpoint(tmp_path / "one", replace(config, lag=3).begin())


def ages(config: StaleConfig, changes: dict[int, dict]) -> list[int]:
    """How old the sampler of each step is, found by comparing it with the policies of all steps."""
    state, now, seen, past = config.begin(), [config], [], []

    def live() -> StaleConfig:
        now[0] = replace(now[0], **changes.get(state.step + 1, {}))
        past.append(snapshot(state.policy.model))
        return now[0]

    def watch(latest, state, experience):
        model = snapshot(latest.sampler(state).model)
        same = [all(torch.equal(a, b) for a, b in zip(p, model, strict=True)) for p in past]
        seen.append(state.step - max(i for i, x in enumerate(same) if x))

    list(train(config, state=state, live_config=live, watch=watch))
    return seen


def test_the_sampler_is_exactly_so_old() -> None:
    config = replace(SMALL, steps=6, baseline="batch", divide_by_std=False)
    assert ages(config, {}) == [0] * 6
    assert ages(replace(config, lag=1), {}) == [0, 1, 1, 1, 1, 1]
    assert ages(replace(config, lag=3), {}) == [0, 1, 2, 3, 3, 3]


def test_a_live_change_of_the_lag_acts_from_the_next_step() -> None:
    """A longer lag leaves the sampler as it is until it is old enough; a shorter one takes a newer policy."""
    config = replace(SMALL, steps=7, baseline="batch", divide_by_std=False)
    assert ages(config, {3: {"lag": 2}}) == [0, 0, 0, 1, 2, 2, 2]
    assert ages(replace(config, lag=3), {5: {"lag": 1}, 7: {"lag": 0}}) == [0, 1, 2, 3, 1, 1, 0]


def test_other_settings_act_at_once_too() -> None:
    config = replace(SMALL, steps=4, lag=2, learning_rate=3e-3)
    state = config.begin()

    def live() -> StaleConfig:
        changed = {"correction": "icepop", "cap": 1.01, "floor": 0.99, "noise": 0.3}
        return replace(config, **changed) if state.step >= 2 else config

    records = list(train(config, state=state, live_config=live))
    assert [record["masked_share"] > 0 for record in records] == [False, False, True, True]
    assert records[2]["changed"] == [
        "noise: 0.0 -> 0.3",
        "correction: none -> icepop",
        "cap: 2.0 -> 1.01",
        "floor: 0.5 -> 0.99",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lag": -1}, "lag: must be not negative"),
        ({"noise": -0.1}, "noise: must be not negative"),
        ({"rounding": "fp4"}, "rounding: must be one of none, bf16, fp8, int4"),
        ({"correction": "both"}, "correction: must be one of none, clip, tis, icepop, sequence"),
        ({"cap": 0.0}, "cap: must be positive"),
        ({"floor": -0.1}, "floor: must be not negative"),
        ({"floor": 3.0}, "floor: must be at most cap"),
        (
            {"correction": "clip", "ratio": "none"},
            "correction: must be not 'clip' with ratio='none'",
        ),
    ],
)
def test_bad_settings_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        replace(BASE, **change)


def test_the_defaults() -> None:
    found = StaleConfig()
    assert (found.lag, found.noise, found.rounding, found.correction) == (0, 0.0, "none", "none")
    assert (found.cap, found.floor) == (2.0, 0.5)
    assert found.samples_itself
