"""Every RPC of the contract in every role: who is let in, and that another tenant's objects look missing.

The rows are compared with the descriptors of all protos, so an RPC without a row fails here. Fronts are the
real ones, without workers: a call that is let in ends with what the front itself says of the request.
"""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import wanimage.v1
from services.enhancer.__main__ import SERVICE as ENHANCER
from services.planner.__main__ import SERVICE as PLANNER
from services.refiner.__main__ import SERVICE as REFINER
from services.vae.__main__ import SERVICE as VAE
from services.visualizer.__main__ import SERVICE as VISUALIZER
from tests.families import build_family
from tests.fronts import KEY, for_tenants
from wanimage import images, rpc, serve
from wanimage.config import Settings
from wanimage.keys import KeyStore, RoleName, new_key
from wanimage.rpc.rights import NEEDED, OPEN_SERVICES
from wanimage.sessions import Sessions
from wanimage.stack import NatsServer, free_ports
from wanimage.v1 import types_pb2

OWNER, STRANGER = "owner", "stranger"
SESSION = "s1"
SECONDS = 30.0

OK, NO_KEY, FORBIDDEN = "OK", "UNAUTHENTICATED", "PERMISSION_DENIED"
MISSING, INVALID, UNMADE = "NOT_FOUND", "INVALID_ARGUMENT", "UNIMPLEMENTED"
CALLERS = ("no key", "wrong key", "revoked", "reader", "stranger", "user", "admin")
"""Reader, user and revoked are the owner's; the admin is of a tenant of its own and names the owner's."""
KEYLESS = (NO_KEY, NO_KEY, NO_KEY)


@dataclass(frozen=True)
class Row:
    """One RPC: what is asked of the owner's objects, and how it ends for each of `CALLERS`."""

    request: Callable[[SimpleNamespace], dict[str, Any]]
    statuses: tuple[str, ...]
    """In the order of CALLERS."""


def reading(request: Callable[[SimpleNamespace], dict[str, Any]]) -> Row:
    """An RPC that looks at an object of the owner."""
    return Row(request, (*KEYLESS, OK, MISSING, OK, OK))


def writing(request: Callable[[SimpleNamespace], dict[str, Any]], user: str, stranger: str = MISSING) -> Row:
    """One that a reader may not call; `user` is what the front says to those it lets in."""
    return Row(request, (*KEYLESS, FORBIDDEN, stranger, user, user))


PLANNER_NAME, VAE_NAME = "wanimage.v1.PlannerService", "wanimage.v1.VaeService"
ROWS = {
    f"{PLANNER_NAME}/GetSession": reading(lambda held: {"session_id": SESSION}),
    f"{PLANNER_NAME}/Watch": reading(lambda held: {"session_id": SESSION, "until_idle": True}),
    f"{PLANNER_NAME}/FetchBlob": reading(lambda held: {"blob": held.picture}),
    # Everybody has a list; the stranger's is empty (below).
    f"{PLANNER_NAME}/ListSessions": Row(lambda held: {}, (*KEYLESS, OK, OK, OK, OK)),
    f"{PLANNER_NAME}/Cancel": writing(lambda held: {"session_id": SESSION}, OK),
    f"{PLANNER_NAME}/Fork": writing(lambda held: {"session_id": SESSION}, OK),
    # In an existing session, with a seed out of range: the session is looked up after the limits.
    f"{PLANNER_NAME}/Generate": writing(
        lambda held: {"session_id": SESSION, "user": {"text": "go on", "images": [{"session_image": 9}]}},
        INVALID,
    ),
    f"{PLANNER_NAME}/Converse": writing(lambda held: {}, INVALID, INVALID),
    f"{VAE_NAME}/Encode": writing(
        lambda held: {"image": {"blob": held.picture}, "size": {"height": 17, "width": 17}}, INVALID
    ),
    f"{VAE_NAME}/Decode": writing(lambda held: {"latent": held.damaged}, INVALID),
    "wanimage.v1.VisualizerService/Render": writing(
        lambda held: {"prompts": ["a fox"], "references": [{"blob": held.damaged}]}, INVALID
    ),
    "wanimage.v1.EnhancerService/Enhance": writing(
        lambda held: {"prompt": "a fox", "references": [{"blob": held.damaged}]}, INVALID
    ),
    "wanimage.v1.RefinerService/Refine": writing(
        lambda held: {"latent": held.damaged, "options": {"target_long_edge": 2048}}, INVALID
    ),
    # Deliberately open: probes and balancers carry no key, and the contract is public.
    "grpc.health.v1.Health/Check": Row(lambda held: {}, (OK,) * 7),
    "grpc.health.v1.Health/List": Row(lambda held: {}, (UNMADE,) * 7),
    "grpc.health.v1.Health/Watch": Row(lambda held: {}, (OK,) * 7),
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Row(
        lambda held: {"list_services": ""}, (OK,) * 7
    ),
}
FRONTS = {
    "wanimage.v1.PlannerService": "planner",
    "wanimage.v1.VaeService": "vae",
    "wanimage.v1.VisualizerService": "visualizer",
    "wanimage.v1.EnhancerService": "enhancer",
    "wanimage.v1.RefinerService": "refiner",
}


