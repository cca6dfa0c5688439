"""TRL's trainers, built once, and one batch that reaches every branch of the losses."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from rlvr_lab.machine.telemetry import without_telemetry
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.words import build_tokenizer

REASON = "TRL is not installed: pip install -e '.[scale]' brings it"
GROUPS, GROUP, WINDOW = 3, 4, 6
LENGTHS = torch.tensor([1, 6, 3, 2, 5, 4, 6, 6, 2, 3, 4, 1])
PROMPTS = ["1+2.?", "3.?", "4+5+6.?"]


def a_trainer(kind: str, folder: str):
    """TRL's ``kind`` around an untrained policy of the tiny world, in float64.

    Nothing of it is ever run but its loss and its advantages.
    """
    without_telemetry()
    trl = pytest.importorskip("trl", reason=REASON)
    from datasets import Dataset  # comes with TRL

    policy = new_policy(build_tokenizer(), seed=0, hidden=16, layers=1, heads=2, device="cpu")
    policy.model.double()
    arguments = getattr(trl, f"{kind}Config")(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        per_device_train_batch_size=GROUPS * GROUP,
        num_generations=GROUP,
        max_completion_length=WINDOW,
        beta=0.0,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = getattr(trl, f"{kind}Trainer")(
            policy.model,
            lambda completions, **_: [0.0] * len(completions),
            arguments,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
            processing_class=policy.tokenizer,
        )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


@pytest.fixture(scope="session")
def grpo(tmp_path_factory: pytest.TempPathFactory):
    """TRL's ``GRPOTrainer``."""
    return a_trainer("GRPO", str(tmp_path_factory.mktemp("grpo")))


@pytest.fixture(scope="session")
def rloo(tmp_path_factory: pytest.TempPathFactory):
    """TRL's ``RLOOTrainer``."""
    return a_trainer("RLOO", str(tmp_path_factory.mktemp("rloo")))


@pytest.fixture(scope="session")
def tensors(grpo) -> SimpleNamespace:
    """One batch: 3 prompts × 4 answers of 1 to 6 tokens; ratios from about .3 to 3."""
    generator = torch.Generator().manual_seed(0)
    rows = GROUPS * GROUP
    mask = torch.arange(WINDOW) < LENGTHS[:, None]
    encoded = grpo.processing_class(
        PROMPTS, return_tensors="pt", padding=True, add_special_tokens=False
    )
    ids = torch.randint(2, 43, (rows, WINDOW), generator=generator)
    ids = ids.masked_fill(~mask, grpo.processing_class.pad_token_id)
    batch = SimpleNamespace(
        n_prompt_ids=encoded["input_ids"],
        n_prompt_mask=encoded["attention_mask"],
        prompt_ids=encoded["input_ids"].repeat_interleave(GROUP, 0),
        prompt_mask=encoded["attention_mask"].repeat_interleave(GROUP, 0),
        ids=ids,
        mask=mask,
        rewards=torch.randint(0, 5, (rows,), generator=generator).double() / 4,
    )
    with torch.no_grad():
        logprobs = full_precision_logprobs(
            grpo.model,
            torch.cat([batch.prompt_ids, ids], 1),
            torch.cat([batch.prompt_mask, mask.long()], 1),
            WINDOW,
        )
    noise = torch.randn(2, rows, WINDOW, generator=generator, dtype=torch.float64)
    batch.old = logprobs - 0.5 * noise[0]
    batch.ref = logprobs + 0.5 * noise[1]
    batch.advantages = torch.randn(rows, generator=generator, dtype=torch.float64)
    return batch


def full_precision_logprobs(model, ids, attention, keep: int) -> torch.Tensor:
    """log π [B, keep] of the last tokens, in the model's own precision (TRL's kernel is float32)."""
    logits = model(input_ids=ids, attention_mask=attention).logits[:, -keep - 1 : -1]
    return logits.log_softmax(-1).gather(2, ids[:, -keep:, None]).squeeze(2)


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch, grpo, rloo) -> None:
    """Both trainers score tokens in float64, so that only the loss itself is compared."""

    def scored(model, ids, attention, keep, *_, **__) -> tuple:
        logprobs = full_precision_logprobs(model, ids, attention, keep)
        return logprobs, torch.zeros_like(logprobs), None

    for trainer in (grpo, rloo):
        monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", scored)
