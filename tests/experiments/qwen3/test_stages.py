"""Qwen3's stages: what is trained in each, from which checkpoint, and what a record counts."""

import random
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from rlvr_lab.experiments import kept_bases
from rlvr_lab.experiments.pretraining import PretrainingFailed, fit
from rlvr_lab.experiments.qwen3 import checkpoints, stages
from rlvr_lab.experiments.qwen3.checkpoints import FusionData, own_chains
from rlvr_lab.experiments.qwen3.stages import (
    METRICS,
    STUDY,
    VARIANTS,
    StagesConfig,
    cell,
    finished,
    questions,
    stage_table,
)
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.task import Problem, grade
from rlvr_lab.tasks.two_modes import (
    FLAGS,
    KINDS,
    TwoModes,
    TwoModesMixture,
    flag_of,
    kind_of,
    make_problem,
    running,
    with_flag,
)
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.policy_gradient import PRESETS

SMALL = {"steps": 2, "every": 1, "test_problems": 7, "test_samples": 2}
SMALL |= {"prompts_per_step": 2, "group_size": 4, "device": "cpu"}


def tiny(seed: int = 0) -> Policy:
    return new_policy(build_tokenizer(), seed, 16, 1, device="cpu")


@cache
def taught() -> Policy:
    """A tiny policy whose answers show all that a reward can see: modes, politeness, some correct digits."""
    policy, data = tiny(), FusionData(CHAINS, 0.0)
    optimizer = adamw(trained(policy.model), 1e-2)
    fit(policy, data, data.solve, 60, 1e-2, optimizer, random.Random(0), 16)
    return policy


def mannered() -> Policy:
    """A new copy of ``taught``."""
    policy = tiny()
    policy.model.load_state_dict(taught().model.state_dict())
    return policy


