"""The one training loop: every stage is a module, a loss, a batch function and a `LoopConfig`.

What is unusual here: a batch is a pure function of its step (`batch_at(step)`), so resuming needs no data
position beyond the step number, and the same seed gives the same run whether it was interrupted or not. So
too on however many processes (`sharding.py`): a step is cut into the same micro-batches, each with randomness
of its own, and a process computes its share of them. Checkpoints are safetensors plus one JSON; no pickle.
"""

import json
import logging
import math
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from training import sharding
from training.feed import Batch, MicroBatch, in_turn, micro_batches, prefetch
from training.muon import Muon
from wanimage.models.precision import by_turns

log = logging.getLogger(__name__)

_MATRIX = re.compile(r"(^|\.)(layers|blocks)\.\d+\.(.*\.)?weight$")
"""Not AdaLN's tables, which are vectors below each other."""
_OPTIMIZERS = ("optimizer", "muon")
"""Names in a checkpoint."""

LossFn = Callable[[nn.Module, Batch, torch.Generator], tuple[Tensor, dict[str, float]]]
"""`loss(module, batch, generator) -> (scalar, numbers to log)`; all randomness comes from the generator.

Called once a micro-batch. Back-propagating is the loop's; numbers are weighed and summed as the loss is.
"""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How to optimise; what to optimise is the caller's. Every field is part of the lineage."""

    steps: int
    """Optimiser steps in the whole run."""
    accumulate: int = 1
    """Batches in a step, equally weighted. One where `batch_at` gives `Pieces`, which weigh themselves."""
    lr: float
    """Peak learning rate."""
    warmup: int = 100
    """Steps of linear warm-up."""
    decay: float = 0.4
    """Last fraction of the run over which the rate falls linearly to zero (1.0 = decay from the start)."""
    weight_decay: float = 0.02
    """AdamW weight decay, applied to matrices only (report table 3: .02)."""
    betas: tuple[float, float] = (0.9, 0.98)
    optimizer: str = "adamw"
    """`adamw`, or `muon`: Muon for the matrices of blocks, with updates as large as AdamW's, so that `lr`
    means the same (Jordan et al. 2024, Moonlight 2025); AdamW for embeddings, heads, norms and biases."""
    clip: float = 0.5
    """Largest gradient norm (report table 3: .5)."""
    ema: float = 0.999
    """Decay of the exponential moving average that ships; warmed up as (1+step)/(10+step)."""
    seed: int = 0
    precision: str = "bf16"
    """`bf16` (autocast over fp32 weights) or `fp32`."""
    prefetch: bool = True
    """Make batches in a thread beside the step. Not where both want all cores: with CPU training that fights
    over them and costs a quarter more than taking turns."""
    save_every: int = 200
    log_every: int = 20
    """Steps of a row of the log, whose numbers are means over them."""


@dataclass
class LoopState:
    """What a run is at a step; everything a checkpoint holds."""

    step: int
    module: nn.Module
    ema: dict[str, Tensor]
    optimizers: list[torch.optim.Optimizer]
    history: list[dict[str, float]]


def train(
    module: nn.Module,
    loss_fn: LossFn,
    batch_at: Callable[[int], Batch],
    config: LoopConfig,
    out: Path,
    *,
    resume: bool = True,
    on_save: Callable[[LoopState], None] | None = None,
) -> LoopState:
    """Train `module`'s parameters that require gradients; return the final state (`.ema` is what ships).

    Writes `out/checkpoint-<step>.safetensors`, `out/checkpoint.json` and `out/metrics.json` every
    `save_every` steps and calls `on_save` after it; for a run that is resumed at its end, once. With `resume`
    an existing checkpoint made by the same config continues, on whatever number of processes; one made by
    another config raises `ValueError`, because the lineage would lie.

    On several processes each calls this with the same arguments. The first alone calls `on_save`, with
    everything whole; what is returned has whole averages everywhere, and a whole module on the first.
    """
    out.mkdir(parents=True, exist_ok=True)
    crew = sharding.join(module, loss_fn)
    state = _fresh_state(module, config)
    if resume and (out / "checkpoint.json").exists():
        _load(state, config, out, crew)
    if state.step == config.steps:
        _tell(state, crew, on_save)

    def share_of(step: int) -> list[MicroBatch]:
        return micro_batches(batch_at, step, config.accumulate, crew.rank, crew.size)

    trainable = [p for p in module.parameters() if p.requires_grad]
    module.train()
    started = time.perf_counter()
    with _progress(crew) as bar:
        task = bar.add_task(out.name, total=config.steps, completed=state.step, loss="")
        shares = prefetch if config.prefetch else in_turn
        since: list[dict[str, float]] = []  # the last row
        for share in shares(share_of, state.step, config.steps):
            rate = learning_rate(config, state.step)
            numbers = crew.settle(_gradients(share, state.step, config, crew))
            norm = nn.utils.clip_grad_norm_(trainable, config.clip)
            for optimizer in state.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                crew.update(optimizer)
                optimizer.zero_grad(set_to_none=True)
            _update_ema(state, config)
            state.step += 1
            since.append(numbers)
            if state.step % config.log_every == 0 or state.step in (1, config.steps):
                row = {
                    "step": state.step, "grad_norm": float(sharding.whole(norm)), "lr": rate,
                    "seconds": time.perf_counter() - started, **_means(since),
                }  # fmt: skip
                since.clear()
                state.history.append(row)
                if crew.rank == 0:
                    log.info("train %s", json.dumps(row))
            bar.update(task, completed=state.step, loss=f"loss {numbers['loss']:.4f}")
            if state.step % config.save_every == 0 or state.step == config.steps:
                save(state, config, out, crew)
                _tell(state, crew, on_save)
    return _handed_on(state, crew)


