"""Training items, batches, the objective and the export, on shapes that need no fetched icons."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from training.understanding import vision
from training.understanding.__main__ import AVERAGED, TIED, begin_from
from training.understanding.architecture import TINY, build
from training.understanding.batches import Batch, BatchConfig, batches_at, item_weights
from training.understanding.evaluation.tower import named
from training.understanding.export import export
from training.understanding.items import Item, dialogue_item
from training.understanding.objective import PROBE_WEIGHT, Trainee, batch_loss, step_loss
from training.understanding.sightings import LETTERS, SLOTS
from training.understanding.tokenizer import PREPROCESSOR, train_tokenizer, write_tokenizer
from training.understanding.vision import INDEX, NAMES, picture_batch, targets, vision_loss
from training.world.dialogues import talk
from training.world.dialogues.talk import Dialogue, Turn
from training.world.pictures.lettering import Lettering
from training.world.pictures.posters import Ground, Poster
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.sample import Frame
from wanimage.errors import InvalidInput
from wanimage.models.understanding import Understanding, pad_batch
from wanimage.tokens import Vocabulary

SCENES = [Scene((SceneObject("circle", "red", cx, 0.5),), Background.plain("blue")) for cx in (0.2, 0.5, 0.8)]
PICTURES = tuple(talk.Picture(scene, (8, 8), f"a red circle {i}") for i, scene in enumerate(SCENES))
STORY = Dialogue(
    "story",
    (
        Turn("user", "Three pictures <BOI> please", (PICTURES[0],)),
        Turn("assistant", f"One.{talk.markup(PICTURES[0])}Two.{talk.series(PICTURES[1:])}End.", PICTURES),
    ),
)
SHORT = Dialogue("chat", (Turn("user", "Hi"), Turn("assistant", "Hello there, I draw red circles.")))


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [turn.text for dialogue in (STORY, SHORT) for turn in dialogue.turns]
    write_tokenizer(train_tokenizer(texts * 5, limit=320), folder)
    return folder


@pytest.fixture(scope="module")
def vocabulary(tokenizer_folder: Path) -> Vocabulary:
    return Vocabulary.load(tokenizer_folder)


@pytest.fixture
def trainee(vocabulary: Vocabulary) -> Trainee:
    return Trainee(build(TINY, len(vocabulary), vocabulary.control))


def batches(vocabulary: Vocabulary, step: int) -> list[Batch]:
    """Two batches of both dialogues."""

    def make(rng: np.random.Generator) -> Item:
        return dialogue_item(STORY if rng.random() < 0.5 else SHORT, vocabulary, PREPROCESSOR, see=True)

    return batches_at(step, make, BatchConfig(tokens=500, pieces=2), 0, PREPROCESSOR)


def readable(item: Item, vocabulary: Vocabulary) -> str:
    """The item's tokens as text, each picture as one <|image_pad|>."""
    names = [vocabulary.names.get(i) or vocabulary.decode_bytes([i]).decode() for i in item.ids]
    pad = "<|image_pad|>"
    return "".join(name for i, name in enumerate(names) if name != pad or names[i - 1] != pad)


def test_digits_and_the_star_are_single_tokens(vocabulary: Vocabulary) -> None:
    assert len(vocabulary.encode_user_text("12*18")) == 5


def test_pictures_follow_a_single_boi_and_the_last_boi_of_a_series(vocabulary: Vocabulary) -> None:
    text = readable(dialogue_item(STORY, vocabulary, PREPROCESSOR, see=True), vocabulary)
    seen = "<|vision_start|><|image_pad|><|vision_end|>"
    boi = "</size><BOI>"
    assert text.startswith(f"<|im_start|>user\n{seen}Three pictures")
    assert f"{boi}{seen}Two.<series>2</series><imagine>" in text
    assert f"{boi}<imagine>a red circle 2</imagine><size>8*8{boi}{seen}{seen}End.<|im_end|>\n" in text


def test_unseen_pictures_leave_only_their_markup(vocabulary: Vocabulary) -> None:
    item = dialogue_item(STORY, vocabulary, PREPROCESSOR, see=False)
    assert readable(item, vocabulary).count("<|vision_start|>") == 1  # the user's own
    assert len(item.pictures) == 1


