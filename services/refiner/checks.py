"""What of a request can be checked before its picture is read: by the front, and again by the worker.

Needs no torch."""

from wanimage import limits
from wanimage.errors import InvalidInput
from wanimage.prompts import PromptLimit
from wanimage.v1 import jobs_pb2, refiner_pb2, types_pb2


def check(
    asked: refiner_pb2.RefineRequest | jobs_pb2.RefineJob, prompts: PromptLimit, prefix: str = ""
) -> None:
    """Everything but the picture. Raises InvalidInput naming `prefix` and the field."""
    limits.check_refine(asked.options, f"{prefix}options")
    if asked.options.mode == types_pb2.REFINE_MODE_REPAIR and not asked.prompt.strip():
        raise InvalidInput(
            f"{prefix}prompt", "empty, and repair goes by it", "say what the picture shows, or keep fidelity"
        )
    if asked.prompt:
        prompts.check(asked.prompt, f"{prefix}prompt")
    limits.check_range(asked.seed, 0, limits.MAX_SEED, f"{prefix}seed")
    limits.check_format(asked.format, types_pb2.Background(), f"{prefix}format")


def check_alpha(opaque: bool, image_format: int, field: str) -> None:
    """A picture that is not `opaque` needs a format with an alpha channel."""
    if image_format == types_pb2.IMAGE_FORMAT_JPEG and not opaque:
        problem = "JPEG has no alpha channel, and the picture is not opaque"
        raise InvalidInput(field, problem, "ask for PNG or WebP")
