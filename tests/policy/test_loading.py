"""Loading, tokenizing, and the log-probabilities that everything else stands on."""

import shutil

import pytest
import torch

from rlvr_lab.policy import loading as policy_module
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import encode_prompts, load_policy, resolve_device
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import WORDS, build_tokenizer


@pytest.fixture(scope="module")
def base():
    return load_policy("sums", "cpu")


@pytest.fixture(scope="module")
def batch(base) -> RolloutBatch:
    # Prompts of unequal length, so that the left padding is put to the test.
    prompts = ["7+5+8+3....?", "1+2?", "9+9+9+9+9+9+9+9?"]
    return sample(base, prompts, 5, 24, torch.Generator().manual_seed(0))


def plain_logprobs(model, batch: RolloutBatch, temperature: float = 1.0) -> torch.Tensor:
    """One row at a time, no padding, no cache: the definition."""
    out = torch.zeros_like(batch.old_logprobs)
    for row in range(batch.completion_ids.shape[0]):
        prompt = batch.prompt_ids[row // batch.group_size][
            batch.prompt_mask[row // batch.group_size]
        ]
        length = int(batch.lengths[row])
        ids = torch.cat([prompt, batch.completion_ids[row, :length]])
        logits = model(ids[None]).logits[0] / temperature
        for t in range(length):
            position = len(prompt) + t
            out[row, t] = logits[position - 1].log_softmax(-1)[ids[position]]
    return out


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("rows_per_pass", [1, 4, 64])
def test_logprobs_equal_the_definition(base, batch, temperature, rows_per_pass):
    got = token_logprobs(base.model, batch, temperature, rows_per_pass=rows_per_pass)
    torch.testing.assert_close(
        got, plain_logprobs(base.model, batch, temperature), atol=2e-5, rtol=0
    )


def test_gradients_equal_the_definition(base, batch):
    weights = torch.randn(batch.old_logprobs.shape, generator=torch.Generator().manual_seed(1))
    parameters = list(base.model.parameters())
    a = torch.autograd.grad((token_logprobs(base.model, batch) * weights).sum(), parameters)
    b = torch.autograd.grad((plain_logprobs(base.model, batch) * weights).sum(), parameters)
    for ours, plain in zip(a, b, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-4, rtol=2e-4)


def test_sampling_records_the_logprobs_it_sampled_from(base, batch):
    with torch.no_grad():
        again = token_logprobs(base.model, batch)
    torch.testing.assert_close(again, batch.old_logprobs, atol=2e-5, rtol=0)


def test_only_the_wanted_rows_are_computed(base, batch):
    rows = torch.arange(15) % 4 == 0
    got = token_logprobs(base.model, batch, rows=rows)
    full = token_logprobs(base.model, batch)
    torch.testing.assert_close(got[rows], full[rows], atol=2e-5, rtol=0)
    assert torch.equal(got[~rows], batch.old_logprobs[~rows])
    none = token_logprobs(base.model, batch, rows=torch.zeros(15, dtype=torch.bool))
    assert not none.requires_grad


def test_temperature_must_be_positive(base, batch):
    with pytest.raises(ValueError, match="temperature"):
        token_logprobs(base.model, batch, temperature=0.0)


def test_the_committed_tokenizer_is_the_one_that_is_built(base):
    built = build_tokenizer()
    assert built.get_vocab() == base.tokenizer.get_vocab()
    text = "7+5+8....?<think>wait7</think>=0seven/think/no_thinkrightokwronghmm"
    ids = built.encode(text, add_special_tokens=False)
    assert ids == base.tokenizer.encode(text, add_special_tokens=False)
    assert base.tokenizer.decode(ids) == text
    assert [WORDS[i] for i in built.encode("7+5?<think>wait")] == [
        "7",
        "+5",
        "?",
        "<think>",
        "wait",
    ]


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    a, b = (new_policy(build_tokenizer(), seed=3, device="cpu") for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True):
        assert torch.equal(x, y)


def test_the_reference_does_not_move_with_the_policy():
    trained = load_policy("lab", "cpu")
    frozen = trained.frozen_copy()
    with torch.no_grad():
        next(trained.model.parameters()).add_(1.0)
    assert not any(p.requires_grad for p in frozen.model.parameters())
    first = next(frozen.model.parameters())
    assert torch.equal(first, next(load_policy("lab", "cpu").model.parameters()))


class TestLoading:
    """Every mistake gets a sentence that says what to do."""

    @pytest.fixture
    def folder(self, tmp_path):
        shutil.copytree(data_folder() / "models/lab", tmp_path / "model")
        shutil.copytree(data_folder() / "tokenizer", tmp_path / "model", dirs_exist_ok=True)
        return tmp_path / "model"

    def test_a_local_folder(self, folder):
        assert load_policy(folder, "cpu").name == str(folder)

    def test_without_tokenizer(self, folder):
        (folder / "tokenizer.json").unlink()
        with pytest.raises(ValueError, match="has no tokenizer"):
            load_policy(folder, "cpu")

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(ValueError, match="no weights"):
            load_policy(folder, "cpu")

    def test_without_config(self, folder):
        (folder / "config.json").unlink()
        with pytest.raises(ValueError, match=r"config\.json"):
            load_policy(folder, "cpu")

    def test_truncated_weights(self, folder):
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ValueError, match="cannot be read"):
            load_policy(folder, "cpu")
        assert weights.stat().st_size == 1000

    def test_offline(self):
        with pytest.raises(FileNotFoundError, match="offline"):
            load_policy("no-such-owner/no-such-model", "cpu")

    def test_no_data_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("RLVR_LAB_DATA", str(tmp_path / "nowhere"))
        with pytest.raises(FileNotFoundError, match="RLVR_LAB_DATA"):
            policy_module.data_folder()

    def test_unknown_device(self):
        with pytest.raises(ValueError, match="device"):
            resolve_device("abacus")

    def test_empty_prompt(self):
        with pytest.raises(ValueError, match="prompts"):
            encode_prompts(load_policy("lab", "cpu"), ["?", ""])


def test_a_chat_model_may_have_several_stop_tokens():
    lab = load_policy("lab", "cpu")
    lab.model.generation_config.eos_token_id = [1, 7]
    assert lab.stop_ids == [1, 7]


def test_shipped_models_are_small():
    for file in data_folder().glob("models/*/*.safetensors"):
        assert file.stat().st_size < 2 * 2**20
