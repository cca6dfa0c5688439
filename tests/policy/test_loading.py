"""Loading, tokenizing, and the log-probabilities that everything else stands on."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlvr_lab.policy import loading as policy_module
from rlvr_lab.policy.architecture import new_policy, small_llama, small_llama_config
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import encode_prompts, load_policy, resolve_device
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import WORDS, build_tokenizer, word_tokenizer


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

    def test_a_tensor_is_missing(self, folder):
        weights = load_file(folder / "model.safetensors")
        del weights["model.norm.weight"]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=r"lacks weights: model\.norm\.weight"):
            load_policy(folder, "cpu")

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


class TestWhichTokenizer:
    """A folder's own; the shipped bases share one, by whichever path they are found."""

    @pytest.fixture
    def other(self, tmp_path):
        """A model whose words have other ids than the course's."""
        own = word_tokenizer([*WORDS[:2], *reversed(WORDS[2:])])
        new_policy(own, seed=0, device="cpu").save(tmp_path / "model")
        return tmp_path / "model", own.get_vocab()

    @pytest.mark.parametrize(
        "spell", [str, Path, os.path.relpath, lambda p: Path(os.path.relpath(p))]
    )
    def test_a_folder_has_its_own(self, other, spell):
        folder, vocabulary = other
        assert folder.is_absolute() and vocabulary != build_tokenizer().get_vocab()
        assert load_policy(spell(folder), "cpu").tokenizer.get_vocab() == vocabulary

    def test_a_folder_with_the_name_of_a_shipped_base(self, other):
        folder, vocabulary = other
        found = load_policy(folder.rename(folder.with_name("sums")), "cpu")
        assert found.tokenizer.get_vocab() == vocabulary

    @pytest.mark.parametrize("spell", [str, Path, os.path.relpath])
    def test_a_shipped_base_found_by_its_path(self, spell):
        found = load_policy(spell(data_folder() / "models/sums"), "cpu")
        assert found.tokenizer.get_vocab() == build_tokenizer().get_vocab()


class TestGguf:
    """A folder with one GGUF file and nothing else."""

    TOKENS = ["<pad>", "<eos>", *"abcd", "ab", "cd"]

    @pytest.fixture
    def packed(self, tmp_path):
        """A random Llama, and a folder with it as llama.cpp would write it."""
        gguf = pytest.importorskip("gguf", reason="needs the extra `pretrained`")
        pytest.importorskip("accelerate", reason="needs the extra `pretrained`")
        config = small_llama_config(len(self.TOKENS), hidden=16, layers=2, eos_token_id=1)
        model = small_llama(config, seed=0).eval()
        writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
        writer.add_context_length(config.max_position_embeddings)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_embedding_length(config.hidden_size)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_vocab_size(config.vocab_size)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(self.TOKENS)
        writer.add_token_types([3, 3, 1, 1, 1, 1, 1, 1])  # 3 is a control token
        writer.add_token_merges(["a b", "c d"])
        writer.add_eos_token_id(1)
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
        for name, value in model.state_dict().items():
            if "q_proj" in name or "k_proj" in name:  # llama.cpp rotates neighbours, not halves
                pairs = value.unflatten(0, (config.num_attention_heads, 2, -1))
                value = pairs.transpose(1, 2).flatten(0, 2)
            writer.add_tensor(names.get_name(name, (".weight",)), value.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path, model

    @torch.no_grad()
    def test_it_is_the_model_that_was_packed(self, packed):
        folder, model = packed
        policy = load_policy(folder, "cpu")
        assert policy.tokenizer("abcd").input_ids == [6, 7] and policy.stop_ids == [1]
        ids = torch.tensor([[6, 7, 2, 5]])
        torch.testing.assert_close(policy.model(ids).logits, model(ids).logits)
        drawn = sample(policy, ["ab", "abcd"], 2, 3, torch.Generator().manual_seed(0))
        assert len(drawn.texts) == 4

    @torch.no_grad()
    def test_it_can_be_saved_as_safetensors(self, packed, tmp_path_factory):
        policy, folder = load_policy(packed[0], "cpu"), tmp_path_factory.mktemp("saved")
        policy.save(folder)
        again, ids = load_policy(folder, "cpu"), torch.tensor([[6, 7, 2, 5]])
        assert torch.equal(again.model(ids).logits, policy.model(ids).logits)
        assert again.tokenizer("abcd").input_ids == [6, 7] and again.stop_ids == [1]

    def test_a_damaged_file(self, packed):
        file = packed[0] / "tiny.gguf"
        file.write_bytes(file.read_bytes()[:1000])
        with pytest.raises(ValueError, match="cannot be read"):
            load_policy(packed[0], "cpu")

    def test_two_files(self, tmp_path):
        for name in ("b.gguf", "a.gguf"):
            (tmp_path / name).touch()
        with pytest.raises(ValueError, match=r"which of a\.gguf, b\.gguf is meant"):
            load_policy(tmp_path, "cpu")

    def test_no_file(self, tmp_path):
        with pytest.raises(ValueError, match=r"no config\.json, so it does not contain a model$"):
            load_policy(tmp_path, "cpu")


def test_a_chat_model_may_have_several_stop_tokens():
    lab = load_policy("lab", "cpu")
    lab.model.generation_config.eos_token_id = [1, 7]
    assert lab.stop_ids == [1, 7]


def test_shipped_models_are_small():
    for file in data_folder().glob("models/*/*.safetensors"):
        assert file.stat().st_size < 2 * 2**20
