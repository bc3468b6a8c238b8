"""The family's part `planner`: the planner reads it, the visualizer does not; text alone passes between."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from torch import nn

from services.planner.__main__ import SERVICE
from services.planner.context import assemble
from services.planner.drawing import Drawer
from services.planner.engine import PlannerEngine
from services.planner.history import fold
from services.planner.service import PlannerService
from tests.families import build_family
from training import manifest
from wanimage.config import Settings
from wanimage.decoding import Decoder, DecodingConfig
from wanimage.errors import InvalidInput
from wanimage.models.understanding import Understanding
from wanimage.tokens import Vocabulary
from wanimage.v1 import events_pb2 as ev
from wanimage.v1 import jobs_pb2, types_pb2
from wanimage.weights import Family, WeightsError, part_digest

PROMPT = "a red fox ☃ on snow"


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """One whose planner is a model of its own."""
    return build_family(tmp_path_factory.mktemp("two"), planner=True)


def engine_of(folder: Path) -> PlannerEngine:
    """A planner's engine without a model behind it."""
    decoder = Decoder(None, Vocabulary.load(folder), {}, DecodingConfig(model=folder))
    return PlannerEngine.native(decoder, base_cells=64, max_cells=256)


def test_a_family_without_the_part_plans_with_its_understanding(tmp_path: Path) -> None:
    assert build_family(tmp_path).planner == tmp_path / "understanding"


def test_a_family_with_the_part_plans_with_it(family: Family) -> None:
    assert family.planner == family.path / "planner"


def test_the_planner_does_not_start_on_a_damaged_part(family: Family, tmp_path: Path) -> None:
    shutil.copytree(family.path, tmp_path / "copy")
    (tmp_path / "copy" / "planner" / "tokenizer.json").write_text("{}")
    for parts in (SERVICE.front_parts, SERVICE.worker_parts):
        with pytest.raises(WeightsError, match=r"planner/tokenizer\.json"):
            Family.load(tmp_path / "copy", parts=parts)


def test_a_prompt_conditions_the_visualizer_in_its_own_tokens(family: Family, tmp_path: Path) -> None:
    alone = build_family(tmp_path)
    theirs, ours = (Vocabulary.load(family.path / part) for part in ("planner", "understanding"))
    assert theirs.encode_user_text(PROMPT) != ours.encode_user_text(PROMPT)
    before, after = (
        Understanding(nn.Identity(), Vocabulary.load(folder / "understanding"), {}).condition_ids(
            PROMPT, (8, 8)
        )
        for folder in (alone.path, family.path)
    )
    assert before == after


def test_an_answer_begun_with_another_tokenizer_is_read_anew(family: Family) -> None:
    # Given a turn whose worker died in the middle of a word, and of a character's tokens
    bodies: list[dict] = [
        {"session_created": ev.SessionCreated(family="older")},
        {"turn_started": ev.TurnStarted(text="draw a fox")},
        {"text_delta": ev.TextDelta(text="A fo")},
        {"text_delta": ev.TextDelta(text="x ☃. ")},
        {"image_planned": ev.ImagePlanned(prompt=PROMPT, grid={"height_cells": 8, "width_cells": 8})},
    ]
    events = [ev.Event(seq=number, turn_id="t", **body) for number, body in enumerate(bodies, 1)]
    for event in events:
        event.time.FromDatetime(datetime.now(UTC))
    told = fold("s", events)

    def ids(folder: Path) -> list[int]:
        engine = engine_of(folder)
        assembled = asyncio.run(assemble(engine, SimpleNamespace(), "acme", told, see=True))  # type: ignore[arg-type]
        return [index for segment in engine.dialect.prompt(assembled.parts) for index in segment]

    # Then each planner reads it as if it had written it
    written = (
        f"<|im_start|>user\ndraw a fox<|im_end|>\n<|im_start|>assistant\n"
        f"A fox ☃. <imagine>{PROMPT}</imagine><size>8*8</size><BOI>"
    )
    older, newer = family.path / "understanding", family.planner
    for folder in (older, newer):
        assert ids(folder) == Vocabulary.load(folder).encode_markup(written)
    assert ids(older) != ids(newer)


