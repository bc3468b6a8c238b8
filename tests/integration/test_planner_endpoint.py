"""A planner whose model runs in a vLLM server elsewhere: a real server process, with a tiny random model."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import openai
import pytest
from pydantic import ValidationError

from services.planner import endpoint
from services.planner.adapted import Adapted
from services.planner.endpoint import Endpoint
from services.planner.engine import Control, Delta, Part, Picture, PlannerEngine
from services.planner.opening import open_engine
from tests.conftest import SHIPPED
from tests.faults.proxy import Proxy
from tests.turns import Bench, open_bench
from tests.vllm_server import KEY, MODEL, VllmServer
from wanimage import tokens
from wanimage.config import Settings
from wanimage.errors import InvalidInput, Misconfigured, Unavailable
from wanimage.markup import ImageSpec, Item, Parser, Tag, Text
from wanimage.stack import free_ports
from wanimage.weights import Family

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PICTURE = Picture(np.full((128, 96, 4), 200, np.uint8))
NO_PICTURES = frozenset({Tag.IMAGINE, Tag.SERIES, Tag.THINK})


def settings_of(url: str, **others: str) -> Settings:
    """Settings of a planner with an endpoint."""
    return Settings(_env_file=None, planner_endpoint=url, **{"planner_endpoint_key": KEY, **others})


@pytest.fixture(scope="module")
async def engine(vllm_server: VllmServer) -> AsyncIterator[PlannerEngine]:
    async with open_engine(Family.load(SHIPPED, parts=()), settings_of(vllm_server.url)) as opened:
        yield opened


def asked(*parts: Part) -> list[Part]:
    """A chat with one message, the answer open."""
    return [
        Control(tokens.IM_START), "user\n", *parts, Control(tokens.IM_END), "\n",
        Control(tokens.IM_START), "assistant\n",
    ]  # fmt: skip


async def leg(engine: PlannerEngine, context: list[Part], **options: object) -> list[Delta]:
    """All deltas of one leg; the grammar is all that keeps a random model in order."""
    settings: dict = {"max_tokens": 100, "temperature": 1.0, "top_p": 1.0, "seed": 1, **options}
    return [delta async for delta in engine.decode(context, request_id=uuid.uuid4().hex, **settings)]


def read(deltas: list[Delta], *begun: Tag) -> list[Item]:
    """What was written; raises MarkupError when it is malformed."""
    parser = Parser()
    pieces = [*begun, *(piece for delta in deltas for piece in delta.pieces)]
    return [item for piece in pieces for item in parser.feed(piece)]


async def test_a_random_model_plans_a_picture_when_one_is_opened(engine: PlannerEngine) -> None:
    for seed in range(3):
        deltas = await leg(engine, [*asked("Draw a car."), Tag.IMAGINE], seed=seed, max_tokens=2000)
        assert [delta.stop for delta in deltas][-1] == "boi"
        assert isinstance(read(deltas, Tag.IMAGINE)[-1], ImageSpec)


async def test_whatever_a_random_model_writes_is_well_formed(engine: PlannerEngine) -> None:
    legs = await asyncio.gather(*(leg(engine, asked("A story."), seed=seed) for seed in range(4)))
    for deltas in legs:
        read(deltas)
        assert deltas[-1].stop in ("boi", "end", "length")


async def test_an_answer_goes_on_where_it_stands(engine: PlannerEngine) -> None:
    begun = (Tag.SERIES, "2", Tag.END_SERIES)
    deltas = await leg(engine, [*asked("Two cars."), "Here:", *begun], max_tokens=2000)
    assert next(piece for delta in deltas for piece in delta.pieces) is Tag.IMAGINE
    assert isinstance(read(deltas, *begun)[-1], ImageSpec)


async def test_thinking_is_opened_and_forbidden_as_asked(engine: PlannerEngine) -> None:
    deltas = await leg(engine, [*asked("1 + 1?"), Tag.THINK], max_tokens=2000)
    assert Tag.END_THINK in [piece for delta in deltas for piece in delta.pieces]
    deltas = await leg(engine, asked("1 + 1?"), banned=NO_PICTURES, max_tokens=40)
    assert all(isinstance(item, Text) for item in read(deltas))


async def test_pictures_and_words_are_counted_by_the_server_and_estimated_by_us(
    engine: PlannerEngine,
) -> None:
    def prompt(deltas: list[Delta]) -> int:
        return sum(delta.prompt_tokens for delta in deltas)

    alone = await leg(engine, asked("What is it?"), max_tokens=4)
    seen = await leg(engine, asked(PICTURE, "What is it?"), max_tokens=4)
    assert prompt(seen) - prompt(alone) == 128 * 96 // 32**2 + 2
    for deltas, context in ((alone, asked("What is it?")), (seen, asked(PICTURE, "What is it?"))):
        estimate = engine.count(context) + engine.dialect.overhead(engine._model)
        assert prompt(deltas) <= estimate <= 1.2 * prompt(deltas)
    assert sum(delta.generated_tokens for delta in alone) == 4


async def test_equal_seeds_write_equal_answers(engine: PlannerEngine) -> None:
    one, two, other = [
        "".join(
            map(str, (p for d in await leg(engine, asked("Hi."), seed=seed, max_tokens=20) for p in d.pieces))
        )
        for seed in (3, 3, 4)
    ]
    assert one == two
    assert one != other


async def test_a_context_beyond_the_servers_window_is_refused_by_name(engine: PlannerEngine) -> None:
    assert 4000 < engine.max_tokens < 8192
    with pytest.raises(InvalidInput, match=r"context: .*8192.*; start a new session"):
        await leg(engine, asked("fox " * 3000))


async def test_an_aborted_request_ends_as_aborted(engine: PlannerEngine) -> None:
    name, stops = uuid.uuid4().hex, []
    async for delta in engine.decode(
        asked("Hi."), max_tokens=2000, temperature=1.0, top_p=1.0, seed=0, request_id=name,
        banned=NO_PICTURES,
    ):  # fmt: skip
        await engine.abort(name)
        stops.append(delta.stop)
    assert stops[-1] in ("aborted", "end")
    assert len(stops) < 1000


# What goes wrong. ---------------------------------------------------------------------------------------


async def connect(url: str, **others: str) -> None:
    """A start of a planner, as far as it goes."""
    async with Endpoint.connected(settings_of(url, **others), Adapted(64)):
        pass


@asynccontextmanager
async def changed(url: str, model: str = MODEL, key: str = KEY) -> AsyncIterator[PlannerEngine]:
    """An engine whose server no longer is what it was when it connected."""
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield PlannerEngine(Endpoint(client, model, 8192, 1.0), Adapted(64), base_cells=64, max_cells=256)


async def test_a_refused_key_is_named_at_start_and_never_shown(
    vllm_server: VllmServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Misconfigured, match=r"WAN_PLANNER_ENDPOINT_KEY: .*401.*; set the key") as caught:
        await connect(vllm_server.url, planner_endpoint_key="wrong-canary")
    await connect(vllm_server.url)
    said = str(caught.value) + caplog.text + repr(settings_of(vllm_server.url))
    assert KEY not in said
    assert "wrong-canary" not in said


async def test_a_key_that_is_refused_later_ends_the_turn_by_name(vllm_server: VllmServer) -> None:
    async with changed(vllm_server.url, key="revoked") as engine:
        with pytest.raises(Misconfigured, match="WAN_PLANNER_ENDPOINT_KEY"):
            await leg(engine, asked("Hi."))


async def test_an_unknown_model_is_refused_with_those_there_are(vllm_server: VllmServer) -> None:
    with pytest.raises(Misconfigured, match=f"WAN_PLANNER_MODEL: the endpoint serves {MODEL}, not 'big'"):
        await connect(vllm_server.url, planner_model="big")
    async with changed(vllm_server.url, model="big") as engine:
        with pytest.raises(Misconfigured, match="WAN_PLANNER_MODEL"):
            await leg(engine, asked("Hi."))


async def test_an_address_without_the_api_is_refused(vllm_server: VllmServer) -> None:
    with pytest.raises(Misconfigured, match=r"WAN_PLANNER_ENDPOINT.*ends in /v1"):
        await connect(vllm_server.url.removesuffix("/v1") + "/elsewhere")


@pytest.mark.parametrize("wrong", ["127.0.0.1:8000", "ftp://host/v1", "http://user:canary@host/v1"])
def test_a_wrong_url_is_refused_and_its_password_not_shown(wrong: str) -> None:
    with pytest.raises(ValidationError, match="WAN_PLANNER_ENDPOINT") as caught:
        settings_of(wrong)
    assert "canary" not in str(caught.value)


async def test_a_server_that_is_away_is_waited_for_and_then_unavailable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(endpoint, "START_SECONDS", 0.1)
    monkeypatch.setattr(endpoint, "START_PAUSE_SECONDS", 0.01)
    with pytest.raises(Unavailable, match="the planner's endpoint does not answer"):
        await connect(f"http://127.0.0.1:{free_ports(1)[0]}/v1")


async def test_a_server_that_says_nothing_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(endpoint, "START_SECONDS", 0.0)

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(Unavailable, match="timed out"):
            await connect(f"http://{host}:{port}/v1")


async def test_a_stream_that_breaks_off_is_unavailable(vllm_server: VllmServer) -> None:
    async with (
        Proxy.before(f"127.0.0.1:{vllm_server.port}") as proxy,
        changed(f"http://{proxy.address}/v1") as engine,
    ):
        proxy.link(breaks_at=b'"finish_reason":"')  # however short the answer, and however fast it comes
        told: list[Delta] = []
        with pytest.raises(Unavailable):
            async for delta in engine.decode(
                asked("Hi."), max_tokens=2000, temperature=1.0, seed=0, request_id="r", banned=NO_PICTURES
            ):
                told.append(delta)
    assert told


async def test_a_turn_whose_server_went_away_goes_on_when_it_is_back(
    vllm_server: VllmServer, stack, settings, tenant
) -> None:
    async with (
        Proxy.before(f"127.0.0.1:{vllm_server.port}") as proxy,
        changed(f"http://{proxy.address}/v1") as engine,
        open_bench(settings, tenant) as bench,
    ):
        log, job = await bench.start("two foxes", image_count=2, temperature=1.0)
        cut = asyncio.create_task(_cut_in_the_middle(bench, log.session_id, proxy))
        history = await bench.finish(engine, job)
        await cut
        kinds = [event.WhichOneof("kind") for event in await bench.events(log.session_id)]
    assert kinds[-1] == "turn_finished"
    assert kinds.count("image_planned") == len(history.turns[-1].ready) == 2


async def _cut_in_the_middle(bench: Bench, session_id: str, proxy: Proxy) -> None:
    """Break every connection once the first picture is planned."""
    async for event in bench.sessions.follow(bench.tenant, session_id):
        if event.HasField("image_ready"):
            proxy.reset()
            return
