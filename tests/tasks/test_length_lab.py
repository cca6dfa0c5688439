"""The length laboratory: its coin, its text, and its exact lengths."""

import random

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.length_lab import LengthLab, exact_lengths


def test_exact_lengths_agree_with_samples():
    policy = load_policy("lab", "cpu")
    lab, n = LengthLab(0.5), 4000
    words = lab.forced_words(n, random.Random(0))
    batch = sample(
        policy, ["?"], n, 32, torch.Generator().manual_seed(0), forced_words=words
    )  # fmt: skip
    lengths = batch.lengths.double()
    for outcome in ("right", "wrong"):
        rows = torch.tensor([w == outcome for w in words])
        mean, error = lengths[rows].mean(), lengths[rows].std() / rows.sum() ** 0.5
        exact = exact_lengths(policy, 32)[f"length_{outcome}"]
        assert abs(float(mean) - exact) < 3 * float(error)


def test_the_coin_has_its_bias_and_the_policy_no_say():
    lab = LengthLab(0.2)
    words = lab.forced_words(5000, random.Random(1))
    assert abs(words.count("right") / 5000 - 0.2) < 3 * (0.16 / 5000) ** 0.5
    problem = lab.problems(1, random.Random(0))[0]
    assert lab.verify(problem, "rightokok", truncated=True).correct
    assert lab.verify(problem, "wrong", truncated=False).reason == "wrong"


def test_worked_solutions_have_geometric_length():
    lab, rng = LengthLab(), random.Random(2)
    texts = [lab.solve(lab.problems(1, rng)[0], rng) for _ in range(3000)]
    words = [1 + t.count("ok") + t.count("hmm") for t in texts]
    mean, stop = sum(words) / 3000, lab.stop
    assert abs(mean - (1 + (1 - stop) / stop)) < 3 * ((1 - stop) ** 0.5 / stop) / 3000**0.5


@pytest.mark.parametrize("field", ["p_right", "stop"])
def test_chances_lie_between_0_and_1(field):
    with pytest.raises(ValueError, match=field):
        LengthLab(**{field: 1.0})
