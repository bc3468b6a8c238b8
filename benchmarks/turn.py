"""What the services cost: the demo's turn through them, and the same pipeline called in one process.

    python benchmarks/turn.py [--turns 5]

Both sides run in one go, alternating, on the same weights, seed and sampling, so the same text comes out
(which is counted); turns with previews are measured apart. Starts a stack of its own. Prints a table, then
one JSON line.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from services.planner.engine import Control, Part, Picture, PlannerEngine
from services.planner.turn import DEFAULT_MAX_TOKENS
from services.vae.engine import VaeEngine
from services.visualizer.engine import PictureSpec, RenderSpec, VisualizerEngine
from wanimage import markup, tokens
from wanimage.cli import background
from wanimage.cli.stackfile import Stack
from wanimage.cli.up import choose
from wanimage.config import Settings
from wanimage.images import Rgba
from wanimage.rpc import channel
from wanimage.v1 import planner_pb2, planner_pb2_grpc, types_pb2
from wanimage.weights import Family

PROMPT = "Tell a three-picture story about a fox who finds a red balloon."
SEED = 11


@dataclass
class Turn:
    """What one turn took, seconds."""

    total: float = 0.0
    first_token: float = 0.0
    previews: list[float] = field(default_factory=list)
    """From <BOI> to the first preview, a picture."""
    pictures: list[float] = field(default_factory=list)
    """From <BOI> to the finished picture."""
    text: str = ""
    stages: dict[str, float] = field(default_factory=dict)


async def through_services(
    planner: planner_pb2_grpc.PlannerServiceStub, turn_seed: int, *, previews: bool = False
) -> Turn:
    """One turn as a client sees it."""
    turn, began = Turn(), time.perf_counter()
    planned: dict[int, float] = {}
    previewed: set[int] = set()
    options = types_pb2.TurnOptions(previews=previews, sampling=types_pb2.SamplingOptions(seed=turn_seed))
    options.enhance.mode = types_pb2.EnhanceOptions.MODE_OFF  # one process has no enhancer
    request = planner_pb2.GenerateRequest(user=types_pb2.UserMessage(text=PROMPT), options=options)
    async for response in planner.Generate(request, timeout=300):
        event, now = response.event, time.perf_counter()
        kind = event.WhichOneof("kind")
        if kind == "text_delta":
            turn.text += event.text_delta.text
            turn.first_token = turn.first_token or now - began
        elif kind == "image_planned":
            planned[event.image_planned.index] = now
        elif kind == "image_progress" and event.image_progress.preview_png:
            index = event.image_progress.index
            if index not in previewed:
                previewed.add(index)
                turn.previews.append(now - planned[index])
        elif kind == "image_ready":
            turn.pictures.append(now - planned[event.image_ready.image.index])
        elif kind == "turn_finished":
            turn.stages = MessageToDict(event.turn_finished.usage)["stageSeconds"]
        elif kind in ("turn_failed", "turn_cancelled"):
            raise RuntimeError(f"the turn ended with {event}")
    turn.total = time.perf_counter() - began
    return turn


@dataclass
class Pipeline:
    """The same three engines in this process, called one after the other."""

    planner: PlannerEngine
    visualizer: VisualizerEngine
    vae: VaeEngine

    async def turn(self, turn_seed: int) -> Turn:
        """The loop of services/planner/turn.py without log, jobs and blobs."""
        turn, began = Turn(), time.perf_counter()
        context: list[Part] = [Control(tokens.IM_START), "user\n", PROMPT, Control(tokens.IM_END), "\n"]
        context += [Control(tokens.IM_START), "assistant\n"]
        parser, stop, items = markup.Parser(), "", list[markup.Item]()
        while stop not in ("end", "length"):
            written: list[str | markup.Tag] = []
            boi = 0.0
            async for delta in self.planner.decode(
                context, max_tokens=DEFAULT_MAX_TOKENS, seed=turn_seed + len(items),
                request_id=uuid.uuid4().hex, banned=frozenset({markup.Tag.THINK} if items else ()),
            ):  # fmt: skip
                written += delta.pieces
                for item in (item for piece in delta.pieces for item in parser.feed(piece)):
                    if isinstance(item, markup.Text):
                        turn.text += item.text
                        turn.first_token = turn.first_token or time.perf_counter() - began
                    if not (items and type(items[-1]) is type(item) and isinstance(item, markup.Text)):
                        items.append(item)
                stop = delta.stop or stop
            context += joined(written)
            if isinstance(items[-1], markup.ImageSpec) and stop == "boi":
                boi = time.perf_counter()
                seed = turn_seed + parser.images - 1
                context.append(Picture(await asyncio.to_thread(self.draw, items[-1], seed)))
                turn.pictures.append(time.perf_counter() - boi)
        turn.total = time.perf_counter() - began
        return turn

    def draw(self, spec: markup.ImageSpec, seed: int) -> Rgba:
        """Render and decode."""
        picture = PictureSpec(prompt=spec.prompt, grid=spec.grid, seed=seed)
        state = self.visualizer.prepare(RenderSpec(pictures=(picture,)))
        while not state.done:
            self.visualizer.step([state])
        return self.vae.decode([self.visualizer.finish(state)[0].numpy()])[0]


def joined(pieces: list[str | markup.Tag]) -> list[Part]:
    """Adjacent texts as one, so that they tokenise as the log's text does."""
    result: list[Part] = []
    for piece in pieces:
        last = result[-1] if result else None
        if isinstance(piece, markup.Tag) or not isinstance(last, str) or isinstance(last, markup.Tag):
            result.append(piece)
        else:
            result[-1] = last + piece
    return result


