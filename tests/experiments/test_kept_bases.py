"""Bases that are made once for each seed: an unfinished one is made again, and the name says what it is."""

import torch

from rlvr_lab.experiments import kept_bases
from rlvr_lab.experiments.kept_bases import codes_with_chains, kept_base
from rlvr_lab.policy.loading import Policy, load_policy


def parameters(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def test_a_base_is_made_once_and_an_unfinished_one_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    made = []

    def make() -> Policy:
        made.append(1)
        return load_policy("codes", "cpu")

    first, second = kept_base("mine", make, "cpu"), kept_base("mine", make, "cpu")
    assert len(made) == 1 and torch.equal(parameters(first), parameters(second))
    (tmp_path / "mine" / "made").unlink()
    kept_base("mine", make, "cpu")
    assert len(made) == 2


def test_chains_are_learned_with_the_seed_and_size_in_the_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RLVR_LAB_BASES", str(tmp_path))
    seen = []
    monkeypatch.setattr(kept_bases, "learn_chains", lambda policy, *rest, **more: seen.append(rest))
    policy = codes_with_chains(4, hidden=16, layers=1, device="cpu")
    assert policy.model.config.hidden_size == 16 and policy.model.config.num_hidden_layers == 1
    assert [path.name for path in tmp_path.iterdir()] == ["codes_chains_16x1_4"]
    codes_with_chains(4, hidden=16, layers=1, device="cpu")
    assert len(seen) == 1 and seen[0][-1] == 4
