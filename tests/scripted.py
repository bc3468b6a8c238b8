"""A planner engine that follows a script, and workers that finish pictures at once: a turn without models."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from services.planner.engine import Control, Delta, Part, Picture
from wanimage import images, tokens
from wanimage.blobs import Blobs
from wanimage.markup import Tag, split_tags
from wanimage.takenjob import TakenJob
from wanimage.v1 import jobs_pb2, types_pb2


@dataclass
class ScriptedEngine:
    """Writes `script`, whatever it is asked, going on from what of it is already in the context.

    Text comes in pieces of three characters; each decode stops at a <BOI> or at the script's end.
    """

    script: str
    pause: Callable[[], "asyncio.Future[None] | None"] = lambda: None
    """Awaited before every piece when it gives something."""
    base_cells: int = 64
    max_tokens: int = 4096
    max_images: int = 24
    contexts: list[list[Part]] = field(default_factory=list)
    banned: list[frozenset[Tag]] = field(default_factory=list)

    async def decode(
        self, context: Sequence[Part], *, max_tokens: int, banned: frozenset[Tag] = frozenset(), **_: object
    ) -> AsyncIterator[Delta]:
        """As PlannerEngine.decode."""
        self.contexts.append(list(context))
        self.banned.append(banned)
        rest = self.script[len(written_in(context)) :]
        used = 0
        for piece in split_tags(rest):
            for part in (
                [piece] if isinstance(piece, Tag) else [piece[i : i + 3] for i in range(0, len(piece), 3)]
            ):
                waiting = self.pause()
                if waiting is not None:
                    await waiting
                used += 1
                stop = "boi" if part is Tag.BOI else "length" if used == max_tokens else ""
                yield Delta(pieces=(part,), token_ids=(0,), stop=stop)
                if stop:
                    return
        yield Delta(pieces=(), token_ids=(0,), stop="end")

    def count(self, context: Sequence[Part]) -> int:
        """One token a character, 16 a picture."""
        return sum(16 if isinstance(p, Picture) else 1 if isinstance(p, Control) else len(p) for p in context)

    def picture_tokens(self, size: types_pb2.Size) -> int:
        """16, of any size."""
        return 16

    def grid_asked_for(self, hint: types_pb2.SizeHint) -> types_pb2.Grid:
        """Sizes only."""
        return types_pb2.Grid(height_cells=hint.size.height // 16, width_cells=hint.size.width // 16)


def written_in(context: Sequence[Part]) -> str:
    """The markup of the last assistant turn in a context."""
    start = max(i for i, part in enumerate(context) if part == Control(tokens.IM_START)) + 2
    texts = [p.name if isinstance(p, Control) else p for p in context[start:] if not isinstance(p, Picture)]
    return "".join(texts)


@dataclass
class InstantDrawing:
    """Handlers for the jobs of pictures that need no model; they count what they did."""

    blobs: Blobs
    rendered: list[jobs_pb2.RenderJob] = field(default_factory=list)
    encoded: list[jobs_pb2.EncodeJob] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """Renders wait for it, when given."""
    asked_to_refine: list[jobs_pb2.Job] = field(default_factory=list)
    refining: Callable[[jobs_pb2.RefineJob], Awaitable[None]] | None = None
    """Awaited by refinements, when given: may hold them, or raise."""

    async def render(self, taken: TakenJob) -> jobs_pb2.RenderResult:
        """A latent that is only a name."""
        await taken.progress(jobs_pb2.JobProgress(step=1, steps=2))
        if self.hold is not None:
            await self.hold.wait()
        job = taken.job.render
        self.rendered.append(job)
        names = [f"{picture.prompt}/{picture.seed}".encode() for picture in job.pictures]
        latents = [await self.blobs.put(taken.tenant, name, "application/x-safetensors") for name in names]
        return jobs_pb2.RenderResult(latents=latents, steps=2, pixel_steps=100 * len(latents))

    async def encode(self, taken: TakenJob) -> jobs_pb2.EncodeResult:
        """The picture itself stands for its latent."""
        self.encoded.append(taken.job.encode)
        return jobs_pb2.EncodeResult(latent=taken.job.encode.image)

    async def decode(self, taken: TakenJob) -> jobs_pb2.DecodeResult:
        """A small picture whose colour follows from the latent's name."""
        import numpy as np

        color = bytes.fromhex(taken.job.decode.latent.sha256[:6])
        pixels = np.full((32, 32, 4), [*color, 255], np.uint8)
        data, media_type = images.encode(pixels)
        image = await self.blobs.put(taken.tenant, data, media_type, dtype="uint8", shape=(32, 32, 4))
        return jobs_pb2.DecodeResult(image=image, size=types_pb2.Size(height=32, width=32))

    async def refine(self, taken: TakenJob) -> jobs_pb2.RefineResult:
        """A picture twice the size of those above, whose colour follows from the job's content."""
        self.asked_to_refine.append(taken.job)
        await taken.progress(jobs_pb2.JobProgress(step=1, steps=4))
        if self.refining is not None:
            await self.refining(taken.job.refine)
        import numpy as np

        pixels = np.full((64, 64, 4), [*bytes.fromhex(taken.job.id[:6]), 255], np.uint8)
        data, media_type = images.encode(pixels)
        image = await self.blobs.put(taken.tenant, data, media_type, dtype="uint8", shape=(64, 64, 4))
        return jobs_pb2.RefineResult(image=image, size=types_pb2.Size(height=64, width=64), pixel_steps=1000)
