"""The keeper learns from edits that it watches being painted: what is noted, what batches show, a round."""

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
from training.keeper.watching import Looks, WatchConfig, Watcher, edits, watch
from training.visualizer.evaluate import load
from training.visualizer.sample import Painter
from training.visualizer.tasks import BASE
from training.world.assets import sprites as assets
from wanimage.models.keeper import SIGHTS, Keeper, KeeperConfig

pytestmark = pytest.mark.skipif(not assets.icons_path().exists(), reason="the icons are not fetched")

SMALL = WatchConfig(edits=3, steps=2)


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    return load(build_family(tmp_path_factory.mktemp("family")).path, "fp32")


def looks(count: int = 40, steps: int = 3) -> Looks:
    """Of edits whose changing cells are told by the first sight alone, and not by its sign."""
    torch.manual_seed(1)
    sights = torch.randn(count, steps, SIGHTS, *BASE)
    changed = torch.rand(count, *BASE) < 0.3
    sights[:, :, 0] = torch.where(changed, 1.5, 0.5)[:, None]
    return Looks(sights, changed)


def test_an_edit_has_one_reference_of_its_own_size():
    rng = np.random.default_rng(0)
    for _ in range(40):
        task = edits(rng, "train")
        assert [frame.grid for frame in (*task.references, *task.shots)] == [BASE, BASE]


def test_every_step_of_every_edit_is_seen_and_what_truly_changes_is_known(painter, monkeypatch):
    monkeypatch.setattr(watching, "TOGETHER", 2)  # the third is painted alone
    found = watch(painter, SMALL, None)
    assert found.seen.shape == (3, 2, SIGHTS, *BASE)
    times = found.seen[:, :, 4, 0, 0]
    assert (times[:, 0] == 1).all()
    assert (times[:, 1] < 1).all()
    assert found.changed.any()
    assert torch.equal(watch(painter, SMALL, None).changed, found.changed)


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
    free, held = (watch(painter, own, keeper).seen[:, 1, 0] for keeper in (none, everything))
    assert not torch.allclose(free, held, atol=1e-2)  # the second step sees what the first one held


def test_looks_come_back_from_disk(tmp_path):
    some = looks()
    some.save(tmp_path / "looks.safetensors")
    again = Looks.load(tmp_path / "looks.safetensors")
    torch.testing.assert_close(again.seen, some.seen, atol=5e-3, rtol=5e-3)
    assert torch.equal(again.changed, some.changed)


def test_turning_a_look_turns_its_answer_with_it():
    """The first sight tells the answer cell by cell, however both were turned."""
    batches = Batches(looks(), seed=3)
    for step in range(8):
        sights, changed = batches.batch_at(step)
        assert torch.equal(sights[:, 0] > 1, changed > 0)
    first, again = batches.batch_at(5), batches.batch_at(5)
    assert torch.equal(first[0], again[0])


def test_some_looks_are_without_the_unprompted_prediction_and_the_edits_stay_as_they_were():
    some = looks()
    before = some.seen.clone()
    sights, _ = Batches(some, seed=0).batch_at(0)
    blind = (sights[:, OF_UNPROMPTED] == 0).flatten(1).all(1)
    assert 0 < int(blind.sum()) < len(sights) / 2
    assert torch.equal(some.seen, before)


def test_a_keeper_learns_what_its_looks_tell(tmp_path):
    some = looks()
    loop = replace(tiny()[0].loop, steps=150, lr=1e-2, ema=0.9, save_every=150)
    keeper = learned(replace(tiny()[0], loop=loop), some, tmp_path, resume=False)
    found = mistakes(keeper, some)
    assert found["right"] > 0.97
    assert found["changing held"] < 0.05
    assert found["staying free"] < 0.05


def test_mistakes_are_counted_over_the_cells_that_change_and_those_that_stay():
    some, keeper = looks(), Keeper(KeeperConfig(width=1, depth=1))
    torch.nn.init.zeros_(keeper.layers[-1].weight)
    torch.nn.init.constant_(keeper.layers[-1].bias, -1.0)  # all stays
    share = float(some.changed.float().mean())
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
    marked.save(next(folder.glob("*-1.safetensors")))
    assert torch.equal(seen(painter, tiny()[0].watch, None, folder).seen, marked.seen)
    shapes = {name: tuple(value.shape) for name, value in keeper.state_dict().items()}
    assert shapes == {
        name: tuple(value.shape) for name, value in Keeper(tiny()[0].model).state_dict().items()
    }
