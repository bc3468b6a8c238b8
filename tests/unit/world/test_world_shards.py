"""Tar shards of samples: the same bytes whoever writes them, and a loader that goes on where it was."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from training.world.shards import Loader, Recipe, read_shard, sample_at, write_shards
from wanimage.errors import NotFound

RECIPE = Recipe(count=8, seed=3, split="val", cell=8, per_shard=3)


@pytest.fixture(scope="module")
def folder(icons: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), RECIPE).parent


def keys(loader: Loader, batches: int) -> list[list[str]]:
    return [[row.key for row in batch] for batch in itertools.islice(loader, batches)]


def test_shards_do_not_depend_on_how_many_processes_write_them(folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path, RECIPE, processes=2)
    assert (tmp_path / "index.json").read_text() == (folder / "index.json").read_text()
    digests = json.loads((folder / "index.json").read_text())["shards"]
    assert len(set(digests.values())) == 3


def test_a_sample_comes_back_as_it_was_drawn(folder: Path) -> None:
    rows = [row for path in sorted(folder.glob("*.tar")) for row in read_shard(path)]
    assert [row.key for row in rows] == [f"{number:06d}" for number in range(8)]
    for number, row in enumerate(rows):
        sample = sample_at(RECIPE, number)
        assert row.document["request"] == sample.request
        assert row.document["captions"][0]["normal"] == sample.captions[0].normal
        drawn = [frame.draw(RECIPE.cell) for frame in sample.inputs]
        assert all(np.array_equal(a, b) for a, b in zip(row.inputs, drawn, strict=True))
        drawn = [frame.draw(RECIPE.cell) for frame in sample.outputs]
        assert all(np.array_equal(a, b) for a, b in zip(row.outputs, drawn, strict=True))


def test_an_epoch_visits_every_sample_once_and_the_next_in_another_order(folder: Path) -> None:
    visited = list(itertools.chain(*keys(Loader(folder, 4), 4)))
    first, second = visited[:8], visited[8:]
    assert sorted(first) == sorted(second) == [f"{number:06d}" for number in range(8)]
    assert first != second


def test_a_loader_goes_on_from_any_state_as_if_it_had_never_stopped(folder: Path) -> None:
    whole = keys(Loader(folder, 2, seed=1), 10)
    for stop in range(1, 9):
        loader = Loader(folder, 2, seed=1)
        assert keys(loader, stop) == whole[:stop]
        state = json.loads(json.dumps(loader.state()))
        assert keys(Loader(folder, 2, seed=1, state=state), 10 - stop) == whole[stop:]


def test_batches_are_whole_and_what_is_left_over_waits_for_another_epoch(folder: Path) -> None:
    assert [len(batch) for batch in keys(Loader(folder, 3), 5)] == [3] * 5


def test_a_folder_without_an_index_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="shards --out"):
        Loader(tmp_path, 2)


def test_a_batch_larger_than_the_set_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="hold 8 samples"):
        Loader(folder, 9)
