"""Whole, valid messages of every kind, for the fuzz suite to damage."""

import hashlib
import io

import numpy as np
from google.protobuf.message import Message
from PIL import Image as Pillow

from wanimage import images
from wanimage.errors import InvalidInput
from wanimage.jobs import failure, kind_of, make_job
from wanimage.latents import latent_bytes
from wanimage.v1 import enhancer_pb2, planner_pb2, refiner_pb2, types_pb2, vae_pb2, visualizer_pb2
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2 as jobs

TENANT = "acme"
FAMILY = "f" * 64


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (40, 24), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


PICTURE = images.encode(np.full((32, 48, 4), 128, np.uint8))[0]
LATENT = latent_bytes(np.zeros((48, 2, 3), np.float32), FAMILY)
CONTENTS = [PICTURE, _jpeg(), LATENT, b"neither"]


def _ref(data: bytes, media_type: str) -> types_pb2.BlobRef:
    return types_pb2.BlobRef(
        sha256=hashlib.sha256(data).hexdigest(), size=len(data), media_type=media_type, dtype="uint8",
        shape=[32, 48, 4],
    )  # fmt: skip


PICTURE_REF, LATENT_REF = _ref(PICTURE, "image/png"), _ref(LATENT, "application/x-safetensors")
GRID = types_pb2.Grid(height_cells=2, width_cells=3)
WIDE = types_pb2.AspectRatio(width=16, height=9)
SAMPLING = types_pb2.SamplingOptions(
    seed=7, steps=12, guidance_scale=3, image_guidance_scale=1.5, sampler=types_pb2.SAMPLER_HEUN, shift=1
)
REFERENCE = jobs.RenderReference(image=PICTURE_REF, latent=LATENT_REF)
REGION = types_pb2.Region(
    box=types_pb2.Box(x=0.1, y=0.1, width=0.5, height=0.5), prompt="a red balloon", reference=0,
    cue=types_pb2.Region.CUE_MASK, mask=PICTURE_REF,
)  # fmt: skip
OPTIONS = types_pb2.TurnOptions(
    image_count=2,
    size=types_pb2.SizeHint(size=types_pb2.Size(height=128, width=256)),
    palette=types_pb2.Palette(
        colors=[
            types_pb2.PaletteColor(hex="#ff0000", proportion=0.5),
            types_pb2.PaletteColor(hex="#00FF00", proportion=0.5),
        ]
    ),
    background=types_pb2.Background(kind=types_pb2.Background.KIND_COLOR, hex="#FFE4C4"),
    regions=[REGION],
    sampling=SAMPLING,
    max_tokens=300,
    temperature=0.5,
)
REFINE = types_pb2.RefineOptions(mode=types_pb2.REFINE_MODE_REPAIR, target_long_edge=2048)
USER = types_pb2.UserMessage(text="a fox and a balloon", images=[types_pb2.ImageInput(blob=PICTURE_REF)])

_PAYLOADS: list[Message] = [
    jobs.TurnJob(session_id="s1", turn_id="t1"),
    jobs.EnhanceJob(task=jobs.TASK_TEXT_TO_IMAGE, prompt="a fox", references=[PICTURE_REF], image_count=1),
    jobs.RenderJob(
        pictures=[jobs.RenderPicture(prompt=name, grid=GRID, seed=7) for name in ("a fox", "an owl")],
        references=[REFERENCE], sampling=SAMPLING, previews=True, decode_every=3,
    ),
    jobs.RenderJob(pictures=[jobs.RenderPicture(prompt="a fox", grid=GRID)]),
    jobs.EncodeJob(image=PICTURE_REF, grid=GRID),
    jobs.EncodeJob(image=PICTURE_REF),
    jobs.RefineJob(image=PICTURE_REF, prompt="a fox", options=REFINE, seed=7),
    jobs.DecodeJob(latent=LATENT_REF, format=types_pb2.IMAGE_FORMAT_WEBP),
    jobs.DecodeJob(latent=LATENT_REF),
    jobs.RefineJob(latent=LATENT_REF, prompt="a fox", options=types_pb2.RefineOptions(target_long_edge=2048)),
]  # fmt: skip
_JOBS = [make_job(TENANT, FAMILY, payload, 3600) for payload in _PAYLOADS]
GOOD_JOBS = len(_JOBS)


