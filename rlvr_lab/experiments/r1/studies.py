"""The list of the experiments in this case study."""

from rlvr_lab.experiments.r1 import beyond, drift, spurious
from rlvr_lab.experiments.study import Study

__all__ = ["R1_STUDIES"]

R1_STUDIES: dict[str, Study] = {
    "r1/beyond": beyond.STUDY,
    "r1/spurious": spurious.STUDY,
    "r1/drift": drift.STUDY,
}
"""Name → study; the name begins with ``r1/``."""
