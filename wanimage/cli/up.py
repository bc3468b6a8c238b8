"""`wan up`: the whole system on this machine; `wan down` ends one that runs in the background."""

import asyncio
import importlib.util
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from wanimage import stack as local
from wanimage.cli import background, report, stackfile, supervise
from wanimage.cli.parts import parts_table
from wanimage.cli.stackfile import Part
from wanimage.config import PORTS, Settings
from wanimage.weights import Family, WeightsError

SERVERS = ("nats", "s3")
LAST = ("vae",)
"""Ended after the other services: their running work still decodes."""
FIRST = ("gateway", "planner")
"""Ended first, in this order: they take new turns, and a turn being finished still needs every worker."""
OPTIONAL = ("enhancer", "refiner")
"""Services that a family may have no weights for."""
GRACE_SECONDS = 5.0
"""Beyond its own drain time, how long a service may take to end."""

OnlyFlag = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="NAME,...", help="Start only these of: nats, s3 and the services. [default: all]"
    ),
]
DataFlag = Annotated[Path, typer.Option("--data-dir", help="Logs, NATS and S3 data, and stack.json.")]


@report.command
def up(
    only: OnlyFlag = None,
    data_dir: DataFlag = stackfile.DATA_DIR,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once all is ready; `wan down` ends it.")
    ] = False,
) -> None:
    """Start NATS, S3 and the services, and keep them running until Ctrl-C."""
    refuse_second(data_dir)
    names = choose(only)
    if detach:
        background.start(data_dir, names, report.err())
        report.out().print("ready: `wan chat` talks to it, `wan down` ends it")
    else:
        asyncio.run(Supervisor(data_dir, names, report.err()).run())


@report.command
def down(data_dir: DataFlag = stackfile.DATA_DIR) -> None:
    """End the stack of a data directory, in order."""
    stack = stackfile.load(data_dir)
    if stack is None or not stack.alive:
        raise report.Stop(f"no stack runs in {data_dir}")
    background.stop(data_dir, stack)
    report.out().print("stopped")


def refuse_second(data_dir: Path) -> None:
    """Two stacks must not share a data directory."""
    if (stack := stackfile.load(data_dir)) and stack.alive:
        raise report.Stop(
            f"a stack of {data_dir} runs already (process {stack.pid}): use it, end it with `wan down`, "
            "or give this one its own --data-dir"
        )


def services() -> list[str]:
    """Names of the services that are installed: packages in `services` with a `__main__`."""
    package = importlib.util.find_spec("services")
    folders = [Path(place) for place in (package.submodule_search_locations or [])] if package else []
    return sorted({main.parent.name for folder in folders for main in folder.glob("*/__main__.py")})


