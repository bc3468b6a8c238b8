"""What a training step needs, counted on the meta device: shapes, no numbers, no arithmetic."""

import torch
from torch import Tensor

TRAINED_BYTES = 16
"""Of a trained parameter: the weight, its average and Adam's two moments, all float32."""
FIXED_BYTES = 4
"""Of a frozen one."""
GIB = 2**30


class Kept:
    """Sums what autograd keeps for the way back, each storage once, but for the parameters, which are there
    anyway. `add` is a hook for `saved_tensors_hooks`."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.bytes = 0
        self._seen = {parameter.untyped_storage()._cdata for parameter in module.parameters()}

    def add(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self.bytes += storage.nbytes()
        return tensor
