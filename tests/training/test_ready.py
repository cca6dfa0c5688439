"""The ready configurations, and what they need."""

import argparse

import pytest
from transformers import AutoModelForCausalLM, LlamaConfig

from rlvr_lab.experiments.pretrained import PROMPT, SHAPES, needs, needs_table
from rlvr_lab.training.flags import add_run, configured
from rlvr_lab.training.ready import READY


def from_flags(*flags: str):
    parser = argparse.ArgumentParser()
    add_run(parser, ["policy-gradient"])
    return configured(parser.parse_args(flags))


@pytest.mark.parametrize("name", READY)
def test_the_command_line_knows_it(name):
    assert from_flags("--preset", name) == READY[name]
    assert from_flags("--preset", name, "--steps", "3").steps == 3


def test_an_unknown_one():
    with pytest.raises(ValueError, match=r"'gpt5' is none of .*qwen2\.5-0\.5b"):
        from_flags("--preset", "gpt5")


def test_the_sizes_of_the_models():
    """As their model cards say: 0.49, 0.6 and 1.7 billion parameters."""
    counts = [needs(SHAPES[name], READY[name]).parameters / 1e9 for name in READY]
    assert counts == pytest.approx([0.494, 0.596, 1.711], abs=0.001)


def test_needs_by_hand():
    shape = LlamaConfig(
        vocab_size=10,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    config = READY["smollm2-1.7b"]
    count = sum(p.numel() for p in AutoModelForCausalLM.from_config(shape).parameters())
    need = needs(shape, config)
    assert need.parameters == count and need.states == 5 * 4 * count
    assert need.tokens == 16 * 8 * 256
    assert (
        need.cache == 128 * (PROMPT + 256) * 2 * 2 * 8 * 4
    )  # rows · tokens · layers · (k, v) · width · bytes
    assert need.least == need.states + max(need.cache, need.group)


def test_the_table_names_every_preset_and_claims_no_speed():
    lines = needs_table().splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(READY)
    assert all(line.endswith("not measured") for line in lines)
