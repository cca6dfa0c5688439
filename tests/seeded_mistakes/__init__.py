"""The bank of seeded mistakes: what learners write, and the words that must name it.

One module for each group of notebooks; ``BANK`` has a list of ``Seeded`` for every check.
"""

from tests.seeded_mistakes import (
    case_kimi,
    case_qwen3,
    case_r1,
    derivations,
    grpo,
    museum,
    policy_gradient,
    ppo,
    predictions,
    preferences,
    scaling,
    train_runs,
    trust_region,
)
from tests.seeded_mistakes.kit import Seeded

__all__ = ["BANK", "Seeded"]

BANK: dict[str, list[Seeded]] = {
    **preferences.BANK,
    **policy_gradient.BANK,
    **trust_region.BANK,
    **ppo.BANK,
    **grpo.BANK,
    **case_r1.BANK,
    **case_kimi.BANK,
    **case_qwen3.BANK,
    **scaling.BANK,
    **train_runs.BANK,
    **predictions.BANK,
    **derivations.BANK,
    **museum.BANK,
}