def test_loss_falls_on_the_assistants_words_only(vocabulary: Vocabulary) -> None:
    item = dialogue_item(STORY, vocabulary, PREPROCESSOR, see=True)
    counted = [token for token, group in zip(item.ids, item.group, strict=True) if group >= 0]
    expected = [*vocabulary.encode_markup(STORY.turns[1].text), vocabulary.control["<|im_end|>"]]
    assert counted == expected


def test_item_level_loss_gives_every_turn_the_same_weight(vocabulary: Vocabulary) -> None:
    long, short = (dialogue_item(d, vocabulary, PREPROCESSOR, see=True) for d in (STORY, SHORT))
    assert item_weights(long, True).sum() == pytest.approx(1)
    assert item_weights(short, True).sum() == pytest.approx(1)
    assert item_weights(long, False).sum() > 2 * item_weights(short, False).sum()


def test_equal_steps_give_equal_batches(vocabulary: Vocabulary) -> None:
    for one, two in zip(batches(vocabulary, 3), batches(vocabulary, 3), strict=True):
        assert torch.equal(one.ids, two.ids)
        assert (one.patches is None) == (two.patches is None)
        if one.patches is not None and two.patches is not None:
            assert torch.equal(one.patches, two.patches)


def test_weights_of_a_step_sum_to_one(vocabulary: Vocabulary) -> None:
    for step in (0, 9):
        assert sum(float(b.weights.sum()) for b in batches(vocabulary, step)) == pytest.approx(1, abs=1e-5)


def group(found: np.ndarray, name: str) -> np.ndarray:
    """The column of a group, as a grid of tokens."""
    return found.reshape(4, 4, -1)[..., list(NAMES).index(name)]


def test_the_probe_is_told_where_an_object_is() -> None:
    found = targets(PICTURES[0], 4, 4)
    circle = INDEX["concept"]["circle"]
    assert (group(found, "ground") == INDEX["ground"]["blue"]).all()
    assert (group(found, "concept")[1:3, 0] == circle).all()
    assert (group(found, "color")[1:3, 0] == INDEX["color"]["red"]).all()
    assert (group(found, "concept")[:, 3] == 0).all()


def test_an_object_between_the_centres_of_tokens_is_named_by_one() -> None:
    tiny = Scene((SceneObject("circle", "red", 0.26, 0.26, 0.02),), Background.plain("blue"))
    found = group(targets(talk.Picture(tiny), 4, 4), "concept")
    assert found[1, 1] == INDEX["concept"]["circle"]
    assert (found > 0).sum() == 1


def test_every_member_of_a_group_is_named_with_its_count() -> None:
    three = Scene((SceneObject("circle", "red", 0.5, 0.5, 0.22, count=3),), Background.plain("blue"))
    found = targets(talk.Picture(three), 4, 4)
    named = group(found, "concept") > 0
    assert named.sum() >= 3
    assert (group(found, "count")[named] == INDEX["count"]["3"]).all()


def test_an_object_is_named_with_its_place() -> None:
    for picture, place in zip(PICTURES, ("left", "center", "right"), strict=True):
        found = targets(picture, 4, 4)
        named = group(found, "concept") > 0
        assert set(group(found, "place")[named]) == {INDEX["place"][place]}


