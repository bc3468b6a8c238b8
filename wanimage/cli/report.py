"""How a command ends: 0 done, 1 failed, 2 the input was wrong. Errors go to stderr with the way out."""

import asyncio
import functools
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import grpc
import typer
from rich.console import Console
from rich.text import Text

from wanimage.errors import InvalidInput, NotFound, WanError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit statuses besides 0."""


class Stop(Exception):
    """Ends the command: `message` goes to stderr, `status` is the exit status."""

    status = FAILED


class BadInput(Stop):
    """The user (or the request they made) must change something first."""

    status = BAD_INPUT


_WAY_OUT = {
    grpc.StatusCode.UNAUTHENTICATED: "give the key with --api-key or WAN_API_KEY",
    grpc.StatusCode.DEADLINE_EXCEEDED: "allow more time with --timeout; what was finished is in the session",
    grpc.StatusCode.UNIMPLEMENTED: "the server is of another version; update it",
}
_INPUT_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE,
}  # fmt: skip


def out() -> Console:
    """The console for results."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """The console for everything that is not a result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def explain(error: grpc.RpcError, address: str) -> Stop:
    """The error that a failed RPC at `address` ends the command with."""
    code, details = error.code(), error.details() or ""
    if code in _INPUT_CODES:
        return BadInput(details)
    if code is grpc.StatusCode.UNAVAILABLE:
        return Stop(_unavailable(address, details))
    way_out = _WAY_OUT.get(code)
    return Stop(f"{code.name}: {details}" + (f"; {way_out}" if way_out else ""))


_TLS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted here; name its authority in WAN_TLS_CA"),
    # A server's refusal of ours comes as an alert.
    ("ALERT", "it did not take our certificate; set WAN_TLS_CERT and WAN_TLS_KEY to one it knows"),
    ("SSL", "it speaks no TLS, or not ours; see WAN_TLS_CA, WAN_TLS_CERT and WAN_TLS_KEY"),
)
"""What gRPC says of a failed handshake, and what to do."""


def _unavailable(address: str, details: str) -> str:
    for mark, way_out in _TLS:
        if mark in details:
            return f"{address}: no secure connection ({details}); {way_out}"
    dropped = any(mark in details for mark in ("Socket closed", "Connection reset", "recvmsg"))
    hint = "; where it speaks TLS, set WAN_TLS_CA (and WAN_TLS_CERT, WAN_TLS_KEY if it asks for one)"
    return f"{address} does not answer ({details}); start the services with `wan up`, or see `wan doctor`" + (
        hint if dropped else ""
    )


def failure(reason: str, message: str, code: int) -> Stop:
    """The error that a failed turn (a `Failure` of the log) ends the command with."""
    known = next((status for status in grpc.StatusCode if status.value[0] == code), None)
    return BadInput(message) if known in _INPUT_CODES else Stop(f"the turn failed, {reason}: {message}")


def end(error: BaseException) -> NoReturn:
    """Print `error` to stderr and leave with its status."""
    status = FAILED
    if isinstance(error, Stop):
        status = error.status
    elif isinstance(error, InvalidInput | NotFound):
        status = BAD_INPUT
    err().print(Text.assemble(("error: ", "bold red"), str(error)))
    raise typer.Exit(status)


def command(function: Callable[..., Any]) -> Callable[..., None]:
    """Make a typer command of a function or coroutine function whose known errors become exit statuses."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            result = function(*args, **kwargs)
            if asyncio.iscoroutine(result):
                run_async(result)
        except (Stop, WanError) as error:
            end(error)
        except KeyboardInterrupt:
            err().print("interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return run


def run_async(work: Coroutine[Any, Any, Any]) -> Any:
    """`asyncio.run`, kept in one place."""
    return asyncio.run(work)


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_json(value: Any) -> None:
    """Exactly one JSON value on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