def _means(some: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each number over the steps that have it: not every step shows every task."""
    found: dict[str, list[float]] = defaultdict(list)
    for numbers in some:
        for name, value in numbers.items():
            found[name].append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _gradients(
    share: list[MicroBatch], step: int, config: LoopConfig, crew: sharding.Alone
) -> dict[str, float]:
    """Back-propagate this process's micro-batches of a step; their loss and numbers, summed."""
    totals: dict[str, float] = defaultdict(float)
    for micro in share:
        # The others' seeds lie far from those of any step, in the 32 bits too that a CPU's generator keeps.
        seed = config.seed * 1_000_003 + step + micro.number * 0x9E3779B1
        generator = torch.Generator(crew.device).manual_seed(seed)
        with autocast(config.precision, crew.device.type):
            loss, numbers = crew.loss(micro.batch, generator, last=micro is share[-1])
        (loss * micro.weight).backward()
        for name, value in {"loss": loss.item(), **numbers}.items():
            totals[name] += micro.weight * value
    return dict(totals)


def learning_rate(config: LoopConfig, step: int) -> float:
    """Linear warm-up, plateau, linear decay to zero."""
    up = min(1.0, (step + 1) / max(1, config.warmup))
    start = config.steps * (1 - config.decay)
    down = 1.0 if step < start else max(0.0, (config.steps - step) / max(1.0, config.steps - start))
    return config.lr * up * down


def autocast(precision: str, device: str = "cpu") -> Any:
    """The context that computes in `precision` on a kind of device (weights stay fp32)."""
    if precision == "bf16":
        return torch.autocast(device, dtype=torch.bfloat16)
    if precision == "fp32":
        return nullcontext()
    raise ValueError(f"precision is {precision!r}; use 'bf16' or 'fp32'")


def faster_precision(step: Callable[[], object], tries: int = 3) -> str:
    """`bf16` or `fp32`, whichever runs a forward and backward `step` sooner on this machine; logged."""

    def seconds_in(precision: str) -> float:
        started = time.perf_counter()
        with autocast(precision):
            step()
        return time.perf_counter() - started

    # Of several tries, since the first builds kernels.
    seconds = by_turns({name: partial(seconds_in, name) for name in ("bf16", "fp32")}, tries)
    best = min(seconds, key=lambda name: seconds[name])
    log.info("precision %s: %s s a step", best, {k: round(v, 2) for k, v in seconds.items()})
    return best


def settled_precision(
    asked: str, out: Path, rehearsal: Callable[[], Callable[[], object]], *, resume: bool, tries: int = 3
) -> str:
    """`asked`, or, where that is `auto`, what a resumed run in `out` began with, else what is faster here.

    `rehearsal` makes the step that is timed, and is called only then.
    """
    if asked != "auto":
        return asked
    begun = begun_precision(out) if resume else None
    return begun or faster_precision(rehearsal(), tries)


def rehearsal(module: nn.Module, loss_fn: LossFn, batch_at: Callable[[int], Batch]) -> Callable[[], object]:
    """A forward and backward step on the first batch; it leaves gradients in `module`."""
    batch = batch_at(0)
    return lambda: loss_fn(module, batch, torch.Generator().manual_seed(0))[0].backward()


def begun_precision(out: Path) -> str | None:
    """The precision that the run in `out` began with, to go on in; None where there is no run."""
    checkpoint = out / "checkpoint.json"
    return json.loads(checkpoint.read_text())["config"]["precision"] if checkpoint.exists() else None


def save(state: LoopState, config: LoopConfig, out: Path, crew: sharding.Alone) -> None:
    """Write the checkpoint so that a kill at any moment leaves the old or the new one, never half."""
    tensors = {f"module.{k}": v for k, v in state.module.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in state.ema.items()}
    for kind, optimizer in zip(_OPTIMIZERS, state.optimizers, strict=False):
        moments = optimizer.state_dict()["state"]
        tensors |= {f"{kind}.{i}.{k}": v for i, slots in moments.items() for k, v in slots.items()}
    # One name a step: the JSON is replaced last and says which tensors belong to it.
    name = crew.write(tensors, out, f"checkpoint-{state.step}")
    if crew.rank == 0:
        meta = {"step": state.step, "config": asdict(config), "tensors": name, "history": state.history}
        _replace(out / "checkpoint.json", json.dumps(meta))
        _replace(out / "metrics.json", json.dumps(state.history, indent=1))
        for old in out.glob("checkpoint-*"):
            if old.name != name:
                shutil.rmtree(old) if old.is_dir() else old.unlink()


def _tell(state: LoopState, crew: sharding.Alone, on_save: Callable[[LoopState], None] | None) -> None:
    """Call `on_save` on the first process; the others wait for it."""
    if on_save is not None:
        handed = _handed_on(state, crew)
        if crew.rank == 0:
            on_save(handed)
    crew.wait()


def _handed_on(state: LoopState, crew: sharding.Alone) -> LoopState:
    """The state with everything whole."""
    return replace(state, module=crew.whole_module(), ema=crew.whole(state.ema))


def _fresh_state(module: nn.Module, config: LoopConfig) -> LoopState:
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    if config.optimizer not in ("adamw", "muon"):
        raise ValueError(f"optimizer is {config.optimizer!r}; use 'adamw' or 'muon'")
    muon = config.optimizer == "muon"
    inner = [p for n, p in named if muon and p.ndim == 2 and _MATRIX.search(n)]
    mine = {id(p) for p in inner}
    rest = [p for _, p in named if id(p) not in mine]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)]
    if inner:
        optimizers.append(Muon(inner, lr=config.lr, weight_decay=config.weight_decay))
    ema = {n: p.detach().clone() for n, p in named}
    return LoopState(step=0, module=module, ema=ema, optimizers=optimizers, history=[])


