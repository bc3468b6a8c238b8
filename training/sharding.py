"""Where a step is computed: on one process, or on several that `torchrun` started (FSDP2, gloo or NCCL).

    torchrun --nproc-per-node 2 -m -- training.understanding --stage uct --out runs/nano/understanding

What is unusual here: a stage's loss reaches into its module instead of calling it, so the call of the loss is
what FSDP takes for the forward pass, and all of the module is one unit: weights and gradients are whole on
every process while a step runs; masters, moments and averages are in shards. Gradients are summed, not
averaged, as the losses of a step's micro-batches add up. A parameter that none of them reached has no
gradient, as on one process.

Checkpoints in shards are written by `torch.distributed.checkpoint` through its safetensors writer, which puts
the places of the shards into the headers: its default one leaves a pickle beside them. (Between the processes
of a run its plans travel pickled, in memory.) Both kinds of checkpoint are read on any number of processes.
"""

import atexit
import copy
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.distributed.tensor import empty as empty_shards

from training.muon import Muon, orthogonal

PATIENCE = timedelta(hours=2)
"""How long processes wait for the first one, which alone evaluates and exports."""
LETTING_GO = 0.5
"""Seconds before the end, of which milliseconds are needed."""

Layout = Callable[[str], Tensor]
"""By its name in a checkpoint, the tensor whose shards another one is laid out as."""


def launched() -> bool:
    """Whether `torchrun` (or what sets the same variables) started this process."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def join(module: nn.Module, loss_fn: Callable[..., Any]) -> "Alone":
    """Take `module` into training: whole, or in shards where several processes were launched."""
    return Together(module, loss_fn) if launched() else Alone(module, loss_fn)


class Alone:
    """One process, which has everything whole."""

    rank, size = 0, 1
    device = torch.device("cpu")

    def __init__(self, module: nn.Module, loss_fn: Callable[..., Any]) -> None:
        self.module, self.loss_fn = module, loss_fn

    def loss(self, batch: Any, generator: torch.Generator, last: bool) -> tuple[Tensor, dict[str, float]]:
        """The loss of a micro-batch; `last` says that the gradient is complete after it."""
        loss, numbers = self.loss_fn(self.module, batch, generator)
        return loss, numbers

    def settle(self, numbers: dict[str, float]) -> dict[str, float]:
        """Call after a step's last backward pass: completes the gradients, and sums `numbers` over the
        processes."""
        return numbers

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        """One step of `optimizer`."""
        optimizer.step()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors as the first process hands them on."""
        return dict(tensors)

    def whole_module(self) -> nn.Module:
        """The module as the first process hands it on."""
        return self.module

    def write(self, tensors: Mapping[str, Tensor], out: Path, name: str) -> str:
        """Write tensors into `out`; returns the file's or folder's name, which begins with `name`."""
        save_file(
            {k: v.detach().clone().contiguous() for k, v in tensors.items()}, out / f"{name}.safetensors"
        )
        return f"{name}.safetensors"

    def read(self, path: Path, layout: Layout) -> dict[str, Tensor]:
        """What `write` wrote, on however many processes."""
        return load_file(path) if path.is_file() else _read_shards(path, None)

    def wait(self) -> None:
        """Until every process is here."""


