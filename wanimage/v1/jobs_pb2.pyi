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

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_TEXT_TO_IMAGE: _ClassVar[Task]
    TASK_IMAGE_TO_IMAGE: _ClassVar[Task]
    TASK_TEXT_TO_SERIES: _ClassVar[Task]
    TASK_TEXT_IMAGE_TO_SERIES: _ClassVar[Task]
TASK_UNSPECIFIED: Task
TASK_TEXT_TO_IMAGE: Task
TASK_IMAGE_TO_IMAGE: Task
TASK_TEXT_TO_SERIES: Task
TASK_TEXT_IMAGE_TO_SERIES: Task

class Job(_message.Message):
    __slots__ = ("id", "tenant", "family", "deadline", "turn", "enhance", "render", "encode", "decode", "refine")
    ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    ENHANCE_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    REFINE_FIELD_NUMBER: _ClassVar[int]
    id: str
    tenant: str
    family: str
    deadline: _timestamp_pb2.Timestamp
    turn: TurnJob
    enhance: EnhanceJob
    render: RenderJob
    encode: EncodeJob
    decode: DecodeJob
    refine: RefineJob
    def __init__(self, id: _Optional[str] = ..., tenant: _Optional[str] = ..., family: _Optional[str] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., turn: _Optional[_Union[TurnJob, _Mapping]] = ..., enhance: _Optional[_Union[EnhanceJob, _Mapping]] = ..., render: _Optional[_Union[RenderJob, _Mapping]] = ..., encode: _Optional[_Union[EncodeJob, _Mapping]] = ..., decode: _Optional[_Union[DecodeJob, _Mapping]] = ..., refine: _Optional[_Union[RefineJob, _Mapping]] = ...) -> None: ...

class JobResult(_message.Message):
    __slots__ = ("job_id", "family", "queue_seconds", "work_seconds", "failure", "turn", "enhance", "render", "encode", "decode", "refine")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WORK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    ENHANCE_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    REFINE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    family: str
    queue_seconds: float
    work_seconds: float
    failure: _types_pb2.Failure
    turn: TurnResult
    enhance: EnhanceResult
    render: RenderResult
    encode: EncodeResult
    decode: DecodeResult
    refine: RefineResult
    def __init__(self, job_id: _Optional[str] = ..., family: _Optional[str] = ..., queue_seconds: _Optional[float] = ..., work_seconds: _Optional[float] = ..., failure: _Optional[_Union[_types_pb2.Failure, _Mapping]] = ..., turn: _Optional[_Union[TurnResult, _Mapping]] = ..., enhance: _Optional[_Union[EnhanceResult, _Mapping]] = ..., render: _Optional[_Union[RenderResult, _Mapping]] = ..., encode: _Optional[_Union[EncodeResult, _Mapping]] = ..., decode: _Optional[_Union[DecodeResult, _Mapping]] = ..., refine: _Optional[_Union[RefineResult, _Mapping]] = ...) -> None: ...

