"""Records on disk, as shards that `training.world.shards.Loader` and `webdataset` read.

A row is `000042.json` and the pictures that the user brought, `000042.input0.png` and so on. Pictures that
the assistant plans are in the JSON as prompt, grid and graph: a planner is trained on their words.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.understanding.data.endpoint import pixels_of
from training.understanding.data.record import Record
from training.world.dialogues.talk import Picture
from training.world.shards import Recipe, png, words_of, write_index, write_tar
from training.world.tasks.sample import Frame

PER_SHARD = 500


def write_records(out: Path, records: Sequence[Record], *, seed: int, split: str, **about: Any) -> Path:
    """Write shards and, last, their index, into which `about` goes too. Returns the index.

    Raises ValueError without records.
    """
    if not records:
        raise ValueError("no record was kept, so there is nothing to write; see the report")
    out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(count=len(records), seed=seed, split=split, per_shard=PER_SHARD)
    digests = []
    for number in range(recipe.shards):
        first = number * recipe.per_shard
        part = enumerate(records[first : first + recipe.per_shard], first)
        rows = ((index, files_of(record)) for index, record in part)
        digests.append(write_tar(out / recipe.shard_name(number), rows))
    return write_index(out, recipe, digests, **about)


def files_of(record: Record) -> dict[str, bytes]:
    """The files of one record by extension."""
    turns = record.dialogue.turns
    brought = [picture for turn in turns if turn.role == "user" for picture in turn.pictures]
    planned = [picture for turn in turns if turn.role == "assistant" for picture in turn.pictures]
    document = {
        "row": record.row,
        "category": record.category,
        "task": record.task,
        "difficulty": record.difficulty,
        "numeric": record.numeric,
        "pure_vqa": record.pure_vqa,
        "dialogue": [{"role": t.role, "text": t.text, "pictures": len(t.pictures)} for t in turns],
        "inputs": [words_of(_frame(picture)) for picture in brought],
        "outputs": [],
        "planned": [words_of(_frame(picture)) for picture in planned],
    }
    files = {f"input{i}.png": png(pixels_of(picture)) for i, picture in enumerate(brought)}
    return files | {"json": json.dumps(document, ensure_ascii=False).encode()}


def _frame(picture: Picture) -> Frame:
    if isinstance(picture, Frame):
        return picture
    return Frame(picture.scene, picture.grid, picture.prompt)
