"""Makes `import torchvision` work where only its CUDA build can be had on a CPU torch.

That build's compiled operators do not load, and torchvision then fails on its own fake-tensor
registrations ("operator torchvision::nms does not exist"). Declaring the two operators before the import
is enough: nothing here calls them. With the PyTorch CPU index's torchvision (version "...+cpu") or a CUDA
torch the hook does nothing.

It must run in EVERY interpreter of the environment, because vLLM inspects models in fresh interpreters,
before its plugins load. So scripts/install.py copies this file to site-packages as
`wanimage_torchvision_hook.py`, beside a `wanimage_torchvision.pth` that imports it.
"""

import importlib.abc
import importlib.metadata
import sys

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_keep_alive: list[object] = []  # a torch.library.Library undoes its definitions when it is collected


class DeclareOperators(importlib.abc.MetaPathFinder):
    """Acts once, when torchvision is first looked up; finds nothing itself."""

    def find_spec(self, fullname, path=None, target=None):
        """Declare the operators if `fullname` is torchvision and its build needs it; always None."""
        if fullname == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            if needs_operators():
                declare_operators()
        return None


def needs_operators() -> bool:
    """Whether torchvision's build is not for this CPU torch."""
    try:
        if importlib.metadata.version("torchvision").endswith("+cpu"):
            return False
        import torch
    except ModuleNotFoundError:
        return False  # nothing to repair: the import will say what is missing
    return torch.version.cuda is None


def declare_operators() -> None:
    """Define the operators that torchvision's import refers to, without an implementation."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _keep_alive.append(library)


sys.meta_path.insert(0, DeclareOperators())
