"""The predictions of notebooks 09 and 10 are graded against what was recorded."""

import pytest

from rlvr_lab.checks.kimi_runs import STALL
from rlvr_lab.checks.qwen3_runs import FEW
from rlvr_lab.experiments.evaluated import at_step, variant_of
from rlvr_lab.experiments.kimi import length
from rlvr_lab.experiments.qwen3 import few_prompts
from rlvr_lab.experiments.recorded import recorded


def test_the_accuracies_with_a_length_reward_are_those_of_the_recording() -> None:
    runs = recorded("kimi/length").runs
    names = {"none": "none", "both": "always", "correct": "always_correct"}
    for (part, step), accuracy in STALL.items():
        found = at_step(variant_of(runs, length.VARIANTS[names[part]]), "accuracy", step)
        assert len(found) == 10
        assert found.mean() == pytest.approx(accuracy, abs=0.01)


def test_the_accuracies_on_few_prompts_are_those_of_the_recording() -> None:
    runs = recorded("qwen3/few_prompts").runs
    keys = {"held-out": "accuracy", "training": "train_accuracy"}
    for (prompts, test), accuracy in FEW.items():
        found = at_step(variant_of(runs, few_prompts.VARIANTS[str(prompts)]), keys[test], 40)
        assert len(found) == 5
        assert found.mean() == pytest.approx(accuracy, abs=0.02)
