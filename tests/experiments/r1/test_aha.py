"""``wait`` before and after RL: the counts by hand, the cut, the wiring of bases and variants."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.r1 import aha
from rlvr_lab.experiments.r1.aha import AhaConfig, AhaSumsConfig, noticing, rate
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.codes import Codes, FactTable
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Answers, Problem, grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.state import TrainState

SMALL = {"steps": 2, "every": 2, "test_problems": 4, "test_samples": 3, "device": "cpu"}
SMALL |= {"prompts_per_step": 2, "group_size": 4}
PROBLEM, OTHER = Problem("7+5+8,3+4+1,9+2+2?", 83, 6), Problem("1+1+1,1+1+1,1+1+1?", 333, 6)
SECOND = "seventwozero,threeseveneight,nineonethree"


def batch_of(texts: list[str], size: int) -> RolloutBatch:
    rows = len(texts)
    ones, lengths = torch.ones(rows, 9), torch.arange(rows) % 9 + 1
    mask = torch.arange(9) < lengths[:, None]
    return RolloutBatch(
        torch.zeros(rows // size, 1, dtype=torch.long),
        torch.ones(rows // size, 1, dtype=torch.bool),
        torch.zeros(rows, 9, dtype=torch.long),
        mask,
        mask,
        -ones,
        ones,
        torch.zeros(rows, dtype=torch.bool),
        texts,
        size,
    )


CODES = [
    f"<think>720,378,914wait{SECOND}</think>=083",  # repaired
    f"<think>720,378,913wait{SECOND}</think>=084",  # spoiled
    f"<think>720,378,913wait{SECOND}</think>=083",
    "<think>720,378,914</think>=084",
    "<think>720,378,913</think>=083",
    "=083",
]


def test_drafts_and_their_waits_are_counted_by_hand() -> None:
    texts = [*CODES, *["=333"] * 6]
    problems, batch = [PROBLEM, OTHER], batch_of(texts, 6)
    found = AhaConfig().describe(problems, batch, grade(Codes(), problems, texts, [False] * 12))
    assert found["accuracy"] == 10 / 12
    assert found["waits"] == 3 / 12
    assert (found["drafts_correct"], found["waits_after_correct"]) == (3, 2)
    assert (found["drafts_wrong"], found["waits_after_wrong"]) == (2, 1)
    assert found["samples"] == [{"prompt": PROBLEM.prompt, "text": CODES[0], "reason": "right"}]
    assert found["length"] == float(batch.lengths.double().mean())


def answers_of(texts: list[str], problems: list[Problem]) -> Answers:
    batch = batch_of(texts, len(texts) // len(problems))
    return Answers(Codes(), problems, batch, grade(Codes(), problems, texts, [False] * len(texts)))


def test_a_cut_answer_loses_what_the_second_chain_repaired(monkeypatch) -> None:
    seen = {}

    def sampled(policy, prompts, group_size, cap, generator, temperature):
        seen.update(prompts=prompts, group_size=group_size, cap=cap, temperature=temperature)
        return batch_of(["=083", "=083", "=084"][: len(prompts)], 1)

    monkeypatch.setattr(aha, "sample", sampled)
    state = TrainState(load_policy("codes", "cpu"), task=Codes())
    config = AhaConfig(temperature=0.7)
    found = config.without_recheck(state, answers_of(CODES, [PROBLEM]))
    assert found == {"rechecked": 3, "with_recheck": 2 / 3, "cut": 2 / 3, "continued": 2 / 3}
    drafts = ["720,378,914", "720,378,913", "720,378,913"]
    assert seen["prompts"] == [f"{PROBLEM.prompt}<think>{draft}</think>" for draft in drafts]
    assert (seen["group_size"], seen["temperature"]) == (1, 0.7) and seen["cap"] >= 5
    nothing = config.without_recheck(state, answers_of(CODES[3:], [PROBLEM]))
    assert nothing == {"rechecked": 0, "with_recheck": None, "cut": None, "continued": None}
    repaired = config.without_recheck(state, answers_of(CODES[:1], [PROBLEM]))
    assert [repaired[key] for key in ("with_recheck", "cut")] == [1.0, 0.0]
    spoiled = config.without_recheck(state, answers_of([CODES[3], CODES[1]], [PROBLEM]))
    assert [spoiled[key] for key in ("with_recheck", "cut")] == [0.0, 1.0]
    monkeypatch.setattr(aha, "CUT", 2)
    fewer = config.without_recheck(state, answers_of([*CODES[:3], CODES[0]], [PROBLEM]))
    assert (fewer["rechecked"], fewer["with_recheck"], fewer["cut"]) == (2, 1.0, 0.5)


def test_the_policy_itself_goes_on_from_the_cut() -> None:
    """The shipped base copies its draft's answer in nearly all continuations, correct or not."""
    state = TrainState(load_policy("codes", "cpu"), task=Codes())
    answers = answers_of([CODES[0], CODES[2]] * 20, [PROBLEM])
    found = AhaConfig().without_recheck(state, answers)
    assert found["cut"] == 0.5 and found["continued"] == pytest.approx(0.5, abs=0.1)


