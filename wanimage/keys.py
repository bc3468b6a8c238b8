"""API keys: who may call, as which tenant, in which role.

A key reads `wan_<id>_<secret>`: 12 hexadecimal characters that name it, 64 that are the secret, so that a
scanner finds a leaked one by `KEY_PATTERN`. It is shown once. What is kept, in the KV bucket `KEYS`
(docs/bus.md), is its SHA-256 with tenant, role and dates. A slow password hash would add nothing: the secret
is 256 random bits, so there is no dictionary to try, and a front hashes on every call.

Keys are never deleted, only marked as revoked: a bucket that has held one never looks like a system without
keys, in which everybody may call.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wanimage import clock, telemetry
from wanimage.bus import Bus
from wanimage.errors import Conflict, InvalidInput, NotFound, Unauthenticated, Unavailable
from wanimage.subjects import KEYS, token

KEY_PATTERN = r"wan_[0-9a-f]{12}_[0-9a-f]{64}"
"""What a secret scanner looks for."""
RECHECK_SECONDS = 1.0
"""How often a front reads the bucket although nothing woke it: a revocation is in force that soon."""
BATCH = 256
MAX_NAME = 80

_KEY = re.compile(r"wan_([0-9a-f]{12})_[0-9a-f]{64}")
log = telemetry.logger(__name__)


class Role(IntEnum):
    """What a key may do; each role may do what those before it may (rpc/rights.py says what)."""

    READER = 1
    """Look at the tenant's sessions and pictures."""
    USER = 2
    """Also start, steer and fork turns, and draw."""
    ADMIN = 3
    """Also act for any tenant, named in the metadata `x-wan-tenant`."""


RoleName = Literal["reader", "user", "admin"]


class Key(BaseModel):
    """What is kept of a key; the secret is not in it."""

    model_config = ConfigDict(frozen=True)

    id: str
    sha256: str
    """Of the whole key."""
    tenant: str
    role: RoleName = "user"
    name: str = ""
    """Whose it is or what it is for."""
    created: datetime
    last_four: str
    expires: datetime | None = None
    revoked: datetime | None = None

    @property
    def state(self) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= clock.now() else "active"


def new_key(
    tenant: str, role: RoleName, *, name: str = "", lifetime: timedelta | None = None
) -> tuple[str, Key]:
    """A fresh key and what is kept of it. Raises InvalidInput for a tenant or name that cannot be one."""
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput("name", f"{name[:MAX_NAME]!r}", f"use up to {MAX_NAME} printable characters")
    if lifetime is not None and lifetime <= timedelta(0):
        raise InvalidInput("expires", f"in {lifetime.total_seconds():g} s", "give a time to come")
    key_id = secrets.token_hex(6)
    key = f"wan_{key_id}_{secrets.token_hex(32)}"
    now = clock.now()
    return key, Key(
        id=key_id,
        sha256=_digest(key),
        tenant=token("tenant", tenant),
        role=role,
        name=name,
        created=now,
        last_four=key[-4:],
        expires=now + lifetime if lifetime is not None else None,
    )


class KeyStore:
    """The bucket, for those who may write it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def all(self) -> list[Key]:
        """Every key ever made, oldest first. Raises Unavailable."""
        return sorted((await _read(self._bus)).values(), key=lambda key: key.created)

    async def add(self, key: Key) -> None:
        """Keep a new key. Raises Unavailable."""
        await self._bus.store(_subject(key.id), key.model_dump_json().encode(), expected_last=0)

    async def revoke(self, key_id: str) -> Key:
        """Mark a key as revoked, for good; again is harmless. Raises NotFound, Unavailable."""
        while True:
            held = await self._bus.last(KEYS, _subject(token("key id", key_id)))
            if held is None:
                raise NotFound("key", key_id, "see `wan keys list`")
            key = Key.model_validate_json(held.data)
            if key.revoked is not None:
                return key
            key = key.model_copy(update={"revoked": clock.now()})
            try:
                await self._bus.store(
                    _subject(key_id), key.model_dump_json().encode(), expected_last=held.seq
                )
            except Conflict:
                continue  # somebody else revoked it first
            return key


class Keyring:
    """The keys a front knows: those of the settings, and those of the bucket as they were last seen.

    `follow` keeps it true. While NATS is away the last known keys hold; a front that never saw the bucket
    does not start.
    """

    def __init__(self, given: Mapping[str, str], *, needed: bool = False) -> None:
        """`given` are plain keys by tenant (WAN_API_KEYS). `needed`: nobody is let in without a key, even
        while there is none."""
        self._given = {tenant: _digest(key) for tenant, key in given.items()}
        self._held: Mapping[str, Key] = {}
        self._closed = needed or bool(given)

    @property
    def open(self) -> bool:
        """Whether everybody may call: no key was ever seen, and none is needed."""
        return not self._closed

    @property
    def known(self) -> int:
        """How many keys of the bucket it knows, whatever their state."""
        return len(self._held)

    def find(self, given: str) -> Key:
        """The active key that `given` is. Raises Unauthenticated."""
        digest = _digest(given)
        # Digests are compared, in constant time: how long it takes tells nothing of any key.
        for tenant, sha256 in self._given.items():
            if hmac.compare_digest(sha256, digest):
                return Key(id="", sha256=sha256, tenant=tenant, created=datetime.min, last_four="")
        named = _KEY.fullmatch(given)
        held = self._held.get(named[1]) if named else None
        if held is None or not hmac.compare_digest(held.sha256, digest):
            raise Unauthenticated("this API key is not known; make one with `wan keys create`")
        if held.state != "active":
            raise Unauthenticated(f"this API key is {held.state}; make another with `wan keys create`")
        return held

    def take(self, keys: Iterable[Key]) -> None:
        """Know these keys of the bucket, and no others, from now on."""
        held = {key.id: key for key in keys}
        if held.keys() < self._held.keys():
            # NATS lost its store. Nobody is let in: the door stays closed, and revoked keys stay revoked.
            log.error("keys_lost", held=len(held), known=len(self._held))
        self._held = held
        if held and not self._closed:
            log.info("keys_needed", keys=len(held))
        self._closed = self._closed or bool(held)

    async def read(self, bus: Bus) -> None:
        """Look into the bucket once. Raises Unavailable."""
        self.take((await _read(bus)).values())

    async def follow(self, bus: Bus) -> None:
        """Take over each change of the bucket, for ever."""
        while True:
            try:
                async with bus.listen("wan.keys.*") as changes:
                    while True:
                        await self.read(bus)
                        await changes.next(RECHECK_SECONDS)
            except Unavailable as error:
                log.warning("keys_unchecked", error=str(error))
                await asyncio.sleep(RECHECK_SECONDS)


async def _read(bus: Bus) -> dict[str, Key]:
    found: dict[str, Key] = {}
    position = 0
    while True:
        batch = await bus.read(KEYS, _subject("*"), position + 1, BATCH)
        for stored in batch:
            try:
                key = Key.model_validate_json(stored.data)
            except ValidationError as error:
                # Never a reason to let nobody in, nor to let this one in.
                log.error("key_unreadable", subject=stored.subject, error=error.error_count())
                continue
            if stored.subject == _subject(key.id):
                found[key.id] = key
        if len(batch) < BATCH:
            return found
        position = batch[-1].seq


def _subject(key_id: str) -> str:
    return f"$KV.KEYS.{key_id}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
