"""Checks pass every solution, fail every stub, and call each seeded mistake by its name."""

from typing import Any

import numpy as np
import pytest
import torch

from rlvr_lab import checks
from rlvr_lab.checks import calls, kit, stubs
from rlvr_lab.checks.kit import Check, Series
from rlvr_lab.checks.trained import TrainCheck
from rlvr_lab.exact import binary_rewards, optimal_policy, voting
from rlvr_lab.experiments import scaling_laws
from rlvr_lab.objectives import (
    advantages,
    averages,
    distillation,
    gae,
    importance,
    kl,
    losses,
    preferences,
    squared_loss,
    trust_region,
    value_loss,
)
from rlvr_lab.records import calibration
from rlvr_lab.rewards import language, length
from rlvr_lab.tasks import evaluation
from tests.seeded_mistakes import BANK, Seeded
from tests.sheets import NOTEBOOKS, Functions, code, functions_of


def seeds_of(check: str) -> list[int]:
    """The seeds that a check is tried with: what trains takes half a minute each time."""
    return [0] if isinstance(getattr(checks, check), TrainCheck) else [*range(20)]


SOLUTIONS, SOURCES = functions_of("solutions")
STUBS, _ = functions_of("exercises")
SEEDED = [
    pytest.param(check, mistake, id=f"{check}-{number}-{mistake.keyword.replace(' ', '_')}")
    for check, mistakes in BANK.items()
    for number, mistake in enumerate(mistakes, start=1)
]


def message(check: str, functions: tuple[Any, ...], seed: int | None = None) -> str:
    with pytest.raises(AssertionError) as caught:
        getattr(checks, check)(*functions, seed=seed)
    return str(caught.value)


def test_every_check_has_an_exercise_and_enough_mistakes() -> None:
    assert set(checks.__all__) == set(SOLUTIONS) == set(STUBS) == set(BANK)
    assert min(len(mistakes) for mistakes in BANK.values()) >= 6


@pytest.mark.parametrize("check", checks.__all__)
def test_a_solution_always_passes(check: str, capsys: pytest.CaptureFixture) -> None:
    seeds = seeds_of(check)
    seeds = seeds if len(seeds) == 1 else [*seeds, None]
    for seed in seeds:
        getattr(checks, check)(*SOLUTIONS[check], seed=seed)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(seeds)
    assert all(line.startswith("✓ ") for line in printed)


@pytest.mark.parametrize("check", checks.__all__)
def test_a_stub_is_told_that_it_is_not_written(check: str, capsys: pytest.CaptureFixture) -> None:
    assert "not written yet" in message(check, STUBS[check])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("check", checks.__all__)
def test_a_function_without_a_return_is_told_so(check: str) -> None:
    functions = tuple(lambda *arguments: None for _ in SOLUTIONS[check])
    assert "does not return anything" in message(check, functions)


@pytest.mark.parametrize(("check", "mistake"), SEEDED)
def test_a_mistake_is_named_and_the_answer_is_not(check: str, mistake: Seeded) -> None:
    for seed in seeds_of(check)[:3]:
        said = message(check, mistake.functions, seed)
        assert mistake.keyword in said
        assert "NameError" not in said, "the mistake itself is broken"
        drawn = not check.startswith("check_exhibit") or said.startswith("the diagnosis is correct")
        assert (f"seed={seed}" in said) == drawn, "a seed is told where something was drawn"
        said = said.split("\nInputs of the call:")[0]
        assert len(said) < 480, "a learner should be able to take it in"
        assert leaks(said, SOURCES[check]) == []


def leaks(said: str, solution: str) -> list[str]:
    """Lines of a solution, or expressions that it returns or assigns, found in a message."""
    said, inside, found = said.split(", at its line `")[0], False, []  # the learner's own line
    for line in solution.splitlines():
        if "### " in line:
            inside = "BEGIN" in line
        elif inside and (text := line.split("#")[0].strip()):
            right_hand_side = text.removeprefix("return ").split(" = ")[-1]
            found += [part for part in (text, right_hand_side) if len(part) > 6 and part in said]
    return found


def test_the_search_for_leaks_finds_one() -> None:
    source = "    ### BEGIN SOLUTION\n    return pi - pi_ref  # why\n    ### END SOLUTION"
    assert leaks("you should return pi - pi_ref here", source)
    assert not leaks("the sign is flipped", source)


