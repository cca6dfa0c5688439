"""The list of the experiments in this case study."""

from rlvr_lab.experiments.r1 import process_rewards
from rlvr_lab.experiments.study import Study

__all__ = ["R1_STUDIES"]

R1_STUDIES: dict[str, Study] = {
    "r1/process_rewards": process_rewards.STUDY,
}
"""Name → study; the name begins with ``r1/``."""
