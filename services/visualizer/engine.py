"""The visualizer's model behind its verbs: `prepare`, `step`, `preview`, `estimate`, `finish`. Knows neither
gRPC nor the bus.

A render is prepared once (the frozen understanding branch reads prompts and references, clean references
become keys and values), then stepped until done. Renders at different steps, of different sizes, with or
without guidance and references share a step, and those of about a size its matrix products (`grouping.py`); a
render may join or leave between two steps. A picture does not depend on its company: noise comes from its own
seed, and padding is masked (see `tests/unit/test_visualizer_engine.py`).

Letters: B rows (renders times guidance branches), N latent tokens of a row, L context tokens, Z latent
channels.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from services.visualizer.grouping import group
from wanimage.coloring import Coloring, Palette, stated
from wanimage.errors import InvalidInput
from wanimage.images import CELL
from wanimage.keeping import Original
from wanimage.limits import MAX_INPUT_IMAGES, MAX_OUTPUT_IMAGES
from wanimage.models.allocator import keep_freed_memory
from wanimage.models.conditioning import Condition, read
from wanimage.models.layout import Grid
from wanimage.models.mot import Context, Mot, stack
from wanimage.models.precision import GAIN, by_turns, hold_linears
from wanimage.models.understanding import Understanding, VisionInput
from wanimage.models.vae import straight
from wanimage.sampling import SamplerConfig, Trajectory, evaluations, picture_noise
from wanimage.steering import Aim, Helpers, aims, steer
from wanimage.weights import Family

UNPROMPTED = 32
"""Contexts without prompt and references that are kept: guidance needs one for every render of a grid."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PictureSpec:
    """One picture to paint."""

    prompt: str
    grid: Grid
    """Rows and columns of 16-pixel cells."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One picture to look at."""

    pixels: np.ndarray
    """uint8 straight RGBA `[H, W, 4]`, for the understanding branch."""
    latents: Tensor
    """float32 `[Z, gh, gw]`, for the generation branch."""
    changeable: Tensor | None = None
    """Cells `[gh, gw]` that an edit may change, where a mask says so."""
    kept: Tensor | None = None
    """Latents like `latents` of the picture without the cues drawn on it: what stays is held to these."""


@dataclass(frozen=True, kw_only=True)
class RenderSpec:
    """One render: a picture, or several painted jointly as a series."""

    pictures: tuple[PictureSpec, ...]
    references: tuple[Reference, ...] = ()
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    palette: Palette | None = None
    """Colours of all pictures; without it, those that each prompt states."""

    @property
    def cells(self) -> int:
        """Latent cells of all pictures, the size of the render in a batch."""
        return sum(_sizes(self))


@dataclass
class RenderState:
    """A render between `prepare` and `finish`."""

    spec: RenderSpec
    path: Trajectory
    """Latents `[N, Z]` of all pictures, one behind the other."""
    branches: list[Context]
    """What the noisy tokens see: with prompt; then, if guided, without prompt; then without references
    either."""
    aims: list[Aim]
    """What each picture is steered towards."""

    @property
    def done(self) -> bool:
        return self.path.done

    @property
    def step(self) -> int:
        """Steps finished."""
        return self.path.step

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.spec.sampler.steps


