"""Seconds a picture takes the visualizer, beside the machine's ceiling and a diffusers pipeline of its size.

    python benchmarks/visualizer_speed.py [--precision auto|fp32|bf16] [--tries 5]     # make bench-visualizer

The shipped weights in this process, all steps with guidance, without decoding; 128, 256 and 512 px and 1:8,
one picture and eight together. Beside each:

- the ceiling: the floating-point operations of all evaluations at the speed that bare matrix products of the
  model's shapes reach here;
- diffusers: a random PixArt transformer with as many parameters (8 layers of 256, cross attention to as many
  text tokens), stepped as often by its flow-matching Euler scheduler, in the same precision. Needs
  `pip install diffusers`; without it the column stays empty.

Sizes beyond what the family was trained on say what they cost, not how they look. Prints a table, then one
JSON line.
"""

import argparse
import json
import logging
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from products import flops_a_second, seconds_of

from services.visualizer.engine import PictureSpec, RenderSpec, VisualizerEngine
from wanimage.config import Settings
from wanimage.models.layout import Grid
from wanimage.sampling import SamplerConfig, evaluations
from wanimage.weights import Family

SIZES: dict[str, Grid] = {"128 px": (8, 8), "256 px": (16, 16), "512 px": (32, 32), "1:8": (3, 24)}
BATCHES = (1, 8)
PROMPT = "a large fox at the left and a small red balloon at the top right, in a meadow by day"
LAYERS = 8
"""Of the PixArt transformer: 9.1 M parameters, the visualizer's are 9.2 M."""


@dataclass(frozen=True)
class Row:
    """Seconds a picture of one size in one batch."""

    size: str
    batch: int
    ours: float
    ceiling: float
    diffusers: float | None

    @property
    def line(self) -> str:
        """Of the table."""
        other = "" if self.diffusers is None else f"{self.diffusers:.3f} | {self.diffusers / self.ours:.2f}"
        return (
            f"| {self.size} | {self.batch} | {self.ours:.3f} | {self.ceiling:.3f} "
            f"| {self.ours / self.ceiling:.2f} | {other or ' | '} |"
        )


def measured(engine: VisualizerEngine, tries: int) -> list[Row]:
    """All sizes and batches; the sides alternate within each."""
    engine.family.manifest["grid"]["max_cells"] = max(r * c for r, c in SIZES.values())
    rows = []
    for size, grid in SIZES.items():
        for batch in BATCHES:
            specs = [_spec(grid, seed) for seed in range(batch)]
            context = engine.prepare(specs[0]).branches[0].keys_values[0][0].shape[2]
            pixart = _pixart(engine.precision, grid, batch, context)
            ours, theirs = [], []
            for _ in range(tries):
                ours.append(seconds_of(lambda specs=specs: _render(engine, specs)) / batch)
                theirs += [seconds_of(pixart) / batch] if pixart else []
            other = statistics.median(theirs) if theirs else None
            ceiling = _ceiling(engine, grid, batch, context)
            rows.append(Row(size, batch, statistics.median(ours), ceiling, other))
            print(rows[-1].line, flush=True)
    return rows


def _spec(grid: Grid, seed: int) -> RenderSpec:
    return RenderSpec(pictures=(PictureSpec(prompt=PROMPT, grid=grid, seed=seed),))


def _render(engine: VisualizerEngine, specs: list[RenderSpec]) -> None:
    states = [engine.prepare(spec) for spec in specs]
    while not states[0].done:
        engine.step(states)


def _ceiling(engine: VisualizerEngine, grid: Grid, batch: int, context: int) -> float:
    """Seconds a picture at the speed of bare matrix products."""
    cells, rows = grid[0] * grid[1], 2 * batch  # guidance doubles rows
    flops = 2 * engine.mot.flops(context, 0, cells, evaluations(SamplerConfig()))
    return flops / flops_a_second(engine.precision, rows * cells)


def _pixart(precision: str, grid: Grid, batch: int, context: int) -> Callable[[], None] | None:
    """The other side's render of a batch, guided; None without diffusers."""
    try:
        from diffusers import FlowMatchEulerDiscreteScheduler, PixArtTransformer2DModel
    except ImportError:
        return None
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model: Any = PixArtTransformer2DModel(
        num_attention_heads=4, attention_head_dim=64, in_channels=48, out_channels=48, num_layers=LAYERS,
        cross_attention_dim=256, caption_channels=256, sample_size=16, patch_size=1,
        use_additional_conditions=False,
    ).to(dtype).eval()  # fmt: skip
    text = torch.randn(2 * batch, context, 256, dtype=dtype)
    size = {"resolution": None, "aspect_ratio": None}

    def render() -> None:
        scheduler: Any = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(SamplerConfig().steps)
        x = torch.randn(batch, 48, *grid, dtype=dtype)
        for t in scheduler.timesteps:
            both, times = torch.cat([x, x]), t.expand(2 * batch)
            found = model(both, text, times, added_cond_kwargs=size, return_dict=False)[0]
            full, plain = found.chunk(2)
            x = scheduler.step(plain + 3 * (full - plain), t, x, return_dict=False)[0]

    return render


def main() -> None:
    """Measure and print."""
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--tries", type=int, default=5)
    given = parser.parse_args()
    engine = VisualizerEngine(Family.load(Settings().weights), given.precision)
    print(f"precision {engine.precision}, {torch.get_num_threads()} threads")
    print("| size | batch | s a picture | ceiling | times the ceiling | diffusers | times ours |")
    print("|---|---|---|---|---|---|---|")
    rows = measured(engine, given.tries)
    found = {"precision": engine.precision, "rows": [asdict(row) for row in rows]}
    print(json.dumps({"benchmark": "visualizer_speed", **found}))


if __name__ == "__main__":
    main()
