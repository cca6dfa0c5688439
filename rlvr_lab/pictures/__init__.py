"""Pictures: metrics in, one figure out, ``plot_x(data, ax=None) -> Axes``."""

# Each module's ``__all__`` says what a notebook may use.
from rlvr_lab.pictures.biases import *
from rlvr_lab.pictures.coverage import *
from rlvr_lab.pictures.entropy import *
from rlvr_lab.pictures.estimates import *
from rlvr_lab.pictures.gradients import *
from rlvr_lab.pictures.grpo import *
from rlvr_lab.pictures.kimi_curation import *
from rlvr_lab.pictures.kimi_curriculum import *
from rlvr_lab.pictures.kimi_loss import *
from rlvr_lab.pictures.kimi_schedules import *
from rlvr_lab.pictures.kimi_tables import *
from rlvr_lab.pictures.museum import *
from rlvr_lab.pictures.overoptimisation import *
from rlvr_lab.pictures.ppo import *
from rlvr_lab.pictures.preferences import *
from rlvr_lab.pictures.qwen3_budget import *
from rlvr_lab.pictures.qwen3_few_prompts import *
from rlvr_lab.pictures.qwen3_stages import *
from rlvr_lab.pictures.qwen3_tables import *
from rlvr_lab.pictures.qwen3_test_time import *
from rlvr_lab.pictures.r1_distillation import *
from rlvr_lab.pictures.r1_language import *
from rlvr_lab.pictures.r1_process_rewards import *
from rlvr_lab.pictures.r1_spurious import *
from rlvr_lab.pictures.r1_tables import *
from rlvr_lab.pictures.r1_tree_search import *
from rlvr_lab.pictures.r1_zero import *
from rlvr_lab.pictures.runs import *
from rlvr_lab.pictures.seeds import *
from rlvr_lab.pictures.style import *
from rlvr_lab.pictures.theory import *
from rlvr_lab.pictures.trust_region import *
from rlvr_lab.pictures.zoo import *
