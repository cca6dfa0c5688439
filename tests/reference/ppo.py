"""PPO by hand: one answer at a time, sums in place of recursions  (arXiv:1707.06347, 1506.02438)."""

import copy
import math
import string
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.reference.adam import Adam
from tests.reference.plain import (
    TOKENIZER,
    Answer,
    clip_norm,
    entropy_of,
    frozen,
    logits_of,
    sample,
)
from tests.reference.record import describe, exact_lengths, mean, reward

CHARACTERS = string.digits + string.ascii_lowercase + "+.?=<>/_"


def score(scalar, text: str) -> Tensor:
    """A reward model's number at the last character; character k of its list has the id k + 1."""
    ids = torch.tensor([[1 + CHARACTERS.index(c) for c in text]])
    last = scalar.body(input_ids=ids).last_hidden_state[0, -1]
    return scalar.head.weight[0] @ last + scalar.head.bias[0]


class Value(nn.Module):
    """V(s): a body that starts as the policy's, and a head that is a line or a small network.

    The network also reads how probable the digits so far were: the smallest log π, and the latest.
    """

    def __init__(self, config, model) -> None:
        super().__init__()
        self.body, width = copy.deepcopy(model.model), model.config.hidden_size
        self.confident, zero = config.critic == "confidence", 0 if config.zero_value_head else 1
        generator = torch.Generator().manual_seed(config.seed)
        if self.confident:
            shapes = (64, width + 2), (1, 64)
            first, last = (
                torch.empty(s).uniform_(-(s[1] ** -0.5), s[1] ** -0.5, generator=generator)
                for s in shapes
            )
            self.head = nn.ParameterList([first, torch.zeros(64), zero * last, torch.zeros(1)])
        else:
            noise = torch.randn(width, generator=generator)
            start = zero * noise / math.sqrt(width + 1)
            self.head = nn.ParameterList([start[None], torch.zeros(1)])

    def forward(self, answer: Answer) -> Tensor:
        """V of the state before each trained token."""
        ids = torch.tensor([answer.prompt_ids + answer.ids])
        hidden = self.body(input_ids=ids).last_hidden_state[0]
        hidden = hidden[[len(answer.prompt_ids) + t - 1 for t in answer.trained]]
        if not self.confident:
            return hidden @ self.head[0][0] + self.head[1]
        sure = torch.tensor([self.sure(answer, t) for t in answer.trained])
        inner = torch.cat([hidden, sure], dim=1) @ self.head[0].T + self.head[1]
        return 3 * (inner.clamp(min=0) @ self.head[2][0] + self.head[3])

    @staticmethod
    def sure(answer: Answer, t: int) -> list[float]:
        """The smallest and the latest log π of the digits that were chosen before token t."""
        words = TOKENIZER.convert_ids_to_tokens(answer.ids)
        seen = [s for s in answer.trained if s < t and words[s] in string.digits]
        found = [float(answer.old[s]) for s in seen]
        return [min(found), found[-1]] if found else [0.0, 0.0]


@dataclass
class Row:
    """What the epochs read of one answer, over the tokens that are trained."""

    answer: Answer
    tokens: list[int]
    old: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    earned: Tensor


def flat(rows: list[Row], name: str) -> Tensor:
    return torch.cat([getattr(row, name) for row in rows])


