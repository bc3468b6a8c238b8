"""Where commands go: the channel to a service, and the NATS and S3 of those who speak to them."""

import os
from pathlib import Path
from typing import Any

import grpc

from wanimage import rpc, telemetry, tls
from wanimage.cli import stackfile
from wanimage.config import Settings


def channel(address: str, api_key: str | None = None) -> grpc.aio.Channel:
    """A channel to host:port. `https://` before it, or WAN_TLS_CA without a scheme, mean TLS."""
    settings = Settings()
    scheme, _, rest = address.rpartition("://")
    if scheme == "https" or (not scheme and settings.tls_ca is not None):
        return rpc.channel(f"https://{rest}", api_key, tls.of_client(settings))
    return rpc.channel(address, api_key)


def operator(data_dir: Path | None) -> Settings:
    """Settings of NATS and S3: of WAN_NATS_URL and the like, else of the running stack, else of this
    machine. Logs go to stderr from now on, errors alone."""
    telemetry.configure("wan", level="ERROR")
    running = None if "WAN_NATS_URL" in os.environ else stackfile.running(data_dir)
    given: dict[str, Any] = running[1].environment if running else {}
    return Settings(**{name.removeprefix("WAN_").lower(): value for name, value in given.items()})