class VisualizerEngine:
    """One family on one device (the CPU)."""

    def __init__(self, family: Family, precision: str = "auto") -> None:
        """Load the parts from a verified family. `precision`: `fp32`, `bf16`, or `auto` to measure and
        log."""
        keep_freed_memory()
        self.family = family
        self.understanding = Understanding.load(family.path / "understanding")
        self.mot = Mot.load(family.path)
        self._preview = {k: v.float() for k, v in load_file(family.path / "preview.safetensors").items()}
        self._helpers = Helpers.of(family.path, Coloring(**self._preview))
        self._batches: dict[tuple[int, ...], _Batch] = {}
        self._unprompted: dict[Condition, Context] = {}
        self.precision = "fp32"
        if precision == "auto":
            self._choose_precision()
        elif precision == "bf16":
            self._turn_to_bf16()

    def cost(self, spec: RenderSpec) -> int:
        """Pixel-steps: pixels of all pictures times evaluations times guidance branches, references once."""
        grids = [picture.grid for picture in spec.pictures]
        count = evaluations(spec.sampler) * len(_conditions(spec, ()))
        return Mot.pixel_steps(grids, count, [_grid(r.latents) for r in spec.references])

    def prepare(self, spec: RenderSpec) -> RenderState:
        """Check a render and read its prompts. Raises InvalidInput, naming the field."""
        self._check(spec)
        references = tuple(self.understanding.look(reference.pixels) for reference in spec.references)
        branches = [self._context(condition, spec) for condition in _conditions(spec, references)]
        channels = self.mot.config.latent_channels
        noise = [_tokens(picture_noise(p.seed, (channels, *p.grid))) for p in spec.pictures]
        largest = max(rows * columns for rows, columns in (p.grid for p in spec.pictures))
        path = Trajectory.begin(torch.cat(noise), spec.sampler, largest)
        return RenderState(spec, path, branches, _aims(spec))

    def step(self, states: Sequence[RenderState]) -> None:
        """Advance each render by one evaluation (half a Heun step), renders of about a size in one batch.

        None may be done. All advance, or, when this raises, none.
        """
        assert states, "a step needs at least one render"
        assert not any(state.done for state in states), "a finished render cannot be stepped"
        found: list[tuple[RenderState, Tensor]] = []
        batches: dict[tuple[int, ...], _Batch] = {}
        for indices in group([len(s.path.x) for s in states], [len(s.branches) for s in states]):
            some = [states[index] for index in indices]
            batch = self._together(some)
            batches[batch.key] = batch
            found += zip(some, self._velocities(some, batch.context), strict=True)
        self._batches = batches
        for state, velocity in found:
            state.path.advance(velocity)

    def preview(self, state: RenderState) -> list[np.ndarray]:
        """Rough pictures, uint8 straight RGBA `[16 gh, 16 gw, 4]`, from the present estimate of the end.

        Before the first step that is a plain grey.
        """
        return [self._rough(latents) for latents in self.estimate(state)]

    def estimate(self, state: RenderState) -> list[Tensor]:
        """Latents of the pictures as they are expected to end, `[Z, gh, gw]` each; zeros before the first
        step."""
        clean = torch.zeros_like(state.path.x) if state.path.clean is None else state.path.clean
        return _pictures(clean, state.spec)

    def finish(self, state: RenderState) -> list[Tensor]:
        """Latents of the pictures, float32 `[Z, gh, gw]` each. The render must be done."""
        assert state.done, f"step {state.path.step} of {len(state.path.times) - 1}"
        return _pictures(state.path.x, state.spec)

    def render(self, spec: RenderSpec) -> list[Tensor]:
        """Prepare, step and finish one render alone; what tests compare batches with."""
        state = self.prepare(spec)
        while not state.done:
            self.step([state])
        return self.finish(state)

    def _check(self, spec: RenderSpec) -> None:
        if not 1 <= len(spec.pictures) <= MAX_OUTPUT_IMAGES:
            raise InvalidInput("pictures", f"got {len(spec.pictures)}", f"send 1 to {MAX_OUTPUT_IMAGES}")
        if len(spec.references) > MAX_INPUT_IMAGES:
            raise InvalidInput(
                "references", f"got {len(spec.references)}", f"send at most {MAX_INPUT_IMAGES}"
            )
        for index, picture in enumerate(spec.pictures):
            cells = picture.grid[0] * picture.grid[1]
            if min(picture.grid) < 1 or cells > self.family.max_cells:
                way_out = f"send at most {self.family.max_cells} cells"
                raise InvalidInput(
                    f"pictures[{index}].grid", f"got {picture.grid[0]}*{picture.grid[1]}", way_out
                )
        for index, reference in enumerate(spec.references):
            shape, channels = tuple(reference.latents.shape), self.mot.config.latent_channels
            if len(shape) != 3 or shape[0] != channels:
                way_out = f"send float32 [{channels}, rows, columns]"
                raise InvalidInput(f"references[{index}].latent", f"shape {list(shape)}", way_out)
        if spec.sampler.steps < 1:
            raise InvalidInput("sampling.steps", f"got {spec.sampler.steps}", "send 1 or more")

    def _context(self, condition: Condition, spec: RenderSpec) -> Context:
        """What noisy tokens see under `condition`; the same for every render of a grid without prompts."""
        unprompted = not any(condition.prompts) and not condition.references
        if unprompted and condition in self._unprompted:
            return self._unprompted[condition]
        with torch.inference_mode(), self._autocast():
            text, layout = read(
                self.understanding, [condition], self.mot.config.rope, self.mot.config.text_scope
            )
            clean = [_tokens(reference.latents) for reference in spec.references if condition.references]
            latents = torch.cat(clean).unsqueeze(0) if clean else None
            context = self.mot.context(text, layout, latents)
        if unprompted:
            if len(self._unprompted) >= UNPROMPTED:
                self._unprompted.pop(next(iter(self._unprompted)))
            self._unprompted[condition] = context
        return context

    def _velocities(self, states: Sequence[RenderState], context: Context) -> list[Tensor]:
        """The guided velocity `[N, Z]` of each render, from one evaluation of them all."""
        counts = [len(state.branches) for state in states]
        rows = [state.path.x for state, count in zip(states, counts, strict=True) for _ in range(count)]
        times = [state.path.t for state, count in zip(states, counts, strict=True) for _ in range(count)]
        x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        with torch.inference_mode(), self._autocast():
            velocities = self.mot.velocity(x, torch.tensor(times, dtype=torch.float32), context).float()
        return [
            self._steered([row[: len(state.path.x)].clone() for row in chunk], state)
            for state, chunk in zip(states, velocities.split(counts), strict=True)
        ]

    def _steered(self, branches: list[Tensor], state: RenderState) -> Tensor:
        """One velocity `[N, Z]` of the branches' velocities, steered picture by picture."""
        sizes, path, sampler = _sizes(state.spec), state.path, state.spec.sampler
        pictures = zip(*(branch.split(sizes) for branch in branches), strict=True)
        parts = zip(pictures, path.x.split(sizes), state.aims, strict=True)
        return torch.cat([steer(own, x, path.t, aim, sampler, self._helpers) for own, x, aim in parts])

    def _together(self, states: Sequence[RenderState]) -> _Batch:
        """The contexts of all branches as one batch; kept while the company stays the same."""
        company = [branch for state in states for branch in state.branches]
        key = tuple(map(id, company))
        return self._batches.get(key) or _Batch(key, company, stack(company))

    def _rough(self, latents: Tensor) -> np.ndarray:
        """`[Z, gh, gw]` through the linear preview to uint8 `[16 gh, 16 gw, 4]`."""
        rows, columns = latents.shape[1:]
        cells = (
            latents.flatten(1).T @ self._preview["basis"] + self._preview["bias"]
        )  # [gh * gw, 16 * 16 * 4]
        planes = cells.view(rows, columns, 4, CELL, CELL).permute(2, 0, 3, 1, 4)  # [4, gh, 16, gw, 16]
        return straight(planes.reshape(1, 4, rows * CELL, columns * CELL))[0].numpy()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def _turn_to_bf16(self) -> None:
        self.precision = "bf16"
        self._unprompted.clear()
        for model in (self.understanding.model, self.mot):
            hold_linears(model, torch.bfloat16)

    def _choose_precision(self) -> None:
        """Take the precision that steps a guided base picture sooner on this machine."""
        exact = copy.deepcopy((self.understanding.model, self.mot))
        self._turn_to_bf16()
        models = {"fp32": exact, "bf16": (self.understanding.model, self.mot)}

        def seconds_in(precision: str) -> float:
            self._take(precision, models[precision])
            return self._seconds_a_step()

        seconds = by_turns({precision: partial(seconds_in, precision) for precision in models})
        best = "fp32" if seconds["fp32"] <= GAIN * seconds["bf16"] else "bf16"
        self._take(best, models[best])
        log.info("precision %s: %s ms a step", self.precision, {k: 1e3 * v for k, v in seconds.items()})

    def _take(self, precision: str, models: tuple[Any, Mot]) -> None:
        self.precision = precision
        self.understanding.model, self.mot = models
        self._unprompted.clear()

    def _seconds_a_step(self, tries: int = 3) -> float:
        """Of the fastest of some steps; the first pays for warming up."""
        side = max(1, round(self.family.base_cells**0.5))
        picture = PictureSpec(prompt="a fox", grid=(side, side), seed=0)
        state = self.prepare(RenderSpec(pictures=(picture,), sampler=SamplerConfig(steps=tries + 1)))
        found = []
        while not state.done:
            started = time.perf_counter()
            self.step([state])
            found.append(time.perf_counter() - started)
        return min(found)


