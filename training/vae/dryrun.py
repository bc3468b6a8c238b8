"""What a size would need, without computing it: parameters, memory and work, on the meta device.

    python -m training.vae.dryrun [--size paper]

One picture of every shape of every stage goes forward and back through a model that has shapes and no
numbers. Counted are the VAE, the projection and the critic where a stage has them; the teacher is another
part's. What autograd keeps for the way back is counted as it is kept, each tensor once, in bfloat16.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from training.counting import FIXED_BYTES, GIB, TRAINED_BYTES, Kept
from training.vae.config import SIZES, VaeTraining
from training.vae.objective import Trainee
from wanimage.models.vae import PLANES, Vae

TEACHER_WIDTH = 1024
"""Channels that latents are projected to; those of a large vision tower."""


@dataclass(frozen=True)
class Need:
    """What pictures of one shape need in one stage."""

    stage: str
    height: int
    width: int
    batch: int
    """Pictures of this shape in a step."""
    parameters: int
    """Of the VAE."""
    trained: int
    """Parameters that a step changes, of the projection and the critic, too."""
    state_bytes: int
    """Weights, their average and the optimiser's moments; the same for every shape."""
    kept_bytes: int
    """What one picture keeps for the way back."""
    flops: int
    """Of one picture, forward and back."""


def needs(stages: Iterable[VaeTraining]) -> list[Need]:
    """One row a stage and shape, in their order; no memory is taken and no arithmetic done."""
    return [_need(stage, height, width) for stage in stages for height, width, _ in stage.data.shapes]


def _need(stage: VaeTraining, height: int, width: int) -> Need:
    with torch.device("meta"):
        trainee = Trainee(Vae(stage.model), stage.loss, TEACHER_WIDTH).to(torch.bfloat16)
        picture = torch.empty(1, PLANES, height, width, dtype=torch.bfloat16)
    vae = trainee.vae
    for fixed in (vae.encoder if stage.part == "decoder" else vae.encoder.linear, vae.decoder.linear):
        fixed.requires_grad_(False)
    kept = Kept(trainee)
    with FlopCounterMode(display=False) as work, saved_tensors_hooks(kept.add, lambda tensor: tensor):
        _loss(trainee, picture).backward()
    every = sum(p.numel() for p in trainee.parameters())
    trained = sum(p.numel() for p in trainee.parameters() if p.requires_grad)
    rows, columns, _ = stage.data.shapes[0]
    return Need(
        stage=stage.name,
        height=height,
        width=width,
        batch=max(1, stage.data.batch * rows * columns // (height * width)),
        parameters=sum(p.numel() for p in vae.parameters()),
        trained=trained,
        state_bytes=TRAINED_BYTES * trained + FIXED_BYTES * (every - trained),
        kept_bytes=kept.bytes,
        flops=work.get_total_flops(),
    )


def _loss(trainee: Trainee, picture: Tensor) -> Tensor:
    """A scalar that reaches whatever a step's losses reach; their own arithmetic is nothing beside it."""
    z = trainee.vae.encode(picture)
    result = trainee.vae.decode(z.to(picture.dtype))
    parts = [result - picture]
    if trainee.projection is not None:
        parts.append(trainee.projection(z.to(picture.dtype)))
    if trainee.critic is not None:
        parts += [trainee.critic(picture), trainee.critic(result.detach()), trainee.critic.frozen(result)]
    return torch.stack([part.float().square().mean() for part in parts]).sum()


def table(rows: Iterable[Need]) -> str:
    """The rows as Markdown."""
    lines = [
        "| stage | picture | a step | trained | state | kept by a picture | work of a picture |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        size, trained = f"{row.height}x{row.width}", f"{row.trained / 1e6:.0f} M"
        memory = [f"{count / GIB:.1f} GiB" for count in (row.state_bytes, row.kept_bytes)]
        cells = (row.stage, size, row.batch, trained, *memory, f"{row.flops / 1e12:.1f} TFLOP")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, then one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m training.vae.dryrun", description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="paper")
    size = parser.parse_args(arguments).size
    rows = needs(SIZES[size]())
    print(f"{size}: {rows[0].parameters / 1e6:.1f} M parameters")
    print(table(rows))
    print(json.dumps({"size": size, "needs": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
