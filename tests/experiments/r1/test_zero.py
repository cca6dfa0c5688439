"""R1-Zero small: its config reaches the parameters, its records are counted by hand, its bases follow the rule."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.r1 import zero
from rlvr_lab.experiments.r1.studies import R1_STUDIES
from rlvr_lab.experiments.r1.zero import TAXES, VARIANTS, ZeroConfig, majority_vote
from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.records.runs import Recording
from rlvr_lab.tasks.sums import Sums, hidden_digit
from rlvr_lab.tasks.task import Problem, Verdict, grade

SMALL = {"steps": 2, "every": 2, "test_problems": 4, "test_samples": 4, "device": "cpu"}
SMALL |= {"prompts_per_step": 4, "group_size": 8}
PLAIN = {"optimizer": "sgd", "learning_rate": 0.1, "max_grad_norm": None}


@pytest.mark.parametrize("name", [*VARIANTS, *TAXES])
def test_the_named_variant_reaches_the_parameters(name: str) -> None:
    """One plain gradient step equals GRPO's, written apart, with this variant's answer, reward and average."""
    config = replace({**VARIANTS, **TAXES}[name], **{**SMALL, **PLAIN}, seed=3)
    state = config.begin(load_policy("sums", "cpu"))
    experience = config.collect(state)
    batch, model = experience.batch, state.policy.model
    rewards = []
    for row, text in enumerate(batch.texts):
        prompt = experience.answers.problems[row // 8].prompt
        digits = [int(c) for c in prompt if c.isdigit()]
        wanted = hidden_digit(prompt) if "hidden" in name else sum(digits) % 10
        formed = Sums().well_formed(text) and not batch.truncated[row]
        right = formed and text[-1] == str(wanted) and text[-2] == "="
        tags = formed and "</think>" in text
        reward = {"no_format": right, "format_only": 0.1 * formed}
        if "tax" in name:
            reward[name] = right - float(name[-3:]) * tags
        other = right + 0.1 * (tags if "tags" in name else formed)
        rewards.append(float(reward.get(name, other)))
    advantages = group_advantages(torch.tensor(rewards), 8)
    logprobs, loss = token_logprobs(model, batch), torch.zeros(())
    for row in range(32):
        own = batch.completion_mask[row]
        divisor = 11.0 if "constant" in name else float(own.sum())
        loss = loss - advantages[row] * logprobs[row][own].sum() / divisor / 32
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    expected = [p.detach() - 0.1 * g for p, g in zip(model.parameters(), gradients, strict=True)]
    config.update(state, experience)
    for now, then in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(now.detach(), then, rtol=1e-4, atol=1e-6)


def answers(texts: list[str], problems: int = 1) -> RolloutBatch:
    """A batch with these texts; a word is a token, and the end is one more."""
    tokenizer = load_policy("sums", "cpu").tokenizer
    words = torch.tensor([len(tokenizer(text).input_ids) + 1 for text in texts])
    mask = torch.arange(int(words.max())) < words[:, None]
    return RolloutBatch(
        prompt_ids=torch.zeros(problems, 2, dtype=torch.long),
        prompt_mask=torch.ones(problems, 2, dtype=torch.bool),
        completion_ids=torch.zeros_like(mask, dtype=torch.long),
        completion_mask=mask,
        attention_mask=mask,
        old_logprobs=torch.zeros(mask.shape),
        entropy=torch.ones(mask.shape),
        truncated=torch.zeros(len(texts), dtype=torch.bool),
        texts=texts,
        group_size=len(texts) // problems,
    )


def test_a_record_is_counted_by_hand() -> None:
    problems = [Problem("7+5+8.....?", 0, 2)]
    texts = ["=0", "=3", "<think>720</think>=0", "<think>725</think>=5", "<think>720=0", "=3"]
    batch = answers(texts)
    verdicts = grade(Sums(), problems, texts, [False] * 6)
    found = ZeroConfig(device="cpu").describe(problems, batch, verdicts)
    assert found["accuracy"] == pytest.approx(2 / 6) and found["format"] == pytest.approx(5 / 6)
    assert found["reward"] == pytest.approx(2 / 6 + 0.1 * 5 / 6)
    assert found["vote"] == 0.5  # two votes each for 0 and for 3; the malformed answer has none
    shares = [found[f"share_{kind}"] for kind in ("guess", "chain", "malformed")]
    assert shares == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert (found["length_guess"], found["length_chain"], found["length_malformed"]) == (3, 8, 7)
    assert (found["length_right"], found["length_wrong"]) == (5.5, (3 + 8 + 7 + 3) / 4)
    assert found["gap"] == (3 + 8 + 7 + 3) / 4 - 5.5
    assert (found["right_guess"], found["right_chain"]) == (pytest.approx(1 / 3), 0.5)
    assert found["length_wait"] is found["right_wait"] is None
    assert found["samples"][2] == ["7+5+8.....?", "<think>720</think>=0", "right"]
    weighted = ZeroConfig(rewards={"format": 2.0}, device="cpu").describe(problems, batch, verdicts)
    assert weighted["reward"] == pytest.approx(10 / 6)


def test_the_gap_is_within_problems() -> None:
    """Incorrect answers are longer only in so far as they are to the same problem."""
    asked = (("1+1......?", 2, 1), ("7+5+8.....?", 0, 2), ("1+2......?", 3, 1))
    problems = [Problem(*one) for one in asked]
    texts = ["=2", "=3", "<think>720</think>=1", "=0", "=4", "=5"]
    verdicts = grade(Sums(), problems, texts, [False] * 6)
    found = ZeroConfig(device="cpu").describe(problems, answers(texts, 3), verdicts)
    assert found["gap"] == ((3 - 3) + (8 - 3)) / 2  # the third problem has no correct answer


def test_the_vote() -> None:
    right, wrong = Verdict("right", "3"), Verdict("wrong", "4")
    none = [Verdict("malformed", "4"), Verdict("truncated")]
    assert majority_vote([right, wrong, wrong], 1) == 0
    assert majority_vote([right, wrong, right], 1) == 1
    assert majority_vote([right, wrong, Verdict("wrong", "5")], 1) == pytest.approx(1 / 3)
    assert majority_vote([right, *none], 1) == 1 and majority_vote(none, 1) == 0
    assert majority_vote([right, right, wrong, wrong], 2) == 0.5
    for problems in (0, 2):
        with pytest.raises(ValueError, match="problems: 3 verdicts"):
            majority_vote([right] * 3, problems)


def test_what_is_recorded_is_what_it_says() -> None:
    study = R1_STUDIES["r1/zero"]
    assert (study.file, study.first, study.seeds) == ("r1/zero", 1, 5)
    base = VARIANTS["sequence"]
    assert (base.baseline, base.divide_by_std, base.average) == ("group", True, "sequence")
    assert base.rewards == {"accuracy": 1.0, "format": 0.1} and base.kl_coef == 0
    hidden = {"world_options": {"hidden_answer": True}}
    tags = {"rewards": {"accuracy": 1.0, "tags": 0.1}}
    changes = {
        "sequence": {},
        "constant": {"average": "constant"},
        "hidden_sequence": hidden,
        "hidden_constant": {**hidden, "average": "constant"},
        "no_format": {"rewards": {"accuracy": 1.0}},
        "format_only": {"rewards": {"format": 0.1}},
        "tags": tags,
        "hidden_tags": {**hidden, **tags},
    }
    assert {name: replace(base, **change) for name, change in changes.items()} == dict(VARIANTS)
    with pytest.raises(ValueError, match="world: must be sums"):
        ZeroConfig(world="codes")


def test_a_study_runs_each_variant_from_the_same_base(tmp_path, monkeypatch) -> None:
    asked = []

    def base(seed, device="auto"):
        asked.append(seed)
        return load_policy("sums", "cpu"), seed + 1000

    monkeypatch.setattr(zero, "sums_base", base)
    small = {"a": ZeroConfig(**{**SMALL, "steps": 4}), "b": ZeroConfig(**SMALL, average="constant")}
    runs = list(zero.measure_zero(2, small, 5))
    assert [(run.config.seed, run.config.table, run.config.average) for run in runs] == [
        (5, 5, "sequence"), (5, 5, "constant"), (6, 6, "sequence"), (6, 6, "constant")
    ]  # fmt: skip
    assert set(asked) == {5, 6}
    assert [record["step"] for record in runs[0].records] == [0, 2, 4]
    assert [record.get("base_seed") for record in runs[0].records] == [1005, None, None]
    assert ["samples" in record for record in runs[0].records] == [True, False, True]
    same = ("accuracy", "length", "vote")
    for key in same:  # the base answers the same problems before each variant
        assert runs[0].records[0][key] == runs[1].records[0][key]
    path = Recording(runs, "command").save(tmp_path / "zero.json")
    assert [run.config for run in Recording.load(path).runs] == [run.config for run in runs]
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(zero.measure_zero(0, small, 5))
