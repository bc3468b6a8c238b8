import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Sampler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAMPLER_UNSPECIFIED: _ClassVar[Sampler]
    SAMPLER_EULER: _ClassVar[Sampler]
    SAMPLER_HEUN: _ClassVar[Sampler]

class EnhancerVariant(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENHANCER_VARIANT_UNSPECIFIED: _ClassVar[EnhancerVariant]
    ENHANCER_VARIANT_FAST: _ClassVar[EnhancerVariant]
    ENHANCER_VARIANT_QUALITY: _ClassVar[EnhancerVariant]

class RefineMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFINE_MODE_UNSPECIFIED: _ClassVar[RefineMode]
    REFINE_MODE_REPAIR: _ClassVar[RefineMode]
    REFINE_MODE_HIGH_FIDELITY: _ClassVar[RefineMode]

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]

class ThinkMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THINK_MODE_UNSPECIFIED: _ClassVar[ThinkMode]
    THINK_MODE_ON: _ClassVar[ThinkMode]
    THINK_MODE_OFF: _ClassVar[ThinkMode]

class Feedback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_UNSPECIFIED: _ClassVar[Feedback]
    FEEDBACK_IMAGE: _ClassVar[Feedback]
    FEEDBACK_TEXT: _ClassVar[Feedback]
SAMPLER_UNSPECIFIED: Sampler
SAMPLER_EULER: Sampler
SAMPLER_HEUN: Sampler
ENHANCER_VARIANT_UNSPECIFIED: EnhancerVariant
ENHANCER_VARIANT_FAST: EnhancerVariant
ENHANCER_VARIANT_QUALITY: EnhancerVariant
REFINE_MODE_UNSPECIFIED: RefineMode
REFINE_MODE_REPAIR: RefineMode
REFINE_MODE_HIGH_FIDELITY: RefineMode
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
THINK_MODE_UNSPECIFIED: ThinkMode
THINK_MODE_ON: ThinkMode
THINK_MODE_OFF: ThinkMode
FEEDBACK_UNSPECIFIED: Feedback
FEEDBACK_IMAGE: Feedback
FEEDBACK_TEXT: Feedback

class BlobRef(_message.Message):
    __slots__ = ("sha256", "size", "media_type", "dtype", "shape")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size: int
    media_type: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sha256: _Optional[str] = ..., size: _Optional[int] = ..., media_type: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class ImageInput(_message.Message):
    __slots__ = ("data", "blob", "session_image")
    DATA_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    SESSION_IMAGE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    blob: BlobRef
    session_image: int
    def __init__(self, data: _Optional[bytes] = ..., blob: _Optional[_Union[BlobRef, _Mapping]] = ..., session_image: _Optional[int] = ...) -> None: ...

