"""Paint tasks with a model at hand: the batch sampler of evaluations and contact sheets.

All tasks of a call run in step, so this is the plain loop; the service's engine lets renders join and leave,
and its tests hold it to one render alone.

Letters: B tasks, N noisy tokens, Z latent channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from training.loop import autocast
from training.visualizer.data import padded
from training.visualizer.kept import difference, encode
from training.visualizer.tasks import Task
from training.world.tasks.sample import Frame
from wanimage.coloring import stated
from wanimage.images import defringed
from wanimage.keeping import Original
from wanimage.models.conditioning import Condition, read
from wanimage.models.mot import Context, Mot
from wanimage.models.understanding import Understanding
from wanimage.models.vae import Vae, straight
from wanimage.sampling import SamplerConfig, picture_noise, sample
from wanimage.steering import Aim, Helpers, aims, steer


@dataclass(frozen=True)
class Painter:
    """The three models of a family that make pictures."""

    understanding: Understanding
    mot: Mot
    vae: Vae
    precision: str = "fp32"
    """`fp32` runs well everywhere; `bf16` is faster where the machine multiplies in it."""
    helpers: Helpers = field(default_factory=Helpers)
    """What it is steered with."""

    @torch.inference_mode()
    def paint(self, tasks: Sequence[Task], sampler: SamplerConfig, seed: int = 0) -> list[list[np.ndarray]]:
        """Pictures of each task, uint8 straight RGBA `[16 gh, 16 gw, 4]`; picture j of task i has seed + 100
        i + j."""
        with autocast(self.precision):
            seen = [[frame.draw() for frame in task.references] for task in tasks]
            clean = [encode(self.vae, pictures) for pictures in seen]
            branches = self._branches(tasks, seen, clean, sampler)
            wanted = [_aims(task, self._bare(task, own)) for task, own in zip(tasks, clean, strict=True)]
            x = padded([_noise(task, seed + 100 * i) for i, task in enumerate(tasks)])

            def velocity(x: Tensor, t: float) -> Tensor:
                times = torch.full((len(x),), t)
                answers = [self.mot.velocity(x, times, context).float() for context in branches]
                return self._steered(answers, x, t, tasks, wanted, sampler)

            largest = max(shot.grid[0] * shot.grid[1] for task in tasks for shot in task.shots)
            latents = sample(velocity, x, sampler, largest)
            return [self._decode(row, task) for row, task in zip(latents, tasks, strict=True)]

    def _bare(self, task: Task, clean: list[Tensor]) -> list[Tensor]:
        """Latents of the references without the cues that are drawn on them: what stays is held to these."""
        bare = iter(encode(self.vae, [frame.bare.draw() for frame in task.references if frame.cues]))
        return [next(bare) if frame.cues else own for frame, own in zip(task.references, clean, strict=True)]

    def _steered(
        self,
        answers: list[Tensor],
        x: Tensor,
        t: float,
        tasks: Sequence[Task],
        wanted: Sequence[list[Aim]],
        sampler: SamplerConfig,
    ) -> Tensor:
        """The branches' velocities steered picture by picture; tasks without references ignore the third
        branch."""
        out = answers[0].clone()
        for i, (task, own) in enumerate(zip(tasks, wanted, strict=True)):
            branches, first = answers if task.references else answers[:2], 0
            for aim in own:
                where = (i, slice(first, first + aim.grid[0] * aim.grid[1]))
                out[where] = steer([b[where] for b in branches], x[where], t, aim, sampler, self.helpers)
                first = where[1].stop
        return out

    def _branches(
        self,
        tasks: Sequence[Task],
        seen: Sequence[list[np.ndarray]],
        latents: Sequence[list[Tensor]],
        sampler: SamplerConfig,
    ) -> list[Context]:
        """Contexts with prompt; then, if guided, without prompt; then without references too."""
        full = [self._condition(task, pictures) for task, pictures in zip(tasks, seen, strict=True)]
        empty = torch.zeros(0, self.mot.config.latent_channels)
        clean = padded([torch.cat([empty, *each]) for each in latents])
        contexts = [self._context(full, clean)]
        image_guided = sampler.image_guidance != 1 and any(task.references for task in tasks)
        if sampler.guidance != 1 or image_guided:
            contexts.append(self._context([c.without_text() for c in full], clean))
        if image_guided:
            contexts.append(self._context([c.without_text().without_references() for c in full], None))
        return contexts

    def _condition(self, task: Task, seen: list[np.ndarray]) -> Condition:
        prompts, grids = zip(*((shot.prompt, shot.grid) for shot in task.shots), strict=True)
        looks = tuple(map(self.understanding.look, seen))
        return Condition(prompts, grids, looks, tuple(frame.grid for frame in task.references))

    def _context(self, conditions: list[Condition], clean: Tensor | None) -> Context:
        config = self.mot.config
        text, layout = read(self.understanding, conditions, config.rope, config.text_scope)
        return self.mot.context(text, layout, clean)

    def _decode(self, tokens: Tensor, task: Task) -> list[np.ndarray]:
        pictures, first = [], 0
        for shot in task.shots:
            part = tokens[first : first + shot.grid[0] * shot.grid[1]]
            planes = self.vae.decode(part.T.unflatten(1, shot.grid).unsqueeze(0))
            pictures.append(defringed(straight(planes.float())[0].numpy()))
            first += len(part)
        return pictures


def _noise(task: Task, seed: int) -> Tensor:
    """`[N, 48]`: picture j of the task has the noise of `seed` + j."""
    grids = enumerate(shot.grid for shot in task.shots)
    return torch.cat([picture_noise(seed + j, (48, *grid)).flatten(1).T for j, grid in grids])


def _aims(task: Task, latents: Sequence[Tensor]) -> list[Aim]:
    originals = [
        (frame.grid, Original(clean, _changeable(frame)))
        for clean, frame in zip(latents, task.references, strict=True)
    ]
    palettes = [task.palette or stated(shot.prompt) for shot in task.shots]
    return aims([shot.grid for shot in task.shots], originals, palettes)


def _changeable(frame: Frame) -> Tensor | None:
    """The cells `[N]` under masks; None where other cues say where, or none does."""
    if not frame.cues or any(cue.shape != "mask" for cue in frame.cues):
        return None
    return torch.from_numpy(difference(frame.draw(), frame.bare.draw()) > 0)
