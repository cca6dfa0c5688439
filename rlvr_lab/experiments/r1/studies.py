"""The list of the experiments in this case study."""

from rlvr_lab.experiments.r1 import (
    aha,
    beyond,
    distillation,
    drift,
    hacked_verifier,
    language,
    process_rewards,
    second_stage,
    sft_start,
    spurious,
    tree_search,
    tree_search_model,
    zero,
)
from rlvr_lab.experiments.study import Study

__all__ = ["R1_STUDIES"]

R1_STUDIES: dict[str, Study] = {
    "r1/zero": zero.STUDY,
    "r1/tax": zero.TAX_STUDY,
    "r1/aha": aha.STUDY,
    "r1/aha_sums": aha.SUMS_STUDY,
    "r1/sft_start": sft_start.STUDY,
    "r1/language": language.STUDY,
    "r1/second_stage": second_stage.STUDY,
    "r1/distillation": distillation.STUDY,
    "r1/beyond": beyond.STUDY,
    "r1/spurious": spurious.STUDY,
    "r1/drift": drift.STUDY,
    "r1/process_rewards": process_rewards.STUDY,
    "r1/tree_search": tree_search.STUDY,
    "r1/tree_search_model": tree_search_model.STUDY,
    "r1/hacked_verifier": hacked_verifier.STUDY,
}
"""Name → study; the name begins with ``r1/``."""
