"""The visualizer's tasks, batches and two steps of training on a tiny random family."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.families import build_family
from training.vae.export import load as load_vae
from training.visualizer.__main__ import run
from training.visualizer.config import VisualizerTraining
from training.visualizer.data import Batches, Group, emphasised
from training.visualizer.loss import channel_weights, visualizer_loss
from training.visualizer.tasks import BASE, Shot, Task, after_references, series, text_to_image
from training.world.assets import sprites as assets
from training.world.scenes.sample import in_split
from training.world.scenes.scene import Background, Scene, SceneObject
from wanimage.models.conditioning import Condition, read
from wanimage.models.layout import TextScope
from wanimage.models.mot import Mot
from wanimage.models.understanding import Understanding

pytestmark = pytest.mark.skipif(not assets.icons_path().exists(), reason="the icons are not fetched")

TINY = VisualizerTraining.tiny()


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family(tmp_path_factory.mktemp("family")).path


@pytest.fixture(scope="module")
def understanding(family: Path) -> Understanding:
    return Understanding.load(family / "understanding")


@pytest.fixture(scope="module")
def batches(family: Path, understanding: Understanding) -> Batches:
    return Batches(understanding, load_vae(family), TINY.model, TINY.data, "fp32")


def many(make, count: int = 150) -> list[Task]:
    return [make(np.random.default_rng(seed)) for seed in range(count)]


def test_single_pictures_mostly_have_the_base_grid():
    grids = Counter(task.shots[0].grid for task in many(text_to_image, 400))
    assert 0.55 < grids[BASE] / 400 < 0.75
    assert len(grids) == 9


def test_training_scenes_stay_in_their_split():
    for task in many(text_to_image) + many(series) + many(after_references):
        assert all(in_split(shot.scene, "train") for shot in task.shots)


def test_a_series_shares_its_cast_or_its_ground():
    for task in many(series):
        assert 2 <= len(task.shots) <= 4
        casts = {tuple((o.concept, o.color) for o in shot.scene.objects) for shot in task.shots}
        grounds = {shot.scene.background for shot in task.shots}
        assert len(casts) == 1 or len(grounds) == 1


def test_an_edit_keeps_what_it_does_not_name():
    kept = 0
    for task in many(after_references):
        before = {item for shot in task.references for item in shot.scene.objects}
        after = set(task.shots[0].scene.objects)
        grounds = {shot.scene.background for shot in task.references}
        kept += bool(before & after) or task.shots[0].scene.background in grounds
        assert {o.concept for o in before} & {o.concept for o in after}
    assert kept > 100, "only new scenes and compositions keep neither place nor ground"


def same(first: list[Group], second: list[Group]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(a.latents, b.latents) and torch.equal(a.text[0][0], b.text[0][0]) for a, b in pairs
    )


def test_batches_depend_on_the_step_alone(batches):
    assert same(batches.batch_at(4), batches.batch_at(4))
    assert not same(batches.batch_at(4), batches.batch_at(6))
    assert [g.name for g in batches.batch_at(4) if g.name not in ("single", "wide")] == ["references"]
    assert [g.name for g in batches.batch_at(5) if g.name not in ("single", "wide")] == ["series"]


def test_tasks_return_with_their_latents_and_with_new_drops(family, understanding, monkeypatch):
    data = replace(TINY.data, distinct_steps=2, drop_text=0.5)
    batches = Batches(understanding, load_vae(family), TINY.model, data, "fp32")
    first = batches.batch_at(0)
    monkeypatch.setattr(batches.vae, "encode", lambda _: pytest.fail("latents were not kept"))
    again = [batches.batch_at(step) for step in range(2, 12, 2)]
    for groups in again:
        for a, b in zip(first, groups, strict=True):
            assert torch.equal(a.latents, b.latents)
    lengths = {tuple(g.layout.context.mask.sum().item() for g in groups) for groups in [first, *again]}
    assert len(lengths) > 1, "the same prompts were dropped every time"


def test_easy_scenes_do_not_return_in_the_mixture(family, understanding):
    data = replace(TINY.data, distinct_steps=2, easy_steps=2)
    batches = Batches(understanding, load_vae(family), TINY.model, data, "fp32")
    easy, mixed = batches.batch_at(0), batches.batch_at(2)
    assert len(easy[0].latents) == data.singles
    assert not torch.equal(easy[0].latents[:1], mixed[0].latents[:1])


def test_cells_under_an_object_weigh_more():
    scene = Scene((SceneObject("fox", cx=0.25, cy=0.75, size=0.25),), Background.plain("white"))
    weights = emphasised(Shot(scene, (8, 8)), 4.0).reshape(8, 8)
    assert weights[6, 2] == weights[5, 1] == 4
    assert weights[2].eq(1).all()
    assert 4 <= (weights == 4).sum() <= 9


def test_layout_fits_the_latents(batches):
    for step in range(6):
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
    mot = Mot(TINY.model)
    torch.nn.init.normal_(mot.final.project.weight)
    groups = batches.batch_at(1)
    loss = lambda: visualizer_loss(mot, groups, torch.Generator().manual_seed(0), torch.ones(48))[0].item()  # noqa: E731
    before = loss()
    for group in groups:
        group.latents = torch.where(group.layout.noisy.mask[..., None], group.latents, torch.tensor(9.0))
    assert loss() == pytest.approx(before, rel=1e-5)


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
    whole = run(
        replace(TINY, loop=loop), family, tmp_path / "whole", tmp_path / "export", "fp32", resume=False
    )
    half = tmp_path / "half"

    class Killed(Exception):
        """Stands for a kill after the first checkpoint."""

    import training.visualizer.__main__ as stage

    plot = stage.plot_losses

    def die_after_the_first_save(history: list[dict[str, float]], path: Path, title: str) -> None:
        if history[-1]["step"] == 2:
            raise Killed
        plot(history, path, title)

    stage.plot_losses = die_after_the_first_save
    try:
        with pytest.raises(Killed):
            run(replace(TINY, loop=loop), family, half, None, "fp32", resume=False)
    finally:
        stage.plot_losses = plot
    resumed = run(replace(TINY, loop=loop), family, half, None, "fp32", resume=True)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value)
    exported = Mot.load(tmp_path / "export").state_dict()
    torch.testing.assert_close(exported["embed.weight"], whole.embed.weight.data, rtol=1e-3, atol=1e-4)
    lineage = json.loads((tmp_path / "export" / "mot.json").read_text())["training"]
    assert lineage["step"] == 4


def test_paper_config_builds_its_first_step_at_a_tiny_width():
    paper = VisualizerTraining.paper()
    shape = {"depth": 2, "width": 32, "heads": 4, "kv_heads": 1, "ffn": 48}
    mot = Mot(replace(paper.model, **shape, rope=TINY.model.rope))
    assert mot.config.text_scope is TextScope.CAUSAL
    assert paper.loop.steps == 713_000
