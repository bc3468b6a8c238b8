"""The client's side: a channel that says who calls, and that repeats what a dying connection broke."""

import json
from typing import Any

import grpc

from wanimage import telemetry
from wanimage.rpc.transport import KEEPALIVE, MAX_RECEIVE_BYTES

_LENGTHS = [
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    ("grpc.max_send_message_length", MAX_RECEIVE_BYTES),
]

_REPEATABLE = {
    "PlannerService": ("Watch", "GetSession", "ListSessions", "Cancel", "FetchBlob"),
    "VisualizerService": ("Render",),
    "VaeService": ("Encode", "Decode"),
}
"""Methods that may be called twice: they read, or their work is named by its content. Not Generate, Converse
and Fork, of which each call begins something new."""
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [
                    {"service": f"wanimage.v1.{service}", "method": method}
                    for service, methods in _REPEATABLE.items()
                    for method in methods
                ],
                # UNAVAILABLE: the connection broke or was refused. CANCELLED: a server that stops says so to
                # calls that arrived and were not begun. What a service answers itself is never repeated: it
                # comes with `rpc.details.FINAL`.
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ]
    }
)


def channel(
    address: str, api_key: str | None = None, credentials: grpc.ChannelCredentials | None = None
) -> grpc.aio.Channel:
    """A channel to host:port that sends the API key and the running trace with every call.

    `http://` and `https://` before the address choose plain text (the default) or TLS, with `credentials`
    (`tls.of_client`) or what the system trusts. Calls that may be repeated are, up to three times, when the
    connection breaks before anything was answered.
    """
    scheme, _, rest = address.rpartition("://")
    options = [*_LENGTHS, *KEEPALIVE, ("grpc.service_config", _SERVICE_CONFIG)]
    interceptors: list[Any] = [each(api_key) for each in _CLIENT_INTERCEPTORS]
    if scheme == "https":
        trusted = credentials or grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(rest, trusted, options=options, interceptors=interceptors)
    return grpc.aio.insecure_channel(rest, options=options, interceptors=interceptors)


class _Sender:
    """Adds our metadata to a call."""

    def __init__(self, api_key: str | None) -> None:
        self._key = api_key

    def _with_metadata(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        sent = list(details.metadata or ())
        if self._key:
            sent.append(("authorization", f"Bearer {self._key}"))
        sent += telemetry.inject_headers().items()
        return grpc.aio.ClientCallDetails(
            details.method,
            details.timeout,
            grpc.aio.Metadata(*sent),
            details.credentials,
            details.wait_for_ready,
        )


class _UnaryUnary(_Sender, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._with_metadata(client_call_details), request)


class _UnaryStream(_Sender, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._with_metadata(client_call_details), request)


class _StreamUnary(_Sender, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(self._with_metadata(client_call_details), request_iterator)


class _StreamStream(_Sender, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(self._with_metadata(client_call_details), request_iterator)


_CLIENT_INTERCEPTORS = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
