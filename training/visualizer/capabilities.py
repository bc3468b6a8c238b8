"""What the visualizer is held to, a row a capability: how its cases are made, and what is measured of them.

Every measure of a case is a number: 1 and 0 for right and wrong, shares, or a quantity with its unit in the
name. `evaluate.py` paints the cases and puts the measures together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import partial
from typing import TypeVar

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.color import deltaE_ciede2000, rgb2lab

from training.visualizer.tasks import BASE, OTHERS, USUAL, Task, after_references, series, text_to_image
from training.world.assets.concepts import is_held_out
from training.world.kinds import Pixels
from training.world.pictures.lettering import layout
from training.world.pictures.posters import SIDE, Poster
from training.world.pictures.reading import read
from training.world.pixels import canvas_of, planes_of
from training.world.report import Finding, Report
from training.world.scenes.caption import caption
from training.world.scenes.rich import sample_arranged_scene, sample_rich_scene
from training.world.scenes.sample import sample_scene
from training.world.scenes.scene import Background, Scene
from training.world.tasks.changes import CHANGES
from training.world.tasks.checks import changed
from training.world.tasks.pictures import kind_of
from training.world.tasks.sample import Frame
from wanimage.coloring import meant
from wanimage.conditions import hex_word
from wanimage.v1 import types_pb2 as pb

GROUND_NEAR = 24
"""Levels within which a pixel is of the ground's colour."""

T = TypeVar("T")
Rng = np.random.Generator
Measures = dict[str, float]
TRIES = 4000
LOST_OUTSIDE = 1.5
"""dB that an edit may lose outside, beside what the VAE alone loses there."""
FEW_LETTERS, MANY_LETTERS = 3, 40
"""Words of a short text, characters of a long one."""


@dataclass(frozen=True)
class Row:
    """One capability. `bars` are the goals by measure; a measure whose name starts with `least` is better
    small."""

    name: str
    make: Callable[[Rng], Task]
    judge: Callable[[Task, Sequence[Pixels], Report], Measures]
    """Measures of a task, what was painted for it, and `report_of` both."""
    bars: dict[str, float] = field(default_factory=dict)
    task: str = "scene"
    """The kind or task of `tasks.Shares` that training asks more of when the row fails."""


def rows() -> dict[str, Row]:
    """All rows by name."""
    short, long = partial(_poster, False), partial(_poster, True)
    palette = {"least deltaE2000": 8.0, "least share off": 8.0}
    clear = {"least alpha off": 0.03, "least fringe": 5.0}
    counted, related = (partial(of_findings, (name,)) for name in ("count", "relation"))
    steady = lambda identity: {"identity": identity, "order": 0.85}  # noqa: E731
    found = [
        *(
            Row(f"{n} objects", partial(_core, n), of_scene, {"objects": bar}, "core")
            for n, bar in _BY_COUNT.items()
        ),
        Row("catalogue, flat", partial(_rich, "flat"), of_scene),
        Row("catalogue, other styles", partial(_rich, "other"), of_scene),
        Row("counts 2-5", partial(_arranged, "count"), counted, {"count": 0.75}),
        Row("counts 2-5, whole catalogue", partial(_rich, "count"), counted),
        Row("relations", partial(_arranged, "relation"), related, {"relation": 0.8}),
        Row("relations, whole catalogue", partial(_rich, "relation"), related),
        *(Row(f"aspect {h}:{w}", partial(_wide, (h, w)), of_scene) for h, w in (BASE, *USUAL, *OTHERS)),
        Row("no background", _transparent, of_alpha, clear),
        Row("stickers", partial(_kind, "sticker"), of_alpha, clear, "sticker"),
        Row("portraits", partial(_kind, "portrait"), of_all, {"attributes": 0.85}, "portrait"),
        Row("palettes", partial(_kind, "palette"), of_palette, palette, "palette"),
        Row("grounds by hex", _by_hex, of_ground, {"least deltaE2000": 8.0}, "core"),
        Row("text of 1-3 words", short, of_text, {"exact": 0.75}, "poster"),
        Row("text of 40 characters and more", long, of_text, {"characters": 0.85}, "poster"),
        Row("charts", partial(_kind, "chart"), of_all, {}, "chart"),
        Row("screens", partial(_kind, "screen"), of_all, {}, "screen"),
        Row("unseen nouns as references", _novel, of_novel, {"objects": 0.7}, "compose"),
        Row("2-4 references", partial(_composed, 2, 4), of_scene, {"kept": 0.8}, "compose"),
        Row("5-9 references", partial(_composed, 5, 9), of_scene, {"kept": 0.6}, "compose"),
        Row("series of 2-4", partial(_series, 2, 4), of_series, steady(0.85), "text_to_series"),
        Row("series of 5-12", partial(_series, 5, 12), of_series, steady(0.7), "text_to_series"),
    ]
    edits = [f"edit_{change}" for change in CHANGES]
    for name, cued in [
        *((name, False) for name in edits),
        *((name, True) for name in edits if name not in _WHOLE),
        *((f"edit_{of}", False) for of in ("portrait", "text", "chart")),
        ("extract", True),
    ]:
        said = f"{name.replace('_', ' ')}{', by cues' if cued else ''}"
        found.append(Row(said, partial(_edit, name, cued), of_edit, {"target": 0.8}, name))
    return {row.name: row for row in found}


