"""The guard, health and shutdown of a real gRPC server with a small servicer behind it."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tests.conftest import eventually
from tests.echo import SERVICES, Echo, encode, refused, serving
from wanimage import rpc, telemetry
from wanimage.config import Settings
from wanimage.errors import (
    Cancelled,
    Conflict,
    DataLoss,
    FamilyMismatch,
    InvalidInput,
    Misconfigured,
    NotFound,
    Overloaded,
    Unavailable,
    WanError,
    restore,
)
from wanimage.limits import MAX_INPUT_IMAGES
from wanimage.v1 import vae_pb2, vae_pb2_grpc, visualizer_pb2, visualizer_pb2_grpc
from wanimage.v1.jobs_pb2 import JobProgress, Preview

LARGEST_PICTURE = 20 * 1024 * 1024


@pytest.fixture
def echo() -> Echo:
    return Echo()


# Who calls. --------------------------------------------------------------------------------------------


async def test_without_keys_every_caller_is_the_open_tenant(echo: Echo) -> None:
    async with serving(echo) as (address, _, _):
        response = await encode(address, timeout=50)

    assert response.latent.sha256 == "default"
    assert response.latent.size in (49, 50)  # gRPC rounds a deadline up


async def test_key_decides_the_tenant(echo: Echo) -> None:
    async with serving(echo, api_keys={"acme": "k1", "zeta": "k2"}) as (address, _, _):
        assert (await encode(address, key="k1")).latent.sha256 == "acme"
        assert (await encode(address, key="k2")).latent.sha256 == "zeta"
        async with rpc.channel(address) as channel:
            stub = vae_pb2_grpc.VaeServiceStub(channel)
            by_header = await stub.Encode(
                vae_pb2.EncodeRequest(), timeout=60, metadata=(("x-api-key", "k1"),)
            )
        assert by_header.latent.sha256 == "acme"


@pytest.mark.parametrize(("key", "says"), [(None, "no API key came"), ("k3", "is not known"), ("", "no API")])
async def test_unknown_key_is_unauthenticated_and_never_reaches_the_servicer(
    echo: Echo, key: str | None, says: str
) -> None:
    async with serving(echo, api_keys={"acme": "k1"}) as (address, _, _):
        details = await refused(encode(address, key=key))

    assert details.code is grpc.StatusCode.UNAUTHENTICATED
    assert says in details.message
    assert details.reason == "Unauthenticated"
    assert echo.calls == 0


# How long. ---------------------------------------------------------------------------------------------


async def test_call_without_deadline_is_refused_naming_the_field(echo: Echo) -> None:
    async with serving(echo) as (address, _, _):
        details = await refused(encode(address, timeout=None))

    assert details.code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.fields == {"deadline": "none was set; set the call's timeout, e.g. 600 s"}
    assert echo.calls == 0


async def test_deadline_over_the_limit_is_refused_and_one_at_it_is_not(echo: Echo) -> None:
    async with serving(echo, max_deadline=100) as (address, _, _):
        details = await refused(encode(address, timeout=200))
        assert (await encode(address, timeout=100)).latent.size >= 98

    assert "the limit is 100 s" in details.fields["deadline"]


# Errors. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("size.height", "got 17, the limit is 16", "round it"), "INVALID_ARGUMENT"),
        (NotFound("session", "s", "list them"), "NOT_FOUND"),
        (FamilyMismatch("a" * 64, "b" * 64), "FAILED_PRECONDITION"),
        (Misconfigured("WAN_X", "is wrong", "mend it"), "FAILED_PRECONDITION"),
        (Conflict("somebody else wrote first"), "ABORTED"),
        (Overloaded("the render queue", 256, 2.5), "RESOURCE_EXHAUSTED"),
        (Unavailable("NATS", "gone"), "UNAVAILABLE"),
        (DataLoss("expected 3 bytes, got 2"), "DATA_LOSS"),
        (restore("InvalidInput", "size.height: came through a job"), "INVALID_ARGUMENT"),
    ],
)
async def test_wan_error_travels_with_its_status_reason_and_message(
    echo: Echo, error: WanError, code: str
) -> None:
    echo.error = error
    async with serving(echo) as (address, _, _):
        details = await refused(encode(address))

    assert (details.code.name, details.reason, details.message) == (code, error.reason, str(error))
    assert details.request_id


async def test_details_name_fields_and_waiting_times(echo: Echo) -> None:
    async with serving(echo) as (address, _, _):
        echo.error = InvalidInput("size.height", "got 17", "round it")
        field = await refused(encode(address))
        echo.error = Overloaded("the render queue", 256, 2.5)
        wait = await refused(encode(address))

    assert field.fields == {"size.height": "got 17; round it"}
    assert wait.retry_after == 2.5


async def test_unexpected_error_shows_only_a_number_that_the_log_knows(
    echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure("test", json=True)
    echo.error = KeyError("secret detail")
    async with serving(echo) as (address, _, _):
        details = await refused(encode(address))
    logged = capsys.readouterr().err

    assert details.code is grpc.StatusCode.INTERNAL
    assert "secret" not in details.message
    assert details.request_id in details.message
    assert details.request_id in logged
    assert "secret detail" in logged


async def test_error_in_the_middle_of_a_stream_keeps_what_came_before(echo: Echo) -> None:
    echo.error = Unavailable("S3", "gone")
    seen = []
    async with serving(echo) as (address, _, _), rpc.channel(address) as channel:
        stream = visualizer_pb2_grpc.VisualizerServiceStub(channel).Render(
            visualizer_pb2.RenderRequest(prompts=["a", "b", "c"]), timeout=60
        )
        with pytest.raises(grpc.RpcError) as caught:
            async for response in stream:
                seen.append((response.progress.job_id, response.progress.step))

    assert seen == [("default", 0), ("default", 1), ("default", 2)]
    assert rpc.error_details(caught.value).reason == "Unavailable"


async def test_leaving_a_stream_ends_its_servicer(echo: Echo) -> None:
    echo.release.clear()
    async with serving(echo) as (address, _, _), rpc.channel(address) as channel:
        stream = visualizer_pb2_grpc.VisualizerServiceStub(channel).Render(
            visualizer_pb2.RenderRequest(prompts=["a"]), timeout=60
        )
        assert (await stream.read()).progress.step == 0
        stream.cancel()
        await asyncio.wait_for(echo.left.wait(), 10)


async def test_a_request_of_large_pictures_fits(echo: Echo) -> None:
    # One picture over the wire: nine take half a minute on a busy machine.
    async with serving(echo) as (address, _, _):
        response = await encode(address, image={"data": bytes(LARGEST_PICTURE)})

    assert rpc.MAX_RECEIVE_BYTES > MAX_INPUT_IMAGES * LARGEST_PICTURE
    assert response.latent.sha256 == "default"


async def test_error_details_read_an_error_of_a_server_that_is_not_there() -> None:
    details = await refused(encode("127.0.0.1:1", timeout=5))

    assert details.code is grpc.StatusCode.UNAVAILABLE
    assert details.reason == ""


async def test_fields_that_this_version_does_not_know_do_not_reach_a_service() -> None:
    class Noting(Echo):
        heard = b""

        async def Encode(self, request: vae_pb2.EncodeRequest, context) -> vae_pb2.EncodeResponse:
            self.heard = request.SerializeToString()
            return vae_pb2.EncodeResponse()

    known = vae_pb2.EncodeRequest(image={"blob": {"sha256": "a" * 64}})
    newer = vae_pb2.EncodeRequest.FromString(known.SerializeToString())
    stranger = b"\xfa\x3f\x03abc"  # field 1023, a text
    newer.image.blob.MergeFromString(stranger)
    newer.MergeFromString(stranger)
    assert newer.SerializeToString().count(b"abc") == 2
    echo = Noting()
    async with serving(echo) as (address, _, _), rpc.channel(address) as channel:
        await vae_pb2_grpc.VaeServiceStub(channel).Encode(newer, timeout=60)
    assert echo.heard == known.SerializeToString()


# Traces. -----------------------------------------------------------------------------------------------


async def test_trace_of_the_caller_goes_on_in_the_servicer(echo: Echo) -> None:
    tracer = TracerProvider().get_tracer("test")
    async with serving(echo) as (address, _, _):
        with trace.use_span(tracer.start_span("client")) as span:
            await encode(address)

    assert echo.traceparent.split("-")[1] == trace.format_trace_id(span.get_span_context().trace_id)


# Health and shutdown. ----------------------------------------------------------------------------------


async def status(address: str, service: str = "") -> str:
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=10
        )
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_health_follows_the_checks_and_needs_no_key(echo: Echo) -> None:
    ready = asyncio.Event()

    async def check() -> None:
        if not ready.is_set():
            raise Unavailable("NATS", "gone")

    async def becomes(wanted: str) -> None:
        async def agree() -> bool:
            return {await status(address), await status(address, SERVICES[0])} == {wanted}

        await eventually(agree)

    async with serving(echo, api_keys={"acme": "k1"}) as (address, health, _):
        watching = asyncio.create_task(health.watch([check], seconds=0.01))
        await becomes("NOT_SERVING")
        ready.set()
        await becomes("SERVING")
        ready.clear()
        await becomes("NOT_SERVING")
        ready.set()
        await becomes("SERVING")
        watching.cancel()
        await health.shut_down()
        await becomes("NOT_SERVING")


async def test_reflection_lists_the_services(echo: Echo) -> None:
    async with serving(echo) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
        )
        answer = await call.read()

    assert set(SERVICES) <= {each.name for each in answer.list_services_response.service}


async def test_stopping_finishes_the_running_call_and_takes_no_new_one(echo: Echo) -> None:
    echo.release.clear()
    async with serving(echo) as (address, _, server):
        running = asyncio.create_task(encode(address))
        await echo.blocked.wait()
        stopping = asyncio.create_task(server.stop(10))
        details = await _until_refused(address)
        echo.release.set()
        response = await running
        await stopping

    assert response.latent.sha256 == "default"
    assert details.code is grpc.StatusCode.UNAVAILABLE


async def _until_refused(address: str) -> rpc.ErrorDetails:
    # The listener closes a moment after stop() was called; the channel tries three times more by itself.
    async with asyncio.timeout(20):
        while True:
            try:
                await encode(address, timeout=3)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return rpc.error_details(error)


async def test_a_taken_port_is_an_error_that_names_the_setting(echo: Echo) -> None:
    async with serving(echo) as (address, _, _):
        with pytest.raises(RuntimeError, match="WAN_PORT"):
            await rpc.listen(rpc.server(Settings(_env_file=None)), address)


class Flood(Echo):
    """Sends more than any client takes without reading; notes in which context its stream ends."""

    async def Render(self, request, context) -> AsyncIterator[visualizer_pb2.RenderResponse]:
        progress = JobProgress(previews=[Preview(png=bytes(1_000_000))])
        try:
            while True:
                yield visualizer_pb2.RenderResponse(progress=progress)
        finally:
            assert rpc.caller(context).tenant == "default"
            self.left.set()


async def test_a_client_that_hangs_up_during_a_send_ends_its_stream_in_the_calls_own_context(caplog) -> None:
    echo = Flood()
    async with serving(echo) as (address, _, _), rpc.channel(address) as channel:
        call = visualizer_pb2_grpc.VisualizerServiceStub(channel).Render(
            visualizer_pb2.RenderRequest(), timeout=60
        )
        await call.read()
        call.cancel()
        await asyncio.wait_for(echo.left.wait(), 5)
    assert "Failed to detach context" not in caplog.text


class Stumbling(Echo):
    """Fails its first two calls as a connection that breaks would, with nothing of ours in the answer."""

    async def Encode(self, request: vae_pb2.EncodeRequest, context) -> vae_pb2.EncodeResponse:
        self.calls += 1
        if self.calls < 3:
            await context.abort((grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)[self.calls - 1])
        return vae_pb2.EncodeResponse()


async def test_a_call_that_may_be_repeated_is_when_its_connection_breaks() -> None:
    echo = Stumbling()
    async with serving(echo) as (address, _, _):
        await encode(address)
    assert echo.calls == 3


@pytest.mark.parametrize("error", [Unavailable("NATS", "gone"), Cancelled("stop")], ids=["away", "cancelled"])
async def test_what_a_service_answers_is_not_asked_for_again(echo, error: WanError) -> None:
    echo.error = error
    async with serving(echo) as (address, _, _):
        with pytest.raises(grpc.aio.AioRpcError):
            await encode(address)
    assert echo.calls == 1
