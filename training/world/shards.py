"""Samples of the world on disk: tar shards that `webdataset` reads too, and a loader that can be resumed.

A sample is a pure function of (seed, its number), so shards do not depend on how many processes write them.
In a shard, sample `000042` is the files `000042.json`, `000042.input0.png`, `000042.output0.png` and so on.
"""

import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from numpy.typing import NDArray
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from training.world.tasks import sample_task
from training.world.tasks.sample import Sample
from wanimage.errors import NotFound

INDEX = "index.json"


@dataclass(frozen=True)
class Recipe:
    """What a set of shards holds; with the code, it determines every byte."""

    count: int
    seed: int = 0
    split: str = "train"
    cell: int = 16
    """Pixels along a cell of a picture's grid; a square base picture has 8 x 8 cells."""
    per_shard: int = 500

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // self.per_shard)

    def shard_name(self, number: int) -> str:
        """`world-train-000003.tar`."""
        return f"world-{self.split}-{number:06d}.tar"


def write_shards(out: Path, recipe: Recipe, processes: int = 1) -> Path:
    """Write all shards and, last, `index.json` with the recipe and every shard's sha256; return the index."""
    out.mkdir(parents=True, exist_ok=True)
    job = partial(_write_shard, out, recipe)
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            digests = list(pool.map(job, range(recipe.shards)))
    else:
        digests = [job(number) for number in range(recipe.shards)]
    return write_index(out, recipe, digests)


def sample_at(recipe: Recipe, number: int) -> Sample:
    """Sample `number` of a recipe."""
    return sample_task(np.random.default_rng([recipe.seed, number]), recipe.split)


def _write_shard(out: Path, recipe: Recipe, number: int) -> str:
    """Write one shard under a temporary name, move it into place, and return its sha256."""
    first = number * recipe.per_shard
    numbers = range(first, min(first + recipe.per_shard, recipe.count))
    rows = ((index, files_of(sample_at(recipe, index), recipe.cell)) for index in numbers)
    return write_tar(out / recipe.shard_name(number), rows)


def write_tar(path: Path, rows: Iterable[tuple[int, dict[str, bytes]]]) -> str:
    """Write numbered rows, each its files by extension; the file is there whole or not at all. Its sha256."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file, webdataset.TarWriter(file, encoder=False, mtime=0) as writer:
        for index, files in rows:
            writer.write({"__key__": f"{index:06d}", **files})
    temporary.replace(path)
    with path.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def write_index(out: Path, recipe: Recipe, digests: Sequence[str], **more: Any) -> Path:
    """Write `index.json`: the recipe, every shard's sha256, and whatever else tells how they were made."""
    names = [recipe.shard_name(number) for number in range(recipe.shards)]
    index = {"recipe": asdict(recipe), "shards": dict(zip(names, digests, strict=True)), **more}
    path = out / INDEX
    path.write_text(json.dumps(index, indent=1) + "\n")
    return path


def files_of(sample: Sample, cell: int) -> dict[str, bytes]:
    """The files of one sample by extension."""
    files = {f"input{i}.png": png(frame.draw(cell)) for i, frame in enumerate(sample.inputs)}
    files |= {f"output{i}.png": png(frame.draw(cell)) for i, frame in enumerate(sample.outputs)}
    document = {
        "task": sample.task,
        "split": sample.split,
        "request": sample.request,
        "requests": sample.requests,
        "captions": [asdict(captions) for captions in sample.captions],
        "dialogue": [{"role": turn.role, "text": turn.text} for turn in sample.dialogue.turns],
        "inputs": [words_of(frame) for frame in sample.inputs],
        "outputs": [words_of(frame) for frame in sample.outputs],
        "answer": asdict(sample.answer) if sample.answer else None,
        "accepted": [reading.words for reading in sample.accepted],
    }
    return files | {"json": json.dumps(document, ensure_ascii=False).encode()}


def words_of(frame: Any) -> dict[str, Any]:
    """A picture in JSON: its kind, grid, prompt and graph."""
    return {"kind": frame.kind, "grid": frame.grid, "prompt": frame.prompt, "graph": repr(frame.scene)}


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


@dataclass(frozen=True)
class Row:
    """One sample as read back: the JSON document, and its pictures as straight RGBA uint8 `[H, W, 4]`."""

    key: str
    document: dict[str, Any]
    inputs: tuple[NDArray[np.uint8], ...]
    outputs: tuple[NDArray[np.uint8], ...]


class Loader:
    """Endless batches of rows, shuffled anew every epoch, from wherever `state` says.

    An epoch visits the shards in an order of its own, and the rows of a shard in another; both follow from
    the seed and the epoch alone. So the position is two numbers, and resuming reads one shard again, no
    more.
    """

    def __init__(self, folder: Path, batch: int, seed: int = 0, state: dict[str, int] | None = None) -> None:
        """`folder` holds `index.json`; `state` is what `state()` gave. Raises NotFound without an index."""
        path = folder / INDEX
        if not path.exists():
            raise NotFound(
                "index of shards", str(path), "write them: python -m training.world shards --out DIR"
            )
        index = json.loads(path.read_text())
        self.folder, self.batch, self.seed = folder, batch, seed
        self.recipe = Recipe(**index["recipe"])
        if batch < 1 or batch > self.recipe.count:
            raise ValueError(f"batch is {batch}; the shards hold {self.recipe.count} samples")
        state = state or {"epoch": 0, "row": 0}
        self.epoch, self.row = state["epoch"], state["row"]

    def state(self) -> dict[str, int]:
        """Where the next batch begins; JSON-ready."""
        return {"epoch": self.epoch, "row": self.row}

    def __iter__(self) -> Iterator[list[Row]]:
        while True:
            rows = self._rows()
            while batch := _take(rows, self.batch):
                self.row += len(batch)
                yield batch
            self.epoch, self.row = self.epoch + 1, 0

    def _rows(self) -> Iterator[Row]:
        """The epoch's rows from `self.row` on."""
        rng = np.random.default_rng([self.seed, self.epoch])
        skip = self.row
        for number in rng.permutation(self.recipe.shards):
            first = int(number) * self.recipe.per_shard
            count = min(self.recipe.per_shard, self.recipe.count - first)
            order = rng.permutation(count)
            if skip >= count:
                skip -= count
                continue
            rows = list(read_shard(self.folder / self.recipe.shard_name(int(number))))
            yield from (rows[i] for i in order[skip:])
            skip = 0


def _take(rows: Iterator[Row], count: int) -> list[Row]:
    """The next `count` rows; none when fewer are left, which the next epoch has anyway."""
    batch = list(itertools.islice(rows, count))
    return batch if len(batch) == count else []


def read_shard(path: Path) -> Iterator[Row]:
    """The rows of one shard, in the order they were written."""
    with path.open("rb") as file:
        for found in group_by_keys(tar_file_expander([{"url": path.name, "stream": file}])):
            document = json.loads(found["json"])
            inputs, outputs = (
                _pictures(found, side, len(document[f"{side}s"])) for side in ("input", "output")
            )
            yield Row(found["__key__"], document, inputs, outputs)


def _pictures(found: dict[str, bytes], side: str, count: int) -> tuple[NDArray[np.uint8], ...]:
    return tuple(np.asarray(Image.open(io.BytesIO(found[f"{side}{i}.png"]))) for i in range(count))