def _once_failed() -> list[jobs.Job]:
    """Jobs that an earlier version took, or that ended its worker's loop."""
    base = jobs.RenderPicture(prompt="a fox", grid=GRID)
    tall, huge = types_pb2.Grid(height_cells=1, width_cells=256), 2**64 - 1
    renders = [
        jobs.RenderJob(),
        jobs.RenderJob(pictures=[base] * 300),
        jobs.RenderJob(pictures=[base], references=[REFERENCE] * 10),
        jobs.RenderJob(pictures=[jobs.RenderPicture(prompt="a fox")]),
        jobs.RenderJob(pictures=[jobs.RenderPicture(prompt="a fox", grid=tall)]),
        jobs.RenderJob(pictures=[jobs.RenderPicture(prompt="a fox", grid=GRID, seed=huge)]),
    ]
    bad = [make_job(TENANT, FAMILY, payload, 3600) for payload in [*renders, *[_PAYLOADS[-2]] * 3]]
    bad[-1].deadline.seconds, bad[-2].id, bad[-3].tenant = 2**62, "a b", "other"
    return bad


_JOBS += _once_failed()
for _job in _JOBS:
    if _job.deadline.seconds < 2**62:
        _job.deadline.seconds, _job.deadline.nanos = 4_000_000_000, 0  # equal bytes in every run
JOBS = [job.SerializeToString(deterministic=True) for job in _JOBS]
KINDS_OF_JOBS = [kind_of(job) for job in _JOBS]

IMAGE = types_pb2.Image(
    index=1, base=PICTURE_REF, latent=LATENT_REF, size=types_pb2.Size(height=32, width=48), prompt="a fox",
    seed=7, family=FAMILY,
)  # fmt: skip
_USAGE = types_pb2.Usage(
    prompt_tokens=31, generated_tokens=58, images=1, stage_seconds={"plan": 1.0, "render": 2.0}
)
_FAILURE = failure(InvalidInput("user.text", "too long", "shorten it"))
_FAILURE.time.FromSeconds(1_790_000_000)


def _log(*bodies: dict[str, Message]) -> list[bytes]:
    found = []
    for seq, body in enumerate(bodies, 1):
        event = ev.Event(seq=seq, session_id="s1", turn_id="t1", schema=1, **body)
        event.time.FromSeconds(1_790_000_000 + seq)
        found.append(event.SerializeToString(deterministic=True))
    return found


_CREATED = {"session_created": ev.SessionCreated(family=FAMILY)}
_STARTED = {
    "turn_started": ev.TurnStarted(
        text="a story", images=[types_pb2.Image(index=0, base=PICTURE_REF, size=IMAGE.size)], options=OPTIONS
    )
}
_WORDS = {"text_delta": ev.TextDelta(text="Once upon a time.")}


def _drawn(number: int, series: int = 0) -> tuple[dict[str, Message], dict[str, Message]]:
    planned = ev.ImagePlanned(
        turn_index=number, index=number + 1, prompt="a fox", grid=GRID, series=series,
        series_length=2 if series else 0, seed=7, references=[0],
    )  # fmt: skip
    ready = ev.ImageReady(image=IMAGE, turn_index=number, stage_seconds={"render": 1.5}, pixel_steps=100)
    ready.image.index = number + 1
    return {"image_planned": planned}, {"image_ready": ready}