def choose(only: str | None) -> list[str]:
    """The names to start, servers first; of itself no service whose weights the family lacks. Raises BadInput
    for one that does not exist."""
    known = [*SERVERS, *services()]
    if only is None:
        return [name for name in known if name not in OPTIONAL or _has_part(name)]
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in known]:
        raise report.BadInput(f"--only: no {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if name in wanted]


def _has_part(name: str) -> bool:
    with suppress(WeightsError):  # the services will say what is wrong with it
        return name in Family.load(Settings().weights, parts=()).parts
    return True


class Supervisor:
    """Runs the named parts over one data directory and keeps `stack.json` true."""

    def __init__(self, data_dir: Path, names: list[str], console: Console) -> None:
        self.data_dir, self.names, self.console = data_dir.resolve(), names, console
        self.stack = stackfile.mine()
        self.local: local.LocalStack | None = None
        self.processes: dict[str, supervise.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._told: dict[str, str] = {}
        self._ended = asyncio.Event()
        self._live: Live | None = None

    async def run(self) -> None:
        """Start, wait for SIGINT or SIGTERM, drain. Raises Stop when a part cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ended.set)
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self.console, refresh_per_second=4)
            self._live.start()
        self._plan()
        try:
            await self._until_ended(self._start())
            if not self._ended.is_set():
                self.stack.state = stackfile.READY
                self._changed()
                self._say("ready; Ctrl-C ends it")
                await self._ended.wait()
        except (supervise.GaveUp, local.StackError) as error:
            self.stack.state = stackfile.FAILED
            self._changed()
            raise report.Stop(str(error)) from None
        finally:
            await self._drain()

    def _plan(self) -> None:
        if any(name in self.names for name in SERVERS):
            self.local = local.LocalStack(self.data_dir / "stack")
            self.stack.environment = environment_of(self.local, self.names)
        for name in self.names:
            log = self.data_dir / "logs" / f"{name}.log"
            address = ""
            if name in SERVERS and self.local is not None:
                server = self.local.nats if name == "nats" else self.local.s3
                log = server.log_path
                address = self.local.nats.url if name == "nats" else self.local.s3.endpoint
            elif name not in SERVERS:
                address = still_free(f"127.0.0.1:{PORTS.get(name) or local.free_ports(1)[0]}")
            self.stack.parts[name] = Part(name, address, str(log))
            if name in PORTS:
                self.stack.parts[name].metrics = f"127.0.0.1:{local.free_ports(1)[0]}"
        self._changed()

    async def _start(self) -> None:
        # Services need both servers at their start; the engines then load side by side.
        servers = [name for name in self.names if name in SERVERS]
        await asyncio.gather(*map(self._start_server, servers))
        self._keepers = [asyncio.create_task(self._keep_server(name)) for name in servers]
        for name in self.names:
            if name not in SERVERS:
                self.processes[name] = self._process(name)
                self.processes[name].start()
        await asyncio.gather(*(process.ready for process in self.processes.values()))

    def _process(self, name: str) -> supervise.Process:
        part = self.stack.parts[name]
        probe = supervise.serving if name in PORTS else supervise.accepting
        return supervise.Process(
            part,
            command=[sys.executable, "-m", f"services.{name}"],
            environment=lambda: self.environment_of_life(part),
            probe=lambda: probe(part.address),
            stop_seconds=Settings().drain_seconds + GRACE_SECONDS,
            changed=self._changed,
        )

    def environment_of_life(self, part: Part) -> dict[str, str]:
        """The settings of a service for its next life, with ports that are still free."""
        # Since they were chosen, a connection that goes out may have been given one of them.
        part.address, part.metrics = still_free(part.address), still_free(part.metrics)
        ports = {"WAN_PORT": part.address.rpartition(":")[2]}
        if part.metrics:
            ports["WAN_METRICS_PORT"] = part.metrics.rpartition(":")[2]
        return {**self.stack.environment, "WAN_HOST": "127.0.0.1", **ports}

    async def _start_server(self, name: str) -> None:
        assert self.local is not None
        server = self.local.nats if name == "nats" else self.local.s3
        part, started = self.stack.parts[name], time.monotonic()
        part.state, part.since = stackfile.STARTING, time.time()
        self._changed()
        await asyncio.to_thread(server.start)
        part.state, part.seconds = stackfile.READY, stackfile.elapsed(started)
        part.pid = server.process.pid if server.process else 0
        self._changed()

    async def _keep_server(self, name: str) -> None:
        """Start NATS or S3 again when it ends; services wait for it by themselves."""
        assert self.local is not None
        server = self.local.nats if name == "nats" else self.local.s3
        part, backoff = self.stack.parts[name], supervise.FIRST_BACKOFF
        while True:
            await asyncio.sleep(supervise.POLL_SECONDS)
            if server.running():
                continue
            part.state, part.pid = stackfile.RESTARTING, 0
            part.restarts += 1
            self._changed()
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, supervise.LAST_BACKOFF)
            try:
                await self._start_server(name)
            except local.StackError as error:
                part.detail = str(error).partition("\n")[0]
            else:
                part.detail, backoff = "", supervise.FIRST_BACKOFF

    async def _until_ended(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if task.done():
            await task
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _drain(self) -> None:
        """First what takes turns, then workers, then the VAE, then the servers every last commit goes to."""
        self._say("stopping")
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        middle = [name for name in self.processes if name not in (*FIRST, *LAST)]
        for group in ([name] for name in FIRST), [middle], [list(LAST)]:
            for names in group:
                await asyncio.gather(
                    *(self.processes[name].stop() for name in names if name in self.processes)
                )
        if self.local is not None:
            await asyncio.to_thread(self.local.stop)
        for name in SERVERS:
            if name in self.stack.parts:
                self.stack.parts[name].state = stackfile.STOPPED
        if self.stack.state != stackfile.FAILED:
            self.stack.state = stackfile.STOPPED
        self._changed()
        if self._live is not None:
            self._live.stop()

    def _changed(self) -> None:
        self.stack.save(self.data_dir)
        if self._live is not None:
            return
        for name, part in self.stack.parts.items():
            if part.state not in (stackfile.WAITING, self._told.get(name)):
                self._told[name] = part.state
                seconds = (
                    f" after {part.seconds:.1f} s at {part.address}" if part.state == stackfile.READY else ""
                )
                self.console.print(
                    f"{name}: {part.state}{seconds}" + (f" ({part.detail})" if part.detail else "")
                )

    def _say(self, text: str) -> None:
        if self._live is None:
            self.console.print(text)

    def _table(self) -> Table:
        table = parts_table(self.stack)
        if self.stack.state == stackfile.READY:
            table.caption = "ready: `wan chat` in another terminal; Ctrl-C ends it"
        return table


def environment_of(servers: local.LocalStack, names: list[str]) -> dict[str, str]:
    """The settings of the servers that are started here; those of the others stay the caller's."""
    prefixes = tuple(f"WAN_{name.upper()}_" for name in names)
    return {key: value for key, value in servers.environment.items() if key.startswith(prefixes)}


def still_free(address: str) -> str:
    """The address, or one on another port of this machine where its own is taken; empty stays empty."""
    if not address:
        return address
    host, _, port = address.rpartition(":")
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, int(port)))
        except OSError:
            return f"{host}:{local.free_ports(1)[0]}"
    return address
