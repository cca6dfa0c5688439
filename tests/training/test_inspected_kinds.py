"""A kept step of every kind of run: its weights are the gradient of the trainer's own update."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.answer_kinds import AnswerKindsConfig
from rlvr_lab.experiments.museum import MuseumConfig
from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.inspected_kinds import TITLES
from rlvr_lab.training.inspection import Boxes, InspectedStep, can_inspect, inspect_step
from rlvr_lab.training.optimise import trained
from rlvr_lab.training.pairs import DpoConfig, both_answers, letter_logprobs
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig, improve
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.trpo import TRPOConfig, trpo_update
from tests.reference.plain import base_policy, double, elsewhere

BASE = PolicyGradientConfig(
    steps=1,
    prompts_per_step=4,
    group_size=4,
    max_new_tokens=12,
    optimizer="sgd",
    learning_rate=0.05,
    max_grad_norm=None,
    device="cpu",
)
CASES = {
    "grpo": {},
    "grpo with KL": {"kl_coef": 0.2},
    "dr-grpo": {"divide_by_std": False, "average": "constant"},
    "dapo": {"average": "token", "clip_high": 0.28, "kl_coef": 0.1, "kl_estimator": "k2"},
    "gspo": {"ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4},
    "cispo": {"ratio": "cispo", "clip_high": 0.28, "average": "token"},
    "rloo, KL in the reward": {
        "baseline": "leave_one_out", "divide_by_std": False, "ratio": "none", "average": "constant",
        "kl_in": "reward", "kl_coef": 0.2, "kl_estimator": "k1",
    },
    "kimi": {"ratio": "squared", "divide_by_std": False, "average": "constant", "constant_length": 1.0},
    "lab": {"world": "lab", "max_new_tokens": 8, "rewards": {"accuracy": 1.0}},
}  # fmt: skip


RATES = {"kimi": 0.02, "lab": 0.05}


def begun(config: PolicyGradientConfig, dtype: torch.dtype = torch.float64) -> TrainState:
    state = config.begin(base_policy(config.world, dtype))
    if dtype == torch.float64:
        state.reference.model = elsewhere(state.policy.model)
    return state


def seen(config, state: TrainState) -> tuple[InspectedStep, object, object]:
    experience = config.collect(state)
    step, after = inspect_step(config, state, experience)
    return step, after, experience


def moved_by_sgd(config, state: TrainState, experience) -> list[torch.Tensor]:
    """Δθ of the trainer's own update."""
    model = state.policy.model
    before = [p.detach().clone() for p in model.parameters()]
    config.update(state, experience)
    return [p.detach() - b for p, b in zip(model.parameters(), before, strict=True)]


def added_up(state: TrainState, config, batch, weights: torch.Tensor) -> list[torch.Tensor]:
    """Σ w · ∇θ log π."""
    logprobs = token_logprobs(state.policy.model, batch, config.temperature)
    parameters = trained(state.policy.model)
    return list(torch.autograd.grad((weights * logprobs).sum(), parameters))


