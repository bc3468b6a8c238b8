from wanimage.v1 import types_pb2 as _types_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EncodeRequest(_message.Message):
    __slots__ = ("image", "size")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.ImageInput
    size: _types_pb2.Size
    def __init__(self, image: _Optional[_Union[_types_pb2.ImageInput, _Mapping]] = ..., size: _Optional[_Union[_types_pb2.Size, _Mapping]] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("latent", "grid")
    LATENT_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    latent: _types_pb2.BlobRef
    grid: _types_pb2.Grid
    def __init__(self, latent: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., grid: _Optional[_Union[_types_pb2.Grid, _Mapping]] = ...) -> None: ...

class DecodeRequest(_message.Message):
    __slots__ = ("latent", "format", "inline")
    LATENT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    latent: _types_pb2.BlobRef
    format: _types_pb2.ImageFormat
    inline: bool
    def __init__(self, latent: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., format: _Optional[_Union[_types_pb2.ImageFormat, str]] = ..., inline: _Optional[bool] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("image", "size", "data")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.BlobRef
    size: _types_pb2.Size
    data: bytes
    def __init__(self, image: _Optional[_Union[_types_pb2.BlobRef, _Mapping]] = ..., size: _Optional[_Union[_types_pb2.Size, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...
