"""Find operations that make the host wait for a device, on a machine without one."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = {
    *("_local_scalar_dense", "nonzero", "nonzero_numpy", "equal", "is_nonzero"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "masked_select"),
    *("multinomial", "bincount", "repeat_interleave.Tensor", "allclose"),
}
"""Their result, or its shape, depends on numbers: on CUDA they copy them to the host first. (``multinomial``
checks its probabilities.)"""


class Waits(TorchDispatchMode):
    """Count the operations of ``WAITS``, and indexing with a mask, which finds its rows first."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indexed = name in ("index", "index_put", "index_put_", "_index_put_impl_")
        masks = indexed and any(x is not None and x.dtype == torch.bool for x in args[1])
        if name in WAITS or f"{name}.{func._overloadname}" in WAITS or masks:
            self.found[name] = self.found.get(name, 0) + 1
        return func(*args, **(kwargs or {}))
