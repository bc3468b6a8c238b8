from wanimage.v1 import jobs_pb2 as _jobs_pb2
from wanimage.v1 import types_pb2 as _types_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefineRequest(_message.Message):
    __slots__ = ("latent", "image", "prompt", "options", "seed", "format")
    LATENT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    latent: _types_pb2.BlobRef
    image: _types_pb2.ImageInput
    prompt: str
    options: _types_pb2.RefineOptions
    seed: int
    format: _types_pb2.ImageFormat
    def __init__(self, latent: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., image: _Optional[_Union[_types_pb2.ImageInput, _Mapping]] = ..., prompt: _Optional[str] = ..., options: _Optional[_Union[_types_pb2.RefineOptions, _Mapping]] = ..., seed: _Optional[int] = ..., format: _Optional[_Union[_types_pb2.ImageFormat, str]] = ...) -> None: ...

class RefineResponse(_message.Message):
    __slots__ = ("progress", "output")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    progress: _jobs_pb2.JobProgress
    output: RefineOutput
    def __init__(self, progress: _Optional[_Union[_jobs_pb2.JobProgress, _Mapping]] = ..., output: _Optional[_Union[RefineOutput, _Mapping]] = ...) -> None: ...

class RefineOutput(_message.Message):
    __slots__ = ("image", "size", "usage")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.BlobRef
    size: _types_pb2.Size
    usage: _types_pb2.Usage
    def __init__(self, image: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., size: _Optional[_Union[_types_pb2.Size, _Mapping]] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ...) -> None: ...
