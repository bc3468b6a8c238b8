"""A turn as a client holds it: built from the events of the log, in order, whatever their pace."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wanimage.v1 import events_pb2, types_pb2

_SUFFIX = {"image/png": ".png", "image/webp": ".webp", "image/jpeg": ".jpg"}
ENDS = ("turn_finished", "turn_failed", "turn_cancelled")
"""The kinds of event that end a turn."""


@dataclass
class Picture:
    """A picture of the turn, from planned to saved."""

    index: int
    """In the session."""
    prompt: str
    seed: int = 0
    size: tuple[int, int] = (0, 0)
    """(height, width), pixels."""
    series: int = 0
    blob: types_pb2.BlobRef | None = None
    """The finished file: the refined one where there is one."""
    refined: bool = False
    refine_failure: str = ""
    """Why it is not refined although that was asked for."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    path: Path | None = None
    """Where it was saved."""
    failure: str = ""


@dataclass
class Turn:
    """What a turn has brought so far."""

    session: str = ""
    id: str = ""
    text: str = ""
    thinking: str = ""
    pictures: dict[int, Picture] = field(default_factory=dict)
    """Drawn ones by session index."""
    enhanced: events_pb2.PromptEnhanced | None = None
    """What the prompt enhancer made of the request, where it was asked."""
    usage: types_pb2.Usage = field(default_factory=types_pb2.Usage)
    end: str = ""
    """One of ENDS, or empty while it runs."""
    failure: types_pb2.Failure | None = None
    cancelled: str = ""
    truncated: bool = False
    """The planner ran into its token limit."""
    seq: int = 0
    """Last stored event seen."""
    _text_follows_picture: bool = False

    def apply(self, event: events_pb2.Event) -> None:
        """Take the next event."""
        kind = event.WhichOneof("kind") or ""
        self.session = event.session_id or self.session
        self.id = event.turn_id or self.id
        self.seq = max(self.seq, event.seq)
        if kind == "text_delta":
            self._say(event.text_delta.text)
        elif kind == "think_delta":
            self.thinking += event.think_delta.text
        elif kind == "prompt_enhanced":
            self.enhanced = event.prompt_enhanced
        elif kind == "image_planned":
            self._planned(event.image_planned)
        elif kind == "image_ready":
            self._ready(event.image_ready)
        elif kind == "image_failed":
            picture = self.pictures.setdefault(
                event.image_failed.index, Picture(event.image_failed.index, "")
            )
            picture.failure = event.image_failed.failure.message
        elif kind in ENDS:
            self._end(kind, event)

    def _say(self, text: str) -> None:
        if self._text_follows_picture:  # words on both sides of a picture are separate lines
            self.text, text = self.text.rstrip() + "\n", text.lstrip()
            self._text_follows_picture = False
        self.text += text

    def _planned(self, planned: events_pb2.ImagePlanned) -> None:
        self._text_follows_picture = bool(self.text)
        size = (planned.grid.height_cells * 16, planned.grid.width_cells * 16)
        picture = Picture(planned.index, planned.prompt, planned.seed, size, planned.series)
        self.pictures[planned.index] = picture

    def _ready(self, ready: events_pb2.ImageReady) -> None:
        image = ready.image
        picture = self.pictures.setdefault(image.index, Picture(image.index, image.prompt))
        picture.prompt = image.prompt or picture.prompt
        picture.seed = image.seed
        picture.refined = image.HasField("refined")
        picture.blob = finished(image)
        picture.refine_failure = ready.refine_failure.message
        picture.size = size_of(picture.blob, image.size)
        picture.stage_seconds = dict(ready.stage_seconds)

    def _end(self, kind: str, event: events_pb2.Event) -> None:
        ended = getattr(event, kind)
        self.end = kind
        self.usage = ended.usage
        if kind == "turn_failed":
            self.failure = ended.failure
        elif kind == "turn_cancelled":
            self.cancelled = ended.reason or "no reason given"
        else:
            self.truncated = ended.stop_reason == events_pb2.TurnFinished.STOP_REASON_LENGTH

    def record(self) -> dict[str, Any]:
        """The turn as one JSON object."""
        return {
            "session": self.session,
            "turn": self.id,
            "text": self.text,
            "enhanced": _enhanced_record(self.enhanced) if self.enhanced else None,
            "images": [_picture_record(picture) for picture in self.pictures.values() if picture.blob],
            "usage": usage_record(self.usage),
            "seconds": round(self.usage.seconds, 3),
        }


def _enhanced_record(enhanced: events_pb2.PromptEnhanced) -> dict[str, Any]:
    return {
        "rewritten": enhanced.rewritten,
        "category": enhanced.category,
        "request": enhanced.request,
        "pass_through_reason": enhanced.pass_through_reason,
    }


def _picture_record(picture: Picture) -> dict[str, Any]:
    assert picture.blob is not None
    return {
        "index": picture.index,
        "path": str(picture.path) if picture.path else None,
        "prompt": picture.prompt,
        "height": picture.size[0],
        "width": picture.size[1],
        "seed": picture.seed,
        "sha256": picture.blob.sha256,
        "refined": picture.refined,
        "refine_failure": picture.refine_failure,
    }


def finished(image: types_pb2.Image) -> types_pb2.BlobRef:
    """The file of a picture that people want: the refined one where there is one."""
    return image.refined if image.HasField("refined") else image.base


def size_of(blob: types_pb2.BlobRef, otherwise: types_pb2.Size) -> tuple[int, int]:
    """(height, width) of a picture's file, where it states its shape."""
    height, width = blob.shape[:2] or (otherwise.height, otherwise.width)
    return height, width


def usage_record(usage: types_pb2.Usage) -> dict[str, Any]:
    """Usage as JSON with plain numbers (protobuf's own JSON writes 64-bit ones as strings)."""
    names = ("prompt_tokens", "cached_tokens", "generated_tokens", "images", "pixel_steps")
    stages = {stage: round(seconds, 3) for stage, seconds in sorted(usage.stage_seconds.items())}
    return {**{name: getattr(usage, name) for name in names}, "stage_seconds": stages}


def file_name(session: str, turn: str, index: int, media_type: str) -> str:
    """`<session>-<turn>-<index>.png`; ids come from a server, so only letters, digits and dashes are kept."""
    parts = [re.sub(r"[^A-Za-z0-9_-]", "_", part) for part in (session, turn)]
    return f"{parts[0]}-{parts[1]}-{index}{_SUFFIX.get(media_type, '.bin')}"


def save(data: bytes, path: Path) -> None:
    """Write atomically, so that no half picture is ever seen under its name; leaves nothing when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{hashlib.sha256(data).hexdigest()[:8]}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
