"""The state of a stack as a table, for `wan up`, `wan demo` and `wan doctor`."""

import time
from contextlib import suppress
from pathlib import Path

from rich.table import Table
from rich.text import Text

from wanimage.cli import stackfile

STYLES = {
    stackfile.READY: "green",
    stackfile.FAILED: "red",
    stackfile.RESTARTING: "yellow",
    stackfile.STOPPED: "dim",
}


def parts_table(stack: stackfile.Stack) -> Table:
    """The state of every part, for people."""
    table = Table(box=None, pad_edge=False, caption_justify="left")
    for column in ("part", "state", "seconds", "address", "log"):
        table.add_column(column, justify="right" if column == "seconds" else "left", no_wrap=column != "log")
    for part in stack.parts.values():
        seconds = time.time() - part.since if part.state == stackfile.STARTING else part.seconds
        state = Text(part.state, STYLES.get(part.state, "cyan"))
        if part.detail:
            state.append(f" ({part.detail})")
        table.add_row(part.name, state, f"{seconds:.1f}" if seconds else "", part.address, short(part.log))
    return table


def short(path: str) -> str:
    """A path relative to the working folder where that is shorter."""
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return path