def flat(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Kept bases go to a folder of the test, and models are tiny."""
    monkeypatch.setattr(kept_bases, "bases_folder", lambda: tmp_path)
    monkeypatch.setattr(checkpoints, "new_policy", lambda words, seed, device: tiny(seed))
    return tmp_path


# --------------------------------------------------------------------------------- stages 1 and 2


def test_the_cold_start_is_clean_chains_and_then_the_mixture(folder, monkeypatch) -> None:
    noted = []
    monkeypatch.setattr(checkpoints, "MIXED_STEPS", 2)

    def learn(policy, task, solve, optimizer, rng, seed, log):
        noted.append((task, solve.__self__, seed))
        if seed < 2000:
            raise PretrainingFailed("no")

    monkeypatch.setattr(checkpoints, "learn_chains", learn)
    found = checkpoints.cold_start(3, "cpu")
    assert noted[0] == (TwoModes(), TwoModesMixture.clean(), 3)
    assert [seed for _, _, seed in noted] == [3, 1003, 2003]
    by_hand, rng = tiny(2003), random.Random("2003")
    optimizer = adamw(trained(by_hand.model), 1e-3)
    fit(by_hand, TwoModes(), TwoModesMixture().solve, 2, 1.5e-3, optimizer, rng)
    assert torch.equal(flat(found), flat(by_hand))
    assert torch.equal(flat(found), flat(checkpoints.cold_start(3, "cpu"))) and len(noted) == 3
    monkeypatch.setattr(checkpoints, "REPLACEMENT", 1)
    with pytest.raises(PretrainingFailed, match="seed 10: five"):
        checkpoints.cold_start(10, "cpu")
    assert [seed for _, _, seed in noted[3:]] == [10, 11, 12, 13, 14]


def test_stage_two_is_grpo_without_a_flag_from_stage_one(folder, monkeypatch) -> None:
    seeds = []
    monkeypatch.setattr(
        checkpoints, "cold_start", lambda seed, device: seeds.append(seed) or mannered()
    )
    small = {"steps": 1, "prompts_per_step": 4, "group_size": 4}
    monkeypatch.setattr(checkpoints, "REASONING", replace(checkpoints.REASONING, **small))
    found = checkpoints.reasoned(3, "cpu")
    plain = replace(PRESETS["grpo"], world="two_modes", max_new_tokens=20, device="cpu")
    ends = {}
    for seed in (0, 3):
        config = replace(plain, **small, seed=seed)
        state = config.begin(mannered())
        list(train(config, state=state))
        ends[seed] = flat(state.policy)
    assert seeds == [3] and torch.equal(flat(found), ends[3])
    assert not torch.equal(ends[3], ends[0]) and not torch.equal(ends[3], flat(mannered()))


def test_the_recorded_stage_two_is_the_one_that_is_kept() -> None:
    """Its run with tests has the settings of ``REASONING``."""
    config, kept = VARIANTS["reasoning"], checkpoints.REASONING
    own = {"every", "test_problems", "test_samples", "table", "start"}
    for name, value in vars(kept).items():
        assert name in own or getattr(config, name) == value, name
    assert kept.steps == 40 and kept.rewards == {"accuracy": 1.0, "format": 0.1}
    assert kept.world_options == {} and kept.max_new_tokens == 20


# ------------------------------------------------------------------------------------ stage 3


CHAINS = {
    make_problem("sums", [7, 5, 8, 3]): ["<think>7203</think>=3"],
    make_problem("maxima", [2, 7, 4]): ["<think>277</think>=7"],
    make_problem("maxima", [2, 7]): ["<think>27</think>=7"],
}


def examples(cut: float, count: int = 6000) -> list[tuple[Problem, str]]:
    data, rng = FusionData(CHAINS, cut), random.Random(0)
    return [(problem, data.solve(problem, rng)) for problem in data.problems(count, rng)]


@pytest.mark.parametrize("cut", [0.0, 0.25])
def test_the_examples_of_fusion_have_the_stated_shares(cut) -> None:
    drawn = examples(cut)
    share = {
        "empty": sum(flag_of(p.prompt.split("<think>")[0]) == "no_think" for p, _ in drawn),
        "cut": sum("<think>" in p.prompt for p, _ in drawn),
        "polite": sum(text.endswith("ok") for _, text in drawn),
    }
    share = {name: count / len(drawn) for name, count in share.items()}
    assert share == pytest.approx({"empty": 0.5, "cut": cut, "polite": 0.25}, abs=0.02)
    thinking = [p for p, text in drawn if text.startswith("<think>") and "<think></" not in text]
    assert len(thinking) / len(drawn) == pytest.approx(0.5 - cut, abs=0.02)
    unflagged = sum(flag_of(p.prompt) == "none" for p in thinking) / len(thinking)
    assert unflagged == pytest.approx(1 / 3, abs=0.03)


def test_each_example_of_fusion_is_what_it_should_be() -> None:
    for problem, text in examples(0.25):
        head, _, start = problem.prompt.partition("<think>")
        ending = "ok" if text.endswith("ok") else ""
        text = text.removesuffix(ending)
        if flag_of(head) == "no_think":
            assert not start and text == f"<think></think>={problem.answer}"
            continue
        question = with_flag(head, "none")
        (chain,) = next(own for one, own in CHAINS.items() if one.prompt == question)
        if start:
            values = chain.split("</think>")[0].removeprefix("<think>")
            kept = start.removesuffix("</think>")
            assert start.endswith("</think>") and values.startswith(kept)
            assert 1 <= len(kept) < len(values) and text == f"={problem.answer}"
        else:
            assert text == chain


def test_the_empty_half_asks_new_questions_of_both_tasks() -> None:
    empty = [p for p, _ in examples(0.0) if flag_of(p.prompt) == "no_think"]
    assert len({p.prompt for p in empty}) > 2000
    assert {kind_of(p.prompt) for p in empty} == set(KINDS)


def test_own_chains_are_correct_answers_with_a_whole_block(monkeypatch) -> None:
    texts = [
        *("<think>777</think>={0}ok", "<think></think>={0}", "={0}", "<think>777</think>={1}"),
        *("<think>7</think>={0}", "<think>88</think>={0}", "<think>99</think>={0}"),
    ]
    cut = [False] * 6 + [True]  # the last one ran into the cap

    def answered(policy, prompts, size, cap, generator):
        assert (size, cap, len(prompts), generator.initial_seed()) == (7, 20, 5, 4)
        assert all(flag_of(prompt) == "none" for prompt in prompts)
        seen = []
        for prompt in prompts:
            one = next(p for p in drawn if p.prompt == prompt)
            seen += [text.format(one.answer, (one.answer + 1) % 10) for text in texts]
        return type("B", (), {"texts": seen, "truncated": torch.tensor(cut * 5)})

    monkeypatch.setattr(checkpoints, "QUESTIONS", 5)
    monkeypatch.setattr(checkpoints, "TRIES", 7)
    monkeypatch.setattr(checkpoints, "sample", answered)
    drawn = TwoModes().problems(5, random.Random("own chains 4"))
    found = own_chains(tiny(), 4)
    assert found == {
        p: [f"<think>{chain}</think>={p.answer}" for chain in ("777", "88")] for p in drawn
    }


def test_the_sizes_of_the_stages_are_those_that_the_text_states() -> None:
    assert (checkpoints.MIXED_STEPS, checkpoints.FUSION_STEPS) == (100, 250)
    assert (checkpoints.QUESTIONS, checkpoints.TRIES, checkpoints.LONGEST) == (1024, 4, 20)
    assert (checkpoints.COURTEOUS, checkpoints.REPLACEMENT) == (0.25, 1000)


def test_each_question_each_chain_and_each_place_of_the_cut_is_drawn() -> None:
    first, second = (make_problem("sums", digits) for digits in ([7, 5, 8, 3], [1, 1]))
    chains = {
        first: ["<think>7203</think>=3", "<think>9993</think>=3"],
        second: ["<think>12</think>=2"],
    }
    data, rng = FusionData(chains, 0.5), random.Random(0)
    drawn = data.problems(800, rng)
    cut = Counter(p.prompt.partition("<think>")[2] for p in drawn if "<think>" in p.prompt)
    places = ["7", "72", "720", "9", "99", "999", "1"]
    assert set(cut) == {f"{place}</think>" for place in places}
    # Two questions, two chains of the first one, three places in each.
    assert all(count / cut.total() < 0.15 for place, count in cut.items() if place[0] != "1")
    assert 0.4 < cut["1</think>"] / cut.total() < 0.6
    whole = FusionData(chains)
    thinking = [p for p in whole.problems(400, rng) if flag_of(p.prompt) != "no_think"]
    texts = Counter(whole.solve(p, rng).removesuffix("ok") for p in thinking)
    assert set(texts) == {text for own in chains.values() for text in own}
    assert (
        whole.verify(second, "=2", False).correct and not whole.verify(second, "=2", True).correct
    )


def test_fusion_is_sft_on_these_examples_from_stage_two(folder, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "FUSION_STEPS", 2)
    monkeypatch.setattr(checkpoints, "reasoned", lambda seed, device: tiny(seed + 5))
    asked = []

    def own(policy, seed):
        asked.append((flat(policy).clone(), seed))
        return CHAINS

    monkeypatch.setattr(checkpoints, "own_chains", own)
    ends = {}
    for kind, cut in (("fusion", 0.0), ("fusion_cut", 0.25)):
        found = checkpoints.fused(3, kind, "cpu")
        by_hand, data = tiny(8), FusionData(CHAINS, cut)
        optimizer, rng = adamw(trained(by_hand.model), 1e-3), random.Random("fusion 3")
        fit(by_hand, data, data.solve, 2, 1.5e-3, optimizer, rng)
        assert torch.equal(flat(found), flat(by_hand)), kind
        ends[kind] = flat(found)
    assert not torch.equal(*ends.values())
    assert all(seed == 3 and torch.equal(seen, flat(tiny(8))) for seen, seed in asked)
    with pytest.raises(ValueError, match="cut"):
        FusionData(CHAINS, 0.6)


# ------------------------------------------------------------------------------------ stage 4


def test_the_test_asks_the_same_questions_with_each_flag() -> None:
    config = StagesConfig(**{**SMALL, "test_problems": 14}, table=4)
    state = config.begin(tiny())
    answers = config.test_answers(state)
    prompts = [p.prompt for p in answers.problems]
    assert len(prompts) == 2 * 3 * 14 and len(answers.batch.texts) == 2 * len(prompts)
    for kind in KINDS:
        own = [p for p in prompts if kind_of(p) == kind]
        asked = {flag: [with_flag(p, "none") for p in own if flag_of(p) == flag] for flag in FLAGS}
        assert asked["none"] == asked["think"] == asked["no_think"]
        assert asked["none"] == [p.prompt for p in questions(kind, 2, 4)]
    assert questions("sums", 2, 4) != questions("sums", 2, 5)
    for kind in KINDS:  # each task has a stream of its own
        shortest = TwoModes(kind, "none", 2, 2).problems(2, random.Random(f"two modes {kind} 4"))
        assert questions(kind, 2, 4)[:2] == shortest
    assert [p.difficulty for p in questions("maxima", 2, 4)] == [
        n for n in range(1, 8) for _ in "ab"
    ]


def test_a_record_is_counted_by_hand() -> None:
    problems = [make_problem("sums", [7, 5], "think"), make_problem("maxima", [7, 5], "no_think")]
    texts = ["<think>72</think>=2ok", "=2", "<think></think>=7", "<think>77</think>=5"]
    lengths = torch.tensor([8, 3, 5, 7])
    mask = torch.arange(8) < lengths[:, None]
    zeros = torch.zeros(4, 8)
    batch = RolloutBatch(
        torch.ones(2, 1).long(), torch.ones(2, 1).bool(), torch.ones(4, 8).long(), mask, mask,
        zeros, zeros, torch.zeros(4).bool(), texts, 2,
    )  # fmt: skip
    verdicts = grade(TwoModes(), problems, texts, [False] * 4)
    found = StagesConfig(**SMALL).describe(problems, batch, verdicts)
    thinking = dict(zip(METRICS, (1.0, 1.0, 1.0, 5.5, 0.5, 0.5, 0.5), strict=True))
    direct = dict(zip(METRICS, (0.5, 1.0, 0.5, 6.0, 0.5, 0.5, 0.0), strict=True))
    expected = {cell("sums", "think", m): x for m, x in thinking.items()}
    expected |= {cell("maxima", "no_think", m): x for m, x in direct.items()}
    assert found == expected


def test_a_record_tells_to_think_from_to_follow_and_polite_from_correct() -> None:
    problems = [make_problem("maxima", [7, 5], "no_think")]
    # ``=72okok`` is polite and its first digit is correct, and it breaks the grammar.
    texts = ["<think>77</think>=7", "<think></think>=5ok", "=72okok", "<think>72</think>=2ok"]
    mask = torch.ones(4, 3).bool()
    batch = RolloutBatch(
        torch.ones(1, 1).long(), torch.ones(1, 1).bool(), torch.ones(4, 3).long(), mask, mask,
        torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4).bool(), texts, 4,
    )  # fmt: skip
    verdicts = grade(TwoModes(), problems, texts, [False] * 4)
    found = StagesConfig(**SMALL).describe(problems, batch, verdicts)
    means = {"accuracy": 0.25, "formed": 0.75, "digit": 0.5, "length": 3.0}
    means |= {"thinks": 0.5, "follows": 0.25, "polite": 0.75}
    assert found == {f"maxima_no_think_{metric}": mean for metric, mean in means.items()}


def test_the_rewards_that_are_named_reach_the_parameters() -> None:
    """Each variant's parameters are those of a plain policy gradient with the sum written apart."""
    weights = {
        "reasoning": {"right": 1.0, "formed": 0.1},
        "style": {"polite": 1.0},
        "style_correct": {"polite": 1.0, "right": 2.0},
        "correct": {"right": 1.0},
        "style_slow": {"polite": 1.0},
        "style_form": {"polite": 1.0, "formed": 1.0},
    }
    assert set(weights) == set(VARIANTS)
    start = tiny()
    data = FusionData(
        CHAINS, 0.0
    )  # a start that shows all of it: modes, politeness, correct answers
    list_of = adamw(trained(start.model), 1e-2)
    fit(start, data, data.solve, 60, 1e-2, list_of, random.Random(0), 16)
    ends = {}
    for name, parts in weights.items():
        small = {**SMALL, "steps": 1, "prompts_per_step": 6, "group_size": 8}
        config = replace(VARIANTS[name], **small)

        def added(seen, parts=parts) -> torch.Tensor:
            rows = []
            for row, text in enumerate(seen.batch.texts):
                prompt = seen.problems[row // seen.batch.group_size].prompt
                empty = text.startswith("<think></think>")
                value = {
                    "polite": text.endswith("ok"),
                    "right": seen.verdicts[row].correct,
                    "formed": TwoModes().well_formed(text) and not seen.batch.truncated[row],
                    "mode": empty if "/no_think" in prompt else text.startswith("<think>") > empty,
                }
                rows.append(sum(weight * float(value[part]) for part, weight in parts.items()))
            return torch.tensor(rows)

        plain = replace(
            PRESETS["grpo"], **{k: v for k, v in small.items() if "test" not in k and k != "every"}
        )
        plain = replace(
            plain,
            world="two_modes",
            max_new_tokens=20,
            rewards={"added": 1.0},
            learning_rate=1e-4 if name == "style_slow" else 3e-4,
            world_options={} if name == "reasoning" else {"flag": "mixed"},
        )
        states = []
        for one, functions in ((config, None), (plain, {"added": added})):
            state = one.begin(mannered(), rewards=functions)
            list(train(one, state=state))
            states.append(flat(state.policy))
        assert torch.allclose(*states, atol=1e-6), name
        ends[name] = states[0]
    names = list(ends)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert not torch.allclose(ends[one], ends[other], atol=1e-6), (one, other)


def test_each_run_starts_from_its_checkpoint_and_its_last_policy_is_kept(
    folder, monkeypatch
) -> None:
    starts = []

    def start(seed, device="auto", which="cold_start"):
        starts.append((which, seed))
        return mannered()

    monkeypatch.setattr(stages, "cold_start", start)
    monkeypatch.setattr(stages, "fused", lambda seed, device: start(seed, device, "fusion"))
    few = {name: replace(VARIANTS[name], **SMALL) for name in ("reasoning", "style_correct")}
    monkeypatch.setattr(stages, "VARIANTS", few)
    runs = list(stages.measure(2, few, 4))
    assert starts == [("cold_start", 4), ("fusion", 4), ("cold_start", 5), ("fusion", 5)]
    assert [(r.config.seed, r.config.table) for r in runs] == [(4, 4), (4, 4), (5, 5), (5, 5)]
    assert [r["step"] for r in runs[0].records] == [0, 1, 2]
    keys = {cell(kind, flag, m) for kind in KINDS for flag in FLAGS for m in METRICS}
    assert all(set(r) == keys | {"step"} for run in runs for r in run.records), "without times"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("two_modes_reasoning_4", "two_modes_reasoning_5"),
        *("two_modes_style_correct_4", "two_modes_style_correct_5"),
    ]
    kept = finished("style_correct", 4)
    assert len(starts) == 4, "it was kept"
    assert not torch.equal(flat(kept), flat(mannered()))
    for path in (folder / "two_modes_style_correct_4").iterdir():
        path.unlink()
    again = finished("style_correct", 4)
    assert starts[4:] == [("fusion", 4)] and torch.equal(flat(kept), flat(again))
    # A change of a variant must not be kept under its name.
    list(stages.measure(1, {"style_correct": replace(few["style_correct"], learning_rate=1e-2)}, 6))
    assert not (folder / "two_modes_style_correct_6").exists()
    with pytest.raises(ValueError, match="seeds"):
        next(stages.measure(0, few, 1))


def test_what_is_recorded_is_what_it_says() -> None:
    assert STUDIES["qwen3/stages"] is STUDY and (STUDY.first, STUDY.seeds) == (1, 5)
    assert STUDY.variants is VARIANTS and STUDY.measure is stages.measure
    rates = {name: config.learning_rate for name, config in VARIANTS.items()}
    assert rates == dict.fromkeys(VARIANTS, 3e-4) | {"style_slow": 1e-4}
    for name, config in VARIANTS.items():
        assert config.start == ("cold_start" if name == "reasoning" else "fusion")
        assert (config.steps, config.every, config.kl_coef) == (40, 40, 0.0)
        assert (config.test_problems, config.test_samples) == (70, 16)
        assert (config.prompts_per_step, config.group_size) == (16, 16)
        assert config.max_new_tokens == 20 and "start" in config.FIXED
    for bad in ({"world": "sums", "world_options": {}}, {"test_problems": 8}, {"start": "x"}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))}"):
            StagesConfig(**bad)


