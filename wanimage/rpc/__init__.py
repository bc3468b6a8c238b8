"""gRPC as all services speak it: who calls, how long they wait, what an error looks like, who is healthy.

`server(settings)` makes a server whose calls pass one guard (guard.py). It finds the tenant from the API key,
refuses calls without a deadline, continues the caller's trace, and turns `WanError`s into their status with
`google.rpc` details (details.py). Anything else becomes INTERNAL with the request id alone; the traceback
stays in the log under that id. A servicer asks `caller(context)` for the tenant and the time left. `channel`
and `error_details` are the client's side.
"""

from wanimage.rpc.calling import channel
from wanimage.rpc.details import ErrorDetails, error_details
from wanimage.rpc.guard import OPEN_TENANT, Caller, caller
from wanimage.rpc.serving import Health, keyring, listen, server
from wanimage.rpc.transport import MAX_RECEIVE_BYTES, MAX_SEND_BYTES

__all__ = [
    "MAX_RECEIVE_BYTES",
    "MAX_SEND_BYTES",
    "OPEN_TENANT",
    "Caller",
    "ErrorDetails",
    "Health",
    "caller",
    "channel",
    "error_details",
    "keyring",
    "listen",
    "server",
]
