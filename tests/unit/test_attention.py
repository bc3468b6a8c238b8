"""Attention backends against the definition."""

import pytest
import torch

from wanimage.models.attention import Backend, attend, attend_slowly


def inputs(queries: int = 5, keys: int = 9):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, queries, 16, generator=generator)
    k, v = torch.randn(2, 2, 3, keys, 16, generator=generator).unbind(0)
    mask = torch.rand(2, 1, queries, keys, generator=generator) > 0.4
    mask[..., 0] = True
    return q, k, v, mask


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.MATMUL])
@pytest.mark.parametrize("masked", [False, True])
def test_cpu_backends_equal_the_definition(masked, backend):
    q, k, v, mask = inputs()
    chosen = mask if masked else None
    want = attend_slowly(q, k, v, chosen)
    torch.testing.assert_close(attend(q, k, v, chosen, backend), want, rtol=1e-5, atol=1e-5)


def test_masked_keys_do_not_matter():
    q, k, v, mask = inputs()
    mask[..., 4:] = False
    before = attend(q, k, v, mask)
    v[..., 4:, :] = 1e4
    torch.testing.assert_close(attend(q, k, v, mask), before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of machines without CUDA")
def test_xformers_refuses_without_cuda_and_says_what_to_do():
    q, k, v, mask = inputs()
    with pytest.raises(RuntimeError, match="needs a CUDA device"):
        attend(q, k, v, mask, Backend.XFORMERS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="xformers is CUDA-only")
@pytest.mark.parametrize("masked", [False, True])
def test_xformers_equals_the_definition(masked):
    pytest.importorskip("xformers")
    q, k, v, mask = (x.cuda() for x in inputs(queries=6, keys=13))
    chosen = mask if masked else None
    got = attend(q, k, v, chosen, Backend.XFORMERS)
    torch.testing.assert_close(got, attend_slowly(q, k, v, chosen), rtol=1e-3, atol=1e-3)
