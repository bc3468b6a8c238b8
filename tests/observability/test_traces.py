"""A turn is one tree of spans, whichever processes it runs through, and whatever happens to them."""

import asyncio

import pytest

from tests.conftest import eventually
from tests.observability.collector import Trace
from tests.observability.conftest import Observed, Turn
from wanimage import spans

pytestmark = pytest.mark.timeout(240)

GENERATE = "wanimage.v1.PlannerService/Generate"
TREE = {
    (GENERATE, "send wan.jobs.turn"),
    ("send wan.jobs.turn", "process wan.jobs.turn"),
    ("process wan.jobs.turn", "chat"),
    ("process wan.jobs.turn", "job render"),
    ("job render", "send wan.jobs.render"),
    ("send wan.jobs.render", "process wan.jobs.render"),
    ("process wan.jobs.render", "generate_content"),
    ("process wan.jobs.render", "S3/PutObject"),
    ("process wan.jobs.render", "send $KV.RESULTS"),
    ("process wan.jobs.turn", "job decode"),
    ("job decode", "send wan.jobs.decode"),
    ("send wan.jobs.decode", "process wan.jobs.decode"),
    ("process wan.jobs.decode", "S3/GetObject"),
    ("process wan.jobs.decode", "decode latent"),
    ("process wan.jobs.decode", "S3/PutObject"),
    ("process wan.jobs.decode", "send $KV.RESULTS"),
    ("process wan.jobs.turn", "S3/GetObject"),
    ("process wan.jobs.turn", "send $KV.RESULTS"),
}


async def whole(observed: Observed, turn: Turn) -> Trace:
    """The trace of a finished turn, once every process has sent its part: one root, the client's child."""

    def arrived() -> bool:
        found = observed.collector.trace(turn.trace_id)
        return edges(found) >= TREE and len(found.orphans) == 1

    await eventually(arrived)
    found = observed.collector.trace(turn.trace_id)
    assert [(span.name, span.parent) for span in found.orphans] == [(GENERATE, turn.client_span)]
    return found


def edges(trace: Trace) -> set[tuple[str, str]]:
    """Without the model's name, which follows the operation."""
    return {
        (parent, child.split()[0] if child.startswith(("chat", "generate_content")) else child)
        for parent, child in trace.edges
    }


async def test_a_turn_is_one_tree_over_grpc_nats_and_s3(observed: Observed) -> None:
    async with observed.turn("Draw 1 balloon") as turn:
        await turn.until("turn_finished")
    trace = await whole(observed, turn)
    assert edges(trace) == TREE
    where = {span.name: span.service for span in trace.named("process")}
    assert where == {
        "process wan.jobs.turn": "planner",
        "process wan.jobs.render": "visualizer",
        "process wan.jobs.decode": "vae",
    }
    assert not any(span.failed for span in trace.spans)


async def test_spans_say_what_the_conventions_ask_for(observed: Observed) -> None:
    async with observed.turn("Draw 1 boat") as turn:
        await turn.until("turn_finished")
    trace = await whole(observed, turn)
    before, after = (span.attributes for span in trace.named("chat"))
    assert {before["gen_ai.operation.name"], before["gen_ai.output.type"]} == {"chat", "text"}
    assert before["gen_ai.usage.output_tokens"] > 10
    assert (before["gen_ai.response.finish_reasons"], after["gen_ai.response.finish_reasons"]) == (
        ["boi"],
        ["end"],
    )
    (drawn,) = trace.named("generate_content")
    assert drawn.attributes["gen_ai.output.type"] == "image"
    assert drawn.attributes[spans.PIXEL_STEPS] > 0
    assert drawn.name.split()[1] == before["gen_ai.request.model"]
    (sent,) = trace.named("send wan.jobs.render")
    assert sent.attributes["messaging.system"] == "nats"
    assert sent.attributes["messaging.destination.name"] == "wan.jobs.render.default"
    (received,) = trace.named("process wan.jobs.render")
    assert received.attributes["messaging.operation.type"] == "process"
    assert received.attributes[spans.DELIVERY] == 1
    stored = trace.named("S3/PutObject")[0].attributes
    assert (stored["rpc.system"], stored["aws.s3.bucket"]) == ("aws-api", "wanimage")
    assert stored["aws.s3.key"].startswith("default/")
    (call,) = trace.named(GENERATE)
    assert call.attributes["rpc.system"] == "grpc"


@pytest.mark.parametrize(("end", "deliveries"), [("stop", {1, 2}), ("kill", {2})])
async def test_a_turn_stays_one_tree_when_a_worker_is_lost(
    observed: Observed, end: str, deliveries: set[int]
) -> None:
    # A killed process takes the span it had open with it; one that is stopped still tells of it.
    visualizer = observed.services["visualizer"]
    async with observed.turn(f"Draw 1 thing to {end}", steps=100) as turn:
        await turn.until("image_progress")
        await asyncio.to_thread(getattr(visualizer, end))
        visualizer.start()
        await turn.until("turn_finished")
    trace = await whole(observed, turn)
    rendered = trace.named("process wan.jobs.render")
    assert {span.attributes[spans.DELIVERY] for span in rendered} == deliveries
    assert edges(trace) == TREE
