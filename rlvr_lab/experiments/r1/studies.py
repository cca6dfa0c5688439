"""The list of the experiments in this case study."""

from rlvr_lab.experiments.r1 import zero
from rlvr_lab.experiments.r1 import aha
from rlvr_lab.experiments.study import Study

__all__ = ["R1_STUDIES"]

R1_STUDIES: dict[str, Study] = {
    "r1/zero": zero.STUDY,
    "r1/aha": aha.STUDY,
    "r1/aha_sums": aha.SUMS_STUDY,
}
"""Name → study; the name begins with ``r1/``."""
