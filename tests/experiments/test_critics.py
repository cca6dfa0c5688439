"""Critics: a lookup table knows where an answer stands, and predicts each half of the prompts from the other."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.critics import WatchedPPO, lookup_values, measure_critics, situations
from rlvr_lab.training.loop import train
from rlvr_lab.training.ppo import PPOConfig
from tests.training.test_ppo import SMALL


def words(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        ("<think> 7 2 0 </think>", ("<think></think>", 0, True)),
        ("<think> 7 3 1 </think>", ("<think></think>", 0, False)),
        ("<think> 7 3 wait 2", ("<think>", 1, True)),
        ("= 0", ("=d", 2, True)),
        ("= 4", ("=d", 2, False)),
        ("= 0 0", ("=dd", 2, False)),
        ("7 2 0 0", ("", 0, False)),
    ],
)
def test_the_table_knows_form_progress_and_correctness(answer: str, last: tuple) -> None:
    assert situations("7+5+8.....?", [*words(answer), "<eos>"])[-1] == last


def test_each_half_is_predicted_from_the_other() -> None:
    found = [["a", "b"], ["a", "c"], ["a", "b"], ["a", "b"]]
    earned = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    values = lookup_values(found, [0, 1, 2, 3], earned)
    # Rows 0 and 2 read what rows 1 and 3 earned, and the other way round.
    torch.testing.assert_close(values[:, 0], torch.tensor([2.0, 1.5, 2.0, 1.5]))
    # "b" in the other half: row 3 for rows 0 and 2; "c" was never seen: the mean of everything there.
    torch.testing.assert_close(values[:, 1], torch.tensor([4.0, 1.5, 4.0, 1.5]))


def test_watched_ppo_is_ppo_with_one_more_number() -> None:
    small = replace(SMALL, steps=1)
    [plain] = train(small)
    [watched] = train(WatchedPPO(**vars(small)))
    extra = watched.keys() - plain.keys()
    assert extra == {"lookup_variance"} and watched["loss"] == plain["loss"]
    assert watched["lookup_variance"] <= 1


def test_the_recording_holds_each_critic_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlvr_lab.records.runs.train", lambda _: [{"step": 1}])
    found = list(measure_critics(2, steps=1))
    assert [(r.config.critic, r.config.seed) for r in found] == [
        ("linear", 0),
        ("linear", 1),
        ("confidence", 0),
        ("confidence", 1),
    ]
    assert found[0].config.critic_warmup == 0 and found[2].config.critic_warmup > 0
    assert isinstance(found[0].config, PPOConfig)