def test_letters_are_told_where_they_stand() -> None:
    poster = Poster(Ground("plain"), (Lettering(("Big fox",), "sans", "red", 0.15, 0.5, 0.4),))
    picture = Frame(poster, (16, 16), "", "poster")
    found = targets(picture, 8, 8).reshape(8, 8, -1)
    slots = [list(NAMES).index(f"letter {slot}") for slot in range(1, SLOTS + 1)]
    told = ["".join(LETTERS[i - 1] for i in cell if i) for cell in found[..., slots].reshape(-1, SLOTS)]
    assert "".join(told) == "Big fox"
    assert {index // 8 for index, text in enumerate(told) if text} == {3}
    face = found[3][[bool(text) for text in told[24:32]], list(NAMES).index("face")]
    assert INDEX["face"]["sans"] in face


def test_a_stage_begins_from_another_run_whose_probe_named_less(trainee: Trainee, tmp_path: Path) -> None:
    old = {name: torch.ones_like(value) for name, value in trainee.state_dict().items() if name not in TIED}
    del old["probe.heads.place.weight"]
    old["probe.heads.form.weight"] = torch.ones(2, 2)
    save_file(old, tmp_path / AVERAGED)
    before = trainee.probe.heads["place"].weight.clone()
    begin_from(trainee, tmp_path / AVERAGED)
    assert torch.equal(trainee.probe.heads["place"].weight, before)
    assert bool((trainee.model.model.visual.pos_embed.weight == 1).all())
    del old["model.model.visual.pos_embed.weight"]
    save_file(old, tmp_path / AVERAGED)
    with pytest.raises(InvalidInput, match=r"--start: .* lacks model\.model\.visual\.pos_embed"):
        begin_from(trainee, tmp_path / AVERAGED)


def test_what_the_tower_names_is_counted_where_there_is_something(
    trainee: Trainee, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision, "SHARES", {"portrait": 1.0})
    monkeypatch.setattr(vision, "GRIDS", ((8, 8),))
    found = named(trainee, 1, "heldout")
    assert found["concept"] == (0, 0)
    assert found["portrait beard"][1] == found["kind"][1] == 48 * 16
    torch.nn.init.zeros_(trainee.probe.heads["kind"].weight)
    torch.nn.init.zeros_(trainee.probe.heads["kind"].bias)
    trainee.probe.heads["kind"].bias.data[INDEX["kind"]["portrait"]] = 1.0
    assert named(trainee, 1, "heldout")["kind"] == (48 * 16, 48 * 16)


def test_the_tower_learns_to_name_alone(trainee: Trainee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "SHARES", {"portrait": 1.0})  # needs no fetched icons
    trainee.model.requires_grad_(False)
    trainee.model.model.visual.requires_grad_(True)
    optimizer = torch.optim.AdamW([p for p in trainee.parameters() if p.requires_grad], lr=3e-3)
    batch, losses = picture_batch(0, 4, 0, PREPROCESSOR), []
    for _ in range(8):
        loss, _ = vision_loss(trainee, batch, torch.Generator())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert trainee.model.model.language_model.embed_tokens.weight.grad is None


def test_pieces_of_a_step_add_up_to_its_whole_gradient(trainee: Trainee, vocabulary: Vocabulary) -> None:
    pieces = batches(vocabulary, 0)
    assert len(pieces) > 1
    total, text = 0.0, 0.0
    for piece in pieces:
        loss, numbers = step_loss(trainee, piece, torch.Generator())
        loss.backward()
        total, text = total + loss.item(), text + numbers["text"]
    piecewise = {n: p.grad.clone() for n, p in trainee.named_parameters() if p.grad is not None}
    trainee.zero_grad()
    whole = torch.zeros(())
    for batch in pieces:
        text, probe, _ = batch_loss(trainee, batch)
        whole = whole + text + PROBE_WEIGHT * probe / len(pieces)
    whole.backward()
    assert text > 1
    assert total == pytest.approx(whole.item(), rel=1e-5)
    for name, parameter in trainee.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(piecewise[name], parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_few_steps_lower_the_loss(trainee: Trainee, vocabulary: Vocabulary) -> None:
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        losses.append(0.0)
        for piece in batches(vocabulary, 0):
            loss, _ = step_loss(trainee, piece, torch.Generator())
            loss.backward()
            losses[-1] += loss.item()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.8 * losses[0]


def test_the_exported_branch_computes_what_was_trained(
    trainee: Trainee, vocabulary: Vocabulary, tokenizer_folder: Path, tmp_path: Path
) -> None:
    export(trainee.model, None, tokenizer_folder, tmp_path / "understanding")
    shipped = Understanding.load(tmp_path / "understanding")
    ids, mask = pad_batch([shipped.condition_ids("a red circle", (8, 8))])
    for parameter in trainee.parameters():
        parameter.data = parameter.data.half().float()  # what ships is fp16
    live = Understanding(trainee.model, vocabulary, PREPROCESSOR)
    for (key, _), (key_live, _) in zip(
        shipped.keys_values(ids, mask), live.keys_values(ids, mask), strict=True
    ):
        torch.testing.assert_close(key, key_live)


def test_an_export_with_a_missing_average_is_refused(
    trainee: Trainee, tokenizer_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyError, match=r"embed_tokens|patch_embed"):
        export(trainee.model, {}, tokenizer_folder, tmp_path / "understanding")
