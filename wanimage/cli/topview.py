"""`wan top` for people: tables that fit a terminal of 100 columns and 40 rows."""

from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wanimage.cli.parts import STYLES
from wanimage.cli.topsummary import Top


def shown(top: Top) -> RenderableType:
    """The whole picture."""
    return Group(
        _headline(top),
        Text(),
        _services(top),
        Text(),
        _jobs(top),
        Text(),
        Columns([_stages(top), _batches(top), _caches(top)], padding=(0, 4)),
        Text(),
        Columns([_tenants(top), _queues(top)], padding=(0, 4)),
    )


def _headline(top: Top) -> Group:
    turns = top.turns
    span = "since the start" if top.window is None else f"last {top.window:.0f} s"
    what = Text.assemble(("wan top", "bold"), f"  {top.where}  ", (top.state, STYLES.get(top.state, "cyan")))
    done = Text(f"{span}: {_count(turns['finished'])} turns, {_count(turns['pictures'])} pictures, ")
    done.append(f"{_count(turns['tokens'])} tokens")
    for trouble, number in (
        ("turns failed", turns["failed"]), ("jobs refused", top.shed), ("dead letters", top.dead_letters),
    ):  # fmt: skip
        done.append(f", {_count(number)} {trouble}", "bold red" if number else "dim")
    return Group(what, done)


def _services(top: Top) -> Table:
    table = _table("service", "state", "family", ">memory", ">CPU s", ">calls", ">restarts", "address")
    for each in top.services:
        state = each["state"] if each["ready"] is not False else "not ready"
        table.add_row(
            each["name"], Text(state, STYLES.get(state, "red")), each["family"],
            _memory(each["memory_bytes"]),
            _or_dash(each["cpu_seconds"], "{:.0f}"), _count(each["calls"]), _alarming(each["restarts"]),
            each["address"],
        )  # fmt: skip
    return table


def _jobs(top: Top) -> Table:
    columns = "jobs", ">held", ">done", ">wait p50", ">p95", ">work p50", ">p95"
    table = _table(*columns, ">failed", ">again", ">refused", ">DLQ")
    for each in top.jobs:
        table.add_row(
            each["kind"], f"{_count(each['held'])}/{_count(each['slots'])}", _count(each["settled"]),
            *(_seconds(each[name]) for name in ("queue_p50", "queue_p95", "work_p50", "work_p95")),
            *(_alarming(each[name]) for name in ("failed", "redelivered", "shed", "dead_letters")),
        )  # fmt: skip
    return table


def _stages(top: Top) -> Table:
    table = _table("turn", ">p50", ">p95")
    for name, key in (("all of it", "seconds"), ("first token", "first_token")):
        table.add_row(name, _seconds(top.turns[f"{key}_p50"]), _seconds(top.turns[f"{key}_p95"]))
    for each in top.stages:
        table.add_row(f"  {each['stage']}", _seconds(each["seconds_p50"]), _seconds(each["seconds_p95"]))
    return table


def _batches(top: Top) -> Table:
    table = _table("batches", ">done", ">size", ">p50", ">p95")
    for each in top.batches:
        table.add_row(
            each["kind"], _count(each["batches"]), _or_dash(each["mean_size"], "{:.1f}"),
            _seconds(each["seconds_p50"]), _seconds(each["seconds_p95"]),
        )  # fmt: skip
    return table


def _caches(top: Top) -> Table:
    table = _table("cache", ">hits")
    for name, share in top.caches.items():
        table.add_row(name, _or_dash(share, "{:.0%}"))
    return table


def _tenants(top: Top) -> Table:
    table = _table("tenant", ">turns", ">pixel-steps", ">queued", ">refused")
    for each in top.tenants:
        table.add_row(
            each["tenant"], _count(each["turns"]), _count(each["pixel_steps"]), _count(each["queued"]),
            _alarming(each["shed"]),
        )  # fmt: skip
    return table


def _queues(top: Top) -> Table:
    table = _table("queue", "tenant", ">jobs")
    for each in top.queues:
        table.add_row(each["kind"], each["tenant"], _count(each["jobs"]))
    if not top.queues:
        table.add_row("empty", "", "")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for column in columns:
        table.add_column(
            column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True
        )
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def _memory(value: float | None) -> str:
    return _or_dash(None if value is None else value / 2**20, "{:,.0f} MiB")


def _count(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e5, "k")):
        if value >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.1f}{unit}"
    return f"{value:.0f}"


def _alarming(value: float) -> Text:
    return Text(_count(value), "bold red" if value else "dim")


def _or_dash(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)
