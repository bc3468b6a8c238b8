"""Takes `enhance` jobs, and puts what the engine answers into the contract's words."""

import asyncio
import time
from dataclasses import dataclass

from services.enhancer.engine import Answer, Ask, EnhancerEngine
from wanimage import images, metrics, spans
from wanimage.blobs import Blobs
from wanimage.conditions import COLORS, PLACES
from wanimage.enhancing import CATEGORIES, MOST_ENTRIES, TASKS, Description
from wanimage.limits import MAX_COLORS, MAX_INPUT_IMAGES, check_prompt, check_range, is_hex
from wanimage.takenjob import TakenJob
from wanimage.v1 import jobs_pb2, types_pb2

SLOTS = 16
"""Jobs held at once: as many as vLLM decodes together."""
PROGRESS_SECONDS = 0.1
"""Shortest time between two messages of reasoning."""

CATEGORY = dict(zip(("", *CATEGORIES), jobs_pb2.EnhanceResult.Category.values(), strict=True))
"""The contract's category for the model's word; none where the answer broke off before it."""


@dataclass(frozen=True)
class EnhanceWorker:
    """The handler."""

    engine: EnhancerEngine
    blobs: Blobs
    family: str

    async def enhance(self, taken: TakenJob) -> jobs_pb2.EnhanceResult:
        """Rewrite or pass through. Raises InvalidInput for a job that no front would make, NotFound or
        DataLoss for a reference, Unavailable."""
        job, began = taken.job.enhance, time.perf_counter()
        ask = await self._ask(taken)
        last = 0.0

        async def tell(thinking: str) -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                await taken.progress(jobs_pb2.JobProgress(thinking=thinking))

        with spans.generation("chat", self.family, "text"):
            name = f"{taken.job.id[:16]}-{taken.delivery}.{taken.tries}"
            answer = await self.engine.enhance(ask, name, tell)
            usage = types_pb2.Usage(
                prompt_tokens=answer.prompt_tokens,
                cached_tokens=answer.cached_tokens,
                generated_tokens=answer.generated_tokens,
                seconds=time.perf_counter() - began,
            )
            usage.stage_seconds["enhance"] = usage.seconds
            usage.stage_seconds["first token"] = answer.first_seconds
            metrics.tokens(usage)
            spans.generated(usage, "stop")
        metrics.ENHANCED.labels("rewritten" if answer.result else "passed", answer.category or "none").inc()
        return result_of(answer, job.task, usage)

    async def _ask(self, taken: TakenJob) -> Ask:
        job = taken.job.enhance
        check_prompt(job.prompt, "enhance.prompt")
        check_range(job.image_count, 1, MOST_ENTRIES, "enhance.image_count")
        check_range(job.task, 1, len(TASKS), "enhance.task")
        check_range(len(job.references), 0, MAX_INPUT_IMAGES, "enhance.references")
        data = await asyncio.gather(*(self.blobs.get(taken.tenant, each) for each in job.references))
        pixels = [
            await asyncio.to_thread(images.shown, each, f"enhance.references[{index}]")
            for index, each in enumerate(data)
        ]
        return Ask(
            TASKS[job.task - 1],
            job.image_count,
            " ".join(job.prompt.split()),  # one line, as the model learnt; a quoted text is one, too
            tuple(pixels),
            forced=job.options.mode == types_pb2.EnhanceOptions.MODE_ON,
            reasons=job.options.variant == types_pb2.ENHANCER_VARIANT_QUALITY,
        )


def result_of(answer: Answer, task: int, usage: types_pb2.Usage) -> jobs_pb2.EnhanceResult:
    """The job's result."""
    result = jobs_pb2.EnhanceResult(
        task=task,  # type: ignore[arg-type]
        category=CATEGORY[answer.category],  # type: ignore[arg-type]
        rewritten=answer.result is not None,
        pass_through_reason=answer.reason,
        thinking=answer.thinking.strip(),
        usage=usage,
    )
    if answer.result is None:
        return result
    result.descriptions.extend(map(description_of, answer.result.descriptions))
    result.common = answer.result.common
    if task == jobs_pb2.TASK_IMAGE_TO_IMAGE:
        result.difference = answer.result.differences[0]
    else:
        result.differences.extend(answer.result.differences)
    return result


def description_of(written: Description) -> jobs_pb2.Description:
    """A description in the contract's words: places as boxes, colour words as hex."""
    return jobs_pb2.Description(
        subject=written.subject,
        layout=[jobs_pb2.Description.Element(what=what, box=_box(place)) for what, place in written.layout],
        texts=written.texts,
        palette=types_pb2.Palette(colors=[types_pb2.PaletteColor(hex=each) for each in _hexes(written)]),
        lighting=written.lighting,
        style=written.style,
        background=written.background,
        natural=written.natural,
    )


def _hexes(written: Description) -> list[str]:
    """What of a palette is a colour: the twelve words, and hex."""
    found = []
    for each in written.palette:
        if each in COLORS:
            found.append("#{:02x}{:02x}{:02x}".format(*COLORS[each]))
        elif is_hex(each):
            found.append(each)
    return found[:MAX_COLORS]


def _box(place: str) -> types_pb2.Box:
    """The ninth of the picture that a place names."""
    row, column = divmod(PLACES.index(place), 3)
    return types_pb2.Box(x=column / 3, y=row / 3, width=1 / 3, height=1 / 3)
