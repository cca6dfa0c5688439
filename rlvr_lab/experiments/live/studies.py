"""The list of the studies of the live dashboards."""

from rlvr_lab.experiments.live import (
    biases,
    grpo,
    overoptimisation,
    policy_gradient,
    ppo,
    recap,
    trust_region,
)
from rlvr_lab.experiments.study import Study

__all__ = ["LIVE_STUDIES"]

LIVE_STUDIES: dict[str, Study] = {
    "live-recap": recap.STUDY,
    "live-overoptimisation": overoptimisation.STUDY,
    "live-policy-gradient": policy_gradient.STUDY,
    "live-trust-region": trust_region.STUDY,
    "live-ppo": ppo.STUDY,
    "live-grpo": grpo.STUDY,
    "live-biases": biases.STUDY,
}
"""Name → study; the name begins with ``live-``."""
