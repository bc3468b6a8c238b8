"""The closed-form start of the VAE, and the linear preview of its latents.

The linear path could be learned, but its optimum is known: principal components of 16x16 patches in, least
squares out. Starting there saves the first tens of thousands of pictures.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from wanimage.models.vae import Vae


@torch.no_grad()
def fit_linear_path(model: Vae, pictures: Tensor, noise: float) -> None:
    """Set the linear path of `model` from premultiplied pictures `[N, 4, H, W]`; `noise` as in training.

    Every latent has unit variance and gets equal noise, so plain whitening would spend as much on the last
    component as on the mean colour, which then comes back wrong by a visible tint. With power p_k on
    component k of variance v_k the error is the sum of v_k noise^2 / p_k; at a fixed sum of p it is least for
    p_k ~ sqrt(v_k). A rotation then spreads the components over all channels, which makes the channels'
    variances equal.
    """
    channels = model.config.latent_channels
    cells = (
        F.pixel_unshuffle(pictures, model.config.stride).movedim(1, -1).flatten(0, -2)
    )  # [N h w, 4 * 16 * 16]
    mean = cells.mean(0)
    covariance = (cells - mean).T @ (cells - mean) / len(cells)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values[-channels:].clamp_min(1e-8), vectors[:, -channels:]
    power = values.sqrt() * channels / values.sqrt().sum()
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(channels, channels, generator=generator)).Q
    encode = rotation @ torch.diag((power / values).sqrt()) @ vectors.T  # [Z, 4 * 16 * 16]
    encode /= (encode @ covariance @ encode.T).diagonal().sqrt()[:, None]
    assert model.encoder.linear.bias is not None, "built with a bias"
    assert model.decoder.linear.bias is not None, "built with a bias"
    model.encoder.linear.weight.copy_(encode[:, :, None, None])
    model.encoder.linear.bias.copy_(-encode @ mean)
    z = model.encoder.linear(F.pixel_unshuffle(pictures, model.config.stride))  # unit variance, mean zero
    # The expected square of the noise, uniform in deviation, is noise^2 / 3; as a ridge it makes the fit
    # robust to it.
    weight, bias = fit_decoding(z, pictures, kernel=3, ridge=noise**2 / 3)
    model.decoder.linear.weight.copy_(weight)
    model.decoder.linear.bias.copy_(bias)
    # Frozen: a thousand correlated inputs times an Adam step would undo the fit before the rest has learned
    # anything.
    model.encoder.linear.requires_grad_(False)
    model.decoder.linear.requires_grad_(False)


@torch.no_grad()
def fit_decoding(z: Tensor, pictures: Tensor, kernel: int, ridge: float) -> tuple[Tensor, Tensor]:
    """Least squares from neighbourhoods of latents `[N, Z, h, w]` to the patches of `pictures` `[N, 4, H,
    W]`.

    Returns weight `[4 s s, Z, kernel, kernel]` and bias `[4 s s]` (s pixels a cell, in `pixel_unshuffle`
    order). `ridge` is the variance of noise on the latents against which the fit is to be robust.
    """
    stride = pictures.shape[2] // z.shape[2]
    inputs = F.unfold(z, kernel, padding=kernel // 2).movedim(1, -1).flatten(0, 1)  # [N h w, Z k k]
    targets = F.pixel_unshuffle(pictures, stride).movedim(1, -1).flatten(0, -2)
    inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
    penalty = torch.full((inputs.shape[1],), max(ridge, 1e-6) * len(inputs), dtype=torch.double)
    penalty[-1] = 0  # the bias is free
    # Products in fp32 (fp64 takes ten times as long), the solution, which is what loses digits, in fp64.
    normal = (inputs.T @ inputs).double() + torch.diag(penalty)
    solution = torch.linalg.solve(normal, (inputs.T @ targets).double()).float()
    weight = solution[:-1].T.reshape(targets.shape[1], z.shape[1], kernel, kernel)
    return weight, solution[-1]


def fit_preview(z: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The preview of a picture under way: basis `[Z, 1024]` and bias `[1024]`, `cell @ basis + bias` ->
    planes.

    The 1024 values of a cell are its pixels in `[4, 16, 16]` order (plane, row, column), premultiplied in
    [-1, 1].
    """
    weight, bias = fit_decoding(z, pictures, kernel=1, ridge=0.01)
    return weight[:, :, 0, 0].T.contiguous(), bias
