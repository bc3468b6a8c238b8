"""The refiner's engine on a tiny random family: a picture is that of the plain loop, alone and in company."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from services.refiner.engine import Denoising, RefinerEngine, RefineSpec, RefineState
from tests.families import build_family
from wanimage import refining
from wanimage.errors import InvalidInput, Misconfigured
from wanimage.images import Rgba
from wanimage.refining import MODES, Mode, ModeConfig

SIZE = (96, 144)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> RefinerEngine:
    family = build_family(tmp_path_factory.mktemp("family"), refiner=True)
    return RefinerEngine.load(family, torch.float32)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles a picture, in milliseconds."""
    monkeypatch.setattr(refining.tiles_of, "__defaults__", (4, 1))


def noise(height: int = 40, width: int = 60, seed: int = 0) -> Rgba:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)


def spec(**fields: object) -> RefineSpec:
    given = {"size": SIZE, "mode": Mode.REPAIR, "prompt": "a fox", "seed": 1, "picture": noise(), **fields}
    return RefineSpec(**given)  # type: ignore[arg-type]


def through(engine: RefinerEngine, *states: RefineState) -> list[Rgba]:
    """Step the pictures together wherever their next tiles are alike, until all are done."""
    while active := [state for state in states if not state.done]:
        first = active[0].next.key
        engine.step([state for state in active if state.next.key == first])
    return [engine.finish(state) for state in states]


def plainly(engine: RefinerEngine, wanted: RefineSpec) -> Rgba:
    """The same by the loop that knows one picture."""
    assert wanted.picture is not None
    with torch.inference_mode():
        prompt = refining.read_prompts(engine.understanding, engine.refiner, [wanted.prompt])
        enlarged = refining.enlargement_of(wanted.picture, wanted.size)
    mode = MODES[wanted.mode]
    return refining.refine(engine.vae, engine.refiner, enlarged, prompt, mode, wanted.seed)


def difference(one: Rgba, other: Rgba) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("mode", Mode)
def test_a_picture_is_that_of_the_plain_loop(engine: RefinerEngine, mode: Mode) -> None:
    wanted = spec(mode=mode)
    (found,) = through(engine, engine.prepare(wanted))

    assert found.shape == (*SIZE, 4)
    np.testing.assert_array_equal(found, plainly(engine, wanted))


COMPANY = (
    spec(prompt="two cats on a very long red boat", seed=2, picture=noise(seed=2)),
    spec(mode=Mode.HIGH_FIDELITY, prompt=""),
    spec(size=(144, 96), picture=noise(60, 40, 3)),
    spec(size=(48, 48), picture=noise(48, 48, 4)),
)


def test_a_picture_does_not_depend_on_its_company(engine: RefinerEngine) -> None:
    specs = (spec(), *COMPANY)
    found = through(engine, *(engine.prepare(each) for each in specs))

    for picture, each in zip(found, specs, strict=True):
        assert difference(picture, plainly(engine, each)) <= 1  # matrix products round by size of batch


def test_pictures_of_one_size_share_every_step_whatever_their_mode(engine: RefinerEngine) -> None:
    states = [engine.prepare(spec()), *(engine.prepare(each) for each in COMPANY[:2])]
    assert len({state.next.key for state in states}) == 1
    steps = 0
    while not states[0].done:
        engine.step(states)
        steps += 1

    assert all(state.done for state in states)
    assert steps == states[0].steps == 2 * len(states[0].tiles)


def test_pictures_that_take_more_evaluations_share_none(
    engine: RefinerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODES, Mode.REPAIR, ModeConfig(start=0.5, steps=4))
    longer = engine.prepare(spec())
    assert longer.next.key != engine.prepare(COMPANY[1]).next.key
    (found,) = through(engine, longer)
    np.testing.assert_array_equal(found, plainly(engine, spec()))


def test_every_tile_is_denoised_before_the_first_is_decoded(engine: RefinerEngine) -> None:
    state = engine.prepare(spec())
    kinds: list[bool] = []
    while not state.done:
        kinds.append(bool(state.next.evaluations))
        assert isinstance(state.work, Denoising) == kinds[-1]
        engine.step([state])

    assert len(state.tiles) > 1
    assert kinds == [True] * len(state.tiles) + [False] * len(state.tiles)


def test_prompt_seed_and_mode_change_the_picture(engine: RefinerEngine) -> None:
    changed = [{}, {"prompt": "a boat"}, {"seed": 2}, {"mode": Mode.HIGH_FIDELITY}]
    found = through(engine, *(engine.prepare(spec(**each)) for each in changed))

    assert len({picture.tobytes() for picture in found}) == len(changed)


def test_a_latent_is_refined_as_the_picture_that_it_decodes_to(engine: RefinerEngine) -> None:
    latent = np.random.default_rng(5).standard_normal((48, 3, 4), dtype=np.float32)
    seen: list[Rgba] = []
    wanted = spec(size=(72, 96), picture=None, latent=latent, accept=seen.append)
    (found,) = through(engine, engine.prepare(wanted))

    assert [picture.shape for picture in seen] == [(48, 64, 4)]
    np.testing.assert_array_equal(found, plainly(engine, replace(wanted, picture=seen[0], latent=None)))


def test_a_step_that_fails_advances_nobody(engine: RefinerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    states = [engine.prepare(spec()), engine.prepare(COMPANY[0])]

    def broken(*_: object) -> Sequence[torch.Tensor]:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(refining, "denoise", broken)
        with pytest.raises(RuntimeError):
            engine.step(states)

    assert [state.step for state in states] == [0, 0]
    np.testing.assert_array_equal(through(engine, states[0])[0], plainly(engine, spec()))


def test_what_is_not_accepted_ends_before_any_tile(engine: RefinerEngine) -> None:
    def refuse(picture: Rgba) -> None:
        raise InvalidInput("format", "no", "ask for another")

    with pytest.raises(InvalidInput):
        engine.prepare(spec(accept=refuse))


def test_a_family_without_the_part_is_refused_by_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(Misconfigured, match="no part 'refiner'"):
        RefinerEngine.load(build_family(tmp_path_factory.mktemp("family")))
