"""From a training state to the files that ship: vae.safetensors, vae.json, preview.safetensors (all fp16)."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from training.vae.linear import fit_preview
from wanimage.models.vae import Vae


@torch.no_grad()
def averaged(model: Vae, ema: dict[str, Tensor]) -> Vae:
    """A copy of `model` with the averaged weights; `ema` has them by their names in the trainee."""
    copy = Vae(model.config)
    own = {name.removeprefix("vae."): value for name, value in ema.items() if name.startswith("vae.")}
    copy.load_state_dict(model.state_dict() | own)
    return copy.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def shipped(
    model: Vae, ema: dict[str, Tensor], pictures: Tensor, *, same_statistics: bool, batch: int = 64
) -> Vae:
    """A copy of `model` with the averaged weights, rounded to fp16, whose latent statistics are those of
    `pictures`.

    Calibrating after rounding makes the shipped latents exact for the shipped weights. With
    `same_statistics` they stay as they are, because others were trained on these latents.
    """
    copy = averaged(model, ema)
    round_weights(copy)
    if same_statistics:
        return copy
    raw = [
        copy.encoder(chunk.contiguous(memory_format=torch.channels_last)) for chunk in pictures.split(batch)
    ]
    copy.norm.calibrate(torch.cat(raw))
    return copy


@torch.no_grad()
def round_weights(model: Vae) -> None:
    """Round every parameter to fp16 in place; the latents' statistics stay fp32 (0.4 KB)."""
    for parameter in model.parameters():
        parameter.copy_(parameter.half().float())


@torch.no_grad()
def export(model: Vae, pictures: Tensor, folder: Path, lineage: dict[str, object]) -> None:
    """Write the three files; `pictures` `[N, 4, H, W]` fit the preview, `lineage` goes into vae.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous() for name, value in model.named_parameters()}
    tensors |= {name: value.contiguous() for name, value in model.named_buffers()}
    save_file(tensors, folder / "vae.safetensors")
    document = {"config": model.config.to_json(), "training": lineage}
    (folder / "vae.json").write_text(json.dumps(document, indent=1) + "\n")
    z = torch.cat([model.encode(chunk) for chunk in pictures.split(64)])
    basis, bias = fit_preview(z, pictures)
    save_file({"basis": basis.half(), "bias": bias.half()}, folder / "preview.safetensors")
    for name in ("vae.safetensors", "preview.safetensors"):
        (folder / name).chmod(0o644)  # safetensors writes 0600, and services run as another user


def load(folder: Path) -> Vae:
    """The exported model in fp32, for training: its parameters require gradients."""
    return Vae.load(folder).requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
