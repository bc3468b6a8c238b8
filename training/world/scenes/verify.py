"""Does a picture show its scene? Exact per-property verdicts, from the words alone.

Only what a caption says is asked for (concept, colour, style, place, size, count, relation, background and
weather), so the same check serves rendered and generated pictures. Objects are found by
`training.world.scenes.sighting`, backgrounds by `training.world.scenes.grounds`.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.world.assets.concepts import SHAPES
from training.world.pixels import planes_of
from training.world.report import Finding, Report
from training.world.scenes import grounds
from training.world.scenes.matching import Floats, alike, checked, resized
from training.world.scenes.ordering import in_order
from training.world.scenes.relations import Spot, holds
from training.world.scenes.scene import Background, ObjectSpec, RelationSpec, Scene, Spec
from training.world.scenes.sighting import EXPLAINED, SIZES, SURROUND, Reader, Sight, place_at

GROUND_ERROR = 40.0  # most mean error (0..255) between a picture's ground and its class
ALPHA_ERROR = 0.1  # most mean opacity of a clear ground
RADII = {word: sizes[1] / 2 + 0.06 for word, sizes in SIZES.items()}


def verify(scene: Scene | Spec, image: NDArray[np.uint8], strict: bool = False) -> Report:
    """Check a picture (straight RGBA uint8 `[H, W, 4]`) against what a caption of the scene says.

    `strict` takes the unsaid for clear weather and the flat style, compares with the whole catalogue, and
    tells an object at a wrong place from a missing one. Two styles in which a noun hardly differs count as
    one.
    """
    wanted = scene if isinstance(scene, Spec) else scene.spec
    picture = planes_of(checked(image))
    weathers = strict or wanted.background.weather is not None
    ground, error = grounds.nearest(wanted, picture, RADII, weathers)
    findings = _ground_findings(wanted, ground, error, weathers)
    reader = Reader(picture, ground, wanted, strict)
    seen = reader.sights()
    for item, sight in zip(wanted.objects, seen, strict=True):
        findings += _object_findings(reader, item, sight)
        if (strict or item.style != "flat") and item.concept not in SHAPES:
            same = sight.style == item.style or alike(item.concept, sight.style, item.style)
            passed = sight.present and same
            findings.append(Finding("style", item.concept, passed, sight.style))
    findings += [_relation_finding(reader, relation, seen) for relation in wanted.relations]
    findings.append(_alpha_finding(wanted, picture, reader.expected))
    unexplained = float((np.abs(picture - reader.expected).mean(-1) > 40).mean())
    return Report(tuple(findings), unexplained)


def _object_findings(reader: Reader, item: ObjectSpec, sight: Sight) -> list[Finding]:
    """Identity, then what the caption says of colour, size, place and count."""
    about = f"{item.concept} at {item.place}" if item.place else item.concept
    rest = _coarse_energy(reader.picture[sight.box] - reader.expected[sight.box])
    share = sight.match.gain / max(sight.match.gain + rest, 1.0)
    present = sight.present and (
        share > EXPLAINED if item.count == 1 else 2 * len(sight.members) >= item.count
    )
    found = sight.concept if present else "nothing"
    findings = [Finding("object", about, present and sight.concept == item.concept, found)]
    if item.color is not None:
        findings.append(Finding("color", about, present and sight.color == item.color, str(sight.color)))
    if item.size:
        size = next(word for word, sizes in SIZES.items() if sight.match.size in sizes)
        findings.append(Finding("size", about, present and size == item.size, size))
    if item.place and (reader.strict or item.count > 1):
        place = _place(reader, sight)
        findings.append(Finding("place", about, present and place == item.place, place))
    if item.count > 1:
        count = len(sight.members)
        findings.append(Finding("count", about, count == item.count, str(count)))
    return findings


def _relation_finding(reader: Reader, relation: RelationSpec, seen: list[Sight]) -> Finding:
    """Whether a relation holds between what was found."""
    index = reader.wanted.objects.index
    subject, target = seen[index(relation.subject)], seen[index(relation.target)]
    passed = subject.present and target.present
    passed = passed and holds(relation.kind, _spot(reader, subject), _spot(reader, target))
    if passed and relation.kind in ("behind", "in front of"):
        pair = (relation.target, target), (relation.subject, subject)
        back, front = pair if relation.kind == "in front of" else pair[::-1]
        passed = in_order(reader.view, reader.pieces(*back), reader.pieces(*front))
    about = f"{relation.subject.concept} {relation.kind} {relation.target.concept}"
    return Finding("relation", about, passed, "holds" if passed else "does not hold")


def _spot(reader: Reader, sight: Sight) -> Spot:
    y, x = sight.match.center(reader.view)
    return Spot(x / reader.view.unit, y / reader.view.unit, sight.match.size)


def _place(reader: Reader, sight: Sight) -> str:
    """The place word of an object, or of the middle of a group."""
    centers = np.array([match.center(reader.view) for match in sight.members or (sight.match,)])
    y, x = (centers.min(0) + centers.max(0)) / 2
    return place_at(reader.view, y, x)


def _coarse_energy(difference: Floats) -> float:
    """Energy of what is left around an object, in picture pixels; fine detail does not count."""
    height, width = difference.shape[:2]
    small = resized(difference, round(10 * SURROUND), round(10 * SURROUND))
    return float(np.square(small).mean() * 4 * height * width)


def _ground_findings(wanted: Spec, found: Background, error: float, weathers: bool) -> list[Finding]:
    """The background without its weather, and the weather of a setting."""
    about = "the background"
    clear, asked = (replace(each.key, weather=None) for each in (found, wanted.background))
    passed = clear == asked and error < GROUND_ERROR
    findings = [Finding("background", about, passed, f"{found.phrase} (error {error:.0f})")]
    if weathers and wanted.background.kind == "setting":
        passed = found.kind == "setting" and found.weather == wanted.background.weather
        findings.append(Finding("weather", about, passed, found.weather or "clear"))
    return findings


def _alpha_finding(wanted: Spec, picture: Floats, expected: Floats) -> Finding:
    """Transparent ground is clear beside the objects; any other picture is opaque throughout."""
    about = "the background"
    alpha = grounds.cells(picture[..., 3:])[..., 0] / 255
    if wanted.background.kind != "transparent":
        mean = float(alpha.mean())
        return Finding("alpha", about, mean > 1 - ALPHA_ERROR / 3, f"mean alpha {mean:.2f}")
    beside = grounds.outside(wanted, picture.shape[0], picture.shape[1], RADII)
    if any(not item.place or item.count > 1 for item in wanted.objects):
        beside = np.where(grounds.cells(expected[..., 3:])[..., 0] > 1, grounds.COVERED, 1.0)
    mean = float((alpha * beside).sum() / beside.sum())
    return Finding("alpha", about, mean < ALPHA_ERROR, f"mean alpha {mean:.2f} beside the objects")
