"""The policy: words, loading, sampling, log-probabilities, and the batch they pass on."""

from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample

__all__ = ["Policy", "data_folder", "load_policy", "sample", "token_logprobs"]
