"""The refiner at work, tile by tile: `prepare`, `step`, `finish`. Knows neither bus nor gRPC.

A picture is prepared once (its prompt is read, a latent is decoded), then each of its tiles is encoded and
denoised, and when all are there, each is decoded (`wanimage/refining.py` says why). A step does the next tile
of several pictures; tiles of one size that take as many evaluations are denoised as one batch. A picture does
not depend on its company: noise comes from its own seed, and padding of prompts is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wanimage import refining, telemetry
from wanimage.enlarging import Enlargement, cells_of
from wanimage.errors import Misconfigured
from wanimage.images import Rgba
from wanimage.latents import Latent
from wanimage.models.allocator import keep_freed_memory
from wanimage.models.precision import computing_in, faster_dtype
from wanimage.models.refiner import Prompt, Refiner
from wanimage.models.understanding import Understanding
from wanimage.models.vae import Vae
from wanimage.refining import Mode
from wanimage.sampling import picture_noise
from wanimage.tiling import Tile, tiles_of
from wanimage.weights import Family

PART = "refiner"
REHEARSAL = (8, 8)
"""Cells of the tile that is timed in either precision."""

log = telemetry.logger(__name__)


@dataclass(frozen=True, kw_only=True)
class RefineSpec:
    """One picture to refine: exactly one of `picture` and `latent` is given."""

    size: tuple[int, int]
    """(height, width) in pixels that it is to have."""
    mode: Mode
    prompt: str
    seed: int
    picture: Rgba | None = None
    """uint8 straight RGBA `[H, W, 4]`."""
    latent: Latent | None = None
    """float32 `[Z, h, w]` of the engine's family; decoded first."""
    accept: Callable[[Rgba], object] = lambda picture: None
    """Called with the picture before any tile; what it raises ends this task."""

    @property
    def tiles(self) -> list[Tile]:
        return tiles_of(cells_of(self.size))


@dataclass(frozen=True)
class Unit:
    """What a step does of one picture."""

    tile: Tile
    evaluations: int
    """Of the transformer; 0 where the tile is decoded."""

    @property
    def key(self) -> tuple[object, ...]:
        """Units of equal keys may share a step."""
        return self.evaluations, self.tile.size

    @property
    def cells(self) -> int:
        return self.tile.size[0] * self.tile.size[1]


@dataclass
class Denoising:
    """While tiles are encoded and denoised."""

    enlarged: Enlargement
    prompt: Prompt
    """One row."""
    noise: Tensor
    """`[Z, rows, columns]` of the whole picture."""
    latent: refining.Latent


@dataclass
class Decoding:
    """While tiles are decoded."""

    enlarged: Enlargement
    latent: Tensor
    """`[Z, rows, columns]`."""
    picture: Rgba
    """Whole cells; those of tiles that are done."""

    @staticmethod
    def after(work: Denoising) -> Decoding:
        """What begins once every tile is denoised."""
        return Decoding(work.enlarged, work.latent.whole(), refining.blank(work.latent.grid))


@dataclass
class RefineState:
    """A picture between `prepare` and `finish`."""

    spec: RefineSpec
    tiles: Sequence[Tile]
    work: Denoising | Decoding
    step: int = 0
    """Tiles done, each once denoised and once decoded."""

    @property
    def steps(self) -> int:
        """Steps in all."""
        return 2 * len(self.tiles)

    @property
    def done(self) -> bool:
        return self.step == self.steps

    @property
    def next(self) -> Unit:
        """What the next step does; the picture must not be done."""
        return unit_of(self.spec, self.tiles, self.step)


def unit_of(spec: RefineSpec, tiles: Sequence[Tile], step: int) -> Unit:
    """What that step, counted from 0, does of a picture."""
    denoised = step < len(tiles)
    evaluations = refining.MODES[spec.mode].steps if denoised else 0
    return Unit(tiles[step if denoised else step - len(tiles)], evaluations)


