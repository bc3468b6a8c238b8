"""The channel that every command uses: in TLS where the address or the settings say so."""

import grpc

from wanimage import rpc, tls
from wanimage.config import Settings


def channel(address: str, api_key: str | None = None) -> grpc.aio.Channel:
    """A channel to host:port. `https://` before it, or WAN_TLS_CA without a scheme, mean TLS."""
    settings = Settings()
    scheme, _, rest = address.rpartition("://")
    if scheme == "https" or (not scheme and settings.tls_ca is not None):
        return rpc.channel(f"https://{rest}", api_key, tls.of_client(settings))
    return rpc.channel(address, api_key)
