"""A command may offer the flags of some algorithms only."""

import argparse

import pytest

from rlvr_lab.training.flags import add_run, configured
from rlvr_lab.training.policy_gradient import PolicyGradientConfig


def parser(*kinds: str) -> argparse.ArgumentParser:
    command = argparse.ArgumentParser()
    add_run(command, kinds or None)
    return command


def test_only_the_named_kinds_have_flags() -> None:
    few = parser("policy-gradient")
    options = few.parse_args(["--preset", "dr-grpo", "--group-size", "4", "--max-terms", "6"])
    config = configured(options)
    assert type(config) is PolicyGradientConfig
    assert config.average == "constant" and config.group_size == 4
    assert config.world_options == {"max_terms": 6}
    for foreign in (["--algorithm", "ppo"], ["--gamma", "0.9"]):
        with pytest.raises(SystemExit):
            few.parse_args(foreign)
        parser().parse_args(foreign)