def resident_gib(supervisor: int) -> float:
    """Resident memory of a stack's processes, GiB; shared pages count once a process."""
    root = psutil.Process(supervisor)
    return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)]) / 2**30


async def measure(turns: int, stack: Stack) -> dict[str, object]:
    """Alternate the two sides; return the medians."""
    family = Family.load(Settings().weights)
    async with channel(stack.parts["planner"].address) as connection:
        planner = planner_pb2_grpc.PlannerServiceStub(connection)
        pipeline = Pipeline(
            await PlannerEngine.load(family), VisualizerEngine(family), VaeEngine.load(family)
        )
        served, shown, direct = [], [], []
        for number in range(turns + 1):  # the first of each warms up
            seed = SEED + 100 * number
            served.append(await through_services(planner, seed))
            direct.append(await pipeline.turn(seed))
            # Another seed, or its pictures would be answered from the results of the first.
            shown.append(await through_services(planner, seed + 50, previews=True))
        found = summary(served[1:], shown[1:], direct[1:])
        pipeline.planner.close()
    found["stack_resident_gib"] = resident_gib(stack.pid)
    found["ready_s"] = max(part.seconds for part in stack.parts.values())
    return found


def summary(served: list[Turn], shown: list[Turn], direct: list[Turn]) -> dict[str, object]:
    """Medians; overhead is the median over turns of served / direct - 1, both without previews."""
    median = statistics.median
    pairs = list(zip(served, direct, strict=True))
    return {
        "turns": len(served),
        "same_text": sum(a.text == b.text for a, b in pairs),
        "pictures": sum(len(a.pictures) for a in served),
        "first_token_s": median(turn.first_token for turn in served),
        "boi_to_preview_s": median(s for turn in shown for s in turn.previews),
        "boi_to_picture_s": median(s for turn in served for s in turn.pictures),
        "boi_to_picture_with_previews_s": median(s for turn in shown for s in turn.pictures),
        "turn_s": median(turn.total for turn in served),
        "in_process_turn_s": median(turn.total for turn in direct),
        "in_process_picture_s": median(s for turn in direct for s in turn.pictures),
        "overhead": median(a.total / b.total - 1 for a, b in pairs),
        "stages_s": served[-1].stages,
    }


def main() -> None:
    """Start a stack, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        stack = background.start(Path(folder), choose(None), Console(stderr=True), with_us=True)
        try:
            found = asyncio.run(measure(turns, stack))
        finally:
            background.stop(Path(folder), stack)
    for name, value in found.items():
        print(f"{name:24} {value:.3f}" if isinstance(value, float) else f"{name:24} {value}")
    print(json.dumps({"benchmark": "turn", **found}))


if __name__ == "__main__":
    main()
