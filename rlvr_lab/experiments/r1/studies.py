"""The list of the experiments in this case study."""

from rlvr_lab.experiments.r1 import distillation
from rlvr_lab.experiments.study import Study

__all__ = ["R1_STUDIES"]

R1_STUDIES: dict[str, Study] = {
    "r1/distillation": distillation.STUDY,
}
"""Name → study; the name begins with ``r1/``."""