class JobProgress(_message.Message):
    __slots__ = ("job_id", "step", "steps", "previews", "thinking")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    step: int
    steps: int
    previews: _containers.RepeatedCompositeFieldContainer[Preview]
    thinking: str
    def __init__(self, job_id: _Optional[str] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., previews: _Optional[_Iterable[_Union[Preview, _Mapping]]] = ..., thinking: _Optional[str] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("index", "png")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    index: int
    png: bytes
    def __init__(self, index: _Optional[int] = ..., png: _Optional[bytes] = ...) -> None: ...

class JobCancel(_message.Message):
    __slots__ = ("job_id", "reason")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    reason: str
    def __init__(self, job_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class TurnJob(_message.Message):
    __slots__ = ("session_id", "turn_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    turn_id: str
    def __init__(self, session_id: _Optional[str] = ..., turn_id: _Optional[str] = ...) -> None: ...

class TurnResult(_message.Message):
    __slots__ = ("last_seq",)
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    last_seq: int
    def __init__(self, last_seq: _Optional[int] = ...) -> None: ...

class EnhanceJob(_message.Message):
    __slots__ = ("task", "prompt", "references", "image_count", "options")
    TASK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    task: Task
    prompt: str
    references: _containers.RepeatedCompositeFieldContainer[_types_pb2.BlobRef]
    image_count: int
    options: _types_pb2.EnhanceOptions
    def __init__(self, task: _Optional[_Union[Task, str]] = ..., prompt: _Optional[str] = ..., references: _Optional[_Iterable[_Union[_types_pb2.BlobRef, _Mapping]]] = ..., image_count: _Optional[int] = ..., options: _Optional[_Union[_types_pb2.EnhanceOptions, _Mapping]] = ...) -> None: ...

class EnhanceResult(_message.Message):
    __slots__ = ("task", "category", "rewritten", "pass_through_reason", "descriptions", "common", "difference", "usage", "differences", "thinking")
    class Category(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CATEGORY_UNSPECIFIED: _ClassVar[EnhanceResult.Category]
        CATEGORY_GENERAL: _ClassVar[EnhanceResult.Category]
        CATEGORY_TEXT_RENDERING: _ClassVar[EnhanceResult.Category]
        CATEGORY_POSTER: _ClassVar[EnhanceResult.Category]
        CATEGORY_INFOGRAPHIC: _ClassVar[EnhanceResult.Category]
        CATEGORY_INTERFACE: _ClassVar[EnhanceResult.Category]
        CATEGORY_STORYBOARD: _ClassVar[EnhanceResult.Category]
        CATEGORY_TECHNICAL_DIAGRAM: _ClassVar[EnhanceResult.Category]
        CATEGORY_KNOWLEDGE: _ClassVar[EnhanceResult.Category]
    CATEGORY_UNSPECIFIED: EnhanceResult.Category
    CATEGORY_GENERAL: EnhanceResult.Category
    CATEGORY_TEXT_RENDERING: EnhanceResult.Category
    CATEGORY_POSTER: EnhanceResult.Category
    CATEGORY_INFOGRAPHIC: EnhanceResult.Category
    CATEGORY_INTERFACE: EnhanceResult.Category
    CATEGORY_STORYBOARD: EnhanceResult.Category
    CATEGORY_TECHNICAL_DIAGRAM: EnhanceResult.Category
    CATEGORY_KNOWLEDGE: EnhanceResult.Category
    TASK_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    REWRITTEN_FIELD_NUMBER: _ClassVar[int]
    PASS_THROUGH_REASON_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    COMMON_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    task: Task
    category: EnhanceResult.Category
    rewritten: bool
    pass_through_reason: str
    descriptions: _containers.RepeatedCompositeFieldContainer[Description]
    common: str
    difference: str
    usage: _types_pb2.Usage
    differences: _containers.RepeatedScalarFieldContainer[str]
    thinking: str
    def __init__(self, task: _Optional[_Union[Task, str]] = ..., category: _Optional[_Union[EnhanceResult.Category, str]] = ..., rewritten: _Optional[bool] = ..., pass_through_reason: _Optional[str] = ..., descriptions: _Optional[_Iterable[_Union[Description, _Mapping]]] = ..., common: _Optional[str] = ..., difference: _Optional[str] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ..., differences: _Optional[_Iterable[str]] = ..., thinking: _Optional[str] = ...) -> None: ...

class Description(_message.Message):
    __slots__ = ("subject", "layout", "texts", "palette", "lighting", "style", "background", "natural")
    class Element(_message.Message):
        __slots__ = ("what", "box")
        WHAT_FIELD_NUMBER: _ClassVar[int]
        BOX_FIELD_NUMBER: _ClassVar[int]
        what: str
        box: _types_pb2.Box
        def __init__(self, what: _Optional[str] = ..., box: _Optional[_Union[_types_pb2.Box, _Mapping]] = ...) -> None: ...
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    LIGHTING_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    NATURAL_FIELD_NUMBER: _ClassVar[int]
    subject: str
    layout: _containers.RepeatedCompositeFieldContainer[Description.Element]
    texts: _containers.RepeatedScalarFieldContainer[str]
    palette: _types_pb2.Palette
    lighting: str
    style: str
    background: str
    natural: str
    def __init__(self, subject: _Optional[str] = ..., layout: _Optional[_Iterable[_Union[Description.Element, _Mapping]]] = ..., texts: _Optional[_Iterable[str]] = ..., palette: _Optional[_Union[_types_pb2.Palette, _Mapping]] = ..., lighting: _Optional[str] = ..., style: _Optional[str] = ..., background: _Optional[str] = ..., natural: _Optional[str] = ...) -> None: ...

class RenderJob(_message.Message):
    __slots__ = ("pictures", "references", "sampling", "previews", "palette", "background", "decode_every")
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    DECODE_EVERY_FIELD_NUMBER: _ClassVar[int]
    pictures: _containers.RepeatedCompositeFieldContainer[RenderPicture]
    references: _containers.RepeatedCompositeFieldContainer[RenderReference]
    sampling: _types_pb2.SamplingOptions
    previews: bool
    palette: _types_pb2.Palette
    background: _types_pb2.Background
    decode_every: int
    def __init__(self, pictures: _Optional[_Iterable[_Union[RenderPicture, _Mapping]]] = ..., references: _Optional[_Iterable[_Union[RenderReference, _Mapping]]] = ..., sampling: _Optional[_Union[_types_pb2.SamplingOptions, _Mapping]] = ..., previews: _Optional[bool] = ..., palette: _Optional[_Union[_types_pb2.Palette, _Mapping]] = ..., background: _Optional[_Union[_types_pb2.Background, _Mapping]] = ..., decode_every: _Optional[int] = ...) -> None: ...

class RenderPicture(_message.Message):
    __slots__ = ("prompt", "prompt_ids", "grid", "seed")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IDS_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    prompt_ids: _containers.RepeatedScalarFieldContainer[int]
    grid: _types_pb2.Grid
    seed: int
    def __init__(self, prompt: _Optional[str] = ..., prompt_ids: _Optional[_Iterable[int]] = ..., grid: _Optional[_Union[_types_pb2.Grid, _Mapping]] = ..., seed: _Optional[int] = ...) -> None: ...

class RenderReference(_message.Message):
    __slots__ = ("image", "latent", "changeable", "kept")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    CHANGEABLE_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.BlobRef
    latent: _types_pb2.BlobRef
    changeable: bytes
    kept: _types_pb2.BlobRef
    def __init__(self, image: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., latent: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., changeable: _Optional[bytes] = ..., kept: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ...) -> None: ...

class RenderResult(_message.Message):
    __slots__ = ("latents", "steps", "pixel_steps")
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PIXEL_STEPS_FIELD_NUMBER: _ClassVar[int]
    latents: _containers.RepeatedCompositeFieldContainer[_types_pb2.BlobRef]
    steps: int
    pixel_steps: int
    def __init__(self, latents: _Optional[_Iterable[_Union[_types_pb2.BlobRef, _Mapping]]] = ..., steps: _Optional[int] = ..., pixel_steps: _Optional[int] = ...) -> None: ...

class EncodeJob(_message.Message):
    __slots__ = ("image", "grid")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.BlobRef
    grid: _types_pb2.Grid
    def __init__(self, image: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., grid: _Optional[_Union[_types_pb2.Grid, _Mapping]] = ...) -> None: ...

class EncodeResult(_message.Message):
    __slots__ = ("latent",)
    LATENT_FIELD_NUMBER: _ClassVar[int]
    latent: _types_pb2.BlobRef
    def __init__(self, latent: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ...) -> None: ...

class DecodeJob(_message.Message):
    __slots__ = ("latent", "format", "palette")
    LATENT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    latent: _types_pb2.BlobRef
    format: _types_pb2.ImageFormat
    palette: _types_pb2.Palette
    def __init__(self, latent: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., format: _Optional[_Union[_types_pb2.ImageFormat, str]] = ..., palette: _Optional[_Union[_types_pb2.Palette, _Mapping]] = ...) -> None: ...

class DecodeResult(_message.Message):
    __slots__ = ("image", "size", "report")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.BlobRef
    size: _types_pb2.Size
    report: _types_pb2.PictureReport
    def __init__(self, image: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., size: _Optional[_Union[_types_pb2.Size, _Mapping]] = ..., report: _Optional[_Union[_types_pb2.PictureReport, _Mapping]] = ...) -> None: ...

class RefineJob(_message.Message):
    __slots__ = ("latent", "image", "prompt", "options", "seed", "format")
    LATENT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    latent: _types_pb2.BlobRef
    image: _types_pb2.BlobRef
    prompt: str
    options: _types_pb2.RefineOptions
    seed: int
    format: _types_pb2.ImageFormat
    def __init__(self, latent: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., image: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., prompt: _Optional[str] = ..., options: _Optional[_Union[_types_pb2.RefineOptions, _Mapping]] = ..., seed: _Optional[int] = ..., format: _Optional[_Union[_types_pb2.ImageFormat, str]] = ...) -> None: ...

class RefineResult(_message.Message):
    __slots__ = ("image", "size", "pixel_steps")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PIXEL_STEPS_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.BlobRef
    size: _types_pb2.Size
    pixel_steps: int
    def __init__(self, image: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., size: _Optional[_Union[_types_pb2.Size, _Mapping]] = ..., pixel_steps: _Optional[int] = ...) -> None: ...
