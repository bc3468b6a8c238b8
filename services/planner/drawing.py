"""From planned pictures to finished ones: encode references, render, decode, refine; all as jobs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from wanimage.blobs import Blobs
from wanimage.cues import changeable
from wanimage.errors import DataLoss, DeadlineExceeded, FamilyMismatch, InvalidInput, NotFound, WanError
from wanimage.jobs import Jobs, failure, make_job
from wanimage.latents import get_latent
from wanimage.limits import joined_prompt
from wanimage.uploads import encode_job
from wanimage.v1 import events_pb2, jobs_pb2, types_pb2

OnProgress = Callable[[str, int, jobs_pb2.JobProgress], Awaitable[None]]
"""Called with the stage, the position of a picture in its group, and the progress of the stage's job."""
_OnJobProgress = Callable[[jobs_pb2.JobProgress], Awaitable[None]]


@dataclass(frozen=True)
class Drawer:
    """Draws pictures of one turn. `seconds_left()` bounds every job; those under way when the turn stops are
    cancelled unless `handed_on()`: its next worker finds them."""

    jobs: Jobs
    tenant: str
    family: str
    base_cells: int
    """Size references are read at."""
    options: types_pb2.TurnOptions
    uploads: Sequence[types_pb2.Image]
    """Pictures that came with the turn, which regions of its options may lie on."""
    blobs: Blobs
    seconds_left: Callable[[], float]
    handed_on: Callable[[], bool] = lambda: False

    async def draw(
        self,
        plans: Sequence[events_pb2.ImagePlanned],
        references: Sequence[types_pb2.Image],
        on_progress: OnProgress,
    ) -> list[events_pb2.ImageReady]:
        """Draw one picture, or all pictures of one series jointly; raise the error of the job that failed."""
        timing = _Timing()
        seen = await asyncio.gather(*(self._reference(image, timing) for image in references))
        job = jobs_pb2.RenderJob(
            pictures=[self._picture(plan) for plan in plans],
            references=seen,
            sampling=self.options.sampling,
            previews=self.options.previews,
            palette=self.options.palette,
            background=self.options.background,
            decode_every=self.options.decode_every,
        )

        async def relay(progress: jobs_pb2.JobProgress) -> None:
            for position in range(len(plans)):
                await on_progress("render", position, progress)

        rendered = (await self._run(job, "render", timing, relay)).render
        decoded = await asyncio.gather(*(self._decode(latent, timing) for latent in rendered.latents))
        share = rendered.pixel_steps // len(plans)
        return [
            events_pb2.ImageReady(
                image=types_pb2.Image(
                    index=plan.index, base=result.image, latent=latent, size=result.size,
                    prompt=picture.prompt, seed=plan.seed, family=self.family, references=plan.references,
                    report=result.report,
                ),
                turn_index=plan.turn_index,
                stage_seconds=timing.seconds,
                pixel_steps=share,
            )
            for plan, picture, latent, result in zip(
                plans, job.pictures, rendered.latents, decoded, strict=True
            )
        ]  # fmt: skip

    async def refine(
        self,
        drawn: Sequence[events_pb2.ImageReady],
        on_progress: OnProgress,
        tried_again: Callable[[WanError], bool],
    ) -> None:
        """Add to each picture its refined version, or why there is none: it is finished without.

        Raises a group of what ends the turn or has it `tried_again`: DeadlineExceeded, outages. Pictures that
        were refined by then have what they got.
        """
        timing = _Timing(dict(drawn[0].stage_seconds))

        async def one(position: int, ready: events_pb2.ImageReady) -> None:
            try:
                await self._refine(ready, timing, lambda told: on_progress("refine", position, told))
            except WanError as error:
                if isinstance(error, DeadlineExceeded) or tried_again(error):
                    raise
                ready.refine_failure.CopyFrom(failure(error))

        async with asyncio.TaskGroup() as tasks:  # none goes on, for minutes, when the turn does not
            for position, ready in enumerate(drawn):
                tasks.create_task(one(position, ready))
        for ready in drawn:
            ready.stage_seconds.update(timing.seconds)

    async def _refine(
        self, ready: events_pb2.ImageReady, timing: "_Timing", on_progress: _OnJobProgress
    ) -> None:
        image = ready.image
        # Everything is of the log, so whoever runs the turn again asks for the same job.
        job = jobs_pb2.RefineJob(
            latent=image.latent, prompt=image.prompt, options=self.options.refine, seed=image.seed,
            format=self.options.format,
        )  # fmt: skip
        refined = (await self._run(job, "refine", timing, on_progress)).refine
        image.refined.CopyFrom(refined.image)
        ready.pixel_steps += refined.pixel_steps

    def _picture(self, plan: events_pb2.ImagePlanned) -> jobs_pb2.RenderPicture:
        options = self.options
        prompt = joined_prompt(plan.prompt, options.palette, options.background, options.regions)
        return jobs_pb2.RenderPicture(prompt=prompt, grid=plan.grid, seed=plan.seed)

    async def _reference(self, image: types_pb2.Image, timing: "_Timing") -> jobs_pb2.RenderReference:
        size = (image.size.height, image.size.width)
        places = [place for place, upload in enumerate(self.uploads) if upload.index == image.index]
        marked = image.HasField("unmarked")
        # Cues are of their turn: later ones see the picture as it was sent.
        source = image.unmarked if marked and not places else image.base
        job = encode_job(source, *size, self.base_cells)
        latent = await self._own_latent(image, job.grid)
        if latent is None:
            latent = (await self._run(job, "encode", timing)).encode.latent
        found = jobs_pb2.RenderReference(image=source, latent=latent)
        if places:
            regions = self.options.regions
            found.changeable = await changeable(
                self.blobs, self.tenant, size, regions, places[0], job.grid, "options.regions"
            )
            if marked:
                bare = await self._run(encode_job(image.unmarked, *size, self.base_cells), "encode", timing)
                found.kept.CopyFrom(bare.encode.latent)
        return found

    async def _own_latent(self, image: types_pb2.Image, grid: types_pb2.Grid) -> types_pb2.BlobRef | None:
        """The latent that a picture was decoded from: encoding what was decoded loses about a decibel, each
        time it is edited. None where only encoding gives one of this family at `grid`."""
        if not image.HasField("latent"):
            return None
        try:
            latent = await get_latent(self.blobs, self.tenant, image.latent, self.family, "references")
        except (NotFound, DataLoss, FamilyMismatch, InvalidInput):
            return None
        return image.latent if latent.shape[1:] == (grid.height_cells, grid.width_cells) else None

    async def _decode(self, latent: types_pb2.BlobRef, timing: "_Timing") -> jobs_pb2.DecodeResult:
        job = jobs_pb2.DecodeJob(latent=latent, format=self.options.format, palette=self.options.palette)
        return (await self._run(job, "decode", timing)).decode

    async def _run(
        self,
        payload: Message,
        stage: str,
        timing: "_Timing",
        on_progress: _OnJobProgress | None = None,
    ) -> jobs_pb2.JobResult:
        job = make_job(self.tenant, self.family, payload, self.seconds_left())
        result = await self.jobs.run(job, on_progress, keep=self.handed_on)
        timing.add(stage, result)
        return result


def drawn_together(plans: Sequence[events_pb2.ImagePlanned]) -> list[list[events_pb2.ImagePlanned]]:
    """Groups of pictures: each single picture alone, each series as one."""
    groups: list[list[events_pb2.ImagePlanned]] = []
    for plan in plans:
        if plan.series and groups and groups[-1][0].series == plan.series:
            groups[-1].append(plan)
        else:
            groups.append([plan])
    return groups


@dataclass
class _Timing:
    """Seconds by stage of one group; jobs that run side by side count once, by the longest."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, result: jobs_pb2.JobResult) -> None:
        self.seconds[stage] = max(self.seconds.get(stage, 0.0), result.work_seconds)
        self.seconds["queue"] = max(self.seconds.get("queue", 0.0), result.queue_seconds)