_BY_COUNT = {1: 0.98, 2: 0.95, 3: 0.9, 5: 0.75}
SPLIT = "heldout"
_WHOLE = ("edit_background", "edit_restyle")
"""Edits of all of a picture, which no cue points at."""
_NOVEL = ("edit_move", "edit_background", "extract")
"""Tasks whose result shows a noun that no training has seen."""


# --- cases -----------------------------------------------------------------------------------------------


def _scene_task(scene: Scene, rng: Rng, grid: tuple[int, int] = BASE) -> Task:
    return Task((Frame(scene, grid, caption(scene, rng)),), name="scene")


def _core(count: int, rng: Rng) -> Task:
    return _scene_task(sample_scene(rng, SPLIT, n_objects=count), rng)


def _wide(grid: tuple[int, int], rng: Rng) -> Task:
    return _scene_task(sample_scene(rng, SPLIT, n_objects=int(rng.integers(1, 3)), aspect=grid), rng, grid)


def _transparent(rng: Rng) -> Task:
    count = int(rng.integers(1, 4))
    return _scene_task(sample_scene(rng, SPLIT, count, background=Background.transparent()), rng)


def _by_hex(rng: Rng) -> Task:
    """A plain ground of any colour, which a request gives by hex and the prompt in a word."""
    value = f"#{int(rng.integers(0x1000000)):06X}"
    scene = sample_scene(rng, SPLIT, int(rng.integers(1, 3)), background=Background.plain(hex_word(value)))
    asked = pb.Background(kind=pb.Background.KIND_COLOR, hex=value)
    return replace(_scene_task(scene, rng), palette=meant(pb.Palette(), asked))


def _rich(of: str, rng: Rng) -> Task:
    """A scene of the whole catalogue that has what the row asks for."""
    return _scene_task(_until(lambda: sample_rich_scene(rng, SPLIT), _FITS[of]), rng)


def _arranged(of: str, rng: Rng) -> Task:
    """The same of core nouns, a group or a relation."""
    return _scene_task(_until(lambda: sample_arranged_scene(rng, SPLIT), _FITS[of]), rng)


_FITS: dict[str, Callable[[Scene], bool]] = {
    "flat": lambda s: s.objects[0].style == "flat" and len(s.objects) < 4 and not _grouped(s),
    "other": lambda s: s.objects[0].style != "flat" and len(s.objects) < 4 and not _grouped(s),
    "count": lambda s: 2 <= max(o.count for o in s.objects) <= 5,
    "relation": lambda s: bool(s.relations),
}
"""What a scene must have that a row asks for."""


def _grouped(scene: Scene) -> bool:
    return bool(scene.relations) or any(item.count > 1 for item in scene.objects)


def _kind(name: str, rng: Rng) -> Task:
    return text_to_image(rng, SPLIT, {name: 1.0})


def _poster(long: bool, rng: Rng) -> Task:
    def fits(task: Task) -> bool:
        text = " ".join(block.text for block in task.shots[0].scene.blocks)
        return len(text) >= MANY_LETTERS if long else len(text.split()) <= FEW_LETTERS

    return _until(lambda: _kind("poster", rng), fits)


