"""Small random Markov decision processes, solved exactly, to check TRPO's two theorems.

S states, A actions, discount γ. A policy is a table π [S, A] of probabilities. Everything is float64 numpy
and discounted; visitation frequencies ρ are not normalised and add up to 1/(1−γ). (Notebook 04)
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["MDP", "improvement_bound", "performance_difference", "random_policy"]


@dataclass(frozen=True)
class MDP:
    """A finite Markov decision process.

    Attributes:
        transition: P(s' | s, a), [S, A, S].
        reward: r(s, a), [S, A].
        start: distribution of the first state, [S].
        gamma: discount in [0, 1).

    Raises:
        ValueError: when ``gamma`` is out of range or a distribution does not add up to 1.
    """

    transition: np.ndarray
    reward: np.ndarray
    start: np.ndarray
    gamma: float

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < 1:
            raise ValueError(f"gamma: must lie in [0, 1), got {self.gamma}")
        for name in ("transition", "start"):
            if not np.allclose(getattr(self, name).sum(axis=-1), 1):
                raise ValueError(f"{name}: every distribution must add up to 1")

    @classmethod
    def random(cls, seed: int, states: int = 4, actions: int = 3, gamma: float = 0.9) -> "MDP":
        """Random dynamics, rewards in [0, 1]."""
        rng = np.random.default_rng(seed)
        transition = rng.dirichlet(np.ones(states), size=(states, actions))
        return cls(transition, rng.random((states, actions)), rng.dirichlet(np.ones(states)), gamma)

    def value(self, policy: np.ndarray) -> np.ndarray:
        """V^π [S]: solves V = Σ_a π(a|s)·(r + γ·P·V)."""
        matrix = np.einsum("sa,sat->st", policy, self.transition)
        reward = (policy * self.reward).sum(axis=1)
        return np.linalg.solve(np.eye(len(self.start)) - self.gamma * matrix, reward)

    def performance(self, policy: np.ndarray) -> float:
        """η(π) = E[Σ_t γ^t r_t]."""
        return float(self.start @ self.value(policy))

    def advantage(self, policy: np.ndarray) -> np.ndarray:
        """A^π(s, a) = r + γ·E[V(s')] − V(s), [S, A]; its mean under π is 0 in every state."""
        value = self.value(policy)
        return self.reward + self.gamma * self.transition @ value - value[:, None]

    def visitation(self, policy: np.ndarray) -> np.ndarray:
        """ρ_π(s) = Σ_t γ^t·P(s_t = s), [S]."""
        matrix = np.einsum("sa,sat->st", policy, self.transition)
        return np.linalg.solve((np.eye(len(self.start)) - self.gamma * matrix).T, self.start)


def random_policy(rng: np.random.Generator, states: int = 4, actions: int = 3) -> np.ndarray:
    """A table of probabilities, [S, A]; each row is uniform on the simplex."""
    return rng.dirichlet(np.ones(actions), size=states)


def performance_difference(mdp: MDP, new: np.ndarray, old: np.ndarray) -> float:
    """η(π') − η(π) = Σ_s ρ_π'(s)·Σ_a π'(a|s)·A^π(s, a)  (Kakade & Langford 2002; TRPO, eq. 2).

    Returns the right-hand side, which is exact for any two policies. It uses the states of the *new* policy.
    """
    return float(mdp.visitation(new) @ (new * mdp.advantage(old)).sum(axis=1))


def improvement_bound(mdp: MDP, new: np.ndarray, old: np.ndarray) -> tuple[float, float]:
    """L_π(π') and the penalty C·max_s KL(π‖π') of TRPO's theorem 1: η(π') ≥ L − penalty.

    L_π(π') = η(π) + Σ_s ρ_π(s)·Σ_a π'(a|s)·A^π(s, a) uses the states of the *old* policy;
    C = 4·max|A|·γ/(1−γ)².  (arXiv:1502.05477, eq. 3, 8 and 9)
    """
    advantage = mdp.advantage(old)
    surrogate = mdp.performance(old) + float(mdp.visitation(old) @ (new * advantage).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(old > 0, old * (np.log(old) - np.log(new)), 0.0)
    constant = 4 * np.abs(advantage).max() * mdp.gamma / (1 - mdp.gamma) ** 2
    return surrogate, float(constant * terms.sum(axis=1).max())
