"""All terms of one step: reconstruction, features, distillation, critic, and nearness to earlier latents."""

import torch
from torch import Tensor, nn

from training.vae.adversarial import Critic, balance, hinge
from training.vae.config import LossConfig
from training.vae.distillation import alignment_loss, feature_distance
from training.vae.loss import latent_divergence, reconstruction_loss, tint_steps
from training.vae.teacher import Teacher, window
from wanimage.models.vae import Vae, conv

CRITIC_SCALE = 0.01


class Trainee(nn.Module):
    """The VAE and what only training needs: the projection to the teacher, the critic, their balances."""

    steps: Tensor
    pulls: Tensor

    def __init__(self, vae: Vae, config: LossConfig, teacher_width: int = 0) -> None:
        super().__init__()
        self.vae = vae
        channels = vae.config.latent_channels
        self.projection = conv(channels, teacher_width, kernel=1) if config.distillation else None
        self.critic = Critic() if config.adversarial else None
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("pulls", torch.zeros(2))  # balance of distillation, of the critic


class Objective:
    """`objective(trainee, pictures, generator)` -> loss and its terms; equal generators give equal losses."""

    def __init__(
        self, config: LossConfig, teacher: Teacher | None = None, earlier: Vae | None = None
    ) -> None:
        """`teacher` serves `perceptual` and `distillation`, `earlier` (a frozen VAE) serves `anchor`."""
        if (config.perceptual or config.distillation) and teacher is None:
            raise ValueError("perceptual and distillation need a teacher; set both to 0 or pass one")
        if config.anchor and earlier is None:
            raise ValueError(
                "anchor needs the earlier VAE whose latents are to be kept; set it to 0 or pass one"
            )
        self.config, self.teacher, self.earlier = config, teacher, earlier

    def __call__(
        self, module: nn.Module, pictures: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss of one batch `[B, 4, H, W]`, premultiplied planes in [-1, 1]."""
        assert isinstance(module, Trainee), type(module)
        config, vae = self.config, module.vae
        z = vae.encode(pictures)
        # The posterior is normal around `encode` with a variance that is not learned. Its noise is uniform in
        # deviation: exact latents stay sharp, sampled ones (never exactly on the encoder's manifold) are
        # still decoded cleanly.
        sigma = config.noise * torch.rand(len(z), 1, 1, 1, generator=generator)
        result = vae.decode(z + sigma * torch.randn(z.shape, generator=generator))
        loss, numbers = reconstruction_loss(result, pictures, config)
        terms = {}
        if config.divergence:
            terms["divergence"] = (config.divergence, latent_divergence(z))
        if config.tint:
            steps = tint_steps(result.float(), pictures, vae.config.stride)
            terms["tint"] = (config.tint, steps.sum() / max(1, len(steps)))
        if config.anchor:
            terms["anchor"] = (config.anchor, self._drift(z, pictures))
        if self.teacher is not None:
            terms |= self._taught(module, loss, z, result, pictures, generator)
        if module.critic is not None:
            terms |= self._judged(module, loss, result, pictures)
        module.steps += 1
        total = loss + sum((weight * value for weight, value in terms.values()), torch.zeros(()))
        return total, numbers | {name: float(value.detach()) for name, (_, value) in terms.items()}

    def _drift(self, z: Tensor, pictures: Tensor) -> Tensor:
        """Mean squared distance from the latents that the earlier VAE gives."""
        assert self.earlier is not None, "checked in __init__"
        with torch.no_grad():
            before = self.earlier.encode(pictures)
        return (z - before).square().mean()

    def _taught(
        self,
        module: Trainee,
        loss: Tensor,
        z: Tensor,
        result: Tensor,
        pictures: Tensor,
        generator: torch.Generator,
    ) -> dict[str, tuple[float, Tensor]]:
        """Perceptual distance and semantic distillation, on a window that the teacher can see."""
        assert self.teacher is not None, "the caller checked"
        config, cell = self.config, module.vae.config.stride
        rows, columns = (window(side, generator) for side in pictures.shape[2:])
        ground = torch.rand(len(z), 3, 1, 1, generator=generator)
        with torch.no_grad():
            target = self.teacher.features(over(pictures[:, :, rows, columns], ground))
        terms = {}
        if config.perceptual:
            seen = self.teacher.features(over(result[:, :, rows, columns], ground))
            terms["perceptual"] = (config.perceptual, feature_distance(seen, target))
        if module.projection is not None:
            cells = (slice(s.start // cell, s.stop // cell) for s in (rows, columns))
            projected = module.projection(z[:, :, next(cells)][:, :, :, next(cells)])
            value = alignment_loss(projected, target[-1], config.cosine_margin, config.distance_margin)
            pull = self._balance(module, 0, loss, value, module.vae.encoder.head.weight)
            terms["distillation"] = (config.distillation * pull, value)
        return terms

    def _judged(
        self, module: Trainee, loss: Tensor, result: Tensor, pictures: Tensor
    ) -> dict[str, tuple[float, Tensor]]:
        """The critic's own loss, and after `critic_first` steps what it thinks of the reconstruction."""
        assert module.critic is not None, "the caller checked"
        critic = hinge(module.critic(pictures), module.critic(result.detach()))
        # Its scale says nothing to Adam, but unscaled its gradient would fill the norm that all parts are
        # clipped by together.
        terms = {"critic": (CRITIC_SCALE, critic)}
        if int(module.steps) >= self.config.critic_first:
            value = -module.critic.frozen(result).mean()
            pull = self._balance(module, 1, loss, value, module.vae.decoder.head.weight)
            terms["adversarial"] = (self.config.adversarial * pull, value)
        return terms

    def _balance(self, module: Trainee, slot: int, main: Tensor, other: Tensor, weight: Tensor) -> float:
        """The adaptive weight of a term, measured anew every `adapt_every` steps and kept in between."""
        value = float(module.pulls[slot])
        stale = value == 0 or int(module.steps) % self.config.adapt_every == 0
        if stale and weight.requires_grad and bool((other != 0).all()):
            value = float(balance(main, other, weight))
            module.pulls[slot] = value
        return value


def over(planes: Tensor, ground: Tensor) -> Tensor:
    """Visible colour `[B, 3, H, W]` in [-1, 1] of premultiplied planes over `[B, 3, 1, 1]` in 0 to 1."""
    transparency = (1 - planes[:, 3:]) / 2
    return planes[:, :3] + 2 * transparency * ground
