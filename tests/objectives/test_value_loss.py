"""The value loss: what its gradient reaches."""

import torch

from rlvr_lab.objectives.value_loss import value_loss

MASK = torch.tensor([[True, True, False]])


def test_only_the_values_move() -> None:
    """Returns and old values are data, with and without the clip, on both sides of it."""
    for clip in (None, 0.2):
        values, old, returns = (
            torch.tensor([x], requires_grad=True)
            for x in ([0.5, 0.1, 9.0], [0.0, 0.0, 9.0], [1.0, -1.0, 9.0])
        )
        value_loss(values, old, returns, MASK, clip).backward()
        assert old.grad is None and returns.grad is None
        assert values.grad[0, 1] != 0 and values.grad[0, 2] == 0