def test_the_same_seed_brings_back_the_same_numbers() -> None:
    def odd(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
        return rewards * 3 + 1

    first, again, other = (message("check_group_advantages", (odd,), s) for s in (5, 5, 6))
    assert first == again != other
    assert "not one of the common mistakes" in first
    assert message("check_group_advantages", (odd,)) != message("check_group_advantages", (odd,))


# ----------------------------------------------- oracles of the checks against those of the package


def two_stage(p: float, size: int, weights: Any, short: int, long: int) -> tuple[float, float]:
    """The package's own enumeration, with the average recognised by its weights."""
    shares = weights([short, long])
    average = averages.constant_mean(long)
    if shares[0] != shares[1]:
        average = averages.sequence_mean
    elif abs(shares[0] * (short + long) - 1) < 1e-12:
        average = averages.token_mean
    right, wrong = binary_rewards.two_stage_gradient(p, size, average, short=short, long=long)
    return float(right), float(wrong)


def package_grpo(logprobs, old_logprobs, advantages, mask, clip):
    return losses.grpo_loss(logprobs, old_logprobs, advantages, mask, clip_low=clip, clip_high=clip)


def package_dr_grpo(logprobs, old_logprobs, rewards, mask, size, length, clip):
    centred = advantages.group_advantages(rewards, size, divide_by_std=False)
    return losses.dr_grpo_loss(logprobs, old_logprobs, centred, mask, length, clip, clip)


def package_kimi(logprobs, old_logprobs, mask, rewards, size, tau):
    centred = advantages.group_advantages(rewards, size, divide_by_std=False)
    return squared_loss.kimi_loss(logprobs, old_logprobs, centred, mask, tau)


def package_resting(rewards, size, tau, baseline):
    if baseline == "mean":
        return torch.exp(advantages.group_advantages(rewards, size, divide_by_std=False) / tau)
    return torch.exp(advantages.log_partition_advantages(rewards, size, tau) / tau)


def package_full(student, teacher):
    x, one = student.clone().requires_grad_(), torch.ones(1, 1, dtype=torch.bool)
    loss = distillation.reverse_kl_full(x[None, None], teacher[None, None], one)
    return torch.autograd.grad(loss, x)[0]


def package_sampled(student, teacher, token):
    x, one = student.clone().requires_grad_(), torch.ones(1, 1, dtype=torch.bool)
    mine, its = (logits.log_softmax(0)[token].view(1, 1) for logits in (x, teacher))
    return torch.autograd.grad(distillation.reverse_kl_sampled(mine, its, one), x)[0]


def package_flipped_dpo(chosen, rejected, ref_chosen, ref_rejected, beta, flip):
    straight = preferences.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta)
    turned = preferences.dpo_loss(rejected, chosen, ref_rejected, ref_chosen, beta)
    return (1 - flip) * straight + flip * turned


def package_simpo(chosen, rejected, chosen_mask, rejected_mask, beta, gamma):
    sums = [(x * m).sum(dim=1) for x, m in ((chosen, chosen_mask), (rejected, rejected_mask))]
    lengths = [m.sum(dim=1).double() for m in (chosen_mask, rejected_mask)]
    return preferences.simpo_loss(*sums, *lengths, beta, gamma)


def package_graded(rewards, size):
    """Group by group, with the answers that have a verdict as a group of their own."""
    out = torch.zeros_like(rewards)
    for start in range(0, len(rewards), size):
        known = start + torch.argwhere(~rewards[start : start + size].isnan()).flatten()
        if len(known) > 1:
            out[known] = advantages.group_advantages(rewards[known], len(known))
    return out


def package_weights(trainer, sampler, mask, kind, cap, floor):
    return importance.CORRECTIONS[kind](trainer, sampler, mask, cap, floor)


def package_stale_loss(logprobs, weights, given, mask):
    average = importance.weighted(averages.token_mean, weights)
    return losses.reinforce_loss(logprobs, given, mask, average)


