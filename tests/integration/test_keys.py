"""API keys: kept as hashed in NATS, in force at running fronts, in the hands of `wan keys`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from tests.conftest import eventually, nats_settings
from tests.echo import Echo, encode, refused, serving
from wanimage import rpc
from wanimage.bus import Bus
from wanimage.cli import stackfile
from wanimage.cli.main import app
from wanimage.config import Settings
from wanimage.errors import InvalidInput, NotFound, Unauthenticated, Unavailable
from wanimage.keys import KEY_PATTERN, Key, Keyring, KeyStore, RoleName, new_key
from wanimage.stack import NatsServer
from wanimage.subjects import KEYS

SECONDS = 2.0
"""Within which a change is in force at every front."""


@pytest.fixture
def store(bus: Bus) -> KeyStore:
    return KeyStore(bus)


async def made(store: KeyStore, tenant: str, role: RoleName = "user") -> tuple[str, Key]:
    key, kept = new_key(tenant, role)
    await store.add(kept)
    return key, kept


@asynccontextmanager
async def front(bus: Bus, **settings: object) -> AsyncIterator[str]:
    """The address of a front that follows the bucket, as serve.running sets it up."""
    keys = rpc.keyring(Settings(_env_file=None, **settings))
    await keys.read(bus)
    following = asyncio.create_task(keys.follow(bus))
    try:
        async with serving(Echo(), keys, **settings) as (address, _, _):
            yield address
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def tenant_of(address: str, key: str | None) -> str:
    """Whom a call with `key` is for; "" when it is refused for its key."""
    try:
        return (await encode(address, key=key)).latent.sha256
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return ""


# The key itself. -----------------------------------------------------------------------------------------


def test_a_key_has_the_form_that_scanners_look_for_and_256_random_bits() -> None:
    keys = [new_key("acme", "user")[0] for _ in range(50)]
    assert all(re.fullmatch(KEY_PATTERN, key) for key in keys)
    assert len({key[-64:] for key in keys}) == len(keys)


def test_what_is_kept_of_a_key_does_not_hold_it() -> None:
    key, kept = new_key("acme", "reader", name="the shop's screen", lifetime=timedelta(days=30))
    secret = key.rpartition("_")[2]
    assert secret not in kept.model_dump_json()
    assert kept.last_four == secret[-4:]
    assert kept.expires is not None
    assert kept.expires - kept.created == timedelta(days=30)


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "a.b", "*", ">", "a b", "a\nb", "ä", "x" * 65])
def test_a_tenant_that_is_no_token_gets_no_key(tenant: str) -> None:
    with pytest.raises(InvalidInput):
        new_key(tenant, "user")


def test_only_the_whole_key_opens() -> None:
    key, kept = new_key("acme", "user")
    other = new_key("acme", "user")[0]
    ring = Keyring({})
    ring.take([kept])
    assert ring.find(key) == kept
    mixed = key[:17] + other[17:]
    for wrong in (key[:-1], key + "0", key.upper(), kept.sha256, mixed, other, f" {key}", ""):
        with pytest.raises(Unauthenticated, match="not known"):
            ring.find(wrong)


@pytest.mark.parametrize("state", ["revoked", "expired"])
def test_a_key_past_its_time_opens_nothing_and_says_why(state: str) -> None:
    key, kept = new_key("acme", "user")
    field = {"revoked": "revoked", "expired": "expires"}[state]
    ring = Keyring({})
    ring.take([kept.model_copy(update={field: datetime.now(UTC) - timedelta(seconds=1)})])
    with pytest.raises(Unauthenticated, match=state):
        ring.find(key)


def test_a_ring_that_has_held_a_key_is_never_open_again() -> None:
    ring = Keyring({})
    assert ring.open
    ring.take([new_key("acme", "user")[1]])
    ring.take([])
    assert not ring.open


# Fronts. -------------------------------------------------------------------------------------------------


async def test_a_new_key_opens_a_running_front_and_a_revoked_one_does_not(bus: Bus, store: KeyStore) -> None:
    async with front(bus, auth="keys") as address:
        assert await tenant_of(address, None) == ""
        key, kept = await made(store, "acme")

        async def opens() -> bool:
            return await tenant_of(address, key) == "acme"

        async def refuses() -> bool:
            return await tenant_of(address, key) == ""

        await eventually(opens, SECONDS)
        await store.revoke(kept.id)
        await eventually(refuses, SECONDS)


async def test_the_first_key_closes_a_front_that_was_open(bus: Bus, store: KeyStore) -> None:
    async with front(bus) as address:
        assert await tenant_of(address, None) == "default"
        await made(store, "acme")

        async def closed() -> bool:
            return await tenant_of(address, None) == ""

        await eventually(closed, SECONDS)


async def test_keys_of_the_settings_hold_beside_those_of_the_bucket(bus: Bus, store: KeyStore) -> None:
    key, _ = await made(store, "acme")
    async with front(bus, api_keys={"zeta": "plain"}) as address:
        assert await tenant_of(address, "plain") == "zeta"
        assert await tenant_of(address, key) == "acme"


async def test_the_last_known_keys_hold_while_nats_is_away(
    nats_server: NatsServer, bus: Bus, store: KeyStore
) -> None:
    key, _ = await made(store, "acme")
    async with front(bus) as address:
        nats_server.kill()
        await eventually(lambda: not bus.client.is_connected)
        assert await tenant_of(address, key) == "acme"
        assert await tenant_of(address, "guess") == ""
        nats_server.start()
        later, _ = await made(store, "zeta")

        async def opens() -> bool:
            return await tenant_of(address, later) == "zeta"

        await eventually(opens)


async def test_a_front_that_cannot_read_its_keys_does_not_start(nats_server: NatsServer, bus: Bus) -> None:
    nats_server.kill()
    with pytest.raises(Unavailable):
        await rpc.keyring(Settings(_env_file=None)).read(bus)


async def test_a_record_that_is_no_key_lets_nobody_in_and_keeps_nobody_out(bus: Bus, store: KeyStore) -> None:
    key, kept = await made(store, "acme")
    await bus.store("$KV.KEYS.000000000000", b"not a key")
    stolen = kept.model_copy(update={"tenant": "zeta"})
    await bus.store("$KV.KEYS.111111111111", stolen.model_dump_json().encode())  # under another's name
    async with front(bus) as address:
        assert await tenant_of(address, key) == "acme"
    assert [each.id for each in await store.all()] == [kept.id]


async def test_more_keys_than_one_read_brings_are_all_known(bus: Bus, store: KeyStore) -> None:
    keys = [new_key("acme", "user") for _ in range(300)]
    await asyncio.gather(*(store.add(kept) for _, kept in keys))
    ring = Keyring({})
    await ring.read(bus)
    assert [ring.find(key).id for key, _ in keys] == [kept.id for _, kept in keys]


# Roles. --------------------------------------------------------------------------------------------------


async def test_an_admin_acts_for_the_tenant_it_names_and_nobody_else_may(bus: Bus, store: KeyStore) -> None:
    admin, _ = await made(store, "house", "admin")
    user, _ = await made(store, "acme")
    named = (("x-wan-tenant", "zeta"),)
    async with front(bus) as address:
        assert (await encode(address, key=admin)).latent.sha256 == "house"
        assert (await encode(address, key=admin, metadata=named)).latent.sha256 == "zeta"
        assert (await encode(address, key=user, metadata=(("x-wan-tenant", "acme"),))).latent.sha256 == "acme"
        details = await refused(encode(address, key=user, metadata=named))
        strange = await refused(encode(address, key=admin, metadata=(("x-wan-tenant", "a/../b"),)))
    assert details.code is grpc.StatusCode.PERMISSION_DENIED
    assert "zeta" not in details.message
    assert list(strange.fields) == ["x-wan-tenant"]


async def test_an_open_front_knows_no_other_tenant(bus: Bus) -> None:
    async with front(bus) as address:
        details = await refused(encode(address, metadata=(("x-wan-tenant", "acme"),)))
    assert details.code is grpc.StatusCode.PERMISSION_DENIED


# `wan keys`. ---------------------------------------------------------------------------------------------


@pytest.fixture
def wan(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Runs `wan keys ...` against this test's NATS, in a thread: it has an event loop of its own."""
    monkeypatch.setenv("WAN_NATS_URL", nats_server.url)
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str) -> Result:
        command = ["keys", *arguments, "--data-dir", str(tmp_path)]
        return await asyncio.to_thread(CliRunner().invoke, app, command)

    return run


