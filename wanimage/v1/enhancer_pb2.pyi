from wanimage.v1 import jobs_pb2 as _jobs_pb2
from wanimage.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnhanceRequest(_message.Message):
    __slots__ = ("task", "prompt", "references", "image_count", "options", "target_family")
    TASK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FAMILY_FIELD_NUMBER: _ClassVar[int]
    task: _jobs_pb2.Task
    prompt: str
    references: _containers.RepeatedCompositeFieldContainer[_types_pb2.ImageInput]
    image_count: int
    options: _types_pb2.EnhanceOptions
    target_family: str
    def __init__(self, task: _Optional[_Union[_jobs_pb2.Task, str]] = ..., prompt: _Optional[str] = ..., references: _Optional[_Iterable[_Union[_types_pb2.ImageInput, _Mapping]]] = ..., image_count: _Optional[int] = ..., options: _Optional[_Union[_types_pb2.EnhanceOptions, _Mapping]] = ..., target_family: _Optional[str] = ...) -> None: ...

class EnhanceResponse(_message.Message):
    __slots__ = ("think_delta", "result")
    THINK_DELTA_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    think_delta: str
    result: _jobs_pb2.EnhanceResult
    def __init__(self, think_delta: _Optional[str] = ..., result: _Optional[_Union[_jobs_pb2.EnhanceResult, _Mapping]] = ...) -> None: ...
