"""The list of the experiments in this case study."""

from rlvr_lab.experiments.r1 import language, sft_start
from rlvr_lab.experiments.study import Study

__all__ = ["R1_STUDIES"]

R1_STUDIES: dict[str, Study] = {
    "r1/language": language.STUDY,
    "r1/sft_start": sft_start.STUDY,
}
"""Name → study; the name begins with ``r1/``."""
