"""The worlds: problems, their prompts, and a verifier for their answers."""

from rlvr_lab.tasks.codes import Codes
from rlvr_lab.tasks.evaluation import evaluate, pass_at_k
from rlvr_lab.tasks.length_lab import LengthLab
from rlvr_lab.tasks.letters import PreferenceWorld
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem, Task, Verdict, grade
from rlvr_lab.tasks.worlds import WORLDS

__all__ = [
    "WORLDS",
    "Codes",
    "LengthLab",
    "PreferenceWorld",
    "Problem",
    "Sums",
    "Task",
    "Verdict",
    "evaluate",
    "grade",
    "pass_at_k",
]