def contract() -> list[ServiceDescriptor]:
    """Every service of every proto, ours and those that come with a server."""
    modules = [
        importlib.import_module(f"wanimage.v1.{found.name}")
        for found in pkgutil.iter_modules(wanimage.v1.__path__)
        if found.name.endswith("_pb2")
    ]
    files = [module.DESCRIPTOR for module in (*modules, health_pb2, reflection_pb2)]
    return [service for file in files for service in file.services_by_name.values()]


METHODS = {
    f"{service.full_name}/{method.name}": method for service in contract() for method in service.methods
}
CELLS = [(name, caller) for name in METHODS for caller in CALLERS]


def test_every_rpc_of_the_contract_has_a_row() -> None:
    assert ROWS.keys() == METHODS.keys()


def test_the_table_of_rights_is_the_contract() -> None:
    ours = {name for name in METHODS if not name.startswith(OPEN_SERVICES)}
    assert NEEDED.keys() == ours


@dataclass(frozen=True)
class Fronts:
    """Where they are, whom they know, what the owner has."""

    addresses: dict[str, str]
    metadata: dict[str, tuple[tuple[str, str], ...]]
    """By caller."""
    held: SimpleNamespace


@pytest.fixture(scope="module")
async def fronts(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fronts]:
    """All fronts on a NATS of their own: keys in the shared one would close other tests' fronts."""
    nats = NatsServer(tmp_path_factory.mktemp("nats"), free_ports(1)[0])
    nats.start()
    family = build_family(tmp_path_factory.mktemp("family"))
    mine = for_tenants(settings, family.path, STRANGER, role="front", nats_url=nats.url, auth="keys")
    async with AsyncExitStack() as stack:
        running = {
            service.name: await stack.enter_async_context(serve.running(service, mine))
            for service in (PLANNER, ENHANCER, VAE, VISUALIZER, REFINER)
        }
        ground = running["planner"].ground
        keys = rpc.keyring(mine)
        metadata = await _callers(KeyStore(ground.bus))
        await keys.read(ground.bus)
        addresses = {name: f"127.0.0.1:{process.port}" for name, process in running.items()}
        held = await _things_of_the_owner(ground, family.digest)
        yield Fronts(addresses, metadata, held)
    nats.stop()


async def _callers(store: KeyStore) -> dict[str, tuple[tuple[str, str], ...]]:
    made: dict[str, str] = {"wrong key": new_key(OWNER, "admin")[0], "stranger": KEY + STRANGER}
    roles: dict[str, tuple[str, RoleName]] = {
        "revoked": (OWNER, "admin"),
        "reader": (OWNER, "reader"),
        "user": (OWNER, "user"),
        "admin": ("house", "admin"),
    }
    for name, (tenant, role) in roles.items():
        made[name], kept = new_key(tenant, role)
        await store.add(kept)
        if name == "revoked":
            await store.revoke(kept.id)
    metadata = {name: (("authorization", f"Bearer {key}"),) for name, key in made.items()}
    metadata["admin"] += (("x-wan-tenant", OWNER),)
    return {"no key": (), **metadata}


async def _things_of_the_owner(ground: serve.Ground, family: str) -> SimpleNamespace:
    data, media_type = images.encode(np.zeros((16, 16, 4), np.uint8))
    picture = await ground.blobs.put(OWNER, data, media_type)
    damaged = await ground.blobs.put(OWNER, b"neither picture nor latent", "application/x-safetensors")
    await Sessions(ground.bus).create(OWNER, SESSION, family)
    return SimpleNamespace(picture=picture, damaged=damaged)