@dataclass(frozen=True)
class _Batch:
    """Contexts evaluated together."""

    key: tuple[int, ...]
    """Identities of `company`, which stay theirs while it is held here."""
    company: list[Context]
    context: Context


def _conditions(spec: RenderSpec, references: tuple[VisionInput, ...]) -> list[Condition]:
    """The guidance branches a render needs, fewest first; scales of 1 need none."""
    grids = tuple(_grid(reference.latents) for reference in spec.references)
    prompts = tuple(picture.prompt for picture in spec.pictures)
    full = Condition(prompts, tuple(picture.grid for picture in spec.pictures), references, grids)
    branches = [full]
    image_guided = bool(spec.references) and spec.sampler.image_guidance != 1
    if spec.sampler.guidance != 1 or image_guided:
        branches.append(full.without_text())
    if image_guided:
        branches.append(full.without_text().without_references())
    return branches


def _aims(spec: RenderSpec) -> list[Aim]:
    originals = [
        (
            _grid(each.latents),
            Original(
                _tokens(each.latents if each.kept is None else each.kept),
                None if each.changeable is None else each.changeable.flatten(),
            ),
        )
        for each in spec.references
    ]
    palettes = [spec.palette or stated(each.prompt) for each in spec.pictures]
    return aims([each.grid for each in spec.pictures], originals, palettes)


def _sizes(spec: RenderSpec) -> list[int]:
    """Cells of each picture."""
    return [picture.grid[0] * picture.grid[1] for picture in spec.pictures]


def _pictures(tokens: Tensor, spec: RenderSpec) -> list[Tensor]:
    """Tokens `[N, Z]` as latents `[Z, gh, gw]` of each picture."""
    parts = tokens.split(_sizes(spec))
    return [
        part.T.contiguous().unflatten(1, picture.grid)
        for part, picture in zip(parts, spec.pictures, strict=True)
    ]


def _tokens(latents: Tensor) -> Tensor:
    """`[Z, gh, gw]` as tokens `[gh * gw, Z]`, row-major."""
    return latents.float().flatten(1).T


def _grid(latents: Tensor) -> Grid:
    return int(latents.shape[-2]), int(latents.shape[-1])
