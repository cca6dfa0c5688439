"""A model in which float64 is float64 everywhere."""

import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from rlvr_lab.policy.loading import Policy


def exact(policy: Policy) -> Policy:
    """The policy with normalisations in the precision of its weights; the library's round to float32."""
    for name, old in list(policy.model.named_modules()):
        if isinstance(old, LlamaRMSNorm):
            norm = torch.nn.RMSNorm(len(old.weight), old.variance_epsilon, dtype=old.weight.dtype)
            norm.weight.data, norm.variance_epsilon = old.weight.data, old.variance_epsilon
            policy.model.set_submodule(name, norm)
    return policy