async def ask(fronts: Fronts, name: str, caller: str, **changes: Any) -> tuple[str, list[Message]]:
    """(status, answers) of an RPC; a stream that goes on for ever is left after its first answer."""
    method = METHODS[name]
    address = fronts.addresses[FRONTS.get(method.containing_service.full_name, "planner")]
    kind = message_factory.GetMessageClass(method.input_type)
    request = kind(**(ROWS[name].request(fronts.held) | changes))
    async with grpc.aio.insecure_channel(address) as channel:
        call = _stub(channel, method)(
            iter([request]) if method.client_streaming else request,
            timeout=SECONDS,
            metadata=fronts.metadata[caller],
        )
        answers: list[Message] = []
        try:
            if not method.server_streaming:
                return OK, [await call]
            async for answer in call:
                answers.append(answer)
                if name in (
                    "grpc.health.v1.Health/Watch",
                    *(each for each in METHODS if "Reflection" in each),
                ):
                    break
        except grpc.aio.AioRpcError as error:
            return error.code().name, [*answers]
    return OK, answers


def _stub(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    sides = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    return sides[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )


@pytest.mark.parametrize(("name", "caller"), CELLS)
async def test_cell_of_the_matrix(fronts: Fronts, name: str, caller: str) -> None:
    status, answers = await ask(fronts, name, caller)
    assert status == ROWS[name].statuses[CALLERS.index(caller)]
    if status in (NO_KEY, FORBIDDEN):
        assert answers == []


# Nothing of another tenant shows. ------------------------------------------------------------------------

NAMED_BY_SESSION = ("GetSession", "Watch", "Cancel", "Fork", "Generate")
NAMED_BY_BLOB = {
    f"{PLANNER_NAME}/FetchBlob": lambda blob: {"blob": blob},
    f"{VAE_NAME}/Decode": lambda blob: {"latent": blob},
    f"{VAE_NAME}/Encode": lambda blob: {"image": {"blob": blob}},
    "wanimage.v1.VisualizerService/Render": lambda blob: {"references": [{"blob": blob}]},
    "wanimage.v1.RefinerService/Refine": lambda blob: {"latent": blob},
}


async def refusal(fronts: Fronts, name: str, **changes: Any) -> str:
    """All that a stranger learns of a call but the number of its request."""
    method = METHODS[name]
    address = fronts.addresses[FRONTS[method.containing_service.full_name]]
    kind = message_factory.GetMessageClass(method.input_type)
    async with grpc.aio.insecure_channel(address) as channel:
        call = _stub(channel, method)(
            kind(**(ROWS[name].request(fronts.held) | changes)),
            timeout=SECONDS,
            metadata=fronts.metadata["stranger"],
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            if method.server_streaming:
                async for _ in call:
                    pass
            else:
                await call
    details = rpc.error_details(caught.value)
    return f"{details.code.name} {details.reason} {details.message} {details.fields} {details.retry_after}"


@pytest.mark.parametrize("method", NAMED_BY_SESSION)
async def test_another_tenants_session_looks_exactly_like_a_missing_one(fronts: Fronts, method: str) -> None:
    name = f"{PLANNER_NAME}/{method}"
    foreign = await refusal(fronts, name, session_id=SESSION)
    missing = await refusal(fronts, name, session_id="s0")
    assert foreign.startswith(MISSING)
    assert foreign.replace(SESSION, "s0") == missing


@pytest.mark.parametrize("name", NAMED_BY_BLOB)
async def test_another_tenants_blob_looks_exactly_like_a_missing_one(fronts: Fronts, name: str) -> None:
    blob = fronts.held.damaged
    absent = types_pb2.BlobRef()
    absent.CopyFrom(blob)
    absent.sha256 = "0" * 64
    foreign = await refusal(fronts, name, **NAMED_BY_BLOB[name](blob))
    missing = await refusal(fronts, name, **NAMED_BY_BLOB[name](absent))
    assert foreign.startswith(MISSING)
    assert foreign.replace(blob.sha256, absent.sha256) == missing


async def test_a_list_of_sessions_holds_the_tenants_own_alone(fronts: Fronts) -> None:
    name = f"{PLANNER_NAME}/ListSessions"
    _, [mine] = await ask(fronts, name, "user")
    _, [theirs] = await ask(fronts, name, "stranger")
    assert SESSION in [session.session_id for session in mine.sessions]
    assert list(theirs.sessions) == []


@pytest.mark.parametrize("caller", ["reader", "user", "stranger"])
@pytest.mark.parametrize("name", [name for name in ROWS if name in NEEDED])
async def test_only_an_admin_may_name_another_tenant(fronts: Fronts, name: str, caller: str) -> None:
    named = fronts.metadata[caller] + (("x-wan-tenant", "house"),)
    widened = Fronts(fronts.addresses, {**fronts.metadata, caller: named}, fronts.held)
    assert (await ask(widened, name, caller))[0] == FORBIDDEN
