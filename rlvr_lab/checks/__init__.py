"""Each ``check_x(fn)`` prints a line with ✓, or raises a ``Mistake`` that names the learner's mistake."""

from rlvr_lab.checks.advantages import check_group_advantages, check_leave_one_out_advantages
from rlvr_lab.checks.averages import check_averages, check_completion_mask, check_token_weights
from rlvr_lab.checks.case_kimi import check_kimi_loss, check_log_z
from rlvr_lab.checks.case_qwen3 import check_budget, check_forced_answer, check_fusion
from rlvr_lab.checks.case_r1 import (
    check_language_consistency,
    check_process_rewards,
    check_sharpening,
)
from rlvr_lab.checks.derivations import (
    check_gae_error,
    check_loo_variance,
    check_multiplier_limits,
    check_worst_kl,
)
from rlvr_lab.checks.distillation import check_distillation_cost, check_distillation_gradients
from rlvr_lab.checks.expectations import check_expected_pull, check_std_multiplier
from rlvr_lab.checks.gradients import (
    check_exact_variance,
    check_optimal_baseline,
    check_reinforce_loss,
    check_reward_to_go,
    check_softmax_gradient,
)
from rlvr_lab.checks.kimi_runs import (
    check_guess_filter,
    check_length_prediction,
    check_utilisation,
)
from rlvr_lab.checks.kl import check_k3, check_k3_gradient, check_kl_directions
from rlvr_lab.checks.length_rewards import (
    check_break_even,
    check_length_repair,
    check_length_report,
)
from rlvr_lab.checks.losses import check_dr_grpo_loss, check_grpo_loss
from rlvr_lab.checks.museum import (
    check_exhibit_1,
    check_exhibit_2,
    check_exhibit_3,
    check_exhibit_4,
    check_exhibit_5,
    check_exhibit_6,
    check_exhibit_7,
    check_exhibit_8,
    check_exhibit_9,
    check_exhibit_10,
    check_exhibit_11,
    check_exhibit_12,
    check_exhibit_13,
)
from rlvr_lab.checks.overoptimisation import (
    check_best_of_n,
    check_binary_kl,
    check_calibration_error,
    check_gold_peak,
    check_pass_at_k,
)
from rlvr_lab.checks.ppo import (
    check_clip_slope,
    check_state_columns,
    check_token_rewards,
)
from rlvr_lab.checks.predictions import (
    check_gold_prediction,
    check_kl_prediction,
    check_lab_prediction,
    check_reward_model_prediction,
)
from rlvr_lab.checks.preferences import (
    check_bradley_terry_loss,
    check_dpo_loss,
    check_dpo_weight,
    check_regularised_optimum,
    check_simpo_loss,
)
from rlvr_lab.checks.qwen3_runs import check_few_prompts, check_stage, check_votes
from rlvr_lab.checks.run_reports import (
    check_diagnosis,
    check_random_reward,
    check_tax_prediction,
    check_weight_report,
)
from rlvr_lab.checks.scaling import check_update_memory
from rlvr_lab.checks.scaling_runs import check_sampler, check_sick_run
from rlvr_lab.checks.solvers import check_conjugate_gradient, check_fisher_product
from rlvr_lab.checks.stale_gradient import check_stale_gradient
from rlvr_lab.checks.stale_prediction import check_stale_prediction
from rlvr_lab.checks.stale_weights import check_stale_weights
from rlvr_lab.checks.train_cases import (
    check_chain_train,
    check_prompt_train,
    check_words_train,
)
from rlvr_lab.checks.train_runs import (
    check_gold_train,
    check_grpo_train,
    check_ppo_train,
    check_reinforce_train,
)
from rlvr_lab.checks.trust_region import (
    check_importance_estimate,
    check_line_search,
    check_step_size,
)
from rlvr_lab.checks.values import check_gae, check_value_loss

__all__ = [
    "check_averages",
    "check_best_of_n",
    "check_binary_kl",
    "check_bradley_terry_loss",
    "check_break_even",
    "check_budget",
    "check_calibration_error",
    "check_chain_train",
    "check_clip_slope",
    "check_completion_mask",
    "check_conjugate_gradient",
    "check_diagnosis",
    "check_distillation_cost",
    "check_distillation_gradients",
    "check_dpo_loss",
    "check_dpo_weight",
    "check_dr_grpo_loss",
    "check_exact_variance",
    "check_exhibit_1",
    "check_exhibit_2",
    "check_exhibit_3",
    "check_exhibit_4",
    "check_exhibit_5",
    "check_exhibit_6",
    "check_exhibit_7",
    "check_exhibit_8",
    "check_exhibit_9",
    "check_exhibit_10",
    "check_exhibit_11",
    "check_exhibit_12",
    "check_exhibit_13",
    "check_expected_pull",
    "check_few_prompts",
    "check_fisher_product",
    "check_forced_answer",
    "check_fusion",
    "check_gae",
    "check_gae_error",
    "check_gold_peak",
    "check_gold_prediction",
    "check_gold_train",
    "check_group_advantages",
    "check_grpo_loss",
    "check_grpo_train",
    "check_guess_filter",
    "check_importance_estimate",
    "check_k3",
    "check_k3_gradient",
    "check_kimi_loss",
    "check_kl_directions",
    "check_kl_prediction",
    "check_lab_prediction",
    "check_language_consistency",
    "check_leave_one_out_advantages",
    "check_length_prediction",
    "check_length_repair",
    "check_length_report",
    "check_line_search",
    "check_log_z",
    "check_loo_variance",
    "check_multiplier_limits",
    "check_optimal_baseline",
    "check_pass_at_k",
    "check_ppo_train",
    "check_process_rewards",
    "check_prompt_train",
    "check_random_reward",
    "check_regularised_optimum",
    "check_reinforce_loss",
    "check_reinforce_train",
    "check_reward_model_prediction",
    "check_reward_to_go",
    "check_sampler",
    "check_sharpening",
    "check_sick_run",
    "check_simpo_loss",
    "check_softmax_gradient",
    "check_stage",
    "check_stale_gradient",
    "check_stale_prediction",
    "check_stale_weights",
    "check_state_columns",
    "check_std_multiplier",
    "check_step_size",
    "check_tax_prediction",
    "check_token_rewards",
    "check_token_weights",
    "check_update_memory",
    "check_utilisation",
    "check_value_loss",
    "check_votes",
    "check_weight_report",
    "check_words_train",
    "check_worst_kl",
]
