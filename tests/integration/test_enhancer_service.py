"""The enhancer's service on a real NATS and S3, its model's words scripted."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest

from services.enhancer.engine import EnhancerEngine
from services.enhancer.service import OFF, add_front
from services.enhancer.worker import EnhanceWorker
from tests.conftest import eventually
from tests.families import build_family
from tests.fronts import SECONDS, Stored, bomb, calling, for_tenants
from wanimage import images, metrics, rpc, serve, tokens
from wanimage.config import Settings
from wanimage.decoding import StopReason, TokenDelta
from wanimage.enhancing import Description, Result, written
from wanimage.subjects import JOBS
from wanimage.tokens import Vocabulary
from wanimage.v1 import enhancer_pb2, enhancer_pb2_grpc, jobs_pb2, types_pb2

TENANT = f"t-{uuid.uuid4().hex[:12]}"
PICTURE = types_pb2.ImageInput(data=images.encode(np.zeros((32, 32, 4), np.uint8))[0])
SALE = Result(
    "poster", (Description('a poster that says "Sale"', (("words", "top"),), ("red", "#aabbcc", "gold")),)
)
ON, QUALITY = types_pb2.EnhanceOptions.MODE_ON, types_pb2.ENHANCER_VARIANT_QUALITY


@dataclass
class Scripted:
    """A model that writes what it is told to, one text after the other."""

    vocabulary: Vocabulary
    texts: list[str] = field(default_factory=list)
    asked: list[tuple[Sequence[Any], str]] = field(default_factory=list)
    """Contexts and grammars."""
    hold: asyncio.Event | None = None
    """Waited for between any two tokens, when given."""
    window: int = 4096

    def count_tokens(self, context: Sequence[Any]) -> int:
        """16 a picture."""
        return sum(16 if isinstance(each, np.ndarray) else len(each) for each in context)

    async def decode(
        self, context: Sequence[Any], sampling: Any, *, stop: tuple[int, ...], request_id: str, grammar: str
    ) -> AsyncIterator[TokenDelta]:
        """A text's tokens, then the stop; a text that ends in "..." is cut off there."""
        self.asked.append((context, grammar))
        text = self.texts.pop(0)
        cut = text.endswith("...")
        ids = [*self.vocabulary.encode_user_text(text.removesuffix("...")), *(() if cut else stop[:1])]
        for number, token in enumerate(ids, 1):
            if self.hold is not None:
                await self.hold.wait()
            last = number == len(ids)
            reason = (StopReason.LENGTH if cut else StopReason.TOKEN) if last else None
            yield TokenDelta((token,), finished=last, stop_reason=reason, prompt_tokens=7 * (number == 1))


@dataclass
class Bench:
    process: serve.Process
    model: Scripted
    stub: enhancer_pb2_grpc.EnhancerServiceStub

    async def ask(self, *texts: str, **fields: Any) -> tuple[str, jobs_pb2.EnhanceResult]:
        """(reasoning as it was streamed, result) of a request that the model answers with `texts`."""
        self.model.texts, self.model.asked = list(texts), []
        fields.setdefault("prompt", f'a poster that says "Sale", {uuid.uuid4().hex[:6]}s')
        request = enhancer_pb2.EnhanceRequest(**fields)
        answers = [each async for each in self.stub.Enhance(request, timeout=SECONDS)]
        assert [each.WhichOneof("kind") for each in answers].count("result") == 1
        assert answers[-1].HasField("result")
        return "".join(each.think_delta for each in answers), answers[-1].result


