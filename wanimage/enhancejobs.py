"""Jobs for the prompt enhancer: which of the four tasks a request is, and the job that asks for it."""

from collections.abc import Sequence

from wanimage.enhancing import MOST_ENTRIES
from wanimage.literals import pictures_asked_for
from wanimage.v1 import jobs_pb2, types_pb2

SINGLE = (jobs_pb2.TASK_TEXT_TO_IMAGE, jobs_pb2.TASK_IMAGE_TO_IMAGE)
"""Tasks of one picture, without and with references."""
SERIES = (jobs_pb2.TASK_TEXT_TO_SERIES, jobs_pb2.TASK_TEXT_IMAGE_TO_SERIES)
"""Tasks of several, without and with references."""


def count_of(prompt: str, asked: int) -> int:
    """Pictures wanted: as many as `asked` for, or (0) as many as the prompt says, or 1."""
    said = pictures_asked_for(prompt)
    return asked or (said if 1 <= said <= MOST_ENTRIES else 1)


def task_of(prompt: str, referring: bool, asked: int = 0) -> tuple[int, int]:
    """(task, number of pictures) where nobody says which task it is."""
    count = count_of(prompt, asked)
    return (SERIES if count > 1 else SINGLE)[referring], count


def category_word(result: jobs_pb2.EnhanceResult) -> str:
    """The category as events, metrics and people have it, "text_rendering"; empty where none was decided."""
    word = jobs_pb2.EnhanceResult.Category.Name(result.category).removeprefix("CATEGORY_").lower()
    return "" if word == "unspecified" else word


def changes(result: jobs_pb2.EnhanceResult) -> list[str]:
    """What changes of the references, one a picture, whichever field the task has it in."""
    return [result.difference] if result.difference else list(result.differences)


def enhance_job(
    task: int,
    count: int,
    prompt: str,
    references: Sequence[types_pb2.BlobRef],
    options: types_pb2.EnhanceOptions,
) -> jobs_pb2.EnhanceJob:
    """The job; equal requests make equal ones."""
    variant = options.variant or types_pb2.ENHANCER_VARIANT_FAST
    return jobs_pb2.EnhanceJob(
        task=task,  # type: ignore[arg-type]
        prompt=prompt,
        references=references,
        image_count=count,
        options=types_pb2.EnhanceOptions(mode=options.mode, variant=variant),
    )
