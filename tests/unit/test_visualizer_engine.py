"""The visualizer's engine on a tiny random family: a picture depends on its request, never on its company."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.visualizer.engine import PictureSpec, Reference, RenderSpec, VisualizerEngine
from tests.families import build_family
from wanimage.coloring import Palette
from wanimage.errors import InvalidInput
from wanimage.sampling import SamplerConfig, Solver

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
SAMPLER = SamplerConfig(steps=3, solver=Solver.AB2, guidance=2.0, image_guidance=1.5)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> VisualizerEngine:
    folder: Path = tmp_path_factory.mktemp("family")
    return VisualizerEngine(build_family(folder), precision="fp32")


def picture(prompt: str = "a fox", grid: tuple[int, int] = (2, 3), seed: int = 1) -> PictureSpec:
    return PictureSpec(prompt=prompt, grid=grid, seed=seed)


def reference(seed: int = 0, grid: tuple[int, int] = (4, 4)) -> Reference:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (grid[0] * 16, grid[1] * 16, 4), dtype=np.uint8)
    latents = torch.randn(48, *grid, generator=torch.Generator().manual_seed(seed))
    return Reference(pixels=pixels, latents=latents)


def spec(*pictures: PictureSpec, references: tuple[Reference, ...] = (), **sampler: object) -> RenderSpec:
    chosen = replace(SAMPLER, **sampler)  # type: ignore[arg-type]
    return RenderSpec(pictures=pictures or (picture(),), references=references, sampler=chosen)


MANY = (
    spec(),
    spec(picture("a long prompt about two cats", (4, 4), 5), solver=Solver.HEUN),
    spec(picture("one", seed=2), picture("two", (3, 2), 3), picture("three", seed=4), steps=2),
    spec(references=(reference(0), reference(1, (2, 6)))),
    spec(guidance=1.0),
    spec(references=(reference(),), image_guidance=1.0),
)


def test_batch_equals_each_render_alone(engine):
    alone = [engine.render(each) for each in MANY]
    states = [engine.prepare(each) for each in MANY]
    while active := [state for state in states if not state.done]:
        engine.step(active)
    for want, state in zip(alone, states, strict=True):
        torch.testing.assert_close(engine.finish(state), want, **TOLERANCE)


def test_render_may_join_and_leave_between_steps(engine):
    want = engine.render(MANY[0])
    first, guest = engine.prepare(MANY[0]), engine.prepare(MANY[3])
    engine.step([first])
    engine.step([guest, first])
    engine.step([first])
    torch.testing.assert_close(engine.finish(first), want, **TOLERANCE)
    assert guest.step == 1
    assert not guest.done


def test_same_seed_gives_the_same_bytes(engine):
    assert torch.equal(engine.render(MANY[2])[1], engine.render(MANY[2])[1])


def test_seed_prompt_and_reference_each_change_the_picture(engine):
    base = engine.render(spec(references=(reference(),)))[0]
    others = (
        spec(picture(seed=9), references=(reference(),)),
        spec(picture("an owl"), references=(reference(),)),
        spec(references=(reference(7),)),
        spec(),
    )
    for other in others:
        assert not torch.allclose(engine.render(other)[0], base, atol=1e-3)


@pytest.mark.parametrize(("pictures", "keep", "held"), [(1, True, True), (1, False, False), (2, True, False)])
def test_cells_that_an_edit_leaves_alone_are_held_but_not_in_a_series(
    engine, monkeypatch, pictures, keep, held
):
    given = reference(grid=(2, 3))
    cells = given.latents.flatten(1).T.repeat(pictures, 1)
    shots = [picture(seed=seed) for seed in range(pictures)]
    everything = lambda seen: torch.ones(seen[0].numel(), dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(engine, "_helpers", replace(engine._helpers, unchanged=everything))
    state = engine.prepare(spec(*shots, references=(reference(1, grid=(3, 3)), given), keep=keep))
    engine.step([state])
    assert torch.allclose(state.path.clean, cells, atol=1e-5) == held


def test_a_palette_that_a_prompt_states_turns_its_own_picture_alone(engine):
    shots = picture("a palette of #FF0000 40% and #0000FF 60%", seed=2), picture("two", seed=3)
    led, free = (engine.prepare(spec(*shots, color=color)) for color in (True, False))
    engine.step([led, free])
    assert not torch.allclose(led.path.x[:6], free.path.x[:6], atol=1e-3)
    torch.testing.assert_close(led.path.x[6:], free.path.x[6:], **TOLERANCE)


def test_the_palette_of_a_render_turns_all_its_pictures(engine):
    shots = picture("one", seed=2), picture("two", seed=3)
    palette = Palette(np.array([[1, -1, -1]], np.float32), np.ones(1))
    led, free = (engine.prepare(replace(spec(*shots), palette=given)) for given in (palette, None))
    engine.step([led, free])
    for part in (slice(0, 6), slice(6, None)):
        assert not torch.allclose(led.path.x[part], free.path.x[part], atol=1e-3)


def test_cells_outside_a_mask_end_as_they_were(engine):
    given = reference(grid=(2, 3))
    changeable = torch.tensor([[True, False, False], [False, False, True]])
    masked = spec(picture(), references=(replace(given, changeable=changeable),))
    (edited,), (free,) = engine.render(masked), engine.render(replace(masked, references=(given,)))
    torch.testing.assert_close(edited[:, ~changeable], given.latents[:, ~changeable], **TOLERANCE)
    assert not torch.allclose(edited[:, changeable], given.latents[:, changeable], atol=1e-2)
    assert not torch.allclose(free[:, ~changeable], given.latents[:, ~changeable], atol=1e-2)


def test_what_stays_is_held_to_the_latents_without_cues(engine):
    marked, bare = reference(grid=(2, 3)), torch.full((48, 2, 3), 0.25)
    nothing_changes = replace(marked, changeable=torch.zeros(2, 3, dtype=torch.bool), kept=bare)
    (edited,) = engine.render(spec(picture(), references=(nothing_changes,)))
    torch.testing.assert_close(edited, bare, **TOLERANCE)


def test_pictures_of_a_series_are_painted_jointly(engine):
    alone = engine.render(spec(picture("one", seed=2), steps=2))[0]
    assert not torch.allclose(engine.render(MANY[2])[0], alone, atol=1e-3)


def test_latents_have_the_grids_asked_for(engine):
    shapes = [tuple(latents.shape) for latents in engine.render(MANY[2])]
    assert shapes == [(48, 2, 3), (48, 3, 2), (48, 2, 3)]
    assert all(latents.dtype == torch.float32 for latents in engine.render(MANY[2]))


def test_previews_are_pictures_from_the_first_moment(engine):
    state = engine.prepare(MANY[2])
    before = engine.preview(state)
    engine.step([state])
    after = engine.preview(state)
    assert [p.shape for p in after] == [(32, 48, 4), (48, 32, 4), (32, 48, 4)]
    assert all(p.dtype == np.uint8 for p in after)
    assert not np.array_equal(before[0], after[0])


def test_preview_places_every_cell_where_it_belongs(engine):
    latents = torch.zeros(48, 2, 3)
    latents[:, 1, 2] = 4.0
    moved = engine._rough(latents).astype(int) - engine._rough(torch.zeros(48, 2, 3)).astype(int)
    changed = np.abs(moved).sum(axis=-1) > 0
    assert changed[16:, 32:].any()
    assert not changed[:16].any()
    assert not changed[16:, :32].any()


def test_cost_counts_branches_evaluations_and_references(engine):
    pixels = 2 * 3 * 256
    assert engine.cost(spec(guidance=1.0)) == pixels * 3
    assert engine.cost(spec()) == pixels * 3 * 2
    assert engine.cost(spec(solver=Solver.HEUN)) == pixels * 5 * 2
    assert engine.cost(spec(references=(reference(),))) == pixels * 3 * 3 + 16 * 256


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (RenderSpec(pictures=()), "pictures"),
        (RenderSpec(pictures=(picture(),) * 13), "pictures"),
        (RenderSpec(pictures=(picture(grid=(17, 16)),)), r"pictures\[0\].grid"),
        (RenderSpec(pictures=(picture(grid=(0, 4)),)), r"pictures\[0\].grid"),
        (RenderSpec(pictures=(picture(),), references=(reference(),) * 10), "references"),
        (
            RenderSpec(
                pictures=(picture(),), references=(replace(reference(), latents=torch.zeros(4, 2, 2)),)
            ),
            r"references\[0\].latent",
        ),
        (spec(steps=0), "sampling.steps"),
    ],
)
def test_wrong_requests_are_refused_by_field(engine, wrong, field):
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        engine.prepare(wrong)


def test_bf16_weights_give_what_autocast_makes_of_float32_ones(engine):
    held = VisualizerEngine(engine.family, precision="bf16")
    cast = VisualizerEngine(engine.family, precision="fp32")
    cast.precision = "bf16"  # autocast over float32 weights
    for each in MANY:
        for want, got in zip(cast.render(each), held.render(each), strict=True):
            assert torch.equal(got, want)


def test_a_failing_step_advances_no_render(engine, monkeypatch):
    small, large = engine.prepare(spec()), engine.prepare(spec(picture(grid=(16, 16))))
    velocity = engine.mot.velocity

    def breaks_on_large(x, t, context):
        if x.shape[1] == 256:
            raise RuntimeError("no memory")
        return velocity(x, t, context)

    monkeypatch.setattr(engine.mot, "velocity", breaks_on_large)
    with pytest.raises(RuntimeError):
        engine.step([small, large])
    assert (small.step, large.step) == (0, 0)


def test_the_context_without_a_prompt_is_read_once_a_grid(engine):
    first, second = (engine.prepare(spec(picture(prompt, (5, 7)))) for prompt in ("a fox", "an owl"))
    assert first.branches[1] is second.branches[1]
    assert first.branches[0] is not second.branches[0]


def test_a_precision_that_was_held_up_once_is_still_chosen(tmp_path, monkeypatch):
    def seconds(engine: VisualizerEngine) -> float:
        timed.append(engine.precision)
        return {"fp32": 1.0 if len(timed) == 1 else 0.02, "bf16": 0.1}[engine.precision]

    timed: list[str] = []
    monkeypatch.setattr(VisualizerEngine, "_seconds_a_step", seconds)
    engine = VisualizerEngine(build_family(tmp_path), precision="auto")
    assert engine.precision == "fp32"
    assert timed[:4] == ["fp32", "bf16"] * 2
    assert engine.mot.embed.weight.dtype == torch.float32
    assert engine.render(spec())[0].dtype == torch.float32
