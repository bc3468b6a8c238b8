from wanimage.v1 import jobs_pb2 as _jobs_pb2
from wanimage.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RenderRequest(_message.Message):
    __slots__ = ("prompts", "size", "references", "palette", "background", "regions", "sampling", "previews", "format", "latents_only", "decode_every")
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    LATENTS_ONLY_FIELD_NUMBER: _ClassVar[int]
    DECODE_EVERY_FIELD_NUMBER: _ClassVar[int]
    prompts: _containers.RepeatedScalarFieldContainer[str]
    size: _types_pb2.SizeHint
    references: _containers.RepeatedCompositeFieldContainer[_types_pb2.ImageInput]
    palette: _types_pb2.Palette
    background: _types_pb2.Background
    regions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Region]
    sampling: _types_pb2.SamplingOptions
    previews: bool
    format: _types_pb2.ImageFormat
    latents_only: bool
    decode_every: int
    def __init__(self, prompts: _Optional[_Iterable[str]] = ..., size: _Optional[_Union[_types_pb2.SizeHint, _Mapping]] = ..., references: _Optional[_Iterable[_Union[_types_pb2.ImageInput, _Mapping]]] = ..., palette: _Optional[_Union[_types_pb2.Palette, _Mapping]] = ..., background: _Optional[_Union[_types_pb2.Background, _Mapping]] = ..., regions: _Optional[_Iterable[_Union[_types_pb2.Region, _Mapping]]] = ..., sampling: _Optional[_Union[_types_pb2.SamplingOptions, _Mapping]] = ..., previews: _Optional[bool] = ..., format: _Optional[_Union[_types_pb2.ImageFormat, str]] = ..., latents_only: _Optional[bool] = ..., decode_every: _Optional[int] = ...) -> None: ...

class RenderResponse(_message.Message):
    __slots__ = ("progress", "output")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    progress: _jobs_pb2.JobProgress
    output: RenderOutput
    def __init__(self, progress: _Optional[_Union[_jobs_pb2.JobProgress, _Mapping]] = ..., output: _Optional[_Union[RenderOutput, _Mapping]] = ...) -> None: ...

class RenderOutput(_message.Message):
    __slots__ = ("images", "usage")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    usage: _types_pb2.Usage
    def __init__(self, images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping]]] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ...) -> None: ...
