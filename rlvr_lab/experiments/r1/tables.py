"""The benchmark tables of the DeepSeek-R1 paper (notebook 08)."""

from functools import partial

from rlvr_lab.experiments import papers
from rlvr_lab.experiments.papers import Pair, above

__all__ = ["AIME_QUESTIONS", "Pair", "above", "comparison", "scores"]

AIME_QUESTIONS = 30
"""Questions in AIME 2024: one question is 3.3 points."""

scores = partial(papers.scores, "deepseek_r1")
"""``scores(table, model)`` of arXiv:2501.12948v1, tables "2", "4", "5" and "6": see ``papers.scores``."""

comparison = partial(papers.comparison, "deepseek_r1")
"""``comparison(table, model, other)``, each row of a table for two models: see ``papers.comparison``."""
