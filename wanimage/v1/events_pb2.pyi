import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from wanimage.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("seq", "session_id", "turn_id", "time", "schema", "more", "session_created", "turn_started", "prompt_enhanced", "think_delta", "text_delta", "image_planned", "image_progress", "image_ready", "image_failed", "context_trimmed", "turn_finished", "turn_failed", "turn_cancelled", "session_deleted")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    SESSION_CREATED_FIELD_NUMBER: _ClassVar[int]
    TURN_STARTED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_ENHANCED_FIELD_NUMBER: _ClassVar[int]
    THINK_DELTA_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    IMAGE_PLANNED_FIELD_NUMBER: _ClassVar[int]
    IMAGE_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_READY_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FAILED_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TRIMMED_FIELD_NUMBER: _ClassVar[int]
    TURN_FINISHED_FIELD_NUMBER: _ClassVar[int]
    TURN_FAILED_FIELD_NUMBER: _ClassVar[int]
    TURN_CANCELLED_FIELD_NUMBER: _ClassVar[int]
    SESSION_DELETED_FIELD_NUMBER: _ClassVar[int]
    seq: int
    session_id: str
    turn_id: str
    time: _timestamp_pb2.Timestamp
    schema: int
    more: bool
    session_created: SessionCreated
    turn_started: TurnStarted
    prompt_enhanced: PromptEnhanced
    think_delta: ThinkDelta
    text_delta: TextDelta
    image_planned: ImagePlanned
    image_progress: ImageProgress
    image_ready: ImageReady
    image_failed: ImageFailed
    context_trimmed: ContextTrimmed
    turn_finished: TurnFinished
    turn_failed: TurnFailed
    turn_cancelled: TurnCancelled
    session_deleted: SessionDeleted
    def __init__(self, seq: _Optional[int] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., schema: _Optional[int] = ..., more: _Optional[bool] = ..., session_created: _Optional[_Union[SessionCreated, _Mapping]] = ..., turn_started: _Optional[_Union[TurnStarted, _Mapping]] = ..., prompt_enhanced: _Optional[_Union[PromptEnhanced, _Mapping]] = ..., think_delta: _Optional[_Union[ThinkDelta, _Mapping]] = ..., text_delta: _Optional[_Union[TextDelta, _Mapping]] = ..., image_planned: _Optional[_Union[ImagePlanned, _Mapping]] = ..., image_progress: _Optional[_Union[ImageProgress, _Mapping]] = ..., image_ready: _Optional[_Union[ImageReady, _Mapping]] = ..., image_failed: _Optional[_Union[ImageFailed, _Mapping]] = ..., context_trimmed: _Optional[_Union[ContextTrimmed, _Mapping]] = ..., turn_finished: _Optional[_Union[TurnFinished, _Mapping]] = ..., turn_failed: _Optional[_Union[TurnFailed, _Mapping]] = ..., turn_cancelled: _Optional[_Union[TurnCancelled, _Mapping]] = ..., session_deleted: _Optional[_Union[SessionDeleted, _Mapping]] = ...) -> None: ...

class SessionCreated(_message.Message):
    __slots__ = ("family", "forked_from", "forked_at")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    FORKED_FROM_FIELD_NUMBER: _ClassVar[int]
    FORKED_AT_FIELD_NUMBER: _ClassVar[int]
    family: str
    forked_from: str
    forked_at: int
    def __init__(self, family: _Optional[str] = ..., forked_from: _Optional[str] = ..., forked_at: _Optional[int] = ...) -> None: ...