_FIRST, _SECOND = _drawn(0, 1), _drawn(1, 1)
_FINISHED = {"turn_finished": ev.TurnFinished(usage=_USAGE, stop_reason=ev.TurnFinished.STOP_REASON_END)}
LOGS = [
    _log(
        _CREATED, _STARTED, {"think_delta": ev.ThinkDelta(text="hm")}, _WORDS, *_drawn(0), _WORDS,
        {"context_trimmed": ev.ContextTrimmed(dropped_images=1)}, _FINISHED,
    ),
    _log(_CREATED, _STARTED, _WORDS, _FIRST[0], _SECOND[0], _FIRST[1], _SECOND[1], _FINISHED),
    _log(
        _CREATED, _STARTED, _drawn(0)[0], {"image_failed": ev.ImageFailed(index=1, failure=_FAILURE)},
        {"turn_failed": ev.TurnFailed(failure=_FAILURE, usage=_USAGE)},
    ),
]  # fmt: skip

GOOD_LOGS = len(LOGS)
_FAR = ev.Event(seq=1, session_id="s1", **_CREATED)
_FAR.time.seconds = 2**62
LOGS += [  # once an assertion, an index error or a value error
    _log(_CREATED, _STARTED, _WORDS)[::2],
    _log(_CREATED, _WORDS),
    _log(_CREATED, _STARTED, _drawn(3)[1]),
    _log(_CREATED, _STARTED, _drawn(3)[0]),
    _log(_CREATED, _STARTED, _FIRST[0], _WORDS),
    [_FAR.SerializeToString()],
]

RESULTS = [
    jobs.JobResult(job_id="a" * 64, family=FAMILY, work_seconds=1.5, **outcome).SerializeToString()
    for outcome in (
        {"failure": _FAILURE},
        {"turn": jobs.TurnResult(last_seq=9)},
        {"render": jobs.RenderResult(latents=[LATENT_REF], steps=12, pixel_steps=100)},
        {"encode": jobs.EncodeResult(latent=LATENT_REF)},
        {"decode": jobs.DecodeResult(image=PICTURE_REF, size=IMAGE.size)},
    )
]

_REQUESTS: list[Message] = [
    planner_pb2.GenerateRequest(session_id="", user=USER, options=OPTIONS),
    planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text="hello")),
    planner_pb2.GenerateRequest(
        user=types_pb2.UserMessage(text="as before", images=[types_pb2.ImageInput(data=PICTURE)]),
        options=types_pb2.TurnOptions(size=types_pb2.SizeHint(aspect=WIDE)),
    ),
    visualizer_pb2.RenderRequest(
        prompts=["a fox", "an owl"], size=OPTIONS.size, palette=OPTIONS.palette, regions=[REGION],
        sampling=SAMPLING, references=[types_pb2.ImageInput(blob=PICTURE_REF)],
    ),
    visualizer_pb2.RenderRequest(prompts=["a fox"], background=OPTIONS.background),
    vae_pb2.EncodeRequest(image=types_pb2.ImageInput(data=PICTURE), size=types_pb2.Size(height=64, width=64)),
    vae_pb2.EncodeRequest(image=types_pb2.ImageInput(blob=PICTURE_REF)),
    enhancer_pb2.EnhanceRequest(prompt='three pictures of a fox and "Sale"', options=OPTIONS.enhance),
    enhancer_pb2.EnhanceRequest(
        task=jobs.TASK_IMAGE_TO_IMAGE, prompt="blue", references=[types_pb2.ImageInput(blob=PICTURE_REF)],
        image_count=1, target_family=FAMILY,
    ),
    refiner_pb2.RefineRequest(latent=LATENT_REF, prompt="a fox", options=REFINE, seed=7),
    refiner_pb2.RefineRequest(
        image=types_pb2.ImageInput(data=PICTURE), options=types_pb2.RefineOptions(target_long_edge=4096),
        format=types_pb2.IMAGE_FORMAT_WEBP,
    ),
]  # fmt: skip
REQUESTS = [(type(request), request.SerializeToString(deterministic=True)) for request in _REQUESTS]
