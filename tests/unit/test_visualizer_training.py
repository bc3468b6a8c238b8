"""The visualizer's tasks, batches and two steps of training on a tiny random family."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.families import build_family
from training.export import export
from training.vae.export import load as load_vae
from training.visualizer.__main__ import run
from training.visualizer.config import paper, tiny
from training.visualizer.data import Batches, Group, in_two
from training.visualizer.kept import Drawn, Kept, draw, emphasised, load
from training.visualizer.loss import channel_weights, visualizer_loss
from training.visualizer.mean import mean
from training.visualizer.naming import NOTHING, NUMBERS, UNSAID, Learner, nouns
from training.visualizer.tasks import (
    BASE,
    SHARES,
    Task,
    after_references,
    next_picture,
    series,
    text_to_image,
)  # fmt: skip
from training.world.assets import sprites as assets
from training.world.assets.concepts import STYLES
from training.world.scenes.rich import in_rich_split
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.sample import Frame
from wanimage.models.conditioning import Condition, read
from wanimage.models.layout import TextScope
from wanimage.models.mot import Mot
from wanimage.models.understanding import Understanding

pytestmark = pytest.mark.skipif(not assets.icons_path().exists(), reason="the icons are not fetched")

TINY = tiny()[0]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family")).path


@pytest.fixture(scope="module")
def understanding(family: Path) -> Understanding:
    return Understanding.load(family / "understanding")


@pytest.fixture(scope="module")
def batches(family: Path, understanding: Understanding) -> Batches:
    return Batches(understanding, load_vae(family), TINY.model, TINY.data, "fp32")


def many(make, count: int = 40) -> list[Task]:
    return [make(np.random.default_rng(seed)) for seed in range(count)]


def test_kinds_are_asked_for_by_share_and_on_the_grid_they_need():
    rng = np.random.default_rng(0)
    kinds = Counter(text_to_image(rng).name for _ in range(300))
    total = sum(SHARES.kinds.values())
    for name, share in SHARES.kinds.items():
        assert kinds[name] / 300 == pytest.approx(share / total, abs=0.09)
    fine = [text_to_image(np.random.default_rng(n), kinds=SHARES.fine_kinds) for n in range(12)]
    assert {task.shots[0].grid for task in fine} == {(16, 16)}


def test_crowds_teach_more_drawings_than_other_scenes():
    crowds = many(lambda rng: text_to_image(rng, kinds={"crowd": 1.0}), 10)
    assert all(len(task.shots[0].scene.objects) >= 3 for task in crowds)
    rich = many(lambda rng: text_to_image(rng, kinds={"rich": 1.0}))
    assert len({item.style for task in rich for item in task.shots[0].scene.objects}) == len(STYLES)


@pytest.mark.parametrize("kinds", [SHARES.kinds, {"rich": 1.0}, {"crowd": 1.0}])
def test_training_scenes_stay_in_their_split(kinds):
    for task in many(lambda rng: text_to_image(rng, kinds=kinds)):
        scene = task.shots[0].scene
        assert not isinstance(scene, Scene) or in_rich_split(scene, "train")


def test_a_series_is_no_longer_than_it_may_be_and_can_be_judged():
    for task in many(lambda rng: series(rng, most=4)):
        assert 2 <= len(task.shots) <= 4
        assert task.sample is not None
        assert task.sample.outputs == task.shots


def test_references_show_what_the_result_shares_and_carry_no_prompt():
    for task in many(after_references):
        assert task.references
        assert all(frame.prompt == "" for frame in task.references)
        assert all(frame.prompt and not frame.cues for frame in task.shots)


def test_a_next_picture_comes_after_an_earlier_one_of_the_same_story():
    for task in many(next_picture, 20):
        before, after = task.references[0].scene, task.shots[0].scene
        assert {o.concept for o in before.objects} & {o.concept for o in after.objects}


def same(first: list[Group], second: list[Group]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(a.latents, b.latents) and torch.equal(a.text[0][0], b.text[0][0]) for a, b in pairs
    )


def test_batches_depend_on_the_step_alone(batches):
    assert same(batches.batch_at(4), batches.batch_at(4))
    assert not same(batches.batch_at(4), batches.batch_at(6))
    assert [g.name for g in batches.batch_at(4)] == ["single", "references"]
    assert [g.name for g in batches.batch_at(5)] == ["single", "fine"]
    assert [g.name for g in batches.batch_at(7)] == ["single", "series", "wide"]
    alone = replace(batches, config=replace(batches.config, turns=("alone",)))
    assert [g.name for g in alone.batch_at(4)] == ["single"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_config_says_how_often_aspects_are_others_and_things_strangers(batches, tmp_path, share):
    extracted = replace(SHARES, edits={"extract": 1.0})
    mixture = {"others": share, "strangers": share, "turns": ("references",), "shares": extracted}
    config = replace(batches.config, **mixture)
    replace(batches, config=config, kept=Kept(tmp_path)).batch_at(0)
    drawn = load(*tmp_path.glob("*.safetensors"))
    assert all((row.grids != [BASE]) == bool(share) for row in drawn["single"])
    assert all(bool(row.nouns.eq(UNSAID).any()) == bool(share) for row in drawn["references"])


def test_many_rows_are_cut_where_least_is_padded():
    row = Drawn(["a fox"], [BASE], [], *(torch.zeros(64, n) for n in (48, 1, 1)), torch.zeros(0, 48), [])
    told = replace(row, prompts=["a fox and " * 40])
    seeing = replace(row, reference_grids=[BASE], clean=torch.zeros(64, 48))
    rows = [row, told, row, row, told, row, row, row]
    short, long = in_two(rows)
    assert [each.prompts for each in long] == [told.prompts] * 2
    assert len(short) == 6
    assert [len(part) for part in in_two([seeing, *[row] * 8])] == [8, 1]
    assert in_two(rows[:3]) == [rows[:3]], "a few stay together"


def test_tasks_return_as_they_were_drawn_and_with_new_drops(family, understanding, tmp_path, monkeypatch):
    data = replace(TINY.data, distinct_steps=4, drop_text=0.5)
    batches = Batches(understanding, load_vae(family), TINY.model, data, "fp32", Kept(tmp_path))
    first = batches.batch_at(0)
    monkeypatch.setattr(batches.vae, "encode", lambda _: pytest.fail("what was drawn is not kept"))
    again = [batches.batch_at(step) for step in range(4, 24, 4)]
    for groups in again:
        for a, b in zip(first, groups, strict=True):
            assert torch.equal(a.latents, b.latents)
            assert torch.equal(a.weights, b.weights)
    lengths = {tuple(g.layout.context.mask.sum().item() for g in groups) for groups in [first, *again]}
    assert len(lengths) > 1, "the same prompts were dropped every time"


def test_what_is_kept_is_what_was_drawn(family, tmp_path):
    vae, tasks = load_vae(family), many(after_references, 3)
    with torch.no_grad():
        drawn = {"references": draw(tasks, vae, 4.0)}
    for _ in ("made", "read"):
        (rows,) = Kept(tmp_path).get("step", lambda: drawn).values()
        for row, true in zip(rows, drawn["references"], strict=True):
            assert (row.prompts, row.grids, row.reference_grids) == (
                true.prompts, true.grids, true.reference_grids,
            )  # fmt: skip
            torch.testing.assert_close(row.latents, true.latents, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(row.clean, true.clean, rtol=1e-3, atol=1e-3)
            assert torch.equal(row.nouns, true.nouns)
            assert all(torch.equal(a, b) for a, b in zip(row.views, true.views, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["step.safetensors"]


def test_what_the_vae_shows_badly_is_left_out_of_curated_data(family):
    tasks, vae = many(text_to_image, 4), load_vae(family)
    with torch.no_grad():
        assert len(draw(tasks, vae, 4.0)) == 4
        assert not draw(tasks, vae, 4.0, least_db=99.0)


def test_easy_scenes_do_not_return_in_the_mixture(family, understanding):
    data = replace(TINY.data, distinct_steps=2, easy_steps=2)
    batches = Batches(understanding, load_vae(family), TINY.model, data, "fp32")
    easy, mixed = batches.batch_at(0), batches.batch_at(2)
    assert len(easy[0].latents) == data.singles
    assert not torch.equal(easy[0].latents[:1], mixed[0].latents[:1])


def test_cells_under_an_object_weigh_more():
    scene = Scene((SceneObject("fox", cx=0.25, cy=0.75, size=0.25),), Background.plain("white"))
    frame = Frame(scene, (8, 8))
    weights = emphasised(frame, frame.draw(), None, 4.0).reshape(8, 8)
    assert weights[6, 2] == weights[5, 1] == 4
    assert weights[2].eq(1).all()
    assert 3 <= (weights == 4).sum() <= 9


def test_cells_that_an_edit_empties_weigh_more():
    scene = Scene((SceneObject("fox", cx=0.25, cy=0.75, size=0.25),), Background.plain("white"))
    before, after = Frame(scene, (8, 8)), Frame(replace(scene, objects=()), (8, 8))
    weights = emphasised(after, after.draw(), before.draw(), 4.0).reshape(8, 8)
    assert weights[6, 2] == 4
    assert emphasised(after, after.draw(), None, 4.0).eq(1).all()
    night = Frame(replace(scene, objects=(), background=Background.plain("black")), (8, 8))
    assert emphasised(night, night.draw(), before.draw(), 4.0).eq(1).all(), "no edit, another picture"


def test_cells_know_the_noun_that_covers_most_of_them():
    fox = SceneObject("fox", cx=0.25, cy=0.75, size=0.25)
    owl = replace(fox, concept="owl", cy=0.7)
    ground = Background.plain("white")
    alone = nouns(Frame(Scene((fox,), ground), (8, 8))).reshape(8, 8)
    assert alone[5, 1] == alone[6, 2] == NUMBERS["fox"]
    assert alone[2].eq(NOTHING).all()
    both = nouns(Frame(Scene((fox, owl), ground), (8, 8))).reshape(8, 8)
    assert both[5, 1] == NUMBERS["owl"], "the last is in front"
    group = nouns(Frame(Scene((replace(fox, cx=0.5, cy=0.5, count=4),), ground), (8, 8))).reshape(8, 8)
    assert len({(y < 4, x < 4) for y, x in group.nonzero().tolist()}) == 4, "of a group all members"


def test_a_picture_that_is_no_scene_asks_for_no_nouns():
    portrait = text_to_image(np.random.default_rng(0), kinds={"portrait": 1.0})
    assert nouns(portrait.shots[0]).eq(UNSAID).all()


def test_layout_fits_the_latents(batches):
    for step in range(4):
        for group in batches.batch_at(step):
            assert group.layout.noisy.kind.shape == group.latents.shape[:2]
            assert group.layout.clean.kind.shape == group.clean.shape[:2]
            assert group.layout.context.kind.shape == group.text[0][0].shape[::2]
            assert not group.latents[~group.layout.noisy.mask].any()
            assert (group.weights > 0).equal(group.layout.noisy.mask)


def test_chapters_of_a_series_read_as_they_would_alone(understanding):
    prompts, grids = ("a fox", "two red balloons at the left", "an owl"), (BASE, (6, 10), BASE)
    rope, scope = TINY.model.rope, TextScope.OWN
    pairs, layout = read(understanding, [Condition(prompts, grids)], rope, scope)
    for number, (prompt, grid) in enumerate(zip(prompts, grids, strict=True)):
        alone, _ = read(understanding, [Condition((prompt,), (grid,))], rope, scope)
        mine = (layout.context.chapter[0] == number) & layout.context.mask[0]
        for (keys, values), (k, v) in zip(pairs, alone, strict=True):
            torch.testing.assert_close(keys[0][:, mine], k[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(values[0][:, mine], v[0], rtol=1e-4, atol=1e-5)


def test_loss_ignores_padding(batches):
    torch.manual_seed(0)
    learner = Learner(Mot(TINY.model), 0.5)
    torch.nn.init.normal_(learner.mot.final.project.weight)
    groups = batches.batch_at(1)
    before = loss_of(learner, groups)
    for group in groups:
        padding = ~group.layout.noisy.mask
        group.latents = torch.where(padding[..., None], torch.tensor(9.0), group.latents)
        group.nouns = torch.where(padding, torch.tensor(7), group.nouns)
    assert loss_of(learner, groups) == pytest.approx(before, rel=1e-5)


def loss_of(learner: Learner, groups: list[Group]) -> float:
    return visualizer_loss(learner, groups, torch.Generator().manual_seed(0), torch.ones(48))[0].item()


def counted(group: Group) -> tuple[torch.Tensor, torch.Tensor]:
    """What the real cells of a group count, and what stands in them."""
    real = group.layout.noisy.mask
    return group.weights[real], group.nouns[real]


def test_the_loss_asks_for_nouns_as_much_as_the_stage_says(batches):
    torch.manual_seed(0)
    mot, groups = Mot(TINY.model), batches.batch_at(1)
    silent, asking = Learner(mot, 0.0), Learner(mot, 0.5)
    flow, both = loss_of(silent, groups), loss_of(asking, groups)
    cells, asked = (torch.cat(of) for of in zip(*map(counted, groups), strict=True))
    share = ((asked != UNSAID) * cells).sum() / cells.sum()
    guess = float(np.log(asking.head.out_features))
    assert both - flow == pytest.approx(0.5 * guess * share.item(), rel=0.2), "guesses cost what guesses do"
    for group in groups:
        group.nouns = torch.full_like(group.nouns, UNSAID)
    assert loss_of(asking, groups) == pytest.approx(flow, rel=1e-6)


def test_channel_weights_find_what_the_decoder_hears(batches, monkeypatch):
    latents = batches.base_latents(2)
    assert latents.shape == (2, 48, 8, 8)
    loud = torch.ones(48)
    loud[7] = 4.0
    monkeypatch.setattr(type(batches.vae), "decode", lambda self, z: z * loud[:, None, None])
    weights = channel_weights(batches.vae, latents)
    assert weights.mean().item() == pytest.approx(1.0)
    assert (weights[7] / weights[0]).item() == pytest.approx(4.0, rel=0.3)


def test_training_resumes_to_the_same_weights_and_exports(family, tmp_path):
    loop = replace(TINY.loop, steps=4, save_every=2)
    stage = replace(TINY, loop=loop)
    whole = run([stage], family, tmp_path / "whole", tmp_path / "export", "fp32", resume=False)
    half = tmp_path / "half"

    class Killed(Exception):
        """Stands for a kill after the first checkpoint."""

    import training.visualizer.__main__ as module

    plot = module.plot_losses

    def die_after_the_first_save(history: list[dict[str, float]], path: Path, title: str) -> None:
        if history[-1]["step"] == 2:
            raise Killed
        plot(history, path, title)

    module.plot_losses = die_after_the_first_save
    try:
        with pytest.raises(Killed):
            run([stage], family, half, None, "fp32", resume=False)
    finally:
        module.plot_losses = plot
    resumed = run([stage], family, half, None, "fp32", resume=True)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value)
    exported = Mot.load(tmp_path / "export").state_dict()  # strictly: the head that names is not among it
    torch.testing.assert_close(exported["embed.weight"], whole.embed.weight.data, rtol=1e-3, atol=1e-4)
    lineage = json.loads((tmp_path / "export" / "mot.json").read_text())["training"]
    assert lineage["step"] == 4


def head_of(folder: Path) -> torch.Tensor:
    (checkpoint,) = folder.glob("checkpoint-*.safetensors")
    return load_file(checkpoint)["ema.head.weight"]


def test_a_stage_starts_from_what_the_one_before_it_reached(family, tmp_path):
    export = tmp_path / "export"
    run(tiny(), family, tmp_path / "both", export, "fp32", resume=False)
    lineage = json.loads((export / "mot.json").read_text())["training"]
    assert (lineage["stage"], lineage["before"]["stage"]) == ("visualizer/ct", "visualizer/pt")
    heads = [head_of(tmp_path / "both" / name) for name in ("pt", "ct")]
    assert heads[1].abs().mean() > 1.5 * heads[0].abs().mean(), "the second began anew, at zero"
    first, second = tiny()
    run([first], family, tmp_path / "first", tmp_path / "pt", "fp32", resume=False)
    run([second], family, tmp_path / "second", tmp_path / "ct", "fp32", resume=False, start=tmp_path / "pt")
    again = json.loads((tmp_path / "ct" / "mot.json").read_text())["training"]
    assert again["before"]["stage"] == "visualizer/pt"
    assert again["loss"] == pytest.approx(lineage["loss"], rel=0.01), "fp16 lies between the two stages alone"


def test_weights_of_another_model_are_no_start(family, tmp_path):
    run([TINY], family, tmp_path / "run", tmp_path / "export", "fp32", resume=False)
    deeper = replace(TINY, model=replace(TINY.model, ffn=16))
    with pytest.raises((ValueError, RuntimeError), match=r"another model|size mismatch"):
        run([deeper], family, tmp_path / "other", None, "fp32", resume=False, start=tmp_path / "export")


def test_paper_config_builds_its_first_step_at_a_tiny_width():
    stage = paper()[0]
    shape = {"depth": 2, "width": 32, "heads": 4, "kv_heads": 1, "ffn": 48}
    mot = Mot(replace(stage.model, **shape, rope=TINY.model.rope))
    assert mot.config.text_scope is TextScope.CAUSAL
    assert [(s.name, s.loop.steps) for s in paper()] == [("pt", 713_000), ("ct", 223_000), ("sft", 13_000)]


def test_a_mean_lies_between_the_weights_of_two_runs_and_tells_of_both(family, tmp_path):
    config = json.loads((family / "mot.json").read_text())["config"]
    begun = {name: value.float() for name, value in load_file(family / "mot.safetensors").items()}
    for name, moved in (("before", 0.0), ("after", 1.0)):
        export("mot", {k: v + moved for k, v in begun.items()}, config, tmp_path / name, {"stage": name})
    mean(tmp_path / "before", tmp_path / "after", 0.25, tmp_path / "mean")
    found = load_file(tmp_path / "mean/mot.safetensors")
    assert all(torch.allclose(found[k].float(), v + 0.25, atol=2e-3) for k, v in begun.items())
    lineage = json.loads((tmp_path / "mean/mot.json").read_text())["training"]
    assert (lineage["before"]["stage"], lineage["after"]["stage"]) == ("before", "after")


def test_models_of_other_sizes_have_no_mean(family, tmp_path):
    config = json.loads((family / "mot.json").read_text())["config"]
    for name, width in (("before", 1), ("after", 2)):
        export("mot", {}, config | {"width": width}, tmp_path / name, {})
    with pytest.raises(ValueError, match="other sizes"):
        mean(tmp_path / "before", tmp_path / "after", 0.5, tmp_path / "mean")
