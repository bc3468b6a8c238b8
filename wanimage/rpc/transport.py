"""What both ends of a connection agree on."""

MAX_RECEIVE_BYTES = 192 * 1024 * 1024
"""9 pictures of 20 MB and some room."""
MAX_SEND_BYTES = 64 * 1024 * 1024
"""A decoded 4K picture inline; larger things go in chunks."""
KEEPALIVE = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
