"""The two theorems behind TRPO, on random decision processes, against long simulated sums."""

import numpy as np
import pytest

from rlvr_lab.exact.mdp import MDP, improvement_bound, performance_difference, random_policy


@pytest.mark.parametrize("seed", range(5))
def test_values_and_visits_are_what_long_sums_give(seed: int) -> None:
    mdp, policy = MDP.random(seed), random_policy(np.random.default_rng(seed))
    matrix = np.einsum("sa,sat->st", policy, mdp.transition)
    state, visits, earned = mdp.start, 0.0, 0.0
    for t in range(600):
        visits = visits + mdp.gamma**t * state
        earned += mdp.gamma**t * float(state @ (policy * mdp.reward).sum(1))
        state = state @ matrix
    np.testing.assert_allclose(mdp.visitation(policy), visits, atol=1e-12)
    assert mdp.performance(policy) == pytest.approx(earned, abs=1e-12)
    assert mdp.visitation(policy).sum() == pytest.approx(1 / (1 - mdp.gamma))
    np.testing.assert_allclose((policy * mdp.advantage(policy)).sum(1), 0, atol=1e-12)


def test_the_performance_difference_lemma_holds_for_any_two_policies() -> None:
    rng = np.random.default_rng(0)
    for seed in range(50):
        mdp, new, old = MDP.random(seed), random_policy(rng), random_policy(rng)
        exact = mdp.performance(new) - mdp.performance(old)
        assert performance_difference(mdp, new, old) == pytest.approx(exact, abs=1e-12)
    assert performance_difference(mdp, old, new) == pytest.approx(-exact, abs=1e-12)


def test_the_bound_is_never_violated_and_very_loose_near_by() -> None:
    rng = np.random.default_rng(1)
    mdp, old = MDP.random(0), random_policy(rng)
    for _ in range(1000):
        new = random_policy(rng)
        surrogate, penalty = improvement_bound(mdp, new, old)
        assert mdp.performance(new) >= surrogate - penalty - 1e-12
    near = 0.9 * old + 0.1 * random_policy(rng)
    surrogate, penalty = improvement_bound(mdp, near, old)
    assert penalty > 100 * abs(mdp.performance(near) - surrogate)


def test_the_surrogate_is_exact_to_first_order() -> None:
    rng = np.random.default_rng(2)
    mdp, old, other = MDP.random(3), random_policy(rng), random_policy(rng)
    gaps = []
    for share in (1e-2, 1e-3):
        new = (1 - share) * old + share * other
        gaps.append(abs(mdp.performance(new) - improvement_bound(mdp, new, old)[0]))
    assert gaps[1] < 0.02 * gaps[0], "a tenth of the step, a hundredth of the error"


def test_bad_input_is_named() -> None:
    good = MDP.random(0)
    with pytest.raises(ValueError, match="gamma: must lie in"):
        MDP(good.transition, good.reward, good.start, 1.0)
    with pytest.raises(ValueError, match="start: every distribution"):
        MDP(good.transition, good.reward, 2 * good.start, 0.9)
