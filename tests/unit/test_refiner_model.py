"""The refiner's transformer: what a cell sees, what masks hide, what a batch may not change."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.families import build_family
from wanimage.models.refiner import Place, Prompt, Refiner, RefinerConfig, state_at, step
from wanimage.refining import MODES, Mode, denoise, levels, places_of
from wanimage.tiling import tiles_of

CONFIG = RefinerConfig.tiny()
SIZE = (9, 14)
"""Neither side is a multiple of the window."""
LENGTH = 5
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def random_refiner(depth: int = CONFIG.depth) -> Refiner:
    torch.manual_seed(0)
    refiner = Refiner(RefinerConfig(**{**vars(CONFIG), "depth": depth}))
    for layer in (refiner.place, refiner.modulation, refiner.final, refiner.project):
        nn.init.normal_(layer.weight, std=0.2)
    for block in refiner.blocks:
        nn.init.normal_(block.ffn.near.weight, std=0.2)
    return refiner.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    return random_refiner()


def text(rows: int, length: int = LENGTH, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Un-rotated keys and values of as many layers as the refiner has."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, CONFIG.heads, length, CONFIG.rope.head_dim)
    return [
        (torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
        for _ in range(CONFIG.depth)
    ]


def seen(*lengths: int, of: int = LENGTH) -> Tensor:
    return torch.arange(of) < torch.tensor(lengths)[:, None]


def planes(rows: int, seed: int, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.randn(rows, 48, *size, generator=torch.Generator().manual_seed(seed))


def place(rows: int) -> Place:
    """Different tiles of pictures of different sizes and scales."""
    number = torch.arange(rows, dtype=torch.float32)
    return Place(3 * number, 5 * number, 40 + number, 50 + number, 2 + number)


def answer(
    refiner: Refiner, rows: int = 1, *, x: Tensor | None = None, low: Tensor | None = None, **given: Prompt
) -> Tensor:
    prompt = given.get("prompt") or refiner.read(text(rows), seen(*[LENGTH] * rows))
    low = planes(rows, 2) if low is None else low
    x = planes(rows, 3) if x is None else x
    level, start = torch.linspace(0.1, 0.3, rows), torch.linspace(0.2, 0.6, rows)
    return refiner.clean(x, low, level, start, place(rows), prompt)


# ---- Shapes and files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [RefinerConfig.nano(), RefinerConfig.tiny(), RefinerConfig.paper()])
def test_a_config_comes_back_from_json(config: RefinerConfig) -> None:
    assert RefinerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("halo", [0, 5])
def test_a_halo_wider_than_its_window_is_refused(halo: int) -> None:
    with pytest.raises(ValueError, match="the limits are 1 and the window's 4"):
        RefinerConfig(depth=1, width=32, heads=2, ffn=48, window=4, halo=halo)


def test_a_family_s_refiner_is_read_strictly(tmp_path: Path) -> None:
    family = build_family(tmp_path, refiner=True)
    assert Refiner.load(family.path).config == CONFIG
    (tmp_path / "refiner.json").write_text(
        json.dumps({"config": {**CONFIG.to_json(), "depth": CONFIG.depth + 1}})
    )
    with pytest.raises(RuntimeError, match="Missing key"):
        Refiner.load(family.path)


def test_an_untrained_refiner_answers_with_the_enlargement() -> None:
    fresh = Refiner(CONFIG).eval()
    low = planes(2, 2)
    torch.testing.assert_close(answer(fresh, 2, low=low), low, rtol=0, atol=0)


# ---- What a cell sees --------------------------------------------------------------------------------------


def moved(refiner: Refiner, row: int, column: int) -> set[tuple[int, int]]:
    """Cells whose answer changes when the state of one does."""
    x = planes(1, 3)
    changed = x.clone()
    changed[:, :, row, column] += 10
    difference = (answer(refiner, x=changed) - answer(refiner, x=x)).abs().amax((0, 1))
    return {(int(r), int(c)) for r, c in (difference > 1e-6).nonzero()}


@pytest.mark.parametrize("cell", [(0, 0), (3, 3), (4, 7), (8, 13), (5, 12)])
def test_a_cell_is_seen_from_its_window_and_the_halo_around_it_alone(cell: tuple[int, int]) -> None:
    # The first convolution shows a cell to its neighbours; one block of attention then shows these to all
    # whose window, with its halo, holds them, and its SwiGLU shows what came of that to their neighbours.
    def attended(at: int, of: int) -> bool:
        first = at // CONFIG.window * CONFIG.window
        return first - CONFIG.halo - 1 <= of <= first + CONFIG.window - 1 + CONFIG.halo + 1

    def near(at: int, of: int, side: int) -> bool:
        return any(attended(each, of) for each in range(max(0, at - 1), min(side, at + 2)))

    cells = itertools.product(range(SIZE[0]), range(SIZE[1]))
    reached = {(r, c) for r, c in cells if near(r, cell[0], SIZE[0]) and near(c, cell[1], SIZE[1])}
    assert moved(random_refiner(depth=1), *cell) == reached


def test_with_each_block_a_cell_is_seen_from_farther_away() -> None:
    one, two = (moved(random_refiner(depth=depth), 0, 0) for depth in (1, 2))
    assert one < two
    assert (SIZE[0] - 1, SIZE[1] - 1) not in two


def test_cells_and_prompt_are_told_apart_by_their_places(refiner: Refiner) -> None:
    flat = torch.ones(1, 48, *SIZE)
    found = answer(refiner, x=flat, low=flat)
    assert len({tuple(cell) for cell in found[0].flatten(1).T.tolist()}) == SIZE[0] * SIZE[1]


# ---- Prompts -----------------------------------------------------------------------------------------------


def test_what_stands_at_padded_places_of_a_prompt_means_nothing(refiner: Refiner) -> None:
    pairs = text(1)
    other = [(k.clone(), v.clone()) for k, v in pairs]
    for k, v in other:
        k[:, :, 3:], v[:, :, 3:] = 7, -7
    found = [answer(refiner, prompt=refiner.read(each, seen(3))) for each in (pairs, other)]

    torch.testing.assert_close(*found, rtol=0, atol=0)
    assert not torch.allclose(found[0], answer(refiner, prompt=refiner.read(pairs, seen(4))))


def test_a_prompt_reads_the_same_however_far_it_is_padded(refiner: Refiner) -> None:
    pairs = text(1)
    short = refiner.read([(k[:, :, :3], v[:, :, :3]) for k, v in pairs], seen(3, of=3))
    torch.testing.assert_close(
        answer(refiner, prompt=short), answer(refiner, prompt=refiner.read(pairs, seen(3))), **CLOSE
    )


def test_stacked_prompts_are_read_as_each_alone(refiner: Refiner) -> None:
    prompts = [refiner.read(text(1, length, length), seen(length, of=length)) for length in (2, 7, 4)]
    x, low = planes(1, 3).expand(3, -1, -1, -1), planes(1, 2).expand(3, -1, -1, -1)
    together = answer(refiner, 3, x=x, low=low, prompt=Prompt.stack(prompts))
    for row, prompt in enumerate(prompts):
        rows = Prompt.stack([prompt] * 3)
        torch.testing.assert_close(together[row], answer(refiner, 3, x=x, low=low, prompt=rows)[row], **CLOSE)


# ---- Batches and paths -------------------------------------------------------------------------------------


def test_a_tile_does_not_depend_on_its_batch(refiner: Refiner) -> None:
    lengths = (2, 5, 3)
    prompt = refiner.read(text(3), seen(*lengths))
    together = answer(refiner, 3, prompt=prompt)
    level, start, where = torch.linspace(0.1, 0.3, 3), torch.linspace(0.2, 0.6, 3), place(3)
    for row in range(3):
        one = slice(row, row + 1)
        alone = refiner.clean(
            planes(3, 3)[one], planes(3, 2)[one], level[one], start[one],
            Place(*(each[one] for each in vars(where).values())), prompt.rows(torch.tensor([row])),
        )  # fmt: skip
        torch.testing.assert_close(together[one], alone, **CLOSE)


def test_a_path_begins_at_the_enlargement_with_noise_and_ends_at_the_clean_latent() -> None:
    clean, low, noise = (planes(1, seed) for seed in (1, 2, 3))
    start = torch.tensor([0.4])
    begin, end = state_at(clean, low, noise, start, start), state_at(clean, low, noise, 0 * start, start)
    torch.testing.assert_close(begin, 0.6 * low + 0.4 * noise)
    torch.testing.assert_close(end, clean)


def test_steps_towards_the_clean_latent_stay_on_the_path() -> None:
    clean, low, noise = (planes(1, seed) for seed in (1, 2, 3))
    path = [torch.tensor([level]) for level in levels(MODES[Mode.REPAIR].start, 4)]
    x = state_at(clean, low, noise, path[0], path[0])
    for level, following in itertools.pairwise(path):
        x = step(x, clean, level, following)
        torch.testing.assert_close(x, state_at(clean, low, noise, following, path[0]), **CLOSE)


def test_an_untrained_refiner_denoises_to_the_enlargement() -> None:
    fresh = Refiner(CONFIG).eval()
    (tile,) = tiles_of(SIZE)
    low, prompt = planes(1, 2), fresh.read(text(1), seen(LENGTH))
    with torch.inference_mode():
        found = denoise(fresh, low, planes(1, 3), places_of([tile], [2.0]), prompt, [MODES[Mode.REPAIR]])
    torch.testing.assert_close(found, low, **CLOSE)
