"""Checks of the exercises: each compares a learner's function with an oracle of its own.

``check_x(fn)`` prints one line that begins with ✓, or raises an ``AssertionError`` that names the likely
mistake without giving the answer away. Inputs are fresh at every call; ``seed`` brings them back.

The oracles are written from the definitions, in plain Python or numpy, and share nothing with the rest
of the package.
"""

from rlvr_lab.check_advantages import check_group_advantages, check_leave_one_out_advantages
from rlvr_lab.check_expectations import check_expected_pull, check_std_multiplier
from rlvr_lab.check_kl import check_k3, check_k3_gradient, check_kl_directions
from rlvr_lab.check_losses import check_dr_grpo_loss, check_grpo_loss
from rlvr_lab.check_masking import check_averages, check_completion_mask, check_token_weights

__all__ = [
    "check_averages",
    "check_completion_mask",
    "check_dr_grpo_loss",
    "check_expected_pull",
    "check_group_advantages",
    "check_grpo_loss",
    "check_k3",
    "check_k3_gradient",
    "check_kl_directions",
    "check_leave_one_out_advantages",
    "check_std_multiplier",
    "check_token_weights",
]