def test_the_table_of_the_stages() -> None:
    """Each entry comes from the run and the step of its stage."""

    def run(name: str, seed: int, shift: float) -> Run:
        keys = [cell(kind, flag, m) for kind in KINDS for flag in FLAGS for m in METRICS]
        records = [
            {"step": step, **{key: shift + step + seed + i for i, key in enumerate(keys)}}
            for step in (0, 20, 40)
        ]
        return Run(replace(VARIANTS[name], seed=seed, table=seed), records)

    runs = {
        name: [run(name, seed, shift) for seed in (1, 2)]
        for name, shift in (("reasoning", 0.0), ("style_correct", 1000.0), ("style", 5000.0))
    }
    found = stage_table(runs, "accuracy")
    assert list(found) == ["cold start", "reasoning RL", "fusion", "general RL"]
    firsts = [table["sums", "none"].tolist() for table in found.values()]
    assert firsts == [[1, 2], [41, 42], [1001, 1002], [1041, 1042]]
    assert found["fusion"]["maxima", "no_think"].tolist() == [1036, 1037]
    assert stage_table(runs, "polite")["cold start"]["sums", "none"].tolist() == [7, 8]
    assert stage_table(runs, "accuracy", "style")["fusion"]["sums", "none"].tolist() == [5001, 5002]


def test_the_chains_of_the_fixture_are_correct() -> None:
    for problem, (text,) in CHAINS.items():
        digits = [int(d) for d in text.split("</think>")[0].removeprefix("<think>")]
        assert digits[-1] == problem.answer and TwoModes().verify(problem, text, False).correct
    assert running("sums", [7, 5, 8, 3]) == [7, 2, 0, 3] and np.array(list(CHAINS)).shape == (3,)