def _load(state: LoopState, config: LoopConfig, out: Path, crew: sharding.Alone) -> None:
    meta = json.loads((out / "checkpoint.json").read_text())
    defaults = asdict(LoopConfig(steps=0, lr=0))  # of fields that are younger than the checkpoint
    if json.loads(json.dumps(defaults)) | meta["config"] != json.loads(json.dumps(asdict(config))):
        raise ValueError(
            f"{out} holds a run of another config; use another folder or delete it to start anew"
        )
    tensors = crew.read(out / meta["tensors"], _layout(state))
    pick = lambda prefix: {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}  # noqa: E731
    state.module.load_state_dict(pick("module."))
    averaged = pick("ema.")  # in the file's order; the update walks both lists in the parameters' order
    state.ema = {name: averaged[name] for name in state.ema}
    for name, optimizer in zip(_OPTIMIZERS, state.optimizers, strict=False):
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in pick(f"{name}.").items():
            index, slot = key.split(".", 1)
            moments.setdefault(int(index), {})[slot] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    state.step, state.history = meta["step"], meta["history"]
    log.info("resumed %s at step %d", out, state.step)


def _layout(state: LoopState) -> sharding.Layout:
    """Which tensor of the state each tensor of a checkpoint is laid out as."""
    module = state.module.state_dict()
    stepped = {
        kind: [p for group in optimizer.param_groups for p in group["params"]]
        for kind, optimizer in zip(_OPTIMIZERS, state.optimizers, strict=False)
    }

    def like(key: str) -> Tensor:
        kind, name = key.split(".", 1)
        if kind in stepped:
            return stepped[kind][int(name.split(".")[0])]
        return module[name] if kind == "module" else state.ema[name]

    return like


@torch.no_grad()
def _update_ema(state: LoopState, config: LoopConfig) -> None:
    decay = min(config.ema, (1 + state.step) / (10 + state.step))
    live = [sharding.local(p) for p in state.module.parameters() if p.requires_grad]
    torch._foreach_lerp_([sharding.local(average) for average in state.ema.values()], live, 1 - decay)


def _progress(crew: sharding.Alone) -> Progress:
    text = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*text, TimeRemainingColumn(), TextColumn("{task.fields[loss]}"), disable=crew.rank > 0)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def plot_losses(history: list[dict[str, float]], path: Path, title: str) -> None:
    """Draw the loss curve of a run as PNG, log scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot([row["step"] for row in history], [row["loss"] for row in history])
    axes.set(title=title, xlabel="step", ylabel="loss")
    if all(row["loss"] > 0 and math.isfinite(row["loss"]) for row in history):
        axes.set_yscale("log")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
