"""Which blobs a message names, found through descriptors: a new field is seen without being listed here."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from wanimage.errors import SchemaMismatch
from wanimage.sessions import SCHEMA
from wanimage.v1.types_pb2 import BlobRef


def blob_refs(message: Message, what: str) -> Iterator[BlobRef]:
    """Every `BlobRef` at any depth, empty ones left out.

    Raises SchemaMismatch naming `what` when the message holds fields that this version does not know: they
    might name blobs.
    """
    unknown = [field.field_number for field in UnknownFieldSet(message)]  # type: ignore[attr-defined]
    if unknown:
        raise SchemaMismatch(f"{what}, with the unknown fields {unknown[:4]} of {type(message).__name__},",
                             "of a newer version", SCHEMA)  # fmt: skip
    if isinstance(message, BlobRef):
        if message.sha256:
            yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in _messages(field, value):
            yield from blob_refs(inner, what)


def _messages(field: FieldDescriptor, value: object) -> Iterator[Message]:
    if isinstance(value, Message):
        yield value
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield from (each for each in value.values() if isinstance(each, Message))  # type: ignore[attr-defined]
    else:
        yield from value  # type: ignore[misc]