async def test_wan_nats_url_goes_before_the_running_stack(wan, tmp_path: Path) -> None:
    stack = stackfile.mine()
    stack.state, stack.environment = stackfile.READY, {"WAN_NATS_URL": "nats://127.0.0.1:1"}
    stack.save(tmp_path)
    assert (await wan("list", "--json")).stdout == "[]\n"


async def test_a_key_is_shown_once_and_never_stored(nats_server: NatsServer, wan) -> None:
    created = json.loads((await wan("create", "acme", "--name", "screen", "--json")).stdout)
    listed = (await wan("list", "--json")).stdout
    shown = (await wan("list")).stdout
    async with await Bus.connect(nats_settings(nats_server)) as bus:
        held = await bus.read(KEYS, "$KV.KEYS.*", 1)
    secret = created["key"].rpartition("_")[2]
    assert re.fullmatch(KEY_PATTERN, created["key"])
    assert [key["name"] for key in json.loads(listed)] == ["screen"]
    assert secret.encode() not in held[0].data
    assert secret not in listed + shown
    assert secret[-4:] in shown


async def test_create_prints_the_key_alone_for_scripts(wan) -> None:
    result = await wan("create", "acme")
    assert re.fullmatch(KEY_PATTERN + "\n", result.stdout)


async def test_revoke_and_expiry_show_in_the_list(wan) -> None:
    first = json.loads((await wan("create", "acme", "--expires", "30d", "--json")).stdout)
    await wan("create", "zeta", "--role", "reader")
    assert (await wan("revoke", first["id"])).exit_code == 0
    keys = json.loads((await wan("list", "--json")).stdout)
    assert [(key["tenant"], key["role"], key["state"]) for key in keys] == [
        ("acme", "user", "revoked"),
        ("zeta", "reader", "active"),
    ]
    assert keys[0]["expires"] > keys[0]["created"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "a/b"], "tenant"),
        (["create", "acme", "--expires", "soon"], "--expires"),
        (["create", "acme", "--name", "a\nb"], "name"),
        (["revoke", "0" * 12], "wan keys list"),
        (["revoke", "../x"], "key id"),
    ],
)
async def test_wan_keys_refuses_what_is_wrong_and_says_what(wan, arguments: list[str], says: str) -> None:
    result = await wan(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


async def test_revoking_what_is_not_there_is_not_found(store: KeyStore) -> None:
    with pytest.raises(NotFound):
        await store.revoke("0" * 12)
