"""Exit 0 when the gRPC service at HOST:PORT says SERVING, 1 otherwise. Used by images and compose.yaml.

Where WAN_TLS_CERT is set the service speaks TLS: it is asked under its own certificate, which must name HOST.
"""

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 4.0


def connected(address: str) -> grpc.Channel:
    """A channel as the service's own settings ask for it."""
    cert, key = os.environ.get("WAN_TLS_CERT"), os.environ.get("WAN_TLS_KEY")
    if not cert or not key:
        return grpc.insecure_channel(address)
    trusted = Path(os.environ.get("WAN_TLS_CA") or cert).read_bytes()
    shown = (Path(key).read_bytes(), Path(cert).read_bytes())
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(trusted, *shown))


def trouble(address: str) -> str:
    """Why the process at `address` does not report SERVING as a whole; empty when it does."""
    with connected(address) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service="")
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if name == "SERVING" else name


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: healthcheck.py HOST:PORT")
    if found := trouble(sys.argv[1]):
        sys.exit(f"{sys.argv[1]} is not serving: {found}")