class TurnStarted(_message.Message):
    __slots__ = ("text", "images", "options", "deadline")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    text: str
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    options: _types_pb2.TurnOptions
    deadline: _timestamp_pb2.Timestamp
    def __init__(self, text: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping]]] = ..., options: _Optional[_Union[_types_pb2.TurnOptions, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PromptEnhanced(_message.Message):
    __slots__ = ("rewritten", "category", "descriptions", "pass_through_reason", "common", "differences", "variant", "request", "usage")
    REWRITTEN_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    PASS_THROUGH_REASON_FIELD_NUMBER: _ClassVar[int]
    COMMON_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    rewritten: bool
    category: str
    descriptions: _containers.RepeatedScalarFieldContainer[str]
    pass_through_reason: str
    common: str
    differences: _containers.RepeatedScalarFieldContainer[str]
    variant: _types_pb2.EnhancerVariant
    request: str
    usage: _types_pb2.Usage
    def __init__(self, rewritten: _Optional[bool] = ..., category: _Optional[str] = ..., descriptions: _Optional[_Iterable[str]] = ..., pass_through_reason: _Optional[str] = ..., common: _Optional[str] = ..., differences: _Optional[_Iterable[str]] = ..., variant: _Optional[_Union[_types_pb2.EnhancerVariant, str]] = ..., request: _Optional[str] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ...) -> None: ...

class ThinkDelta(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class TextDelta(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class ImagePlanned(_message.Message):
    __slots__ = ("turn_index", "index", "prompt", "grid", "series", "series_length", "seed", "references", "reference_reasons")
    TURN_INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    SERIES_LENGTH_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_REASONS_FIELD_NUMBER: _ClassVar[int]
    turn_index: int
    index: int
    prompt: str
    grid: _types_pb2.Grid
    series: int
    series_length: int
    seed: int
    references: _containers.RepeatedScalarFieldContainer[int]
    reference_reasons: _containers.RepeatedCompositeFieldContainer[ReferenceReason]
    def __init__(self, turn_index: _Optional[int] = ..., index: _Optional[int] = ..., prompt: _Optional[str] = ..., grid: _Optional[_Union[_types_pb2.Grid, _Mapping]] = ..., series: _Optional[int] = ..., series_length: _Optional[int] = ..., seed: _Optional[int] = ..., references: _Optional[_Iterable[int]] = ..., reference_reasons: _Optional[_Iterable[_Union[ReferenceReason, _Mapping]]] = ...) -> None: ...

class ReferenceReason(_message.Message):
    __slots__ = ("kind", "words")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ReferenceReason.Kind]
        KIND_ATTACHED: _ClassVar[ReferenceReason.Kind]
        KIND_NUMBERED: _ClassVar[ReferenceReason.Kind]
        KIND_NAMED: _ClassVar[ReferenceReason.Kind]
        KIND_POINTED: _ClassVar[ReferenceReason.Kind]
        KIND_REPEATED: _ClassVar[ReferenceReason.Kind]
    KIND_UNSPECIFIED: ReferenceReason.Kind
    KIND_ATTACHED: ReferenceReason.Kind
    KIND_NUMBERED: ReferenceReason.Kind
    KIND_NAMED: ReferenceReason.Kind
    KIND_POINTED: ReferenceReason.Kind
    KIND_REPEATED: ReferenceReason.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    kind: ReferenceReason.Kind
    words: str
    def __init__(self, kind: _Optional[_Union[ReferenceReason.Kind, str]] = ..., words: _Optional[str] = ...) -> None: ...

class ImageProgress(_message.Message):
    __slots__ = ("index", "step", "steps", "preview_png", "stage")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_PNG_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    step: int
    steps: int
    preview_png: bytes
    stage: str
    def __init__(self, index: _Optional[int] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., preview_png: _Optional[bytes] = ..., stage: _Optional[str] = ...) -> None: ...

class ImageReady(_message.Message):
    __slots__ = ("image", "turn_index", "stage_seconds", "pixel_steps", "refine_failure")
    class StageSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TURN_INDEX_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIXEL_STEPS_FIELD_NUMBER: _ClassVar[int]
    REFINE_FAILURE_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    turn_index: int
    stage_seconds: _containers.ScalarMap[str, float]
    pixel_steps: int
    refine_failure: _types_pb2.Failure
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., turn_index: _Optional[int] = ..., stage_seconds: _Optional[_Mapping[str, float]] = ..., pixel_steps: _Optional[int] = ..., refine_failure: _Optional[_Union[_types_pb2.Failure, _Mapping]] = ...) -> None: ...

class ImageFailed(_message.Message):
    __slots__ = ("index", "failure")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    index: int
    failure: _types_pb2.Failure
    def __init__(self, index: _Optional[int] = ..., failure: _Optional[_Union[_types_pb2.Failure, _Mapping]] = ...) -> None: ...

class ContextTrimmed(_message.Message):
    __slots__ = ("dropped_images", "dropped_turns")
    DROPPED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TURNS_FIELD_NUMBER: _ClassVar[int]
    dropped_images: int
    dropped_turns: int
    def __init__(self, dropped_images: _Optional[int] = ..., dropped_turns: _Optional[int] = ...) -> None: ...

class TurnFinished(_message.Message):
    __slots__ = ("usage", "stop_reason")
    class StopReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STOP_REASON_UNSPECIFIED: _ClassVar[TurnFinished.StopReason]
        STOP_REASON_END: _ClassVar[TurnFinished.StopReason]
        STOP_REASON_LENGTH: _ClassVar[TurnFinished.StopReason]
    STOP_REASON_UNSPECIFIED: TurnFinished.StopReason
    STOP_REASON_END: TurnFinished.StopReason
    STOP_REASON_LENGTH: TurnFinished.StopReason
    USAGE_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    usage: _types_pb2.Usage
    stop_reason: TurnFinished.StopReason
    def __init__(self, usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ..., stop_reason: _Optional[_Union[TurnFinished.StopReason, str]] = ...) -> None: ...

class TurnFailed(_message.Message):
    __slots__ = ("failure", "usage")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    failure: _types_pb2.Failure
    usage: _types_pb2.Usage
    def __init__(self, failure: _Optional[_Union[_types_pb2.Failure, _Mapping]] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ...) -> None: ...

class TurnCancelled(_message.Message):
    __slots__ = ("reason", "usage")
    REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    usage: _types_pb2.Usage
    def __init__(self, reason: _Optional[str] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ...) -> None: ...

class SessionDeleted(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...