def furthest(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    assert max(float(w.abs().max()) for w in wanted) > 1e-3
    return max(float((f - w).abs().max()) for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_weights_of_a_first_pass_are_the_step_that_sgd_takes(name: str) -> None:
    config = replace(BASE, **CASES[name])
    with double():
        state = begun(config)
        step, _, experience = seen(config, state)
        weights = step.weigh("run").total
        wanted = added_up(state, config, experience.batch, weights)
        moved = moved_by_sgd(config, state, experience)
        assert furthest([m / config.learning_rate for m in moved], wanted) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_after_the_update_they_are_the_step_of_one_more_pass(name: str) -> None:
    """The ratios are not 1, so the clip and the ratio take part."""
    config = replace(BASE, **CASES[name], learning_rate=RATES.get(name, 0.5))
    with double():
        state = begun(config)
        step, after, experience = seen(config, state)
        config.update(state, experience)
        step = replace(step, after=after())
        ratio = (step.after - step.old).exp()[step.mask]
        assert float((ratio - 1).abs().max()) > 0.01
        found = step.weigh("run", at="after")
        wanted = added_up(state, config, experience.batch, found.total)
        moved = moved_by_sgd(config, state, experience)
        assert furthest([m / config.learning_rate for m in moved], wanted) < 1e-12


def test_in_float32_they_agree_to_a_millionth() -> None:
    config = replace(BASE, kl_coef=0.2)
    state = begun(config, torch.float32)
    step, _, experience = seen(config, state)
    wanted = added_up(state, config, experience.batch, step.weigh("run").total)
    experience_moved = moved_by_sgd(replace(config, learning_rate=1.0), state, experience)
    assert furthest(experience_moved, wanted) < 1e-6


def test_log_probs_before_and_after_are_the_policys() -> None:
    config = replace(BASE, learning_rate=0.5)
    with double():
        state = begun(config)
        step, after, experience = seen(config, state)
        read = lambda: token_logprobs(state.policy.model, experience.batch).detach()  # noqa: E731
        torch.testing.assert_close(step.before, read(), rtol=0, atol=1e-12)
        config.update(state, experience)
        assert torch.equal(after(), read())
        assert float((after() - step.before).abs().max()) > 1e-3


@pytest.mark.parametrize("name", PRESETS)
def test_a_loss_of_the_table_weighs_as_a_run_with_that_loss(name: str) -> None:
    """What would Dr. GRPO have done with this batch? The step of a Dr. GRPO run on these answers."""
    config = replace(BASE, kl_coef=0.1)
    chosen = {
        field: getattr(PRESETS[name], field)
        for field in (
            "baseline",
            "divide_by_std",
            "average",
            "ratio",
            "clip_low",
            "clip_high",
            "kl_in",
        )
    }
    with double():
        state = begun(config)
        step, _, experience = seen(config, state)
        other = replace(config, **chosen, kl_estimator=PRESETS[name].kl_estimator)
        assert step.lenses[name].title == TITLES[name]
        wanted = added_up(state, config, experience.batch, step.weigh(name).total)
        moved = moved_by_sgd(other, state, experience)
        assert furthest([m / config.learning_rate for m in moved], wanted) < 1e-12


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("by_std", [True, False])
@pytest.mark.parametrize("start", ["grpo", "dr-grpo", "dapo"])
def test_the_boxes_are_the_two_settings_of_the_run(
    start: str, by_length: bool, by_std: bool
) -> None:
    row = PRESETS[start]
    config = replace(
        BASE, average=row.average, divide_by_std=row.divide_by_std, constant_length=5.0
    )
    average = config.average
    if by_length != (average == "sequence"):
        average = "sequence" if by_length else "constant"
    with double():
        state = begun(config)
        step, _, experience = seen(config, state)
        weights = step.weigh("run", Boxes(by_length, by_std)).total
        wanted = added_up(state, config, experience.batch, weights)
        other = replace(config, average=average, divide_by_std=by_std)
        moved = moved_by_sgd(other, state, experience)
        assert furthest([m / config.learning_rate for m in moved], wanted) < 1e-12


def test_a_step_says_what_was_answered() -> None:
    config = replace(BASE, seed=1)
    with double():
        state = begun(config)
        step, _, experience = seen(config, state)
    batch, verdicts = experience.batch, experience.answers.verdicts
    assert step.step == 1 and step.groups == 4 and step.group_size == 4
    assert step.prompts == [problem.prompt for problem in experience.answers.problems]
    assert torch.equal(step.rewards, experience.rewards)
    assert step.verdicts == [v.reason.replace("_", " ") for v in verdicts]
    assert step.good.tolist() == [v.correct for v in verdicts]
    assert torch.equal(step.lengths, batch.completion_mask.sum(1))
    for row, words in enumerate(step.words):
        text = "".join(words)
        ended = not bool(batch.truncated[row])
        assert text == batch.texts[row] + "⟨end⟩" * ended
        ends = step.is_end[row].nonzero().flatten().tolist()
        assert ends == ([int(batch.lengths[row]) - 1] if ended else [])


def test_the_word_that_the_environment_wrote_is_shown_and_has_no_weight() -> None:
    config = replace(BASE, **CASES["lab"])
    with double():
        state = begun(config)
        step, _, _ = seen(config, state)
        weights = step.weigh("run").total
    assert {words[0] for words in step.words} <= {"right", "wrong"}
    assert bool(step.shown[:, 0].all()) and not bool(step.mask[:, 0].any())
    assert not bool(weights[:, 0].any())


# --------------------------------------------------------------------------------------- other kinds


def test_ppos_weights_are_the_step_of_its_policy() -> None:
    """One minibatch, one epoch, Adam replaced by plain steps."""
    config = PPOConfig(
        steps=1, prompts_per_step=4, group_size=4, max_new_tokens=12, epochs=1, minibatches=1, critic_warmup=0,
        max_grad_norm=None, device="cpu", kl_coef=0.1, zero_value_head=False, learning_rate=0.1,
    )  # fmt: skip
    with double():
        policy = base_policy("sums")
        state = config.begin(policy)
        state.reference.model = elsewhere(policy.model)
        groups = [{"params": g["params"], "lr": g["lr"]} for g in state.optimizer.param_groups]
        state.optimizer = torch.optim.SGD(groups, lr=0.1)
        step, _, experience = seen(config, state)
        found = step.weigh("run")
        wanted = added_up(state, config, experience.batch, found.total)
        moved = moved_by_sgd(config, state, experience)
        assert furthest([m / 0.1 for m in moved], wanted) < 1e-12
    m = step.mask
    product = found.advantages * found.factor * found.average
    torch.testing.assert_close(product[m], found.policy[m], rtol=1e-12, atol=1e-18)
    assert float(found.advantages[m].std()) > 0.5  # one for each token


def test_trpos_weights_are_the_gradient_of_its_surrogate(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TRPOConfig(
        steps=1, prompts_per_step=4, group_size=4, max_new_tokens=12, device="cpu", fisher_groups=2
    )
    with double():
        state = config.begin(base_policy("sums"))
        step, _, experience = seen(config, state)
        wanted = added_up(state, config, experience.batch, step.weigh("run").total)
        caught = {}

        def step_on(parameters, surrogate, *rest, **named):
            caught["gradient"] = torch.autograd.grad(surrogate(), parameters)
            raise StopIteration

        monkeypatch.setattr("rlvr_lab.training.trpo.trust_region_step", step_on)
        with pytest.raises(StopIteration):
            trpo_update(config, state, experience.batch, experience.rewards)
        assert furthest(list(caught["gradient"]), wanted) < 1e-12


@pytest.mark.parametrize("loss", ["dpo", "ln_dpo", "simpo", "ipo", "orpo"])
@pytest.mark.parametrize("name", ["run", "dpo", "ln_dpo", "simpo", "ipo", "orpo"])
def test_the_weights_of_pairs_are_the_gradient_of_their_loss(loss: str, name: str) -> None:
    config = DpoConfig(loss=loss, steps=2, stop=0.2, batch_size=6, pairs=20, likelihood=0.1)
    state = config.begin()
    rows = config.collect(state)
    config.update(state, rows)  # away from the base, where chosen and rejected are alike
    step, _ = inspect_step(config, state, rows)
    assert step.verdicts == ["chosen", "rejected"] * 6
    weights = step.weigh(name).total
    ids, mask = both_answers(state.data.train, rows)
    assert torch.equal(step.mask[0::2], mask[:6]) and torch.equal(step.mask[1::2], mask[6:])
    logprobs = letter_logprobs(state.policy, ids, mask)
    parameters = trained(state.policy.model)
    there = torch.cat([weights[0::2], weights[1::2]])
    wanted = torch.autograd.grad((there * logprobs).sum(), parameters)
    named = replace(config, loss=loss if name == "run" else name)
    caught = {}

    class Caught(torch.optim.SGD):
        def step(self):
            caught["g"] = [p.grad.clone() for g in self.param_groups for p in g["params"]]

    state.optimizer = Caught(parameters, lr=1.0)
    named.update(state, rows)
    norm = sum(float(w.square().sum()) for w in wanted) ** 0.5
    limit = min(1.0, 1 / (norm + 1e-6))  # the trainer limits the norm to 1
    assert (
        max(float((g + limit * w).abs().max()) for g, w in zip(caught["g"], wanted, strict=True))
        < 1e-6
    )


@pytest.mark.parametrize("optimiser", ["ppo", "grpo"])
def test_the_climb_of_a_proxy_is_seen(optimiser: str) -> None:
    config = ProxyConfig(optimiser=optimiser, steps=2, batch_size=32, kl_coef=0.1)
    state = config.begin()
    step, _, experience = seen(config, state)
    assert step.group_size == 16 and step.groups == 2
    assert torch.equal(step.rewards, experience.proxy)
    wanted = added_up(state, replace(BASE), experience.batch, step.weigh("run").total)
    parameters = [p for g in state.optimizer.param_groups for p in g["params"]]
    state.optimizer = torch.optim.SGD(parameters, lr=1.0)
    before = [p.detach().clone() for p in parameters]
    improve(state, config.objective(state.task.length), *experience, max_norm=None)
    moved = [p.detach() - b for p, b in zip(parameters, before, strict=True)]
    assert furthest(moved, wanted) < 1e-6


def test_a_kind_that_updates_in_another_way_is_not_shown() -> None:
    assert not can_inspect(MuseumConfig())
    assert not can_inspect(RunConfig())
    for kind in (
        PolicyGradientConfig,
        AnswerKindsConfig,
        PPOConfig,
        TRPOConfig,
        DpoConfig,
        ProxyConfig,
    ):
        assert can_inspect(kind())
    assert inspect_step(RunConfig(), TrainState(base_policy("sums")), None) is None
