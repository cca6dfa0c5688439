"""The distinct beginnings of the answers to a prompt, as a tree: what a forward pass has to compute.

A causal model's output at a token depends on nothing but the tokens up to it. Two answers to the same
prompt that begin alike therefore have the same outputs there, and a batch needs one *node* per distinct
beginning. The nodes of a group form a tree whose root is the prompt; a node attends to itself and to its
ancestors. SGLang keeps the keys of a server in such a tree (RadixAttention, arXiv 2312.07104); here the
tree saves work in the update, forward and backward.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from rlvr_lab.policy.batch import RolloutBatch

__all__ = ["PrefixTree", "prefix_tree"]

PIECE = 32
"""Nodes of one piece, about: attention costs the square of it, and a piece reads its prompt again."""


@dataclass(frozen=True)
class PrefixTree:
    """M nodes of the trees of some groups, and how they lie in S pieces of at most L slots.

    Attention works piece by piece. A piece holds its prompt and some neighbouring answers; a node that
    several pieces need has a slot in each of them and is computed once.

    Attributes:
        ids: [M] the token of each node.
        position: [M] its position in the text, from 0.
        slots: [S, L] the node in each slot; any node where a slot is empty.
        unread: number of leading nodes whose outputs score no token: all but the last of each prompt.
        home: [M] a slot of each node, counted through all pieces.
        sees: [S, L, L], True where the node in a slot (first index) is or follows the one in another.
        before: [W, T] the node whose output scores each token of the wanted rows; the last real one
            after the end of an answer.
    """

    ids: Int[Tensor, " M"]
    position: Int[Tensor, " M"]
    unread: int
    slots: Int[Tensor, "S L"]
    home: Int[Tensor, " M"]
    sees: Bool[Tensor, "S L L"]
    before: Int[Tensor, "W T"]


def prefix_tree(batch: RolloutBatch, wanted: Int[Tensor, " W"], piece: int = PIECE) -> PrefixTree:
    """The tree of the rows ``wanted``, without their last tokens, whose outputs score nothing.

    Args:
        batch: the rollouts.
        wanted: rows, at least one.
        piece: nodes that an answer may follow within its piece.
    """
    groups, owner = torch.unique(wanted // batch.group_size, return_inverse=True)
    asked = batch.prompt_mask[groups]
    size = asked.sum(dim=1)

    # The distinct answers without their last tokens, -1 after their end, in alphabetical order.
    inputs = batch.completion_ids[wanted, :-1]
    depth = torch.arange(inputs.shape[1], device=inputs.device)
    inputs = inputs.masked_fill(depth >= batch.lengths[wanted, None] - 1, -1)
    keys, twin = torch.unique(
        torch.cat([owner[:, None], inputs], dim=1), dim=0, return_inverse=True
    )
    owner, inputs = keys[:, 0].contiguous(), keys[:, 1:]
    # An answer has the nodes of its predecessor as far as both begin alike.
    shared = torch.zeros_like(keys, dtype=torch.bool)
    shared[1:] = (keys[1:] == keys[:-1]).cumprod(dim=1).bool()
    real, shared = inputs >= 0, shared[:, 1:]
    new = real & ~shared

    # Nodes: prompts without their last tokens, last tokens of prompts, answers.
    early = asked.clone()
    early[:, -1] = False
    unread, last = int(early.sum()), torch.arange(len(groups), device=owner.device)
    prompt_node = _numbered(early, 0)
    prompt_node[:, -1] = unread + last
    node = _numbered(new, unread + len(groups)).cummax(dim=0).values

    part = _parts(owner, new.sum(dim=1), piece)
    begins = torch.ones_like(part, dtype=torch.bool)
    begins[1:] = part[1:] != part[:-1]
    enters = real & (begins[:, None] | ~shared)
    # Slots of a piece: its prompt, then what enters, in order.
    entering = enters.sum(dim=1)
    until = entering.cumsum(0)
    offset = size[owner] - (until - entering)[begins][part]
    slot = _numbered(enters, 0).cummax(dim=0).values + offset[:, None]
    whose = owner[begins]
    ends = size[whose].scatter_reduce(0, part, until + offset, "amax")

    place = torch.arange(int(ends.max()), device=ends.device)
    in_prompt = place < size[whose, None]
    slots = torch.zeros_like(in_prompt, dtype=torch.long)
    slots[in_prompt] = prompt_node[whose][asked[whose]]
    row, at = enters.nonzero(as_tuple=True)
    slots[part[row], slot[row, at]] = node[row, at]
    sees = in_prompt[:, None] & (~in_prompt[:, :, None] | (place <= place[:, None]))
    entry, above = (depth <= at[:, None]).nonzero(as_tuple=True)
    who = row[entry]
    sees[part[who], slot[who, at[entry]], slot[who, above]] = True

    position = asked.cumsum(dim=1) - 1
    ids = torch.cat([batch.prompt_ids[groups][early], batch.prompt_ids[groups, -1], inputs[new]])
    position = torch.cat([position[early], position[:, -1], (size[owner, None] + depth)[new]])
    used = (place < ends[:, None]).flatten().nonzero().squeeze(1)
    home = torch.full_like(ids, slots.numel())
    home.scatter_reduce_(0, slots.flatten()[used], used, "amin")

    path = torch.cat([(unread + last)[owner, None], node], dim=1)
    step = torch.arange(path.shape[1], device=path.device)
    path = path.gather(1, step.minimum(real.sum(dim=1, keepdim=True))) - unread
    return PrefixTree(ids, position, unread, slots, home, sees, path[twin])


def _numbered(flags: Tensor, start: int) -> Tensor:
    """Numbers from ``start`` on where ``flags`` are set, row by row; 0 elsewhere."""
    number = flags.flatten().cumsum(0).view(flags.shape) - 1 + start
    return number.masked_fill(~flags, 0)


def _parts(owner: Tensor, count: Tensor, piece: int) -> Tensor:
    """The piece of each answer: a new one begins with each group, and wherever one is full."""
    before = count.cumsum(0) - count
    first = torch.searchsorted(owner, owner)
    full = (before - before[first]) // piece
    changed = (owner[1:] != owner[:-1]) | (full[1:] != full[:-1])
    return F.pad(changed.long().cumsum(0), (1, 0))
