"""Pictures that lie about their size, names that leave their place, metadata that writes log lines."""

import asyncio
import io
import json
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.echo import Echo, encode, refused, serving
from wanimage import images, telemetry
from wanimage.blobs import key_of
from wanimage.errors import InvalidInput
from wanimage.jobs import make_job
from wanimage.rpc.guard import Guard
from wanimage.sessions import subject_of
from wanimage.v1 import jobs_pb2

ROOT = Path(__file__).resolve().parents[2]
REFUSED_MIB = 24
"""How much a picture may cost that is refused by its header, over the file itself."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *before: bytes, rows: bytes | None = None) -> bytes:
    """A PNG that claims this size, with `before` ahead of its data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(height * (1 + 4 * width)) if rows is None else rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + data + chunk(b"IEND", b"")


def encoded(width: int, height: int, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, height), "red").save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(16, 16, "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(16, 16, "WEBP", lossless=False))
    start = data.index(b"\x9d\x01\x2a") + 3
    data[start : start + 4] = struct.pack("<HH", width, height)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "a PNG that claims 10^10 pixels": lambda: png(100_000, 100_000, rows=b""),
    "a PNG of the largest size there is": lambda: png(2**31 - 1, 2**31 - 1, rows=b""),
    "a PNG of 50 million pixels in 200 kB": lambda: png(10_000, 5_000, rows=bytes(200_000_000)),
    "a JPEG that claims 65,000 by 65,000": lambda: jpeg_claiming(65_000, 65_000),
    "a WebP that claims 16,383 by 16,383": lambda: webp_claiming(16_383, 16_383),
    "100 MB of text in a zTXt chunk": lambda: png(
        8, 8, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000)))
    ),
    "100 MB in an iTXt chunk": lambda: png(
        8, 8, chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(100_000_000)))
    ),
    "a profile of 100 MB": lambda: png(8, 8, chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100_000_000)))),
    "more bytes than a picture may have": lambda: bytes(images.MAX_BYTES + 1),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """How each bomb ended, in a process whose largest memory is measured."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, make in BOMBS.items():
        (folder / name).write_bytes(make())
    code = "from tests.contract.test_hostile_input import try_all; try_all()"
    result = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def try_all() -> None:
    """Decode the files in the folder that the command line names; print refusals and the memory they took."""
    images.decode(encoded(64, 64, "PNG"), "warm-up")
    found = {}
    for path in Path(sys.argv[1]).iterdir():
        data = path.read_bytes()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refusal = ""
        try:
            images.decode(data, "picture")
        except InvalidInput as error:
            refusal = str(error)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        found[path.name] = {"refusal": refusal, "mib": grown / 1024}
    sys.stdout.write(json.dumps(found))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(outcomes: dict[str, dict[str, object]], name: str) -> None:
    assert str(outcomes[name]["refusal"]).startswith("picture: ")
    assert float(str(outcomes[name]["mib"])) < REFUSED_MIB


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_one_frame_is_read(kind: str) -> None:
    frames = [Pillow.new("RGB", (64, 64), color) for color in ("red", *["blue"] * 200)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if kind == "WEBP" else {}),
    )
    assert images.decode(buffer.getvalue(), "picture")[0, 0].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noise = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "RGB")
    buffer = io.BytesIO()
    noise.save(buffer, kind)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(InvalidInput):
            images.decode(buffer.getvalue()[: int(share * len(buffer.getvalue()))], "picture")


# Names. --------------------------------------------------------------------------------------------------

NAMES = (
    "", ".", "..", "../other", "a/b", "/etc", "a\\b", "a.b", "*", ">", "a.>", "a b", " a", "a\n",
    "a\r\nX: y", "a\0b", "\u202ea", "ａ", "%2e%2e", "${x}", "x" * 65,
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leaves_its_place_makes_no_key_subject_or_job(name: str) -> None:
    digest = "0" * 64
    attempts: tuple[Callable[[], object], ...] = (
        lambda: key_of(name, digest),
        lambda: key_of("acme", name),
        lambda: key_of("acme", (name + digest)[:64]),
        lambda: subject_of(name, "s"),
        lambda: make_job(name, digest, jobs_pb2.DecodeJob(), 1.0),
    )
    for attempt in attempts[:2] + attempts[3:]:
        with pytest.raises(InvalidInput):
            attempt()
    if name:
        with pytest.raises(InvalidInput):
            attempts[2]()
    if name != "*":  # the tenant's own sessions, which no request can ask for: fronts check the id first
        with pytest.raises(InvalidInput):
            subject_of("acme", name)


# Metadata. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ['a" b="c', "id level=error", "x" * 300, "{}", "%0a"])
async def test_a_request_id_that_is_no_name_is_replaced(given: str) -> None:
    async with serving(Echo(), api_keys={"acme": "k"}) as (address, _, _):
        details = await refused(encode(address, metadata=(("x-request-id", given),)))
        kept = await refused(encode(address, metadata=(("x-request-id", "mine-1"),)))
    assert details.request_id not in ("", given)
    assert details.request_id.isalnum()
    assert kept.request_id == "mine-1"


@pytest.mark.parametrize("as_json", [True, False])
async def test_no_client_writes_a_log_line_of_its_own(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """What gRPC would stop is handed to the guard itself, as a client that speaks HTTP/2 by hand might."""
    telemetry.configure("test", json=as_json)
    line = 'x"\r\n{"event": "forged", "level": "info"}\x1b[31m'
    echo = Echo()
    echo.error = InvalidInput("field", f"{line!r}", "stop it")
    async with serving(echo) as (address, _, _):
        await refused(encode(address))
    context = Hostile((("x-request-id", line), ("traceparent", line), ("authorization", line)))
    async with serving(echo, api_keys={"acme": "k"}) as _:
        await context.call()
    logged = capsys.readouterr().err
    assert "call_refused" in logged
    assert "\x1b[31m" not in logged
    assert not any(each.startswith('{"event": "forged"') for each in logged.splitlines())


class Hostile:
    """A call whose metadata went past gRPC's checks."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def time_remaining(self) -> float:
        return 10.0

    def code(self) -> int:
        return grpc.StatusCode.UNAUTHENTICATED.value[0]

    async def abort(self, code: grpc.StatusCode, message: str, trailing_metadata: object) -> None:
        raise grpc.aio.AbortError(message)

    async def call(self) -> None:
        """Through the guard, to a refusal."""
        from wanimage import rpc
        from wanimage.config import Settings
        from wanimage.rpc.allowance import Allowance

        guard = Guard(rpc.keyring(Settings(_env_file=None, api_keys={"acme": "k"})), Allowance(1, 1), 60.0)
        with pytest.raises(grpc.aio.AbortError):
            async with guard._call("/wanimage.v1.VaeService/Encode", self):
                await asyncio.sleep(0)
