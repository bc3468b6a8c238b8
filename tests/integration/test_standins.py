"""The stand-ins tell stories and draw as the real services do, without their models."""

import subprocess
import sys

import pytest

from tests.standins.deployment import Deployment, deployed
from wanimage import rpc
from wanimage.stack import LocalStack
from wanimage.v1 import (
    planner_pb2,
    planner_pb2_grpc,
    types_pb2,
    vae_pb2,
    vae_pb2_grpc,
    visualizer_pb2,
    visualizer_pb2_grpc,
)

SECONDS = 30.0


@pytest.fixture(scope="module")
async def standins(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory):
    async with deployed(stack, tmp_path_factory.mktemp("standins"), STANDIN_STEP_MS=2) as deployment:
        yield deployment


async def test_a_story_has_the_pictures_it_was_asked_for(standins: Deployment) -> None:
    user = types_pb2.UserMessage(text="3 pictures of a fox")
    request = planner_pb2.GenerateRequest(user=user)
    async with rpc.channel(standins.target("planner")) as channel:
        stream = planner_pb2_grpc.PlannerServiceStub(channel).Generate(request, timeout=SECONDS)
        events = [response.event async for response in stream if response.event.seq]
    ready = [event.image_ready.image.prompt for event in events if event.HasField("image_ready")]
    assert ready == [f"3 pictures of a fox, picture {number}" for number in range(3)]
    assert events[-1].HasField("turn_finished"), events[-1]


async def test_the_fronts_of_visualizer_and_vae_answer(standins: Deployment) -> None:
    async with rpc.channel(standins.target("visualizer")) as channel:
        stub = visualizer_pb2_grpc.VisualizerServiceStub(channel)
        sampling = types_pb2.SamplingOptions(steps=3, seed=1)
        request = visualizer_pb2.RenderRequest(prompts=["a fox"], sampling=sampling)
        answers = [answer async for answer in stub.Render(request, timeout=SECONDS)]
    latent = answers[-1].output.images[0].latent
    async with rpc.channel(standins.target("vae")) as channel:
        request = vae_pb2.DecodeRequest(latent=latent, inline=True)
        decoded = await vae_pb2_grpc.VaeServiceStub(channel).Decode(request, timeout=SECONDS)
    assert decoded.data.startswith(b"\x89PNG")


def test_no_stand_in_imports_torch() -> None:
    code = "import sys, tests.standins.engines; sys.exit(bool({'torch', 'vllm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
