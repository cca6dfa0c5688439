"""What is mutated and which tests must notice: the two tables to change when files move."""

from typing import NamedTuple

# A module or a folder of modules -> its tests. A module's own doctests belong to it without being named.
TARGETS: dict[str, list[str]] = {
    "rlvr_lab/losses.py": ["tests/test_losses.py"],
    "rlvr_lab/advantages.py": ["tests/test_advantages.py"],
    "rlvr_lab/masking.py": ["tests/test_masking.py"],
    "rlvr_lab/kl.py": ["tests/test_kl.py"],
    "rlvr_lab/gae.py": ["tests/test_gae.py"],
    "rlvr_lab/rollouts.py": ["tests/test_rollouts.py"],
}


class Planted(NamedTuple):
    """``old`` stands exactly once in ``path``; with ``new`` in its place ``tests`` must fail."""

    path: str
    old: str
    new: str
    tests: str


HANDFUL = [
    Planted(
        "rlvr_lab/losses.py",
        "torch.minimum(capped * advantages",
        "torch.maximum(capped * advantages",
        "tests/test_losses.py",
    ),
    Planted(
        "rlvr_lab/losses.py",
        "return 1 - clip_low, 1 + clip_high",
        "return 1 - clip_high, 1 + clip_low",
        "tests/test_losses.py",
    ),
    Planted(
        "rlvr_lab/losses.py",
        "clamp(max=high).detach()",
        "clamp(max=high)",
        "tests/test_losses.py",
    ),
    Planted(
        "rlvr_lab/masking.py",
        "return (total / completion_lengths(mask).to(x)).mean()",
        "return (total / completion_lengths(mask).to(x)).sum()",
        "tests/test_masking.py",
    ),
    Planted(
        "rlvr_lab/gae.py",
        "gamma * lam * next_advantage",
        "lam * next_advantage",
        "tests/test_gae.py",
    ),
    Planted(
        "rlvr_lab/gae.py",
        "error = torch.maximum(error,",
        "error = torch.minimum(error,",
        "tests/test_gae.py",
    ),
    Planted(
        "rlvr_lab/rollouts.py",
        "ordered.cumsum(-1) - ordered >= top_p",
        "ordered.cumsum(-1) >= top_p",
        "tests/test_rollouts.py",
    ),
    Planted(
        "rlvr_lab/training.py",
        "every_row=config.kl_coef > 0)",
        "every_row=False)",
        "tests/test_training.py",
    ),
]
