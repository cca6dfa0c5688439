"""The list of the experiments in this case study."""

from rlvr_lab.experiments.qwen3 import budget, distillation, few_prompts, spending, stages
from rlvr_lab.experiments.study import Study

__all__ = ["QWEN3_STUDIES"]

QWEN3_STUDIES: dict[str, Study] = {
    "qwen3/few_prompts": few_prompts.STUDY,
    "qwen3/distillation": distillation.STUDY,
    "qwen3/stages": stages.STUDY,
    "qwen3/budget": budget.STUDY,
    "qwen3/test_time": spending.STUDY,
}
"""Name → study; the name begins with ``qwen3/``."""
