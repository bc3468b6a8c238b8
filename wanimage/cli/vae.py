"""`wan vae`: the autoencoder alone."""

import json
import re
from pathlib import Path
from typing import Annotated

import grpc
import typer
from google.protobuf import json_format

from wanimage.cli import connecting, options, report, stackfile
from wanimage.cli.client import PlannerClient
from wanimage.cli.options import read_picture
from wanimage.cli.turn import save
from wanimage.v1 import types_pb2, vae_pb2, vae_pb2_grpc

VaeAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="WAN_VAE_ADDRESS",
        metavar="HOST:PORT",
        help="[default: the running stack's]",
        rich_help_panel=options.SERVER,
    ),
]
app = typer.Typer(no_args_is_help=True, help="Turn pictures into latents and back.")


@app.command()
@report.command
async def encode(
    image: Annotated[
        Path, typer.Argument(help="PNG, JPEG or WebP; its sides are rounded to multiples of 16.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also save the latent (safetensors) here.")
    ] = None,
    address: VaeAddress = None,
    planner_address: Annotated[
        str | None,
        typer.Option(envvar="WAN_ADDRESS", help="Where --out fetches from.", rich_help_panel=options.SERVER),
    ] = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = options.TIMEOUT,
) -> None:
    """Print the latent's BlobRef and grid as JSON; `wan vae decode` takes it."""
    request = vae_pb2.EncodeRequest(image=read_picture(image))
    where = stackfile.find("vae", address)
    async with connecting.channel(where, api_key) as channel:
        try:
            response = await vae_pb2_grpc.VaeServiceStub(channel).Encode(request, timeout=timeout)
        except grpc.RpcError as error:
            raise report.explain(error, where) from None
    if out is not None:
        async with PlannerClient(stackfile.find("planner", planner_address), api_key, timeout) as client:
            save(await client.fetch(response.latent), out)
    grid = [response.grid.height_cells, response.grid.width_cells]
    report.print_json(
        {"latent": blob_record(response.latent), "grid": grid, "path": str(out) if out else None}
    )


@app.command()
@report.command
async def decode(
    blob: Annotated[
        str, typer.Argument(help="What `wan vae encode` printed (the JSON or a file of it), or a SHA-256.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the PNG goes.")] = Path("decoded.png"),
    address: VaeAddress = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = options.TIMEOUT,
) -> None:
    """Make a picture of a latent."""
    request = vae_pb2.DecodeRequest(latent=read_blob(blob), inline=True)
    where = stackfile.find("vae", address)
    async with connecting.channel(where, api_key) as channel:
        try:
            response = await vae_pb2_grpc.VaeServiceStub(channel).Decode(request, timeout=timeout)
        except grpc.RpcError as error:
            raise report.explain(error, where) from None
    save(response.data, out)
    size = [response.size.height, response.size.width]
    report.print_json({"image": blob_record(response.image), "size": size, "path": str(out)})


def read_blob(text: str) -> types_pb2.BlobRef:
    """A BlobRef from JSON, from a file of JSON, or from a bare SHA-256. Raises BadInput."""
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return types_pb2.BlobRef(sha256=text, media_type="application/x-safetensors")
    try:
        if not text.lstrip().startswith("{"):
            text = Path(text).read_text()
        record = json.loads(text)
        return json_format.ParseDict(record.get("latent", record), types_pb2.BlobRef())
    except OSError as error:
        raise report.BadInput(
            f"BLOB: {text!r}: {error.strerror}; give the JSON that `wan vae encode` printed"
        ) from None
    except (ValueError, TypeError, AttributeError, json_format.ParseError) as error:
        raise report.BadInput(f"BLOB: {error}; give the JSON that `wan vae encode` printed") from None


def blob_record(blob: types_pb2.BlobRef) -> dict[str, object]:
    """A BlobRef as JSON with plain numbers; `read_blob` reads it back."""
    return {
        "sha256": blob.sha256, "size": blob.size, "media_type": blob.media_type, "dtype": blob.dtype,
        "shape": list(blob.shape),
    }  # fmt: skip
