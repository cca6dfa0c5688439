"""The length reward in a run: when it counts, which part counts, and what the wordy base learns from."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.kimi import length
from rlvr_lab.experiments.kimi.length import (
    SHIPPED_STUDY,
    SHIPPED_VARIANTS,
    SHRINK_STUDY,
    SHRINK_VARIANTS,
    STUDY,
    VARIANTS,
    DelayedLengthConfig,
    LengthConfig,
    WordyMixture,
    wordy_base,
)
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.tasks.sums import Sums, is_well_formed
from rlvr_lab.tasks.task import Problem
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.supervised import supervised_steps

SMALL = {"prompts_per_step": 2, "group_size": 4, "device": "cpu"}
TEST = {"every": 1, "test_problems": 3, "test_samples": 4}


def flat(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def after(config, steps: int) -> torch.Tensor:
    state = replace(config, steps=steps).begin(load_policy("sums", "cpu"))
    list(train(replace(config, steps=steps), state=state))
    return flat(state.policy)


def test_before_its_first_step_the_length_reward_is_recorded_and_not_maximised() -> None:
    late = DelayedLengthConfig(**SMALL, length_from=3, seed=3)
    never = replace(late, rewards=late.rewards | {"length": 0.0}, length_from=1)
    assert torch.equal(after(late, 2), after(never, 2))
    assert not torch.equal(after(late, 3), after(never, 3))
    always = replace(late, length_from=1)
    assert not torch.equal(after(always, 1), after(never, 1))

    state = late.begin(load_policy("sums", "cpu"))
    early = late.collect(state)
    assert early.parts["length"].abs().max() > 0
    plain = early.parts["accuracy"] + 0.1 * early.parts["format"]
    assert torch.allclose(early.rewards, plain)
    state.step = 2
    counted = late.collect(state)
    plain = counted.parts["accuracy"] + 0.1 * counted.parts["format"]
    assert torch.allclose(counted.rewards, plain + counted.parts["length"])
    with pytest.raises(ValueError, match=r"^length_from: must be at least 1"):
        DelayedLengthConfig(length_from=0)


def test_a_test_leaves_the_run_alone_and_the_evaluated_run_has_the_delay_too() -> None:
    shared = {**SMALL, "seed": 3, "length_from": 2}
    plain = DelayedLengthConfig(**shared)
    assert torch.equal(after(LengthConfig(**shared, **TEST), 3), after(plain, 3))
    with pytest.raises(ValueError, match=r"^world: must be sums"):
        LengthConfig(world="codes")


def test_the_record_is_read_off_the_answers() -> None:
    config = LengthConfig(**SMALL, **TEST, steps=1)
    state = config.begin(load_policy("sums", "cpu"))
    answers = config.test_answers(state)
    found = config.test(state)
    lengths = answers.batch.completion_mask.sum(dim=1).tolist()
    right = [n for n, v in zip(lengths, answers.verdicts, strict=True) if v.reason == "right"]
    wrong = [n for n, v in zip(lengths, answers.verdicts, strict=True) if v.reason != "right"]
    assert right and wrong
    assert found["length"] == pytest.approx(np.mean(lengths))
    assert found["length_right"] == pytest.approx(np.mean(right))
    assert found["length_wrong"] == pytest.approx(np.mean(wrong))
    guesses = sum(text in [f"={d}" for d in range(10)] for text in answers.batch.texts)
    assert found["share_guess"] == guesses / 12 > 0
    assert sum(x for name, x in found.items() if name.startswith("share_")) == pytest.approx(1)


def test_the_variants_are_what_their_sentences_say() -> None:
    weights = {name: (v.rewards, v.length_from) for name, v in VARIANTS.items()}
    base = {"accuracy": 1.0, "format": 0.1}
    assert weights == {
        "none": ({**base, "length": 0.0}, 1),
        "always": ({**base, "length": 1.0}, 1),
        "warm_up": ({**base, "length": 1.0}, 21),
        "always_correct": ({**base, "length_correct": 1.0}, 1),
        "always_incorrect": ({**base, "length_incorrect": 1.0}, 1),
    }
    weights = {name: (v.rewards["length"], v.length_from) for name, v in SHRINK_VARIANTS.items()}
    assert weights == {"none": (0, 1), "always": (1, 1), "always_2": (2, 1), "warm_up_2": (2, 21)}
    weights = {name: (v.rewards["length"], v.length_from) for name, v in SHIPPED_VARIANTS.items()}
    assert weights == {
        "none": (0, 1),
        "always": (1, 1),
        "always_1.5": (1.5, 1),
        "always_2": (2, 1),
    }
    for variant in [*VARIANTS.values(), *SHRINK_VARIANTS.values(), *SHIPPED_VARIANTS.values()]:
        plain = replace(variant, rewards=dict(base), length_from=1)
        assert plain == LengthConfig(rewards=dict(base)) and variant.steps == 40
    assert STUDIES["kimi/length"] is STUDY and STUDIES["kimi/shrink"] is SHRINK_STUDY
    assert (STUDY.seeds, STUDY.first) == (10, 1) and (SHRINK_STUDY.seeds, SHRINK_STUDY.first) == (
        5,
        1,
    )


@pytest.mark.parametrize("study", [STUDY, SHIPPED_STUDY, SHRINK_STUDY])
def test_each_study_starts_from_its_own_base_of_the_seed(study, monkeypatch) -> None:
    asked = []

    def sums_base(seed, device):
        asked.append(("sums", seed))
        return load_policy("sums", "cpu"), seed

    def wordy(seed):
        asked.append(("wordy", seed))
        return load_policy("sums", "cpu")

    tiny = replace(VARIANTS["always"], **SMALL, **TEST, steps=1)
    monkeypatch.setattr(length, "sums_base", sums_base)
    monkeypatch.setattr(length, "wordy_base", wordy)
    runs = list(study.measure(2, {"always": tiny}, 4))
    kind = {"kimi/length": "sums", "kimi/shrink": "wordy"}.get(study.file)
    assert asked == ([(kind, 4), (kind, 5)] if kind else []) and [
        run.config.seed for run in runs
    ] == [4, 5]


def test_the_wordy_mixture_repeats_the_last_number_and_nothing_else() -> None:
    rng, problem = random.Random(1), Problem("7+5+8.....?", 0, 2)
    mixture = WordyMixture(direct=0.0, slip=0.0, most_repeats=3)
    texts = [mixture.solve(problem, rng) for _ in range(400)]
    wanted = {f"<think>720{'wait0' * n}</think>=0" for n in range(4)}
    assert set(texts) == wanted
    shares = [texts.count(text) / 400 for text in wanted]
    assert max(shares) < 0.33 and min(shares) > 0.17  # uniform: 0.25, sd 0.022
    slipped = WordyMixture(direct=0.0, slip=1.0, most_repeats=1).chain(problem, rng)
    assert slipped[0][2] != "0" and slipped[0][-1] == str(slipped[1])
    usual = [WordyMixture().solve(problem, rng) for _ in range(600)]
    assert 0.33 < np.mean([text.startswith("=") for text in usual]) < 0.47
    assert all(is_well_formed(text) for text in usual)
    with pytest.raises(ValueError, match=r"^most_repeats: must not be negative, got -1"):
        WordyMixture(most_repeats=-1)


def test_the_wordy_base_is_the_sums_base_after_sixty_steps(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    monkeypatch.setattr(
        length, "sums_base", lambda seed, device: (load_policy("sums", "cpu"), seed)
    )
    monkeypatch.setattr(length, "WORDY_STEPS", 2)
    found = wordy_base(6)
    by_hand = load_policy("sums", "cpu")
    optimizer, rng = adamw(trained(by_hand.model), 1e-3), random.Random("wordy 6")
    rates = [1.5e-3, 0.75e-3]  # a cosine over two steps
    list(
        supervised_steps(
            by_hand, Sums(), WordyMixture().solve, 2, rates.__getitem__, optimizer, rng
        )
    )
    assert torch.allclose(flat(found), flat(by_hand), atol=1e-7)
    assert not torch.equal(flat(found), flat(load_policy("sums", "cpu")))
    assert torch.equal(flat(wordy_base(6)), flat(found)) and (tmp_path / "kimi_wordy_6").is_dir()
