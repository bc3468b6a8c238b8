"""`wan enhance` as people and scripts meet it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from wanimage.cli.main import app
from wanimage.v1 import enhancer_pb2, enhancer_pb2_grpc, jobs_pb2, types_pb2

POSTER = jobs_pb2.EnhanceResult(
    task=jobs_pb2.TASK_TEXT_TO_IMAGE,
    category=jobs_pb2.EnhanceResult.CATEGORY_TEXT_RENDERING,
    rewritten=True,
    descriptions=[jobs_pb2.Description(natural='the words "Sale" in red')],
    usage=types_pb2.Usage(generated_tokens=12, seconds=0.25),
)


class FakeEnhancer(enhancer_pb2_grpc.EnhancerServiceServicer):
    """Answers everything with `result`, after a thought."""

    def __init__(self) -> None:
        self.result, self.requests = POSTER, list[enhancer_pb2.EnhanceRequest]()
        self.server = grpc.server(ThreadPoolExecutor(1))
        enhancer_pb2_grpc.add_EnhancerServiceServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def Enhance(
        self, request: enhancer_pb2.EnhanceRequest, context: grpc.ServicerContext
    ) -> Iterator[enhancer_pb2.EnhanceResponse]:
        self.requests.append(request)
        yield enhancer_pb2.EnhanceResponse(think_delta="A sign. ")
        yield enhancer_pb2.EnhanceResponse(think_delta="In red.")
        yield enhancer_pb2.EnhanceResponse(result=self.result)


@pytest.fixture
def enhancer() -> Iterator[FakeEnhancer]:
    fake = FakeEnhancer()
    fake.server.start()
    yield fake
    fake.server.stop(0).wait()


def enhance(fake: FakeEnhancer, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["enhance", "a sign", "--address", fake.address, *arguments])


def test_people_read_reasoning_category_and_description(enhancer: FakeEnhancer) -> None:
    result = enhance(enhancer)
    assert result.exit_code == 0, result.output
    assert "A sign. In red." in result.stdout
    assert "text rendering" in result.stdout
    assert 'the words "Sale" in red' in result.stdout
    assert "12 tokens" in result.stdout


def test_scripts_read_one_object_with_every_field(enhancer: FakeEnhancer) -> None:
    record = json.loads(enhance(enhancer, "--json").stdout)
    assert record["category"] == "CATEGORY_TEXT_RENDERING"
    assert record["pass_through_reason"] == ""
    assert set(record) == {field.name for field in jobs_pb2.EnhanceResult.DESCRIPTOR.fields}


def test_what_is_left_as_it_is_says_why_and_an_edit_its_sides(enhancer: FakeEnhancer) -> None:
    enhancer.result = jobs_pb2.EnhanceResult(pass_through_reason="it is good")
    assert "left as it is: it is good" in enhance(enhancer).stdout
    enhancer.result = jobs_pb2.EnhanceResult(rewritten=True, common="the fox", differences=["day", "night"])
    told = enhance(enhancer).stdout
    assert [line.split() for line in told.splitlines()[-4:-1]] == [
        ["stays", "the", "fox"], ["changes", "day"], ["changes", "night"],
    ]  # fmt: skip


def test_flags_reach_the_request(enhancer: FakeEnhancer, tmp_path: Path) -> None:
    flags = ("--task", "t2s", "--n", "3", "--variant", "quality", "--mode", "on")
    assert enhance(enhancer, *flags).exit_code == 0
    (request,) = enhancer.requests
    assert (request.task, request.image_count) == (jobs_pb2.TASK_TEXT_TO_SERIES, 3)
    assert request.options.variant == types_pb2.ENHANCER_VARIANT_QUALITY
    assert request.options.mode == types_pb2.EnhanceOptions.MODE_ON


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--n", "0"], "--n"),
        (["--n", "13"], "--n"),
        (["--ref", "no-such-file.png"], "no-such-file.png"),
        (["--task", "t2v"], "task"),
    ],
)
def test_wrong_input_ends_with_status_2_and_names_it(
    enhancer: FakeEnhancer, arguments: list[str], named: str
) -> None:
    result = enhance(enhancer, *arguments)
    assert result.exit_code == 2
    assert named in result.output
    assert not enhancer.requests


def test_no_enhancer_is_a_failure_that_says_what_to_run() -> None:
    result = CliRunner().invoke(app, ["enhance", "a sign", "--address", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert "wan up" in result.output
