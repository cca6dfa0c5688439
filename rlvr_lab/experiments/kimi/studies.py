"""The list of the experiments in this case study."""

from rlvr_lab.experiments.kimi import (
    curation,
    curriculum,
    length,
    squared_loss,
    step_times,
)
from rlvr_lab.experiments.study import Study

__all__ = ["KIMI_STUDIES"]

KIMI_STUDIES: dict[str, Study] = {
    "kimi/curation": curation.STUDY,
    "kimi/squared_loss": squared_loss.STUDY,
    "kimi/length": length.STUDY,
    "kimi/length_shipped": length.SHIPPED_STUDY,
    "kimi/shrink": length.SHRINK_STUDY,
    "kimi/curriculum": curriculum.STUDY,
    "kimi/step_times": step_times.STUDY,
}
"""Name → study; the name begins with ``kimi/``."""
