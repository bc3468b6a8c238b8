"""TLS from the settings, for both ends of gRPC and for NATS and S3.

One certificate is a process's identity in both directions: `WAN_TLS_CERT` and `WAN_TLS_KEY` are what a front
answers with, and what a client, or a service that calls NATS, shows. `WAN_TLS_CA` is whom it trusts.
"""

import ssl
from pathlib import Path

import grpc

from wanimage.config import Settings


def of_server(settings: Settings) -> grpc.ServerCredentials | None:
    """What a front listens with; None without a certificate: plain text."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    authorities = _read(settings.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )


def of_client(settings: Settings) -> grpc.ChannelCredentials:
    """What a gRPC client verifies a front with, and shows it."""
    return grpc.ssl_channel_credentials(
        root_certificates=_read(settings.tls_ca),
        private_key=_read(settings.tls_key),
        certificate_chain=_read(settings.tls_cert),
    )


def context(settings: Settings) -> ssl.SSLContext:
    """The same for NATS: who is trusted, and what is shown."""
    made = ssl.create_default_context(cafile=settings.tls_ca)
    if settings.tls_cert is not None:
        made.load_cert_chain(settings.tls_cert, settings.tls_key)
    return made


def ca_file(settings: Settings) -> str | None:
    """The same for S3: the file of whom to trust; None: the system's."""
    return None if settings.tls_ca is None else str(settings.tls_ca)


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
