"""What a size of the visualizer would need, without computing it: `python -m training.visualizer.dryrun`.

A picture of each resolution of table 3, beside as many text tokens as a long prompt has, goes forward and
back through a generation branch that has shapes and no numbers (`training/counting.py`). The frozen branch's
own pass is not counted; its keys and values come as they do in training. Everything is in bfloat16.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from training.counting import GIB, TRAINED_BYTES, Kept
from training.visualizer.config import SIZES
from wanimage.images import CELL
from wanimage.models.mot import Context, Mot, MotConfig

RESOLUTIONS = {"pt": (192, 320, 640), "ct": (512, 1024, 2048), "sft": (512, 1024, 2048)}
"""Pixels a side by stage (report, table 3)."""
PROMPT = 512
"""Text tokens beside a picture."""


@dataclass(frozen=True)
class Need:
    """What one picture of a resolution needs."""

    stage: str
    side: int
    """Pixels."""
    tokens: int
    parameters: int
    state_bytes: int
    """Weights, their average and the optimiser's moments; the same for every resolution."""
    kept_bytes: int
    """What the picture keeps for the way back, without recomputing."""
    flops: int
    """Forward and back."""


def needs(model: MotConfig, resolutions: dict[str, Sequence[int]], prompt: int = PROMPT) -> list[Need]:
    """One row a stage and resolution."""
    return [_need(model, stage, side, prompt) for stage, sides in resolutions.items() for side in sides]


def _need(config: MotConfig, stage: str, side: int, prompt: int) -> Need:
    tokens = (side // CELL) ** 2
    with torch.device("meta"):
        mot = Mot(config).to(torch.bfloat16)
        context = _context(config, tokens, prompt)
        x = torch.empty(1, tokens, config.latent_channels, dtype=torch.bfloat16)
        t = torch.empty(1, dtype=torch.bfloat16)
    kept = Kept(mot)
    with FlopCounterMode(display=False) as work, saved_tensors_hooks(kept.add, lambda tensor: tensor):
        _velocity(mot, x, t, context).square().mean().backward()
    parameters = sum(p.numel() for p in mot.parameters())
    state = TRAINED_BYTES * parameters
    return Need(stage, side, tokens, parameters, state, kept.bytes, work.get_total_flops())


def _velocity(mot: Mot, x: torch.Tensor, t: torch.Tensor, context: Context) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):  # sinusoids of the time are float32
        return mot.velocity(x, t, context)


def _context(config: MotConfig, tokens: int, prompt: int) -> Context:
    """Keys, values, mask and rotation of one picture behind its prompt."""
    shape = (1, config.kv_heads, prompt, config.head_dim)
    pair = (torch.empty(shape, dtype=torch.bfloat16), torch.empty(shape, dtype=torch.bfloat16))
    seen = torch.empty(1, 1, tokens, prompt + tokens, dtype=torch.bool)
    turn = torch.empty(1, 1, tokens, config.head_dim // 2)
    return Context([pair] * config.depth, seen, (turn, turn))


def table(rows: Iterable[Need]) -> str:
    """The rows as Markdown."""
    lines = [
        "| stage | picture | tokens | state | kept by a picture | work of a picture |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        memory = [f"{count / GIB:.1f} GiB" for count in (row.state_bytes, row.kept_bytes)]
        cells = (row.stage, f"{row.side} px", f"{row.tokens:,}", *memory, f"{row.flops / 1e12:.1f} TFLOP")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, then one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m training.visualizer.dryrun", description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="paper")
    size = parser.parse_args(arguments).size
    rows = needs(SIZES[size]()[0].model, RESOLUTIONS)
    print(f"{size}: {rows[0].parameters / 1e6:.1f} M parameters")
    print(table(rows))
    print(json.dumps({"size": size, "needs": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
