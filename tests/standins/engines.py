"""What the stand-ins compute: stories by recipe, pictures whose content follows from their job's alone."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from services.planner.engine import Control, Delta, Part
from services.planner.service import add_front as add_planner
from services.planner.turn import TurnRunner
from services.vae.service import add_front as add_vae
from services.visualizer.service import add_front as add_visualizer
from tests.scripted import InstantDrawing, ScriptedEngine
from wanimage import serve, tokens
from wanimage.latents import CHANNELS, put_latent
from wanimage.sessions import Sessions
from wanimage.takenjob import TakenJob
from wanimage.v1 import jobs_pb2

STEPS, STEP_MS, TOKEN_MS = "STANDIN_STEPS", "STANDIN_STEP_MS", "STANDIN_TOKEN_MS"
"""Environment variables: steps of a picture (default 10; a request's own count wins), milliseconds of a step
(20; a VAE job takes one) and of a piece of three characters that the planner writes (2)."""
SLOTS = {"turn": 16, "render": 16, "encode": 16, "decode": 16}
"""As the real services."""
CELLS = 8


def story(text: str) -> str:
    """The answer to a user's message: as many pictures as the first number in it, each named after it."""
    found = re.search(r"\d+", text)
    title = re.sub(r"[^\w ]", "", text)[:60].strip()
    parts = [f"This is {title}."]
    for number in range(int(found[0]) if found else 1):
        parts.append(f"<imagine>{title}, picture {number}</imagine><size>{CELLS}*{CELLS}</size><BOI>")
        parts.append(f"That was part {number}.")
    return "".join(parts)


@dataclass(frozen=True)
class Storyteller:
    """A planner's engine that answers each user's message with its `story`."""

    token_seconds: float
    base_cells: int = 64
    max_tokens: int = 4096
    max_images: int = 24

    async def decode(self, context: Sequence[Part], **asked: object) -> AsyncIterator[Delta]:
        """As PlannerEngine.decode."""
        engine = ScriptedEngine(story(_asked_in(context)), pause=self._pause)
        async for delta in engine.decode(context, **asked):  # type: ignore[arg-type]
            yield delta

    count = ScriptedEngine.count
    picture_tokens = ScriptedEngine.picture_tokens
    grid_asked_for = ScriptedEngine.grid_asked_for

    def _pause(self) -> "asyncio.Future[None] | None":
        return asyncio.ensure_future(asyncio.sleep(self.token_seconds)) if self.token_seconds else None


def _asked_in(context: Sequence[Part]) -> str:
    """The text of the last user message of a context."""
    start = max(i for i, part in enumerate(context) if part == "user\n")
    end = context.index(Control(tokens.IM_END), start)
    return "".join(part for part in context[start + 1 : end] if isinstance(part, str))


@dataclass
class SteppedDrawing(InstantDrawing):
    """Handlers that take their time step by step, so that there is a middle to be stopped or killed in."""

    family: str = ""
    steps: int = 10
    step_seconds: float = 0.02

    async def render(self, taken: TakenJob) -> jobs_pb2.RenderResult:
        """Latents of the right kind that follow from prompt and seed."""
        job = taken.job.render
        steps = job.sampling.steps if job.sampling.HasField("steps") else self.steps
        for step in range(1, steps + 1):
            await asyncio.sleep(self.step_seconds)
            await taken.progress(jobs_pb2.JobProgress(step=step, steps=steps))
        latents = [
            await put_latent(self.blobs, taken.tenant, _latent(picture), self.family)
            for picture in job.pictures
        ]
        return jobs_pb2.RenderResult(latents=latents, steps=steps, pixel_steps=steps * len(latents))

    async def encode(self, taken: TakenJob) -> jobs_pb2.EncodeResult:
        """As InstantDrawing, a step later."""
        await asyncio.sleep(self.step_seconds)
        return await super().encode(taken)

    async def decode(self, taken: TakenJob) -> jobs_pb2.DecodeResult:
        """As InstantDrawing, a step later."""
        await asyncio.sleep(self.step_seconds)
        return await super().decode(taken)


def _latent(picture: jobs_pb2.RenderPicture) -> "np.ndarray":
    digest = hashlib.sha256(f"{picture.prompt}/{picture.seed}".encode()).digest()
    shape = (CHANNELS, picture.grid.height_cells, picture.grid.width_cells)
    return np.random.default_rng(list(digest)).standard_normal(shape, np.float32)


@asynccontextmanager
async def _planner(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    engine = Storyteller(_milliseconds(TOKEN_MS, 2))
    runner = TurnRunner(engine, Sessions(ground.bus), ground.jobs, ground.blobs, ground.family.digest)  # type: ignore[arg-type]
    yield [serve.Work("turn", runner.run, SLOTS["turn"])]


@asynccontextmanager
async def _visualizer(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    yield [serve.Work("render", _drawing(ground).render, SLOTS["render"])]


@asynccontextmanager
async def _vae(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
    drawing = _drawing(ground)
    yield [
        serve.Work("encode", drawing.encode, SLOTS["encode"]),
        serve.Work("decode", drawing.decode, SLOTS["decode"]),
    ]


def _drawing(ground: serve.Ground) -> SteppedDrawing:
    return SteppedDrawing(
        ground.blobs,
        family=ground.family.digest,
        steps=int(os.environ.get(STEPS, "10")),
        step_seconds=_milliseconds(STEP_MS, 20),
    )


def _milliseconds(variable: str, default: float) -> float:
    return float(os.environ.get(variable, default)) / 1000


SERVICES = {
    "planner": serve.Service("planner", "wanimage.v1.PlannerService", add_planner, _planner),
    "visualizer": serve.Service("visualizer", "wanimage.v1.VisualizerService", add_visualizer, _visualizer),
    "vae": serve.Service("vae", "wanimage.v1.VaeService", add_vae, _vae),
}
"""Of the shipped family they read the manifest and the tokenizer."""
