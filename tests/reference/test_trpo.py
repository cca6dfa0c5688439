"""``trpo.train`` against a reference whose Fisher matrix is a mean of outer products."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.loading import Policy
from rlvr_lab.training.loop import train
from rlvr_lab.training.trpo import TRPOConfig
from tests.reference import trpo
from tests.reference.plain import base_policy, double, elsewhere, random_policy, sample, snapshot
from tests.reference.policy_gradient import task_of
from tests.reference.test_policy_gradient import assert_same

BASE = TRPOConfig(
    world="lab",
    base="random",
    steps=1,
    prompts_per_step=3,
    group_size=3,
    max_new_tokens=4,
    rewards={"accuracy": 1.0},
    fisher_groups=2,
    device="cpu",
)
SUMS = {
    "world": "sums",
    "base": "",
    "rewards": {"accuracy": 1.0, "format": 0.1},
    "max_new_tokens": 8,
}
FAR = {"damping": 0.02, "cg_iterations": 4, "seed": 2}

CASES = {
    "two steps": {"steps": 2},
    "plain gradient": {"natural": False},
    "the limit falls": {"steps": 3, "delta_schedule": "quadratic"},
    "little damping": {"damping": 0.03, "cg_iterations": 8, "seed": 1},
    "one iteration": {"cg_iterations": 1, "damping": 1.0},
    "one group in the matrix": {"fisher_groups": 1, "prompts_per_step": 4},
    "KL too large": {**FAR, "max_kl": 0.5},
    "KL too large, one try": {**FAR, "max_kl": 0.5, "line_search_tries": 1},
    "no gain": {**FAR, "max_kl": 5.0},
    "no gain, two tries": {**FAR, "max_kl": 5.0, "line_search_tries": 2},
    "warm": {"temperature": 1.5, "world_options": {"p_right": 0.3}, "seed": 2},
    "nucleus": {"top_p": 0.8, "group_size": 4, "max_kl": 0.1},
    "sums": {**SUMS, "device": "cpu:0"},
    "sums, a long way": {**SUMS, "max_kl": 0.5, "damping": 0.05, "seed": 3},
    "sums, plain gradient": {**SUMS, "natural": False, "temperature": 0.8, "max_kl": 0.3},
    "no spread": {"world": "sums"},
}  # fmt: skip

GRID = {TRPOConfig: [replace(BASE, **options) for options in CASES.values()]}


def policy_of(config: TRPOConfig) -> Policy:
    return random_policy() if config.base == "random" else base_policy(config.base or config.world)


def our_run(config: TRPOConfig) -> list[tuple]:
    return list(reference_run(config))


def reference_run(config: TRPOConfig):
    model = policy_of(config).model
    for record in trpo.train(config, model, elsewhere(model)):
        yield record, snapshot(model)


def their_run(config: TRPOConfig):
    state = config.begin(policy_of(config))
    state.reference.model = elsewhere(state.policy.model)
    for record in train(config, state=state):
        yield record, snapshot(state.policy.model)


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_its_definition(name: str) -> None:
    config = replace(BASE, **CASES[name])
    with double():
        assert_same(our_run(config), their_run(config))


def test_the_grid_meets_every_end_of_the_line_search() -> None:
    """The full step, a half and a quarter of it, and none."""
    names = ("plain gradient", "KL too large", "no gain", "no gain, two tries", "no spread")
    with double():
        runs = [our_run(replace(BASE, **CASES[name])) for name in names]
        assert [run[0][0]["fraction"] for run in runs] == [1, 0.5, 0.25, 0, 0]


def test_both_forms_of_the_fisher_matrix_are_one() -> None:
    config = replace(BASE, group_size=2, prompts_per_step=1, fisher_groups=1)
    with double():
        model = policy_of(config).model
        answers = sample(config, model, task_of(config), 1)
        matrix = trpo.fisher_matrix(config, model, answers)
        vector = torch.linspace(-1, 1, len(matrix))
        product = trpo.fisher_times(config, model, answers, vector)
        torch.testing.assert_close(product, matrix @ vector, atol=1e-12, rtol=1e-12)