PACKAGE: Functions = {
    "check_bradley_terry_loss": (preferences.bradley_terry_loss,),
    "check_dpo_loss": (package_flipped_dpo,),
    "check_simpo_loss": (package_simpo,),
    "check_regularised_optimum": (
        lambda *given: torch.tensor(optimal_policy.regularised_optimum(*given)[0]),
    ),
    "check_binary_kl": (lambda p, n: optimal_policy.binary_best_of_n(p, n)[1],),
    "check_gold_peak": (lambda a, b: scaling_laws.peak(a, b, "rl"),),
    "check_pass_at_k": (evaluation.pass_at_k,),
    "check_calibration_error": (calibration.calibration_error,),
    "check_reward_to_go": (
        lambda rewards, mask, gamma: gae.gae(rewards, 0 * rewards, mask, gamma, 1.0),
    ),
    "check_conjugate_gradient": (trust_region.conjugate_gradient,),
    "check_line_search": (lambda *given: trust_region.line_search(*given).fraction,),
    "check_token_rewards": (gae.token_rewards,),
    "check_gae": (gae.gae,),
    "check_value_loss": (value_loss.value_loss,),
    "check_group_advantages": (package_graded,),
    "check_leave_one_out_advantages": (advantages.leave_one_out_advantages,),
    "check_k3": (kl.k3,),
    "check_grpo_loss": (package_grpo,),
    "check_dr_grpo_loss": (package_dr_grpo,),
    "check_averages": (
        averages.sequence_mean,
        averages.token_mean,
        lambda x, mask, length: averages.constant_mean(length)(x, mask),
    ),
    "check_std_multiplier": (lambda p, size: float(binary_rewards.std_multiplier(p, size)),),
    "check_expected_pull": (two_stage,),
    "check_language_consistency": (
        lambda text, target: language.consistency(text, None if target == "majority" else target),
    ),
    "check_kimi_loss": (package_kimi, package_resting),
    "check_length_repair": (length.length_rewards,),
    "check_distillation_gradients": (package_full, package_sampled),
    "check_stale_weights": (package_weights, package_stale_loss, importance.effective_share),
    "check_votes": (
        lambda probs, n: voting.majority_correct(n, probs[0], probs[1:]),
        SOLUTIONS["check_votes"][1],
    ),
}


@pytest.mark.parametrize("check", PACKAGE)
def test_the_package_passes_its_own_checks(check: str) -> None:
    for seed in range(3):
        getattr(checks, check)(*PACKAGE[check], seed=seed)


# ------------------------------------------------- every sentence says something that no other says


TABLED = {
    f"{name} {part.label or part.title}": part
    for name in checks.__all__
    for part in getattr(getattr(checks, name), "parts", [getattr(checks, name)])
    if not isinstance(part, TrainCheck)
}


def test_every_check_is_a_table_or_trains() -> None:
    kinds = Check | Series | TrainCheck
    assert all(isinstance(getattr(checks, name), kinds) for name in checks.__all__)
    assert all(isinstance(part, Check) for part in TABLED.values())


@pytest.mark.parametrize("name", TABLED)
def test_no_sentence_describes_the_right_answer_or_what_another_one_does(name: str) -> None:
    check, rng = TABLED[name], np.random.default_rng(0)
    drawn = [tuple(check.draw(rng, turn).values()) for turn in range(check.calls)]
    seen = {
        said: [rule(*given) for given in drawn]
        for said, rule in ({"the right answer": check.right} | check.mistakes).items()
    }
    assert alike(seen) == []


