"""How the visualizer's worker reads a job: the client's numbers over the defaults."""

from services.visualizer.worker import sampler_config
from wanimage.sampling import SamplerConfig, Solver
from wanimage.v1 import types_pb2 as pb


def test_without_options_the_defaults_hold():
    assert sampler_config(pb.SamplingOptions()) == SamplerConfig()


def test_what_the_client_says_replaces_the_default_even_where_it_is_zero_or_off():
    asked = pb.SamplingOptions(
        steps=5,
        guidance_scale=2,
        image_guidance_scale=1,
        shift=0.5,
        sampler=pb.SAMPLER_HEUN,
        keep_unchanged=False,
    )
    assert sampler_config(asked) == SamplerConfig(
        steps=5, guidance=2, image_guidance=1, shift=0.5, solver=Solver.HEUN, keep=False
    )
