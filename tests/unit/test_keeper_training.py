"""The keeper learns from edits that it watches being painted: what is noted, what batches show, a round."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.families import build_family
from training.keeper import watching
from training.keeper.__main__ import learned, run, seen
from training.keeper.config import nano, tiny
from training.keeper.loss import OF_UNPROMPTED, Batches, keeper_loss, mistakes
from training.keeper.watching import Looks, Seen, WatchConfig, Watcher, edits, load, save, watch
from training.visualizer.evaluate import load as painter_of
from training.visualizer.sample import Painter
from training.visualizer.tasks import BASE
from training.world.assets import sprites as assets
from wanimage.models.keeper import SIGHTS, Keeper, KeeperConfig
from wanimage.models.layout import Grid

pytestmark = pytest.mark.skipif(not assets.icons_path().exists(), reason="the icons are not fetched")

SMALL = WatchConfig(edits=3, steps=2)


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    return painter_of(build_family(tmp_path_factory.mktemp("family")).path, "fp32")


def seen_of(count: int = 40, steps: int = 3, grids: Sequence[Grid] = (BASE, (5, 12))) -> Seen:
    """Of edits whose changing cells are told by the first sight alone, and not by its sign."""
    torch.manual_seed(1)
    found = {}
    for grid in grids:
        sights = torch.randn(count, steps, SIGHTS, *grid)
        changed = torch.rand(count, *grid) < 0.3
        sights[:, :, 0] = torch.where(changed, 1.5, 0.5)[:, None]
        found[grid] = Looks(sights, changed)
    return found


def test_an_edit_has_one_reference_of_its_own_size_which_is_not_always_square():
    rng = np.random.default_rng(0)
    tasks = [edits(rng, "train") for _ in range(40)]
    assert all([f.grid for f in task.references] == [task.shots[0].grid] for task in tasks)
    assert len({task.shots[0].grid for task in tasks}) > 2


def test_every_step_of_every_edit_is_seen_and_what_truly_changes_is_known(painter, monkeypatch):
    monkeypatch.setattr(watching, "TOGETHER", 2)  # the third is painted alone
    found, again = (watch(painter, SMALL, None) for _ in range(2))
    assert sum(len(some.seen) for some in found.values()) == 3
    for grid, some in found.items():
        assert some.seen.shape[1:] == (2, SIGHTS, *grid)
        times = some.seen[:, :, 4, 0, 0]
        assert (times[:, 0] == 1).all()
        assert (times[:, 1] < 1).all()
        assert some.changed.any()
        assert torch.equal(again[grid].changed, some.changed)


def test_a_watcher_says_what_truly_stays_until_there_is_a_keeper():
    staying = [torch.rand(64) < 0.5 for _ in range(2)]
    watcher, seen = Watcher(staying, None), torch.randn(SIGHTS, *BASE)
    assert torch.equal(watcher.unchanged(seen), staying[0])
    assert torch.equal(watcher.unchanged(seen), staying[1])
    assert torch.equal(watcher.unchanged(seen), staying[0])
    keeper = Keeper(KeeperConfig())
    assert torch.equal(Watcher(staying, keeper).unchanged(seen), keeper.unchanged(seen))


def test_a_keepers_own_round_needs_a_keeper(painter):
    with pytest.raises(ValueError, match="give --start"):
        watch(painter, replace(SMALL, own=True), None)


def test_in_its_own_round_a_keeper_holds_what_it_says(painter):
    none, everything = Keeper(KeeperConfig()), Keeper(KeeperConfig())
    for keeper, bias in ((none, 9.0), (everything, -9.0)):
        torch.nn.init.zeros_(keeper.layers[-1].weight)
        torch.nn.init.constant_(keeper.layers[-1].bias, bias)
    own = replace(SMALL, own=True)
    free, held = (watch(painter, own, keeper) for keeper in (none, everything))
    for grid in free:  # the second step sees what the first one held
        assert not torch.allclose(free[grid].seen[:, 1, 0], held[grid].seen[:, 1, 0], atol=1e-2)


def test_looks_come_back_from_disk(tmp_path):
    some = seen_of()
    save(some, tmp_path / "looks.safetensors")
    again = load(tmp_path / "looks.safetensors")
    assert set(again) == set(some)
    for grid, each in some.items():
        torch.testing.assert_close(again[grid].seen, each.seen, atol=5e-3, rtol=5e-3)
        assert torch.equal(again[grid].changed, each.changed)


def test_turning_a_look_turns_its_answer_with_it():
    """The first sight tells the answer cell by cell, however both were turned."""
    batches, shapes = Batches(seen_of(), seed=3), set()
    for step in range(12):
        sights, changed = batches.batch_at(step)
        assert torch.equal(sights[:, 0] > 1, changed > 0)
        shapes.add(changed.shape[1:])
    assert len(shapes) == 3, "square, wide and, turned, tall"
    first, again = batches.batch_at(5), batches.batch_at(5)
    assert torch.equal(first[0], again[0])


def test_some_looks_are_without_the_unprompted_prediction_and_the_edits_stay_as_they_were():
    some = seen_of(grids=(BASE,))
    before = some[BASE].seen.clone()
    sights, _ = Batches(some, seed=0).batch_at(0)
    blind = (sights[:, OF_UNPROMPTED] == 0).flatten(1).all(1)
    assert 0 < int(blind.sum()) < len(sights) / 2
    assert torch.equal(some[BASE].seen, before)


def test_a_keeper_learns_what_its_looks_tell(tmp_path):
    some = seen_of()
    loop = replace(tiny()[0].loop, steps=150, lr=1e-2, ema=0.9, save_every=150)
    keeper = learned(replace(tiny()[0], loop=loop), some, tmp_path, resume=False)
    found = mistakes(keeper, some)
    assert found["right"] > 0.97
    assert found["changing held"] < 0.05
    assert found["staying free"] < 0.05


def test_mistakes_are_counted_over_the_cells_that_change_and_those_that_stay():
    some, keeper = seen_of(), Keeper(KeeperConfig(width=1, depth=1))
    torch.nn.init.zeros_(keeper.layers[-1].weight)
    torch.nn.init.constant_(keeper.layers[-1].bias, -1.0)  # all stays
    share = float(torch.cat([each.changed.flatten() for each in some.values()]).float().mean())
    expected = {"right": 1 - share, "changing held": 1.0, "staying free": 0.0}
    assert mistakes(keeper, some) == pytest.approx(expected, abs=1e-5)
    loss, numbers = keeper_loss(keeper, Batches(some, 0).batch_at(0), torch.Generator())
    assert loss > 0
    assert 0.6 < numbers["right"] < 0.8


def test_later_rounds_learn_from_all_that_was_seen_and_what_was_seen_is_kept(painter, tmp_path: Path):
    folder = tmp_path / "watched"
    keeper, results = run(tiny(), painter, tmp_path, folder, resume=False)
    assert set(results) == {"right", "changing held", "staying free"}
    assert len(list(folder.iterdir())) == 2
    assert [each.watch.own for each in tiny()] == [each.watch.own for each in nano()] == [False, True]
    marked = Looks(torch.full((1, 2, SIGHTS, *BASE), 0.5), torch.ones(1, *BASE, dtype=torch.bool))
    save({BASE: marked}, next(folder.glob("*-1.safetensors")))
    assert torch.equal(seen(painter, tiny()[0].watch, None, folder)[BASE].seen, marked.seen)
    shapes = {name: tuple(value.shape) for name, value in keeper.state_dict().items()}
    assert shapes == {
        name: tuple(value.shape) for name, value in Keeper(tiny()[0].model).state_dict().items()
    }
