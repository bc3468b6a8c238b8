"""How many calls a tenant may make to one front."""

import grpc

from tests.echo import Echo, encode, refused, serving


async def test_a_tenant_past_its_allowance_is_told_when_to_come_again_and_others_are_not() -> None:
    keys = {"acme": "a", "zeta": "z"}
    async with serving(Echo(), api_keys=keys, rate=0.5, burst=3) as (address, _, _):
        for _ in range(3):
            await encode(address, key="a")
        details = await refused(encode(address, key="a"))
        assert (await encode(address, key="z")).latent.sha256 == "zeta"
    assert details.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details.reason == "Overloaded"
    assert details.retry_after == 2.0


async def test_calls_without_a_good_key_spend_nobodys_allowance() -> None:
    async with serving(Echo(), api_keys={"acme": "a"}, rate=0.01, burst=1) as (address, _, _):
        for _ in range(5):
            assert (await refused(encode(address, key="guess"))).code is grpc.StatusCode.UNAUTHENTICATED
        await encode(address, key="a")