class Size(_message.Message):
    __slots__ = ("height", "width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class Grid(_message.Message):
    __slots__ = ("height_cells", "width_cells")
    HEIGHT_CELLS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_CELLS_FIELD_NUMBER: _ClassVar[int]
    height_cells: int
    width_cells: int
    def __init__(self, height_cells: _Optional[int] = ..., width_cells: _Optional[int] = ...) -> None: ...

class AspectRatio(_message.Message):
    __slots__ = ("width", "height")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class SizeHint(_message.Message):
    __slots__ = ("size", "aspect")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ASPECT_FIELD_NUMBER: _ClassVar[int]
    size: Size
    aspect: AspectRatio
    def __init__(self, size: _Optional[_Union[Size, _Mapping]] = ..., aspect: _Optional[_Union[AspectRatio, _Mapping]] = ...) -> None: ...

class PaletteColor(_message.Message):
    __slots__ = ("hex", "proportion")
    HEX_FIELD_NUMBER: _ClassVar[int]
    PROPORTION_FIELD_NUMBER: _ClassVar[int]
    hex: str
    proportion: float
    def __init__(self, hex: _Optional[str] = ..., proportion: _Optional[float] = ...) -> None: ...

class Palette(_message.Message):
    __slots__ = ("colors",)
    COLORS_FIELD_NUMBER: _ClassVar[int]
    colors: _containers.RepeatedCompositeFieldContainer[PaletteColor]
    def __init__(self, colors: _Optional[_Iterable[_Union[PaletteColor, _Mapping]]] = ...) -> None: ...

class Background(_message.Message):
    __slots__ = ("kind", "hex")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Background.Kind]
        KIND_TRANSPARENT: _ClassVar[Background.Kind]
        KIND_COLOR: _ClassVar[Background.Kind]
    KIND_UNSPECIFIED: Background.Kind
    KIND_TRANSPARENT: Background.Kind
    KIND_COLOR: Background.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    HEX_FIELD_NUMBER: _ClassVar[int]
    kind: Background.Kind
    hex: str
    def __init__(self, kind: _Optional[_Union[Background.Kind, str]] = ..., hex: _Optional[str] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    width: float
    height: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., width: _Optional[float] = ..., height: _Optional[float] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("box", "prompt", "reference", "cue", "mask")
    class Cue(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CUE_UNSPECIFIED: _ClassVar[Region.Cue]
        CUE_BOX: _ClassVar[Region.Cue]
        CUE_ARROW: _ClassVar[Region.Cue]
        CUE_SCRIBBLE: _ClassVar[Region.Cue]
        CUE_MASK: _ClassVar[Region.Cue]
        CUE_NUMBER: _ClassVar[Region.Cue]
    CUE_UNSPECIFIED: Region.Cue
    CUE_BOX: Region.Cue
    CUE_ARROW: Region.Cue
    CUE_SCRIBBLE: Region.Cue
    CUE_MASK: Region.Cue
    CUE_NUMBER: Region.Cue
    BOX_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    CUE_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    box: Box
    prompt: str
    reference: int
    cue: Region.Cue
    mask: BlobRef
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., prompt: _Optional[str] = ..., reference: _Optional[int] = ..., cue: _Optional[_Union[Region.Cue, str]] = ..., mask: _Optional[_Union[BlobRef, _Mapping]] = ...) -> None: ...

class SamplingOptions(_message.Message):
    __slots__ = ("seed", "steps", "guidance_scale", "image_guidance_scale", "sampler", "shift", "keep_unchanged")
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    KEEP_UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    seed: int
    steps: int
    guidance_scale: float
    image_guidance_scale: float
    sampler: Sampler
    shift: float
    keep_unchanged: bool
    def __init__(self, seed: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., image_guidance_scale: _Optional[float] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., shift: _Optional[float] = ..., keep_unchanged: _Optional[bool] = ...) -> None: ...

class EnhanceOptions(_message.Message):
    __slots__ = ("mode", "variant")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[EnhanceOptions.Mode]
        MODE_OFF: _ClassVar[EnhanceOptions.Mode]
        MODE_ON: _ClassVar[EnhanceOptions.Mode]
    MODE_UNSPECIFIED: EnhanceOptions.Mode
    MODE_OFF: EnhanceOptions.Mode
    MODE_ON: EnhanceOptions.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    mode: EnhanceOptions.Mode
    variant: EnhancerVariant
    def __init__(self, mode: _Optional[_Union[EnhanceOptions.Mode, str]] = ..., variant: _Optional[_Union[EnhancerVariant, str]] = ...) -> None: ...

class RefineOptions(_message.Message):
    __slots__ = ("mode", "target_long_edge")
    MODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LONG_EDGE_FIELD_NUMBER: _ClassVar[int]
    mode: RefineMode
    target_long_edge: int
    def __init__(self, mode: _Optional[_Union[RefineMode, str]] = ..., target_long_edge: _Optional[int] = ...) -> None: ...

class TurnOptions(_message.Message):
    __slots__ = ("image_count", "size", "palette", "background", "regions", "sampling", "enhance", "refine", "think", "feedback", "previews", "format", "max_tokens", "temperature", "cancel_on_disconnect", "decode_every")
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    ENHANCE_FIELD_NUMBER: _ClassVar[int]
    REFINE_FIELD_NUMBER: _ClassVar[int]
    THINK_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    DECODE_EVERY_FIELD_NUMBER: _ClassVar[int]
    image_count: int
    size: SizeHint
    palette: Palette
    background: Background
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    sampling: SamplingOptions
    enhance: EnhanceOptions
    refine: RefineOptions
    think: ThinkMode
    feedback: Feedback
    previews: bool
    format: ImageFormat
    max_tokens: int
    temperature: float
    cancel_on_disconnect: bool
    decode_every: int
    def __init__(self, image_count: _Optional[int] = ..., size: _Optional[_Union[SizeHint, _Mapping]] = ..., palette: _Optional[_Union[Palette, _Mapping]] = ..., background: _Optional[_Union[Background, _Mapping]] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ..., sampling: _Optional[_Union[SamplingOptions, _Mapping]] = ..., enhance: _Optional[_Union[EnhanceOptions, _Mapping]] = ..., refine: _Optional[_Union[RefineOptions, _Mapping]] = ..., think: _Optional[_Union[ThinkMode, str]] = ..., feedback: _Optional[_Union[Feedback, str]] = ..., previews: _Optional[bool] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., cancel_on_disconnect: _Optional[bool] = ..., decode_every: _Optional[int] = ...) -> None: ...

class UserMessage(_message.Message):
    __slots__ = ("text", "images")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    text: str
    images: _containers.RepeatedCompositeFieldContainer[ImageInput]
    def __init__(self, text: _Optional[str] = ..., images: _Optional[_Iterable[_Union[ImageInput, _Mapping]]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "cached_tokens", "generated_tokens", "images", "pixel_steps", "stage_seconds", "seconds")
    class StageSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PIXEL_STEPS_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    images: int
    pixel_steps: int
    stage_seconds: _containers.ScalarMap[str, float]
    seconds: float
    def __init__(self, prompt_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., images: _Optional[int] = ..., pixel_steps: _Optional[int] = ..., stage_seconds: _Optional[_Mapping[str, float]] = ..., seconds: _Optional[float] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("index", "base", "refined", "latent", "size", "prompt", "seed", "family", "references", "report", "unmarked")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    REFINED_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    UNMARKED_FIELD_NUMBER: _ClassVar[int]
    index: int
    base: BlobRef
    refined: BlobRef
    latent: BlobRef
    size: Size
    prompt: str
    seed: int
    family: str
    references: _containers.RepeatedScalarFieldContainer[int]
    report: PictureReport
    unmarked: BlobRef
    def __init__(self, index: _Optional[int] = ..., base: _Optional[_Union[BlobRef, _Mapping]] = ..., refined: _Optional[_Union[BlobRef, _Mapping]] = ..., latent: _Optional[_Union[BlobRef, _Mapping]] = ..., size: _Optional[_Union[Size, _Mapping]] = ..., prompt: _Optional[str] = ..., seed: _Optional[int] = ..., family: _Optional[str] = ..., references: _Optional[_Iterable[int]] = ..., report: _Optional[_Union[PictureReport, _Mapping]] = ..., unmarked: _Optional[_Union[BlobRef, _Mapping]] = ...) -> None: ...

class PictureReport(_message.Message):
    __slots__ = ("transparent", "translucent", "palette")
    TRANSPARENT_FIELD_NUMBER: _ClassVar[int]
    TRANSLUCENT_FIELD_NUMBER: _ClassVar[int]
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    transparent: float
    translucent: float
    palette: _containers.RepeatedCompositeFieldContainer[PaletteFinding]
    def __init__(self, transparent: _Optional[float] = ..., translucent: _Optional[float] = ..., palette: _Optional[_Iterable[_Union[PaletteFinding, _Mapping]]] = ...) -> None: ...

class PaletteFinding(_message.Message):
    __slots__ = ("hex", "found", "delta_e", "proportion")
    HEX_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    DELTA_E_FIELD_NUMBER: _ClassVar[int]
    PROPORTION_FIELD_NUMBER: _ClassVar[int]
    hex: str
    found: str
    delta_e: float
    proportion: float
    def __init__(self, hex: _Optional[str] = ..., found: _Optional[str] = ..., delta_e: _Optional[float] = ..., proportion: _Optional[float] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("reason", "message", "code", "time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    code: int
    time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., code: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