def alike(seen: dict[str, list[Any]]) -> list[tuple[str, str]]:
    """Pairs of sentences whose functions give the same on all inputs."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, str):
            return a == b
        return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-4, atol=1e-6)

    pairs = [(a, b) for a in seen for b in seen if a < b]
    return [(a, b) for a, b in pairs if all(map(same, seen[a], seen[b]))]


# ---------------------------------------------------------------------------------------- the kit


def test_a_notebook_shows_the_sentence_and_no_traceback() -> None:
    assert calls.Mistake("padding")._render_traceback_() == ["✗ padding"]


def test_an_error_inside_the_learners_function_is_quoted_with_its_line() -> None:
    def group_advantages(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
        return rewards.view(-1, 7)

    said = message("check_group_advantages", (group_advantages,))
    assert "group_advantages stopped with RuntimeError" in said
    assert "`return rewards.view(-1, 7)` (inputs: rewards [12], group_size = 4)" in said


def test_what_is_no_function_is_refused() -> None:
    assert "without calling it" in message("check_k3", (torch.zeros(3),))


def test_the_learner_may_rename_the_arguments() -> None:
    checks.check_k3(lambda new, old: torch.exp(old - new) - 1 + new - old)


@pytest.mark.parametrize(
    ("value", "word"),
    [(torch.tensor([float("nan")]), "nan"), (torch.tensor([float("inf")]), "infinite")],
)
def test_numbers_that_are_not_finite_are_refused(value: torch.Tensor, word: str) -> None:
    with pytest.raises(calls.Mistake, match=word):
        calls.tensor("f", value, [1])
    with pytest.raises(calls.Mistake, match="division by zero"):
        calls.number("f", value)


def test_a_given_seed_shows_the_inputs_and_a_fresh_one_says_how() -> None:
    flipped = BANK["check_group_advantages"][10].functions
    said = message("check_group_advantages", flipped, seed=3)
    assert "\nInputs of the call:\n  rewards [12] = [" in said
    assert "\n  group_size = 4\n  (to get the same inputs again: seed=3)" in said
    said = message("check_group_advantages", flipped)
    assert "Inputs of the call" not in said and "again, and to see them: seed=" in said
    said = message("check_grpo_loss", (lambda lp, old, a, m, clip: 0.37 * lp.sum(),), seed=1)
    assert "Inputs of the call" not in said, "the message shows them already"


def test_grpo_handed_in_unchanged_is_recognised_from_every_seed() -> None:
    cells = code(stubs.read(NOTEBOOKS / "solutions" / "07_grpo_biases.ipynb"))
    space: dict[str, Any] = {"torch": torch}
    exec(next(source for _, source in cells if source.startswith("def grpo_loss")), space)
    for seed in range(60):
        said = message("check_dr_grpo_loss", (space["grpo_loss"],), seed)
        assert "nothing has changed: this is still GRPO" in said


def test_a_result_of_the_wrong_shape_is_told_with_its_shape() -> None:
    said = message("check_step_size", (lambda x, fx, kl: x.outer(fx),))
    assert "must return one number" in said or "shape" in said
    with pytest.raises(calls.Mistake, match=r"not a Tensor of shape \[4, 5\]"):
        calls.number("f", torch.zeros(4, 5))


@pytest.mark.parametrize("value", ["3", True, [1.0, 2.0], 1j])
def test_what_is_not_one_number_is_refused(value: Any) -> None:
    with pytest.raises(calls.Mistake, match="one number"):
        calls.number("f", value)


def test_what_no_slip_explains_is_shown_with_its_inputs_and_both_answers() -> None:
    said = message("check_grpo_loss", (lambda lp, old, a, m, clip: 0.37 * lp.sum(),), seed=1)
    assert "not one of the common mistakes. For\n  logprobs [4, 4] =\n    [" in said
    assert "\n    [1, 1, 0, 0]\n  clip = 0.1\nit gives " in said
    assert "\nand should be " in said
    said = message("check_calibration_error", (lambda *given: 0.0,), seed=1)
    assert said.count(", … 40 numbers]") == 2
    said = message("check_k3", (lambda new, old: kl.k3(new, old).detach() + new - new.detach(),))
    assert "only through the log-ratio" in said
    said = message(
        "check_k3", (lambda new, old: kl.k3(new, old).detach() + 3 * (new - new.detach()),)
    )
    assert "the value is correct, but its gradient with respect to logprobs is\n    [" in said


def test_a_verdict_that_no_slip_explains_is_shown_with_the_right_one() -> None:
    said = message("check_stage", (lambda *curves: "memorises",), seed=0)
    assert "not one of the common mistakes" in said
    assert "\nit gives 'memorises'\nand should be 'healthy'" in said
    assert "not 'overfits'" in message("check_stage", (lambda *curves: "overfits",))


def test_a_text_that_no_slip_explains_is_shown_with_its_tokens() -> None:
    said = message("check_forced_answer", (lambda tokens, budget, stop: "?",), seed=0)
    assert "tokens [12] = ['<think>', " in said
    assert "\nit gives '?'\nand should be '<think>" in said


def test_a_gradient_that_is_zero_is_named_where_padding_is_nan() -> None:
    def frozen(logprobs, old_logprobs, mask, rewards, size, tau):
        nothing = 0 * torch.where(mask, logprobs, 0.0).sum()
        return package_kimi(logprobs, old_logprobs, mask, rewards, size, tau).detach() + nothing

    for seed in range(3):
        said = message("check_kimi_loss", (frozen, package_resting), seed)
        assert "one detach too many" in said


def test_an_error_of_a_later_call_does_not_hide_what_earlier_calls_show() -> None:
    said = message("check_grpo_loss", (lambda lp, old, a, m, clip: (lp * a * m).sum(1).mean(),))
    assert "stopped with RuntimeError" in said, "no slip explains the earlier calls"
    assert "B = T" in message("check_grpo_loss", BANK["check_grpo_loss"][1].functions)


def test_a_series_takes_as_many_functions_as_it_checks() -> None:
    assert "pass 3 functions to the check, not 1" in message(
        "check_averages", (averages.token_mean,)
    )


def test_a_mistake_must_explain_every_call() -> None:
    cases = [kit.Case({"x": 1.0}, 2.0, 1.0), kit.Case({"x": 2.0}, 5.0, 2.0)]
    mistakes = {"doubled": lambda x: 2 * x}
    with pytest.raises(calls.Mistake, match="not one of the common mistakes"):
        kit.judge("f", cases, mistakes)
    with pytest.raises(calls.Mistake, match="doubled"):
        kit.judge("f", cases[:1], mistakes)