class RefinerEngine:
    """One family on one device (the CPU). Not to be called from two threads at once."""

    def __init__(
        self, understanding: Understanding, vae: Vae, refiner: Refiner, dtype: torch.dtype | None = None
    ) -> None:
        """`dtype` None measures which is faster here, for the transformer and the VAE each."""
        keep_freed_memory()
        self.understanding, self.refiner = understanding, refiner.eval().requires_grad_(False)
        self.vae = vae.eval().requires_grad_(False)
        self.vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.dtype = faster_dtype(self._rehearse_denoising) if dtype is None else dtype
        self.vae_dtype = faster_dtype(self._rehearse_decoding) if dtype is None else dtype
        log.info("refiner_loaded", dtype=str(self.dtype), vae_dtype=str(self.vae_dtype))

    @classmethod
    def load(cls, family: Family, dtype: torch.dtype | None = None) -> RefinerEngine:
        """Read the parts `understanding`, `vae` and `refiner` of a verified family, strictly. Raises
        Misconfigured where it has no refiner."""
        if PART not in family.parts:
            way_out = "use a family that has one, or train it with `python -m training.refiner`"
            problem = f"the family {family.digest[:12]} has no part {PART!r}"
            raise Misconfigured("WAN_WEIGHTS", problem, way_out)
        understanding = Understanding.load(family.path / "understanding")
        return cls(understanding, Vae.load(family.path), Refiner.load(family.path), dtype)

    @torch.inference_mode()
    def prepare(self, spec: RefineSpec) -> RefineState:
        """Read the prompt and the picture. Raises what `spec.accept` does."""
        assert (spec.picture is None) != (spec.latent is None), "give a picture or a latent"
        picture = spec.picture if spec.latent is None else self._decoded(torch.from_numpy(spec.latent.copy()))
        assert picture is not None
        spec.accept(picture)
        grid, channels = cells_of(spec.size), self.vae.config.latent_channels
        work = Denoising(
            enlarged=refining.enlargement_of(picture, spec.size),
            prompt=refining.read_prompts(self.understanding, self.refiner, [spec.prompt]),
            noise=picture_noise(spec.seed, (channels, *grid)),
            latent=refining.Latent(grid, channels),
        )
        return RefineState(spec, spec.tiles, work)

    @torch.inference_mode()
    def step(self, states: Sequence[RefineState]) -> None:
        """Do the next tile of each picture; their next units must have one key.

        All advance, or, when this raises, none.
        """
        assert len({state.next.key for state in states}) == 1, "only like tiles share a step"
        if states[0].next.evaluations:
            self._denoise(states)
        else:
            for state in states:
                self._decode(state)
        for state in states:
            state.step += 1
            if isinstance(state.work, Denoising) and state.step == len(state.tiles):
                state.work = Decoding.after(state.work)

    @torch.inference_mode()
    def finish(self, state: RefineState) -> Rgba:
        """The refined picture, straight RGBA `[height, width, 4]` uint8. It must be done."""
        assert state.done, f"step {state.step} of {state.steps}"
        assert isinstance(state.work, Decoding)
        height, width = state.spec.size
        return refining.keep_shades(state.work.picture[:height, :width], state.work.enlarged)

    def _denoise(self, states: Sequence[RefineState]) -> None:
        tiles = [state.next.tile for state in states]
        works = [state.work for state in states if isinstance(state.work, Denoising)]
        pairs = list(zip(tiles, works, strict=True))
        with computing_in(self.vae_dtype):
            low = torch.stack([refining.encode_tile(self.vae, work.enlarged, tile) for tile, work in pairs])
        noise = torch.stack([work.noise[:, *tile.cut()] for tile, work in pairs])
        place = refining.places_of(tiles, [work.enlarged.scale for work in works])
        prompt = Prompt.stack([work.prompt for work in works])
        modes = [refining.MODES[state.spec.mode] for state in states]
        with computing_in(self.dtype):
            clean = refining.denoise(self.refiner, low, noise, place, prompt, modes)
        for (tile, work), latent in zip(pairs, clean, strict=True):
            work.latent.add(tile, latent)

    def _decode(self, state: RefineState) -> None:
        assert isinstance(state.work, Decoding)
        tile = state.next.tile
        with computing_in(self.vae_dtype):
            decoded = refining.decode_tile(self.vae, state.work.latent, tile)
        refining.place_tile(state.work.picture, tile, decoded)

    def _decoded(self, latent: Tensor) -> Rgba:
        """The picture of a latent `[Z, h, w]`, which may be too large to be decoded whole."""
        with computing_in(self.vae_dtype):
            return refining.decode(self.vae, latent)

    def _rehearse_denoising(self) -> Tensor:
        (tile,) = tiles_of(REHEARSAL)
        low = torch.zeros(1, self.vae.config.latent_channels, *REHEARSAL)
        prompt = refining.read_prompts(self.understanding, self.refiner, [""])
        place, mode = refining.places_of([tile], [1.0]), refining.ModeConfig(start=0.5, steps=1)
        return refining.denoise(self.refiner, low, low, place, prompt, [mode])

    def _rehearse_decoding(self) -> Tensor:
        latent = torch.zeros(1, self.vae.config.latent_channels, *REHEARSAL)
        return self.vae.decode(latent.contiguous(memory_format=torch.channels_last))