def _novel(rng: Rng) -> Task:
    """An edit of a picture with a noun that no training has seen."""
    return _until(
        lambda: after_references(rng, "heldout_concepts", dict.fromkeys(_NOVEL, 1.0)),
        lambda task: any(is_held_out(item.concept) for item in task.shots[0].scene.objects),
    )


def _composed(least: int, most: int, rng: Rng) -> Task:
    return _until(
        lambda: after_references(rng, SPLIT, {"compose": 1.0}, most),
        lambda t: least <= len(t.references) <= most,
    )


def _series(least: int, most: int, rng: Rng) -> Task:
    return _until(lambda: series(rng, SPLIT, most=most), lambda task: least <= len(task.shots) <= most)


def _edit(name: str, cued: bool, rng: Rng) -> Task:
    return _until(
        lambda: after_references(rng, SPLIT, {name: 1.0}), lambda task: bool(task.references[0].cues) == cued
    )


def _until(make: Callable[[], T], fits: Callable[[T], bool]) -> T:
    for _ in range(TRIES):
        if fits(found := make()):
            return found
    raise ValueError(f"no such case in {TRIES} tries")


# --- measures --------------------------------------------------------------------------------------------


def report_of(task: Task, pictures: Sequence[Pixels]) -> Report:
    """All that is asked of the pictures: of a world's sample by the sample, else by the kind."""
    if task.sample is not None:
        return task.sample.verify(pictures)
    frame = task.shots[0]
    return kind_of(frame.kind).verify(frame.scene, pictures[0])