def moments(x: Tensor, zeros: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and std, ``zeros`` more numbers counted as 0."""
    whole = torch.cat([x, torch.zeros(zeros)])
    return whole.mean(), ((whole - whole.mean()) ** 2).mean().sqrt()


def whitened(x: Tensor, in_mean: int = 0, in_std: int = 0) -> Tensor:
    """(x − mean)/std, with so many zeros counted in the mean and in the std."""
    return (x - moments(x, in_mean)[0]) / (moments(x, in_std)[1] + 1e-8)


def reshaped(config, x: Tensor) -> Tensor:
    """Token rewards as GAE reads them: whitened with the mean put back, or one half of that."""
    centre, std = moments(x)
    if config.KIND == "ppo-scaled-rewards":
        return x / (std + 1e-8)
    if config.KIND == "ppo-taxed-rewards":
        return x + std * centre * (1 - 1 / (std + 1e-8))
    return (x - centre) / (std + 1e-8) + centre if config.whiten_rewards else x


def advantages(config, rewards: Tensor, values: Tensor) -> Tensor:
    """A_t = Σ_l (γλ)^l·δ_{t+l}  (arXiv:1506.02438, eq. 16)."""
    following = torch.cat([values[1:], torch.zeros(1)])
    delta = rewards + config.gamma * following - values
    decay, end = config.gamma * config.lam, len(delta)
    return torch.stack(
        [sum(decay ** (u - t) * delta[u] for u in range(t, end)) for t in range(end)]
    )


class Run:
    """The state of a run, and its steps."""

    def __init__(self, config, model, task, judge=None) -> None:
        self.config, self.model, self.task, self.judge = config, model, task, judge
        self.anchor, self.value, self.beta = frozen(model), Value(config, model), config.kl_coef
        settings = {"betas": (0.9, 0.95), "eps": config.adam_eps}
        self.adams = [Adam(m.parameters(), 0.0, **settings) for m in (model, self.value)]

    @torch.no_grad()
    def earned(self, answers: list[Answer]) -> tuple[list[float], list[float]]:
        """The reward of each answer, and what the reward model, if there is one, says of it."""
        scores = [0.0] * len(answers)
        if self.judge is not None:
            scores = [float(score(self.judge, a.prompt + a.text)) for a in answers]
        pairs = zip(answers, scores, strict=True)
        return [reward(self.config, a, s) for a, s in pairs], scores

    @torch.no_grad()
    def fill(self, answers: list[Answer], rewards: list[float]) -> tuple[list[Row], float]:
        """Rows for the epochs, and the mean over answers of the KL part of the reward."""
        config, shaped, paid = self.config, [], []
        for answer, earned in zip(answers, rewards, strict=True):
            ref = logits_of(self.anchor, answer, config.temperature).log_softmax(-1)
            ref = ref[range(len(answer.ids)), answer.ids]
            ratio = (answer.old - ref)[answer.trained]
            per_token = -self.beta * (ratio.clamp(min=0) if config.clamp_kl else ratio)
            paid.append(float(per_token.sum()))
            per_token[-1] += earned
            shaped.append(per_token)
        shaped = reshaped(config, torch.cat(shaped)).split([len(r) for r in shaped])
        rows = [self.row(answer, r) for answer, r in zip(answers, shaped, strict=True)]
        if config.whiten_advantages == "batch":
            parts = whitened(flat(rows, "advantages")).split([len(row.tokens) for row in rows])
            for row, part in zip(rows, parts, strict=True):
                row.advantages = part
        return rows, mean(paid)

    def row(self, answer: Answer, rewards: Tensor) -> Row:
        values = self.value(answer)
        if "shifted" in self.config.KIND:
            values = torch.cat([values[1:], torch.zeros(1)])
        gain = advantages(self.config, rewards, values)
        n = len(answer.trained)
        forgets = "end-untrained" in self.config.KIND and not answer.truncated and n > 1
        keep = slice(0, n - 1 if forgets else n)
        tokens, old = answer.trained[keep], answer.old[answer.trained][keep]
        power = self.config.gamma ** torch.arange(n)
        earned = torch.stack([power[: n - t] @ rewards[t:] for t in range(n)])
        kept = (x[keep] for x in (values, gain, gain + values, earned))
        return Row(answer, tokens, old, *kept)

    def minibatch(self, rows: list[Row], width: int) -> dict[str, float]:
        """One step of both models on some rows."""
        config, eps = self.config, self.config.clip
        tables = [logits_of(self.model, row.answer, config.temperature) for row in rows]
        logp = torch.cat(
            [
                table.log_softmax(-1)[row.tokens, [row.answer.ids[t] for t in row.tokens]]
                for table, row in zip(tables, rows, strict=True)
            ]
        )
        v = torch.cat([self.value(row.answer)[: len(row.tokens)] for row in rows])
        gain, target, near = (flat(rows, n) for n in ("advantages", "returns", "values"))
        if config.whiten_advantages == "minibatch":
            padding = len(rows) * width - len(gain)
            in_mean = config.KIND in ("ppo-padded-whitening", "ppo-padded-mean")
            in_std = config.KIND in ("ppo-padded-whitening", "ppo-padded-scale")
            gain = whitened(gain, padding * in_mean, padding * in_std)
        ratio = (logp - flat(rows, "old")).exp()
        surrogate = -torch.minimum(ratio * gain, ratio.clamp(1 - eps, 1 + eps) * gain).mean()
        error = (v - target) ** 2
        if config.value_clip is not None:
            held = near + (v - near).clamp(-config.value_clip, config.value_clip)
            error = torch.maximum(error, (held - target) ** 2)
        fit = error.mean() / 2
        spread = [entropy_of(t)[row.tokens] for t, row in zip(tables, rows, strict=True)]
        loss = surrogate + config.value_coef * fit - config.entropy_coef * torch.cat(spread).mean()
        norm = self.step(loss)
        r = ratio.detach()
        dead = ((gain > 0) & (r > 1 + eps)) | ((gain < 0) & (r < 1 - eps))
        return {
            "loss": surrogate.item(),
            "value_loss": fit.item(),
            "grad_norm": norm,
            "clip_fraction": float(dead.double().mean()),
            "ratio_low": float(r.min()),
            "ratio_high": float(r.max()),
            "ratio_outside": float(((r < 1 - eps) | (r > 1 + eps)).double().mean()),
            "approx_kl": float((r - 1 - r.log()).mean()),
        }

    def step(self, loss: Tensor) -> float:
        """Adam on policy and value model, the norm of both gradients together being clipped."""
        policy, value = self.adams
        found = torch.autograd.grad(loss, policy.parameters + value.parameters)
        found, norm = clip_norm(list(found), self.config.max_grad_norm)
        policy.step(found[: len(policy.parameters)])
        value.step(found[len(policy.parameters) :])
        return norm

    def parts(self, rows: list[Row], generator) -> list[list[Row]]:
        """The minibatches of one epoch."""
        size = self.config.group_size
        order = torch.randperm(self.config.prompts_per_step, generator=generator)
        return [
            [rows[g * size + i] for g in part.tolist() for i in range(size)]
            for part in order.tensor_split(self.config.minibatches)
        ]

    def warm_up(self) -> None:
        """Fit the value model to what the base's answers earn; steps -n + 1 to 0."""
        config, value = self.config, self.adams[1]
        value.rate = config.value_learning_rate
        for step in range(1 - config.critic_warmup, 1):
            answers = sample(config, self.model, self.task, step)
            rows, _ = self.fill(answers, self.earned(answers)[0])
            generator = torch.Generator().manual_seed(1_000_003 * config.seed + step)
            for _ in range(config.epochs):
                for part in self.parts(rows, generator):
                    v = torch.cat([self.value(row.answer)[: len(row.tokens)] for row in part])
                    loss = ((v - flat(part, "earned")) ** 2).mean() / 2
                    found = torch.autograd.grad(loss, value.parameters)
                    value.step(clip_norm(list(found), config.max_grad_norm)[0])

    def epochs(self, rows: list[Row], step: int) -> dict[str, float]:
        """All minibatches of all epochs; the metrics are those of the last epoch."""
        config = self.config
        left = 1 - (step - 1) / config.steps if config.anneal else 1.0
        rates = config.learning_rate, config.value_learning_rate
        for adam, rate in zip(self.adams, rates, strict=True):
            adam.rate = rate * left
        generator = torch.Generator().manual_seed(1_000_003 * config.seed + step)
        width = max(len(row.answer.ids) for row in rows)
        done = 0
        for _ in range(config.epochs):
            done += 1
            notes = [self.minibatch(part, width) for part in self.parts(rows, generator)]
            found = {name: mean([n[name] for n in notes]) for name in notes[0]}
            if config.target_kl is not None and found["approx_kl"] > config.target_kl:
                break
        found["ratio_low"] = min(n["ratio_low"] for n in notes)
        found["ratio_high"] = max(n["ratio_high"] for n in notes)
        return found | {"epochs_done": done}

    def record(self, step: int) -> dict:
        """One step of the run and what it reports."""
        config = self.config
        answers = sample(config, self.model, self.task, step)
        rewards, scores = self.earned(answers)
        rows, kl_reward = self.fill(answers, rewards)
        exact = exact_lengths(config, self.model)
        target, error = flat(rows, "earned"), flat(rows, "earned") - flat(rows, "values")
        spread = float(((target - target.mean()) ** 2).mean())
        missed = float(((error - error.mean()) ** 2).mean())
        common = describe(config, answers, self.anchor, every_row=True, scores=scores)
        update = self.epochs(rows, step)
        if config.adaptive_kl is not None:
            off = min(max(common["kl"] / config.adaptive_kl - 1, -0.2), 0.2)
            self.beta *= 1 + 0.1 * off
        return {
            "step": step,
            **common,
            **exact,
            "kl_reward": kl_reward,
            "kl_coef": self.beta,
            "explained_variance": 1 - missed / spread if spread > 0 else math.nan,
            **update,
            "changed": [],
        }
