"""What is trained and on what loss: next tokens of the assistant, and a probe on the vision tokens."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.understanding.batches import Batch
from training.understanding.vision import Probe
from wanimage.models.qwen3vl import decode, see

PROBE_WEIGHT = 0.2
"""Weight of the probe's loss beside the next-token loss: the tower must not forget what it was taught."""


class Trainee(nn.Module):
    """The branch and a probe that is left behind at export."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.probe = Probe(model.config.text_config.hidden_size)


def step_loss(module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
    """One piece's part in the loss of its step."""
    text, probe, right = batch_loss(module, batch)
    probe = probe * batch.share
    return text + PROBE_WEIGHT * probe, {"text": text.item(), "probe": probe.item(), "accuracy": right}


def batch_loss(module: Any, batch: Batch) -> tuple[Tensor, Tensor, float]:
    """(weighted next-token loss, probe loss, weighted accuracy) of one batch."""
    model = module.model
    seen, probe_loss = None, torch.zeros(())
    if batch.patches is not None and batch.grids is not None:
        grids = [(int(h), int(w)) for _, h, w in batch.grids.tolist()]
        seen = see(model.model.visual, batch.patches, grids)
        probe_loss, _ = module.probe(seen[0], batch.probes)
    hidden = decode(model, batch.ids, batch.mask, batch.patches, batch.grids, seen=seen)
    predicted = F.linear(hidden.flatten(0, 1)[batch.places], model.lm_head.weight).float()
    text_loss = (F.cross_entropy(predicted, batch.targets, reduction="none") * batch.weights).sum()
    correct = float(((predicted.argmax(-1) == batch.targets) * batch.weights).sum())
    return text_loss, probe_loss, correct