def test_slips_and_their_waits_are_counted_by_hand() -> None:
    problem = Problem("7+5+8.....?", 0, 2)
    texts = ["<think>73wait20</think>=0", "<think>73wait31</think>=1", "<think>731</think>=1"]
    texts += [
        "<think>72wait20</think>=0",
        "<think>72wait20</think>=0",
        "<think>720</think>=0",
        "=0",
        "<think>72wait31</think>=1",
    ]
    verdicts = grade(Sums(), [problem], texts, [False] * 8)
    found = AhaSumsConfig().describe([problem], batch_of(texts, 8), verdicts)
    assert found["accuracy"] == 5 / 8 and found["waits"] == 5 / 8
    assert (found["slips"], found["correct_steps"]) == (3, 11)
    assert (found["waits_after_slip"], found["waits_after_correct"]) == (2, 3)
    assert (
        found["repaired"] == 1 and found["spoiled"] == 1
    )  # of the three doubted, two stay correct


@pytest.mark.parametrize(("kind", "world"), [(AhaConfig, "codes"), (AhaSumsConfig, "sums")])
def test_the_test_does_not_change_the_run(kind: type, world: str) -> None:
    config = kind(**SMALL, seed=3)
    assert kind().world == world
    ends = []
    for every in (1, 2):
        state = config.begin(load_policy(world, "cpu"))
        records = list(train(replace(config, every=every), state=state))
        ends.append(torch.cat([p.flatten() for p in state.policy.model.parameters()]))
        assert [record["step"] for record in records] == list(range(0, 3, every))
        assert {"accuracy", "waits", "samples"} <= set(records[0])
    assert torch.equal(*ends)
    with pytest.raises(ValueError, match="world: must be"):
        kind(world="lab")


def test_each_variant_starts_from_its_own_base(monkeypatch) -> None:
    made = []

    def base(seed, facts, device):
        made.append((seed, facts, device))
        return load_policy("codes", "cpu")

    monkeypatch.setattr(aha, "recheck_base", base)
    variants = {"helps": AhaConfig(**SMALL), "control": AhaConfig(**SMALL, facts="draft")}
    runs = list(aha.measure_aha(2, variants, 4))
    assert made == [(s, f, "cpu") for s in (4, 5) for f in ("correct", "draft")]
    assert [(r.config.seed, r.config.table, r.config.facts) for r in runs] == [
        (s, s, f) for s in (4, 5) for f in ("correct", "draft")
    ]
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        list(aha.measure_aha(0, variants))


def test_the_bases_are_taught_what_they_are_said_to(monkeypatch, tmp_path) -> None:
    """Three stages, each with its mixture; the first two are made once."""
    log = []
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))

    def chains(seed, device):
        log.append(("chains", seed))
        return load_policy("codes", "cpu")

    def taught(policy, task, solve, steps, rate, optimizer, rng):
        log.append(("taught", solve.__self__, steps, rate(0), rate(steps)))
        yield 0.0

    def mixed(policy, task, solve, steps, peak, optimizer, rng):
        log.append(("mixture", solve.__self__, steps, peak))

    monkeypatch.setattr(aha, "codes_with_chains", chains)
    monkeypatch.setattr(aha, "supervised_steps", taught)
    monkeypatch.setattr(aha, "fit", mixed)
    for facts in ("correct", "draft", "correct"):
        aha.recheck_base(7, facts, "cpu")
    clean = aha.RecheckMixture.clean()
    mixtures = [aha.RecheckMixture(FactTable(7, 12, 0), facts=f) for f in ("correct", "draft")]
    assert log == [
        ("chains", 7),
        ("taught", clean, 80, 1e-3, 1e-3),
        *(("mixture", mixture, 130, 1.5e-3) for mixture in mixtures),
    ]


def test_what_is_recorded_is_what_it_says() -> None:
    helps, control = aha.VARIANTS["helps"], aha.VARIANTS["control"]
    assert (helps.facts, control.facts) == ("correct", "draft")
    assert replace(control, facts="correct") == helps
    assert (helps.steps, helps.max_new_tokens, aha.SUMS_VARIANTS["sums"].steps) == (40, 45, 60)
    for study in (aha.STUDY, aha.SUMS_STUDY):
        assert (study.seeds, study.first) == (5, 1)


def made_up(kind: type, **counts: list) -> list[Run]:
    steps = [{"step": 10 * i} for i in range(2)]
    return [Run(kind(), [s | {k: v[i] for k, v in counts.items()} for i, s in enumerate(steps)])]


def test_rates_and_noticing_by_hand() -> None:
    sums = made_up(
        AhaSumsConfig,
        slips=[10, 0],
        correct_steps=[40, 50],
        waits_after_slip=[5, 0],
        waits_after_correct=[4, 1],
    )
    assert rate(sums, "slips", "slips + correct_steps", 0).tolist() == [0.2]
    assert noticing(sums, 0) == pytest.approx([0.4])
    assert np.isnan(noticing(sums, 10)).all(), "no slip is left"
    codes = made_up(
        AhaConfig,
        drafts_wrong=[8, 4],
        drafts_correct=[10, 10],
        waits_after_wrong=[2, 3],
        waits_after_correct=[1, 9],
    )
    assert noticing(codes, 0) == pytest.approx([0.15])
    assert noticing(codes, 10) == pytest.approx([-0.15])
    with pytest.raises(ValueError, match="step"):
        noticing(codes, 5)
