"""What both ends of a connection agree on."""

MAX_RECEIVE_BYTES = 192 * 1024 * 1024
"""9 pictures of 20 MB and some room."""
MAX_SEND_BYTES = 64 * 1024 * 1024
"""A decoded 4K picture inline; larger things go in chunks."""
KEEPALIVE = [
    ("grpc.keepalive_time_ms", 10_000),
    # gRPC never arms the time of `keepalive_timeout_ms`; this one, a minute by default, it does.
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
]
"""A connection that went silent is given up after 30 s, by both ends. A stream may be silent for longer than
that for good reasons, so pings go on however long no data flows."""