def number_lists(message: Descriptor, seen: set[str]) -> set[str]:
    """Full names of the repeated whole numbers anywhere in a message: where token ids could hide."""
    found: set[str] = set()
    if message.full_name in seen:
        return found
    seen.add(message.full_name)
    for field in message.fields:
        if field.message_type:
            found |= number_lists(field.message_type, seen)
        elif field.is_repeated and field.cpp_type in (
            FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64,
            FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64,
        ):  # fmt: skip
            found.add(field.full_name.removeprefix("wanimage.v1."))
    return found


def test_the_log_and_the_jobs_hold_text_and_no_ids_of_the_planner() -> None:
    pictures = {"BlobRef.shape", "ImagePlanned.references", "Image.references"}
    assert number_lists(ev.Event.DESCRIPTOR, set()) == pictures
    assert number_lists(jobs_pb2.Job.DESCRIPTOR, set()) - pictures == {"RenderPicture.prompt_ids"}
    options = types_pb2.TurnOptions()
    drawer = Drawer(None, "acme", "f" * 64, 64, options, (), None, lambda: 1.0)  # type: ignore[arg-type]
    assert not drawer._picture(ev.ImagePlanned(prompt=PROMPT)).prompt_ids


def test_the_manifest_tells_where_the_planner_came_from(family: Family, tmp_path: Path) -> None:
    for part in ("vae", "mot"):
        document = family.path / f"{part}.json"
        document.write_text(document.read_text()[:-1] + ', "training": {"stage": "random"}}')
    for part in ("understanding", "planner"):
        (family.path / part / "training.json").write_text(f'{{"stage": "{part}"}}')
    manifest.write(family.path)
    lineage = Family.load(family.path).manifest["lineage"]
    assert lineage["planner"]["stage"] == "planner"
    assert lineage["mot"]["parents"].keys() == {"understanding", "vae"}

    alone = tmp_path / "alone"
    shutil.copytree(family.path, alone, ignore=shutil.ignore_patterns("planner"))
    (alone / "enhancer").mkdir()
    (alone / "enhancer" / "training.json").write_text('{"stage": "enhancer"}')
    manifest.write(alone)
    lineage = Family.load(alone).manifest["lineage"]
    assert "planner" not in lineage
    assert lineage["enhancer"]["parents"] == {"understanding": part_digest(alone, "understanding")}


def test_a_part_that_did_not_change_keeps_the_data_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = build_family(tmp_path / "grows", planner=True).path
    for part in ("vae", "mot"):
        document = weights / f"{part}.json"
        document.write_text(document.read_text()[:-1] + ', "training": {"stage": "random"}}')
    for part in ("understanding", "planner"):
        (weights / part / "training.json").write_text(f'{{"stage": "{part}"}}')
    monkeypatch.setattr(manifest, "data_digest", lambda: "first")
    manifest.write(weights)
    monkeypatch.setattr(manifest, "data_digest", lambda: "later")
    (weights / "planner" / "training.json").write_text('{"stage": "planner again"}')
    manifest.write(weights)
    lineage = Family.load(weights).manifest["lineage"]
    assert {part: entry["data"] for part, entry in lineage.items()} == {
        "vae": "first", "understanding": "first", "mot": "first", "planner": "later",
    }  # fmt: skip


def test_a_front_before_a_planner_from_elsewhere_counts_no_tokens(family: Family) -> None:
    def front(**settings: str) -> PlannerService:
        ground = SimpleNamespace(family=family, settings=Settings(_env_file=None, **settings))
        return PlannerService.on(SimpleNamespace(**vars(ground), bus=None, jobs=None, blobs=None))  # type: ignore[arg-type]

    long = types_pb2.UserMessage(text="fox " * 1000)
    with pytest.raises(InvalidInput, match="this family reads"):
        front().intake._check(long, types_pb2.TurnOptions())
    for own in ({"planner_model": "/models/big"}, {"planner_endpoint": "http://gpu:8000/v1"}):
        front(**own).intake._check(long, types_pb2.TurnOptions())
