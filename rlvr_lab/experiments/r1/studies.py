"""The list of the experiments in this case study."""

from rlvr_lab.experiments.r1 import tree_search, tree_search_model
from rlvr_lab.experiments.study import Study

__all__ = ["R1_STUDIES"]

R1_STUDIES: dict[str, Study] = {
    "r1/tree_search": tree_search.STUDY,
    "r1/tree_search_model": tree_search_model.STUDY,
}
"""Name → study; the name begins with ``r1/``."""