class Together(Alone):
    """One of several processes: it computes its share of a step and holds its shard of the state."""

    def __init__(self, module: nn.Module, loss_fn: Callable[..., Any]) -> None:
        """Raises ValueError where the loss keeps a state of its own, which would differ between processes."""
        kept = [name for name, _ in module.named_buffers() if name in module.state_dict()]
        if kept:
            raise ValueError(
                f"this stage keeps state in buffers ({', '.join(kept)}); train it on one process"
            )
        super().__init__(module, loss_fn)
        self.device = _connect()
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # The first process exports from a copy of its own, since the shards are no module one could call.
        self._copy = copy.deepcopy(module) if self.rank == 0 else None
        self._mesh = init_device_mesh(self.device.type, (self.size,))
        self._step = _Step(module, loss_fn)
        self._unit: Any = fully_shard(self._step, mesh=self._mesh)
        self._unit.set_gradient_divide_factor(1.0)
        self._unit.set_force_sum_reduction_for_comms(True)
        self._unit.set_reduce_scatter_unused_params(True)
        self._trained = [p for p in module.parameters() if p.requires_grad]

    def loss(self, batch: Any, generator: torch.Generator, last: bool) -> tuple[Tensor, dict[str, float]]:
        self._unit.set_requires_gradient_sync(last)
        self._unit.set_reshard_after_backward(last)
        self._unit.set_is_last_backward(last)
        with self.device:  # also what a loss makes anew
            loss, numbers = self._step(_moved(batch, self.device), generator)
        return loss, numbers

    def settle(self, numbers: dict[str, float]) -> dict[str, float]:
        reached = torch.tensor(self._step.reached, device=self.device)
        dist.all_reduce(reached, dist.ReduceOp.MAX)
        for parameter, somewhere in zip(self._trained, reached.tolist(), strict=True):
            if not somewhere:
                parameter.grad = None
        self._step.reached = [0] * len(self._trained)
        every: list[dict[str, float]] = [{}] * self.size
        dist.all_gather_object(every, numbers)
        names = {name: None for each in every for name in each}  # in order, each once
        return {name: sum(each.get(name, 0.0) for each in every) for name in names}

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        if isinstance(optimizer, Muon):
            optimizer.orthogonalise = self._dealt
        optimizer.step()

    def _dealt(self, matrices: list[Tensor]) -> list[Tensor]:
        """Muon looks at a matrix as a whole: each process makes its share of them orthogonal, and all keep
        their shards of what comes out."""
        wholes = [whole(each) for each in matrices]
        order = sorted(range(len(wholes)), key=lambda i: -wholes[i].numel())
        owners = {i: turn % self.size for turn, i in enumerate(order)}
        updates = [orthogonal(each) if owners[i] == self.rank else each for i, each in enumerate(wholes)]
        for i, update in enumerate(updates):
            dist.broadcast(update, owners[i])
        return [_laid_out(update, like) for update, like in zip(updates, matrices, strict=True)]

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: whole(tensor).detach().cpu() for name, tensor in tensors.items()}

    def whole_module(self) -> nn.Module:
        state = self.whole(self.module.state_dict())
        if self._copy is None:
            return self.module
        self._copy.load_state_dict(state)
        return self._copy

    def write(self, tensors: Mapping[str, Tensor], out: Path, name: str) -> str:
        if self.rank == 0:
            shutil.rmtree(out / name, ignore_errors=True)  # what a kill left of an earlier try
        self.wait()
        writer = dcp.HuggingFaceStorageWriter(str(out / name), save_distributed=True)
        dcp.save({k: v.detach().clone() for k, v in tensors.items()}, storage_writer=writer)
        return name

    def read(self, path: Path, layout: Layout) -> dict[str, Tensor]:
        if path.is_dir():
            return _read_shards(path, layout)
        with safe_open(path, "pt") as file:
            return {key: _laid_out(file.get_tensor(key), layout(key)) for key in file.keys()}  # noqa: SIM118

    def wait(self) -> None:
        dist.barrier()


class _Step(nn.Module):
    """A call of the loss as the forward pass of a module: FSDP makes the weights whole around it."""

    def __init__(self, module: nn.Module, loss_fn: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.compute = partial(loss_fn, module)  # a loss may be a module, too, and is not to be sharded
        self.reached = [0] * sum(p.requires_grad for p in module.parameters())
        self.watched = False

    def forward(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        if not self.watched:  # the whole parameters exist from the first pass on, and stay the same objects
            for index, parameter in enumerate(p for p in self.module.parameters() if p.requires_grad):
                parameter.register_post_accumulate_grad_hook(lambda _, index=index: self._reach(index))
            self.watched = True
        loss, numbers = self.compute(batch, generator)
        return loss, numbers

    def _reach(self, index: int) -> None:
        self.reached[index] = 1


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process runs the block before the others do, which find its files there."""
    if not launched():
        yield
        return
    _connect()
    if dist.get_rank() > 0:
        dist.barrier()
    yield
    if dist.get_rank() == 0:
        dist.barrier()


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor; writing to it writes to the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on every process; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _connect() -> torch.device:
    """Join the other processes, once; the device that this one computes on."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
        atexit.register(_leave)
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")


def _leave() -> None:
    """Leave the other processes, when gloo's threads have let go of the last tensors they exchanged.

    For that they take Python's lock, and one that asks for it while the interpreter ends aborts the process.
    They tell nobody when they are done; the shards keep them alive to the very end.
    """
    time.sleep(LETTING_GO)
    dist.destroy_process_group()


def _moved(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on `device`, whatever it is made of."""
    if device.type == "cpu":
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, list | tuple):
        return type(batch)(_moved(each, device) for each in batch)
    if isinstance(batch, dict):
        return {key: _moved(value, device) for key, value in batch.items()}
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(
            batch, **{f.name: _moved(getattr(batch, f.name), device) for f in fields(batch) if f.init}
        )
    return batch


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor in the shards of `like`, if it has `like`'s shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    # No source rank: every process has read the whole and keeps its part.
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def _read_shards(folder: Path, layout: Layout | None) -> dict[str, Tensor]:
    """Tensors of a checkpoint in shards: whole without a `layout`, else laid out anew."""
    reader = dcp.HuggingFaceStorageReader(str(folder))
    found: dict[str, Tensor] = {}
    for key, entry in reader.read_metadata().state_dict_metadata.items():
        like = layout(key) if layout else None
        if isinstance(like, DTensor) and entry.size == like.shape:
            mesh, placements = like.device_mesh, like.placements
            found[key] = empty_shards(
                entry.size, dtype=entry.properties.dtype, device_mesh=mesh, placements=placements
            )
        else:
            found[key] = torch.empty(entry.size, dtype=entry.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        dcp.load(found, storage_reader=reader, no_dist=layout is None)
    return found
