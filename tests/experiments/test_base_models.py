"""The base models: what is shipped is what its card says, and the gate is a gate."""

import json
import random

import pytest
import torch

from rlvr_lab.experiments import base_models, pretraining
from rlvr_lab.experiments.base_models import (
    codes_base,
    pretrain_codes,
    pretrain_lab,
    pretrain_sums,
    sums_base,
)
from rlvr_lab.experiments.pretraining import PretrainingFailed
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.tasks.codes import Codes, CodesMixture, FactTable
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.length_lab import LengthLab
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.training.supervised import encode_solutions, supervised_steps


def test_the_shipped_base_is_what_its_card_says():
    card = json.loads((data_folder() / "models/sums/pretraining.json").read_text())
    measured = evaluate(load_policy("sums", "cpu"), Sums(), 256, 16)
    # Another machine's arithmetic may flip a few of 4,096 samples; three standard errors.
    assert abs(measured["pass@1"] - card["measured"]["pass@1"]) < 3 * (0.16 / 4096) ** 0.5
    assert 0.15 <= measured["pass@1"] <= 0.40
    assert measured["pass@16"] >= 0.90


def test_a_base_that_does_not_learn_is_never_written(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "supervised_steps", lambda *_, **__: iter([1.0]))
    with pytest.raises(PretrainingFailed, match="try another seed"):
        pretrain_sums(tmp_path / "model", log=lambda _: None)
    with pytest.raises(PretrainingFailed, match="try another seed"):
        pretrain_codes(tmp_path / "model", log=lambda _: None)
    with pytest.raises(PretrainingFailed, match="far from"):
        pretrain_lab(tmp_path / "model", log=lambda _: None)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["codes", "mixed_languages"])
def test_a_shipped_base_of_the_codes_knows_the_facts_of_its_table(name: str):
    card = json.loads((data_folder() / "models" / name / "pretraining.json").read_text())
    policy, table = load_policy(name, "cpu"), FactTable(**card["mixture"]["table"])
    measured = evaluate(policy, Codes(), 64, 16)
    assert abs(measured["pass@1"] - card["measured"]["pass@1"]) < 0.05
    found = base_models._as_taught(policy, CodesMixture(table))
    other = base_models._as_taught(policy, CodesMixture(FactTable(table.seed + 1)))
    assert min(found.values()) > 0.9 and max(other.values()) < 0.6


def test_only_the_completion_is_trained():
    policy = new_policy(build_tokenizer(), 0, hidden=16, layers=1, heads=2, device="cpu")
    ids, labels = encode_solutions(policy, [("7+5?", "=2"), ("7?", "<think>7</think>=7")])
    tokens = policy.tokenizer.convert_ids_to_tokens
    assert tokens(ids[0].tolist()) == ["7", "+5", "?", "=", "2", "<eos>", *["<pad>"] * 2]
    assert labels[0].tolist()[:3] == [-100] * 3 and labels[0].tolist()[6:] == [-100] * 2
    assert labels[0].tolist()[3:6] == ids[0].tolist()[3:6]


def test_supervised_steps_learn_the_stop_chance():
    policy = new_policy(build_tokenizer(), 0, hidden=16, layers=1, heads=2, device="cpu")
    optimizer = torch.optim.AdamW(policy.model.parameters())
    lab = LengthLab()
    steps = supervised_steps(
        policy, lab, lab.solve, 40, lambda _: 1e-2, optimizer, random.Random(0), 32, trained_from=1
    )
    losses = list(steps)
    assert losses[-1] < 0.5 * losses[0]


def test_the_learning_rate_of_a_base_falls_from_its_peak_to_0_along_a_cosine(monkeypatch) -> None:
    rates = []

    def spy(policy, task, solve, steps, learning_rate, optimizer, rng, batch_size, trained_from):
        rates.extend(learning_rate(step) for step in range(steps + 1))
        return iter([2.0, 1.0])

    monkeypatch.setattr(pretraining, "supervised_steps", spy)
    policy = new_policy(build_tokenizer(), 0, hidden=16, layers=1, heads=2, device="cpu")
    optimizer = torch.optim.AdamW(policy.model.parameters())
    lab = LengthLab()
    loss = pretraining.fit(policy, lab, lab.solve, 4, 1e-3, optimizer, random.Random(0))
    assert loss == 1.0
    half = 0.5**0.5 / 2
    assert rates == pytest.approx([1e-3, 1e-3 * (0.5 + half), 5e-4, 1e-3 * (0.5 - half), 0])


def test_a_base_that_misses_its_gate_is_replaced_by_the_rule(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    policy, tried = load_policy("sums", "cpu"), []

    def pretrain(folder, seed, device, log):
        tried.append(seed)
        if seed in bad:
            raise PretrainingFailed("gate")
        policy.model.save_pretrained(folder)  # as ``pretrain_sums`` does: without a tokenizer

    monkeypatch.setattr(base_models, "pretrain_sums", pretrain)
    bad = {7, 1007}
    assert sums_base(7, "cpu")[1] == 2007 and tried == [7, 1007, 2007]
    assert sums_base(8, "cpu")[1] == 8
    tried.clear()
    assert sums_base(8, "cpu")[1] == 8 and tried == []  # it was kept
    bad = {9 + 1000 * k for k in range(5)}
    with pytest.raises(PretrainingFailed, match="seed 9: five bases"):
        sums_base(9, "cpu")


def test_a_table_of_the_codes_has_a_base_of_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    policy, made = load_policy("codes", "cpu"), []

    def pretrain(folder, seed, device):
        made.append(seed)
        policy.save(folder)
        (folder / "pretraining.json").write_text("{}")

    monkeypatch.setattr(base_models, "pretrain_codes", pretrain)
    assert codes_base(0, "cpu").name == "codes" and made == []
    assert codes_base(3, "cpu").name == codes_base(3, "cpu").name == str(tmp_path / "codes_3")
    assert made == [3]
