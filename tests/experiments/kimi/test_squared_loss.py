"""The squared loss in a run: each variant's update, and how far it moves the policy."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.kimi import squared_loss
from rlvr_lab.experiments.kimi.squared_loss import STUDY, VARIANTS, SquaredLossConfig, moved
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.objectives.advantages import group_advantages, log_partition_advantages
from rlvr_lab.objectives.averages import constant_mean
from rlvr_lab.objectives.losses import reinforce_loss
from rlvr_lab.objectives.squared_loss import kimi_loss
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import adamw, optimiser_step, trained

SMALL = {"prompts_per_step": 3, "group_size": 4, "device": "cpu", "steps": 2, "seed": 3}
SMALL |= {"every": 1, "test_problems": 2, "test_samples": 2}


def flat(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def by_hand(config: SquaredLossConfig, loss) -> tuple[torch.Tensor, list[float]]:
    """Two steps: sample, then each update from the named loss; and Σ_t log π_old − log π after each step."""
    state = config.begin(load_policy("sums", "cpu"))
    policy, far = state.policy, []
    optimizer = adamw(trained(policy.model), config.learning_rate)
    everywhere = torch.ones(12, dtype=torch.bool)
    for step in range(2):
        state.step = step
        experience = config.collect(state)
        batch = experience.batch
        for _ in range(config.updates_per_batch):
            now = token_logprobs(policy.model, batch, 1.0, everywhere)
            optimiser_step(optimizer, loss(now, batch, experience.rewards), 1.0)
        with torch.no_grad():
            now = token_logprobs(policy.model, batch, 1.0, everywhere)
        sums = [
            float((batch.old_logprobs - now)[i][batch.completion_mask[i]].sum()) for i in range(12)
        ]
        far.append(sum(sums) / 12)
    return flat(policy), far


def kimi(tau, advantages):
    return lambda now, batch, rewards: kimi_loss(
        now, batch.old_logprobs, advantages(rewards), batch.completion_mask, tau, constant_mean(11)
    )


def centred(rewards):
    return group_advantages(rewards, 4, divide_by_std=False)


LOSSES = {
    "kimi_1": kimi(0.1, centred),
    "kimi_4_0.01": kimi(0.01, centred),
    "kimi_4_0.1": kimi(0.1, centred),
    "kimi_4_1": kimi(1.0, centred),
    "log_z_4_0.1": kimi(0.1, lambda rewards: log_partition_advantages(rewards, 4, 0.1)),
    "plain_4": lambda now, batch, rewards: reinforce_loss(
        now, centred(rewards), batch.completion_mask, constant_mean(11)
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_variant_takes_the_updates_of_its_named_loss(name) -> None:
    config = replace(VARIANTS[name], **SMALL)
    state = config.begin(load_policy("sums", "cpu"))
    records = list(train(config, state=state))
    wanted, far = by_hand(config, LOSSES[name])
    assert (flat(state.policy) - wanted).abs().max() < 2e-5  # float32, AdamW
    assert records[0]["moved"] is None
    found = [record["moved"] for record in records[1:]]
    assert found == pytest.approx(far, abs=2e-3)


def test_moved_is_a_mean_over_the_steps_since_the_last_test() -> None:
    config = replace(VARIANTS["plain_4"], **SMALL)
    each = [r["moved"] for r in train(config, state=config.begin(load_policy("sums", "cpu")))][1:]
    rare = replace(config, every=2)
    (_, both) = (r["moved"] for r in train(rare, state=rare.begin(load_policy("sums", "cpu"))))
    assert both == pytest.approx(sum(each) / 2, rel=1e-5) and each[0] != each[1]


def test_nothing_moved_before_an_update() -> None:
    config = replace(VARIANTS["grpo_1"], **SMALL)
    state = config.begin(load_policy("sums", "cpu"))
    experience = config.collect(state)
    assert abs(moved(state, experience)) < 1e-4
    config.update(state, experience)
    assert abs(state.numbers["moved"]) > 1e-4


def test_the_variants_are_what_their_sentences_say() -> None:
    names = ("baseline", "divide_by_std", "average", "ratio", "updates_per_batch", "tau")
    fields = {name: tuple(getattr(v, n) for n in names) for name, v in VARIANTS.items()}
    kimi_fields = ("group", False, "constant", "squared")
    assert fields == {
        "grpo_1": ("group", True, "sequence", "token", 1, 0.1),
        "kimi_1": (*kimi_fields, 1, 0.1),
        "grpo_4": ("group", True, "sequence", "token", 4, 0.1),
        "dr_grpo_4": ("group", False, "constant", "token", 4, 0.1),
        "plain_4": ("group", False, "constant", "none", 4, 0.1),
        "kimi_4_0.01": (*kimi_fields, 4, 0.01),
        "kimi_4_0.1": (*kimi_fields, 4, 0.1),
        "kimi_4_1": (*kimi_fields, 4, 1.0),
        "log_z_4_0.1": ("log_z", False, "constant", "squared", 4, 0.1),
    }
    for variant in VARIANTS.values():
        usual = {name: getattr(SquaredLossConfig(), name) for name in names}
        assert replace(variant, **usual) == SquaredLossConfig()
    assert SquaredLossConfig().constant_length == 11 and SquaredLossConfig().steps == 24
    assert STUDIES["kimi/squared_loss"] is STUDY and (STUDY.seeds, STUDY.first) == (5, 1)


def test_each_seed_starts_from_its_own_base(monkeypatch) -> None:
    asked = []

    def base(seed, device):
        asked.append(seed)
        return load_policy("sums", "cpu"), seed

    monkeypatch.setattr(squared_loss, "sums_base", base)
    tiny = {**SMALL, "steps": 1}
    del tiny["seed"]
    runs = list(STUDY.measure(2, {"one": replace(VARIANTS["kimi_1"], **tiny)}, 7))
    assert asked == [7, 8] and [(r.config.seed, r.config.table) for r in runs] == [(7, 7), (8, 8)]
