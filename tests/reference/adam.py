"""Adam by hand, and what a test of two runs in float64 needs."""

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.reference.plain import clip_norm
from tests.reference.record import alike


def precise(monkeypatch) -> None:
    """Llamas that the package builds itself get norms of the dtype they are given, not of float32."""

    def forward(norm: LlamaRMSNorm, x: Tensor) -> Tensor:
        return norm.weight * x / (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


class Adam:
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − η·(m̂/(√v̂ + ε) + λθ)  (arXiv:1711.05101)."""

    def __init__(self, parameters, rate, betas=(0.9, 0.999), eps=1e-8, decay=0.0) -> None:
        self.parameters, self.rate = [p for p in parameters if p.requires_grad], rate
        self.betas, self.eps, self.decay, self.time = betas, eps, decay, 0
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]

    def gradients(self, loss: Tensor) -> list[Tensor]:
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self.parameters, found, strict=True)
        ]

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> None:
        self.time += 1
        one, two = self.betas
        for p, g, m, v in zip(self.parameters, gradients, self.first, self.second, strict=True):
            m.copy_(one * m + (1 - one) * g)
            v.copy_(two * v + (1 - two) * g * g)
            m_hat, v_hat = m / (1 - one**self.time), v / (1 - two**self.time)
            p -= self.rate * (m_hat / (v_hat.sqrt() + self.eps) + self.decay * p)

    def clipped_step(self, loss: Tensor, limit: float | None) -> float:
        """One step on a loss with the norm of its gradient clipped; the norm before that."""
        gradients, norm = clip_norm(self.gradients(loss), limit)
        self.step(gradients)
        return norm


def assert_same_weights(ours: nn.Module, theirs: nn.Module, tolerance: float = 1e-10) -> None:
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert a.dtype == b.dtype == torch.float64, name
        torch.testing.assert_close(
            a, b, rtol=0, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )


def assert_same_record(ours: dict, theirs: dict, tolerance: float = 1e-10) -> None:
    """Every field but the times; nan equals nan."""
    theirs = {k: v for k, v in theirs.items() if not k.startswith("seconds_")}
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        both_nan = value != value and theirs[key] != theirs[key]
        assert both_nan or alike(value, theirs[key], tolerance), (key, value, theirs[key])