@pytest.fixture(scope="module")
async def bench(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    family = build_family(tmp_path_factory.mktemp("family"))
    model = Scripted(Vocabulary.load(family.planner))

    @asynccontextmanager
    async def worker(ground: serve.Ground) -> AsyncIterator[Sequence[serve.Work]]:
        handler = EnhanceWorker(EnhancerEngine(model), ground.blobs, ground.family.digest)
        yield [serve.Work("enhance", handler.enhance, 16)]

    service = serve.Service("enhancer", "wanimage.v1.EnhancerService", add_front, worker)
    async with (
        serve.running(service, for_tenants(settings, family.path, TENANT)) as process,
        calling(process, TENANT, enhancer_pb2_grpc.EnhancerServiceStub) as stub,
    ):
        yield Bench(process, model, stub)


@pytest.fixture(autouse=True)
def unheld(bench: Bench) -> None:
    bench.model.hold = None


async def test_a_rewrite_comes_structured_and_in_sentences(bench: Bench) -> None:
    thoughts, result = await bench.ask(written(SALE))
    assert not thoughts
    assert (result.task, result.rewritten) == (jobs_pb2.TASK_TEXT_TO_IMAGE, True)
    assert result.category == jobs_pb2.EnhanceResult.CATEGORY_POSTER
    (description,) = result.descriptions
    assert description.natural == 'a poster that says "Sale"'
    assert list(description.texts) == ["Sale"]
    assert description.layout[0].box.y == 0
    assert [color.hex for color in description.palette.colors] == ["#de282e", "#aabbcc"]
    assert result.usage.generated_tokens > 0
    counted = {"outcome": "rewritten", "category": "poster"}
    assert metrics.REGISTRY.get_sample_value("wan_enhanced_total", counted) == 1


async def test_reasoning_is_streamed_whole_before_the_result(bench: Bench) -> None:
    options = types_pb2.EnhanceOptions(variant=QUALITY)
    thoughts, result = await bench.ask("Ein Plakat für später.", written(SALE), options=options)
    assert thoughts == result.thinking == "Ein Plakat für später."
    context, _ = bench.model.asked[1]
    assert context[-1][-1] == bench.model.vocabulary.control[tokens.END_THINK]


async def test_reasoning_without_an_end_is_cut_and_the_answer_still_comes(bench: Bench) -> None:
    options = types_pb2.EnhanceOptions(variant=QUALITY)
    _, result = await bench.ask("and on and on...", written(SALE), options=options)
    assert result.rewritten


async def test_an_equal_request_is_answered_without_the_model_its_reasoning_too(bench: Bench) -> None:
    options = types_pb2.EnhanceOptions(variant=QUALITY)
    first = await bench.ask("A poster.", written(SALE), prompt='the words "Sale"', options=options)
    assert await bench.ask(prompt='the words "Sale"', options=options) == first
    assert not bench.model.asked


async def test_what_passes_through_says_so_and_keeps_the_category(bench: Bench) -> None:
    _, result = await bench.ask("general")
    assert (result.rewritten, result.category) == (False, jobs_pb2.EnhanceResult.CATEGORY_GENERAL)
    assert "rewriting helps" in result.pass_through_reason


async def test_a_caller_that_wants_none_gets_none_without_a_job(bench: Bench, settings: Settings) -> None:
    before = await Stored.now(settings, bench.process.ground.bus, TENANT)
    _, result = await bench.ask(options=types_pb2.EnhanceOptions(mode=types_pb2.EnhanceOptions.MODE_OFF))
    assert (result.rewritten, result.pass_through_reason) == (False, OFF)
    assert await Stored.now(settings, bench.process.ground.bus, TENANT) == before


async def test_a_rewrite_that_misspells_is_made_once_more_with_the_words_in_its_grammar(bench: Bench) -> None:
    wrong = Result("poster", (Description('a poster that says "Sail"'),))
    _, result = await bench.ask(written(wrong), written(SALE))
    assert result.rewritten
    assert [r'"\"Sale\""' in grammar for _, grammar in bench.model.asked] == [False, True]


async def test_one_that_misspells_twice_is_given_up_and_names_what_it_loses(bench: Bench) -> None:
    wrong = written(Result("poster", (Description('a poster that says "Sail"'),)))
    _, result = await bench.ask(wrong, wrong)
    assert not result.rewritten
    assert '"Sale"' in result.pass_through_reason
    assert not result.descriptions


async def test_an_answer_without_an_end_passes_through(bench: Bench) -> None:
    _, result = await bench.ask("poster\n1 a poster that goes on and...")
    assert not result.rewritten
    assert "did not come to its end" in result.pass_through_reason


@pytest.mark.parametrize(
    ("fields", "task", "line"),
    [
        ({"prompt": "a fox"}, jobs_pb2.TASK_TEXT_TO_IMAGE, "enhance t2i 1: a fox"),
        ({"prompt": "three pictures of a fox"}, jobs_pb2.TASK_TEXT_TO_SERIES, "enhance t2s 3: "),
        ({"prompt": "a fox", "image_count": 4}, jobs_pb2.TASK_TEXT_TO_SERIES, "enhance t2s 4: "),
        ({"prompt": "bluer", "references": [PICTURE]}, jobs_pb2.TASK_IMAGE_TO_IMAGE, "enhance i2i 1: "),
        (
            {"prompt": "go on, 2 pictures", "references": [PICTURE, PICTURE]},
            jobs_pb2.TASK_TEXT_IMAGE_TO_SERIES, "enhance ti2s 2: ",
        ),
        (
            {"prompt": "a  fox\nat night", "options": types_pb2.EnhanceOptions(mode=ON)},
            jobs_pb2.TASK_TEXT_TO_IMAGE, "enhance t2i 1 rewrite: a fox at night",
        ),
    ],
)  # fmt: skip
async def test_the_task_follows_from_prompt_and_references(
    bench: Bench, fields: dict[str, Any], task: int, line: str
) -> None:
    _, result = await bench.ask("general", **fields)
    context, _ = bench.model.asked[0]
    text = b"".join(
        bench.model.vocabulary.decode_bytes(list(each)) for each in context if isinstance(each, tuple)
    )
    assert result.task == task
    assert line in text.decode()
    pictures = [each for each in context if isinstance(each, np.ndarray)]
    assert len(pictures) == len(fields.get("references", ()))


async def test_an_edit_says_what_stays_and_what_changes(bench: Bench) -> None:
    text = written(Result("poster", (), "colours, fonts", ("words: now they say it",)))
    _, result = await bench.ask(text, prompt="other words", references=[PICTURE])
    assert (result.common, result.difference) == ("colours, fonts", "words: now they say it")
    text = written(Result("storyboard", (), "a fox", ("at night", "by day")))
    _, result = await bench.ask(text, prompt="2 pictures more", references=[PICTURE])
    assert (result.common, list(result.differences)) == ("a fox", ["at night", "by day"])


async def test_a_caller_that_leaves_ends_the_job(bench: Bench) -> None:
    bench.model.texts, bench.model.asked, bench.model.hold = [written(SALE)], [], asyncio.Event()
    request = enhancer_pb2.EnhanceRequest(prompt=f"a poster for {uuid.uuid4().hex}")
    call = bench.stub.Enhance(request, timeout=SECONDS)
    leaving = asyncio.ensure_future(call.read())
    await eventually(lambda: bool(bench.model.asked))
    leaving.cancel()
    call.cancel()

    async def gone() -> bool:
        return not await bench.process.ground.bus.subjects(JOBS, f"wan.jobs.enhance.{TENANT}")

    await eventually(gone)


BAD: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "no prompt": (lambda: {"prompt": " "}, "prompt"),
    "a prompt of 16,001 characters": (lambda: {"prompt": "a" * 16_001}, "prompt"),
    "a prompt of too many tokens": (lambda: {"prompt": "é" * 2_000}, "prompt"),
    "ten references": (lambda: {"references": [PICTURE] * 10}, "references"),
    "a reference without source": (lambda: {"references": [types_pb2.ImageInput()]}, "references[0]"),
    "a reference that is no picture": (
        lambda: {"references": [types_pb2.ImageInput(data=b"no picture")]}, "references[0].data",
    ),
    "a bomb": (lambda: {"references": [types_pb2.ImageInput(data=bomb())]}, "references[0].data"),
    "a session's picture": (
        lambda: {"references": [types_pb2.ImageInput(session_image=1)]}, "references[0].session_image",
    ),
    "thirteen pictures": (lambda: {"image_count": 13}, "image_count"),
    "an unknown task": (lambda: {"task": 9}, "task"),
    "an edit of nothing": (lambda: {"task": jobs_pb2.TASK_IMAGE_TO_IMAGE}, "references"),
    "words alone with a picture": (
        lambda: {"task": jobs_pb2.TASK_TEXT_TO_IMAGE, "references": [PICTURE]}, "references",
    ),
    "two pictures of a single task": (
        lambda: {"task": jobs_pb2.TASK_TEXT_TO_IMAGE, "image_count": 2}, "image_count",
    ),
    "an unknown mode": (lambda: {"options": types_pb2.EnhanceOptions(mode=7)}, "options.mode"),  # type: ignore[arg-type]
    "an unknown variant": (lambda: {"options": types_pb2.EnhanceOptions(variant=7)}, "options.variant"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_names_its_field_and_leaves_nothing_behind(
    bench: Bench, settings: Settings, name: str
) -> None:
    fields, wanted = BAD[name]
    before = await Stored.now(settings, bench.process.ground.bus, TENANT)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.ask(**{"prompt": "a fox", **fields()})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(rpc.error_details(caught.value).fields) == [wanted]
    assert await Stored.now(settings, bench.process.ground.bus, TENANT) == before


async def test_a_family_that_is_not_this_services_is_refused(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.ask(target_family="f" * 64)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
