"""The enhancer's service: how long an answer takes in each variant, and its text's bars as it is served.

    python benchmarks/enhancer_serving.py [--speed 60] [--n 600] [--out benchmarks/enhancer/served]

Starts a whole stack, whose other services stay idle. The speed is that of one caller who waits for each
answer: activated requests of held-out compositions (posters, charts, screens, storyboards), both variants by
turns. The bars are `training.enhancer.evaluation`'s on the same rows, but through the service: decoded under
the grammar, literals checked, tried again and given up where they are lost. What is given up keeps the user's
own words, and so its literals; it counts against fidelity. Prints a table, then one JSON line.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the turn's benchmark measures memory, too

from benchmarks.turn import resident_gib
from training.enhancer.data import MIX, Row
from training.enhancer.evaluation import BARS, Answer, marks, rows, table
from training.enhancer.items import VARIANTS
from training.understanding.evaluation.report import compact, machine
from training.understanding.pictures import drawn
from wanimage import images
from wanimage.cli import background
from wanimage.cli.stackfile import Stack
from wanimage.cli.up import choose
from wanimage.enhancejobs import SERIES, SINGLE, changes
from wanimage.enhancing import CATEGORIES, Description, Result, written
from wanimage.rpc import channel
from wanimage.v1 import enhancer_pb2, enhancer_pb2_grpc, jobs_pb2, types_pb2

TASK = {"t2i": SINGLE[0], "i2i": SINGLE[1], "t2s": SERIES[0], "ti2s": SERIES[1]}
VARIANT = {"fast": types_pb2.ENHANCER_VARIANT_FAST, "quality": types_pb2.ENHANCER_VARIANT_QUALITY}
TOGETHER = 16
SECONDS = 120.0
WIDTHS = (44, 16, 16)


@dataclass(frozen=True)
class Served:
    """An answer as a client got it."""

    result: jobs_pb2.EnhanceResult
    total: float
    """Seconds from the request to the result."""
    first: float
    """Seconds from the request to the first word of reasoning, else to the result."""


async def served(stub: enhancer_pb2_grpc.EnhancerServiceStub, row: Row, variant: str) -> Served:
    """Ask as the row does."""
    mode = types_pb2.EnhanceOptions.MODE_ON if row.forced else types_pb2.EnhanceOptions.MODE_UNSPECIFIED
    request = enhancer_pb2.EnhanceRequest(
        task=TASK[row.task],
        prompt=row.request,
        image_count=row.count if row.task in ("t2s", "ti2s") else 0,
        references=[types_pb2.ImageInput(data=images.encode(drawn(each))[0]) for each in row.references],
        options=types_pb2.EnhanceOptions(mode=mode, variant=VARIANT[variant]),
    )
    began = time.perf_counter()
    first = 0.0
    async for answer in stub.Enhance(request, timeout=SECONDS):
        first = first or time.perf_counter() - began
        result = answer.result
    return Served(result, time.perf_counter() - began, first)


def text_of(result: jobs_pb2.EnhanceResult) -> str:
    """The result in the text form that the bars are measured on."""
    word = CATEGORIES[result.category - 1] if result.category else ""
    if not result.rewritten:
        return word
    found = tuple(
        Description(each.subject, background=each.background, style=each.style)
        for each in result.descriptions
    )
    return written(Result(word, found, result.common, tuple(changes(result))))


async def speed(stub: enhancer_pb2_grpc.EnhancerServiceStub, count: int) -> dict[str, dict[str, float]]:
    """Seconds and tokens of an answer by variant."""
    asked = [row for task in ("t2i", "t2s") for row in rows(6 * count, "heldout", task, seed=1)]
    asked = [row for row in asked if row.result.category != "general"]
    chosen = asked[:: max(1, len(asked) // count)][:count]
    found: dict[str, list[Served]] = {name: [] for name in VARIANTS}
    for row in chosen:
        for variant in VARIANTS:
            found[variant].append(await served(stub, row, variant))
    summary = {}
    for variant, answers in found.items():
        total = sorted(each.total for each in answers)
        stages = [each.result.usage.stage_seconds for each in answers]
        summary[variant] = {
            "answers": len(answers),
            "seconds, median": statistics.median(total),
            "seconds, p95": total[int(0.95 * len(total))],
            "first token, median": statistics.median(each["first token"] for each in stages),
            "first words at the client, median": statistics.median(each.first for each in answers),
            "tokens, median": statistics.median(each.result.usage.generated_tokens for each in answers),
        }
    return summary


async def bars(stub: enhancer_pb2_grpc.EnhancerServiceStub, count: int, variant: str) -> dict[str, Any]:
    """Every bar, on `count` rows over all tasks."""
    limit = asyncio.Semaphore(TOGETHER)

    async def ask(row: Row) -> Served:
        async with limit:
            return await served(stub, row, variant)

    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    given_up = asked_for = 0
    for task, share in MIX.items():
        asked = rows(max(4, round(count * share)), "heldout", task)
        for row, answer in zip(asked, await asyncio.gather(*map(ask, asked)), strict=True):
            found = marks(Answer(row, text_of(answer.result), answer.result.usage.generated_tokens))
            lost = "would lose" in answer.result.pass_through_reason
            asked_for, given_up = asked_for + bool(row.result.entries), given_up + lost
            if lost and "literals" in found:
                found["literals"] = (1, 1)  # the user's own words
            if not answer.result.rewritten:
                found.pop("entries", None)
            for name, (right, out_of) in found.items():
                totals[name][0] += right
                totals[name][1] += out_of
    return {"bars": table(totals), "given up": given_up, "to be rewritten": asked_for}


async def measure(arguments: argparse.Namespace, stack: Stack) -> dict[str, Any]:
    """Speed, then bars."""
    parts = stack.parts
    found: dict[str, Any] = {
        "start": {name: part.seconds for name, part in parts.items()},
        "resident GiB": round(resident_gib(stack.pid), 2),
        "machine": machine(),
        "date": date.today().isoformat(),
    }
    async with channel(parts["enhancer"].address) as line:
        stub = enhancer_pb2_grpc.EnhancerServiceStub(line)
        for row in rows(4, "val", "t2i"):
            await served(stub, row, "quality")
        found["speed"] = await speed(stub, arguments.speed)
        for variant in VARIANTS:
            found[variant] = await bars(stub, arguments.n, variant)
    return found


def show(found: dict[str, Any]) -> None:
    """The table."""

    def line(*cells: object) -> None:
        print("".join(f"{each!s:{width}}" for each, width in zip(cells, WIDTHS, strict=True)).rstrip())

    line("", *VARIANTS)
    for name in found["speed"]["fast"]:
        line(name, *(f"{found['speed'][each][name]:.3g}" for each in VARIANTS))
    for name, (label, goal) in BARS.items():
        shares = [found[each]["bars"][name] for each in VARIANTS]
        line(f"{label[:34]} ({goal:g})", *(f"{a} [{b}, {c}]" for a, b, c, _ in shares))
    line("given up, of those to be rewritten", *(
        f"{found[each]['given up']} of {found[each]['to be rewritten']}" for each in VARIANTS
    ))  # fmt: skip


def main() -> None:
    """Start a stack, measure, stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speed", type=int, default=60, help="requests timed, in each variant")
    parser.add_argument("--n", type=int, default=600, help="rows of the bars, in each variant")
    parser.add_argument("--out", type=Path, help="writes OUT.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        stack = background.start(data_dir, choose(None), Console(stderr=True), with_us=True)
        try:
            found = asyncio.run(measure(arguments, stack))
        finally:
            background.stop(data_dir, stack)
    show(found)
    print(json.dumps(found))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.with_suffix(".json").write_text(compact(found))


if __name__ == "__main__":
    main()