def of_scene(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """All objects where they belong; each object; its colour; the ground; all of it."""
    measures = {"right": float(report.passed), "kept": report.score("object")}
    measures["objects"] = float(all(f.passed for f in report.findings if f.property in ("object", "place")))
    for name in ("color", "size", "style", "background"):
        measures |= _score(report, name)
    return measures


def of_findings(names: tuple[str, ...], task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """Some properties, each the share of its findings that hold."""
    return {k: v for name in ("object", *names) for k, v in _score(report, name).items()}


def of_all(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """Everything at once, and the share of what was asked."""
    return {"right": float(report.passed), "attributes": report.score()}


def of_novel(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """The unseen nouns that the result must show."""
    asked = [f.passed for f in report.findings if f.property == "object" and is_held_out(_subject(f))]
    return {"objects": float(np.mean(asked))} if asked else {}


def of_text(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """All lines exactly, and the share of characters that are read in order."""
    poster: Poster = task.shots[0].scene
    canvas = canvas_of(pictures[0])
    right = letters = 0
    exact = True
    side = SIDE if poster.ground.panel else 2.0
    for block in poster.blocks:
        for line in layout(block, *canvas.shape[:2]):
            found = read(canvas, line, side).text
            pairs = SequenceMatcher(None, line.text, found, autojunk=False).get_matching_blocks()
            right += sum(pair.size for pair in pairs)
            letters += len(line.text)
            exact &= found == line.text
    return {"exact": float(exact), "characters": right / max(1, letters)}


def of_palette(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """Mean deviation of the colours that were found, and of their shares in points."""
    palette = task.shots[0].scene
    seen = [f.found for f in report.findings if f.property == "proportion"]
    colors, shares = [], []
    for (wanted, percent), found in zip(palette.colors, seen, strict=True):
        color, _, share = found.partition(" ")
        missing = found == "nothing"
        shares.append(abs(percent - (0.0 if missing else float(share.rstrip("%")))))
        colors.append(float(deltaE_ciede2000(_lab(wanted), _lab("#808080" if missing else color))))
    off = {"least deltaE2000": float(np.mean(colors)), "least share off": float(np.mean(shares))}
    return {"right": float(report.passed), **off}


def of_ground(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """How far the middle colour of the ground is from the hex that was asked for, and the objects before it,
    which the verifier is shown before the ground that it knows, that of the word."""
    frame, palette = task.shots[0], task.palette
    assert palette is not None, "a case of this row asks for a colour by hex"
    empty = replace(frame, scene=replace(frame.scene, objects=())).draw()
    bare = (frame.draw() == empty).all(-1)
    red, green, blue = np.median(pictures[0][bare][:, :3], axis=0).astype(int)
    wanted = "#" + bytes((127.5 * (palette.colors[0] + 1)).round().astype(np.uint8)).hex()
    off = float(deltaE_ciede2000(_lab(wanted), _lab(f"#{red:02x}{green:02x}{blue:02x}")))
    moved = empty[0, 0, :3].astype(np.float32) - (red, green, blue)
    like = np.abs(pictures[0][..., :3].astype(np.float32) - (red, green, blue)).max(-1) < GROUND_NEAR
    known = pictures[0].copy()
    known[like, :3] = (known[like, :3] + moved).clip(0, 255)
    findings = report_of(task, [known]).findings
    objects = all(f.passed for f in findings if f.property in ("object", "place"))
    return {"objects": float(objects), "least deltaE2000": off}


def of_alpha(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """The opacity where there should be none, and all that is asked; of what is painted, its fringe beyond
    that of the true picture."""
    true, painted = task.shots[0].draw(), pictures[0]
    clear = true[..., 3] == 0
    found = {"right": float(report.passed), **_score(report, "object")}
    found["least fringe"] = max(0.0, fringe(painted) - fringe(true))
    return found | ({"least alpha off": float(painted[clear][:, 3].mean() / 255)} if clear.any() else {})


def fringe(picture: Pixels) -> float:
    """What the half-clear pixels of a picture add to any ground that the opaque ones beside them would not:
    the mean difference in levels, weighed by opacity. It is the same before every ground."""
    alpha, color = picture[..., 3], picture[..., :3].astype(np.float32)
    edge, solid = (alpha > 12) & (alpha < 243), alpha >= 243
    if not (edge.any() and solid.any()):
        return 0.0
    nearest = distance_transform_edt(~solid, return_distances=False, return_indices=True)
    off = np.abs(color - color[tuple(nearest)]).mean(-1)[edge]
    return float((off * alpha[edge] / 255).mean())


def of_series(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """The same character at both ends, and each picture what its place in the order asks."""
    measures = {"order": report.score("object", "color", "background", "count", "expression")}
    measures["right"] = float(report.passed)
    return measures | _score(report, "identity")


def of_edit(task: Task, pictures: Sequence[Pixels], report: Report) -> Measures:
    """Whether what the edit asks for is right, and all of the picture; how well the rest was kept."""
    found = [f for f in report.findings if f.property != "outside"]
    due = wanting(task)
    target = [f.passed for f in found if f.property == "cues" or _subject(f) in due]
    measures = {"target": float(all(target)), "right": float(all(f.passed for f in found))}
    measures |= _score(report, "outside")
    kept = outside(task, pictures[0])
    return measures if kept is None else measures | {"dB outside": kept}


def wanting(task: Task) -> set[str]:
    """What an edit is about: subjects that in the picture before it, without cues, are not yet as asked."""
    before = report_of(task, [task.references[0].bare.draw()])
    return {_subject(finding) for finding in before.findings if not finding.passed}


def _subject(finding: Finding) -> str:
    """What a finding is about, in whichever picture and wherever that is."""
    return re.sub(r"^picture \d+: ", "", finding.about).split(" at ")[0]


def outside(task: Task, picture: Pixels) -> float | None:
    """dB between a picture and what an edit leaves alone of its reference; None where that is next to
    nothing."""
    if task.name == "extract":
        return None
    before, after = task.references[0].bare.draw(), task.shots[0].draw()
    beyond = ~changed(before, after, 0.08)
    return psnr(before[beyond], picture[beyond]) if beyond.mean() > 0.05 else None


def psnr(a: Pixels, b: Pixels) -> float:
    """dB between straight RGBA pixels, premultiplied, all four planes."""
    error = np.square(planes_of(a) - planes_of(b)).mean(dtype=np.float64)
    return float(10 * np.log10(255**2 / max(1e-9, error)))


def _score(report: Report, name: str) -> Measures:
    asked = [f.passed for f in report.findings if f.property == name]
    return {name: float(np.mean(asked))} if asked else {}


def _lab(color: str) -> np.ndarray:
    return np.asarray(rgb2lab(np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]])))[0]
