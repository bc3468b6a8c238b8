"""How right the verifier is: on clean and blurred renders, and on renders with one planted fault.

    python -m training.world.measuring.verifiers --scenes 500

A fault is caught when the report does not pass; the table in docs/world.md is this output.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.world.assets.concepts import CONCEPTS
from training.world.kinds import Kind
from training.world.measuring.faults import FAULTS as FAULTS_OF
from training.world.pictures import palettes, portraits, stickers
from training.world.scenes import kind as scenes
from training.world.scenes.render import render
from training.world.scenes.sample import apart, place_object, sample_background, sample_scene, visible
from training.world.scenes.scene import Scene, SceneObject
from training.world.scenes.verify import verify
from wanimage.conditions import COLORS, PLACES

Pixels = NDArray[np.uint8]
Fault = Callable[[Scene, np.random.Generator], Scene | None]


def blur(image: Pixels, radius: float) -> Pixels:
    """Gaussian blur of premultiplied pixels."""
    soft = Image.fromarray(image, "RGBA").convert("RGBa").filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(soft.convert("RGBA"))


def noisy(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise on the colours."""
    noise = np.zeros(image.shape)
    noise[..., :3] = rng.normal(0, sigma, (*image.shape[:2], 3))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _any(scene: Scene, rng: np.random.Generator) -> SceneObject:
    return scene.objects[int(rng.integers(len(scene.objects)))]


def _swap(scene: Scene, old: SceneObject, *new: SceneObject) -> Scene:
    return replace(scene, objects=tuple(o for o in scene.objects if o is not old) + new)


def missing(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """One object is not drawn."""
    return _swap(scene, _any(scene, rng))


def wrong_concept(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """One object is drawn as another noun."""
    item = _any(scene, rng)
    name = str(rng.choice([c for c in CONCEPTS if c != item.concept]))
    color = str(rng.choice(list(COLORS))) if CONCEPTS[name].colorable else None
    return (
        _swap(scene, item, replace(item, concept=name, color=color))
        if visible(name, color, scene.background)
        else None
    )


def wrong_color(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """One colourable object has another colour."""
    item = _any(scene, rng)
    if item.color is None:
        return None
    color = str(
        rng.choice([c for c in COLORS if c != item.color and visible(item.concept, c, scene.background)])
    )
    return _swap(scene, item, replace(item, color=color))


def wrong_place(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """One object stands somewhere else."""
    item = _any(scene, rng)
    taken = {(o.concept, o.place) for o in scene.objects}
    places = [p for p in PLACES if (item.concept, p) not in taken]
    new = place_object(rng, item.concept, item.color, str(rng.choice(places)), item.size_word)
    others = [o for o in scene.objects if o is not item]
    return _swap(scene, item, new) if all(apart(new, o) for o in others) else None


def wrong_background(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """Another setting, time, colour or palette."""
    ground = sample_background(rng)
    seen = all(visible(o.concept, o.color, ground) for o in scene.objects)
    return replace(scene, background=ground) if seen and ground.key != scene.background.key else None


FAULTS: dict[str, Fault] = {
    "missing object": missing,
    "wrong concept": wrong_concept,
    "wrong colour": wrong_color,
    "wrong place": wrong_place,
    "wrong background": wrong_background,
}
SOUND: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "clean": lambda image, rng: image,
    "blurred, radius 1 px": lambda image, rng: blur(image, 1.0),
    "blurred, radius 2 px": lambda image, rng: blur(image, 2.0),
    "noise, sigma 12": lambda image, rng: noisy(image, 12.0, rng),
}


def measure(scenes: int, split: str = "val", seed: int = 0, size: int = 128) -> dict[str, float]:
    """Share of right verdicts by kind of picture, and milliseconds a verdict."""
    rng = np.random.default_rng(seed)
    rows: dict[str, float] = {}
    drawn = [sample_scene(rng, split) for _ in range(scenes)]
    pictures = [render(scene, size, size) for scene in drawn]
    verify(drawn[0], pictures[0])  # fills the caches before the clock starts
    for name, change in SOUND.items():
        altered = [change(image, rng) for image in pictures]
        start = time.process_time()
        rows[name] = float(
            np.mean([verify(s, image).passed for s, image in zip(drawn, altered, strict=True)])
        )
        rows.setdefault("ms", 1e3 * (time.process_time() - start) / scenes)
    for name, fault in FAULTS.items():
        refused: list[bool] = []
        while len(refused) < scenes:
            scene = drawn[int(rng.integers(scenes))]
            faulty = fault(scene, rng)
            if faulty is not None:
                refused.append(not verify(scene, render(faulty, size, size)).passed)
        rows[name] = float(np.mean(refused))
    return rows


def measure_kind(kind: Kind, samples: int, seed: int = 0, size: int = 128) -> dict[str, float]:
    """Share of right verdicts by sort of picture, and milliseconds a verdict.

    A sound picture is right when everything passes, a fault when a finding of its own property fails.
    """
    rng = np.random.default_rng(seed)
    graphs = [kind.sample(rng, "val", (1, 1)) for _ in range(samples)]
    pictures = [kind.draw(graph, size, size) for graph in graphs]
    for graph, image in zip(graphs[:20], pictures[:20], strict=True):  # fills the caches
        kind.verify(graph, image)
    rows: dict[str, float] = {}
    for name, change in SOUND.items():
        altered = [change(image, rng) for image in pictures]
        start = time.process_time()
        passed = [kind.verify(graph, image).passed for graph, image in zip(graphs, altered, strict=True)]
        rows[name] = float(np.mean(passed))
        rows.setdefault("ms", 1e3 * (time.process_time() - start) / samples)
    for name, (wrong, fault) in FAULTS_OF[kind.name].items():
        caught: list[bool] = []
        while len(caught) < samples:
            graph = graphs[int(rng.integers(samples))]
            faulty = fault(graph, rng)
            if faulty is not None:
                caught.append(kind.verify(graph, kind.draw(faulty, size, size)).score(wrong) < 1)
        rows[name] = float(np.mean(caught))
    return rows


MEASURED: tuple[Kind, ...] = (scenes.KIND, portraits.KIND, stickers.KIND, palettes.KIND)


def main() -> None:
    """Print the tables, then one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=500, help="pictures a row")
    parser.add_argument("--seed", type=int, default=0, help="seed of pictures and faults")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
    names = ["classic", *(kind.name for kind in MEASURED)]
    parser.add_argument("--kinds", nargs="+", choices=names, default=names, help="what to measure")
    options = parser.parse_args()
    tables: dict[str, dict[str, float]] = {}
    for name in options.kinds:
        if name == "classic":
            tables[name] = measure(options.scenes, seed=options.seed, size=options.size)
        else:
            kind = next(kind for kind in MEASURED if kind.name == name)
            tables[name] = measure_kind(kind, options.scenes, options.seed, options.size)
        print(f"{name}:")
        for row, value in tables[name].items():
            print(f"| {row} | {value:.1f} ms |" if row == "ms" else f"| {row} | {100 * value:.1f} % |")
    print(json.dumps({"scenes": options.scenes, "size": options.size, "seed": options.seed, **tables}))


if __name__ == "__main__":
    main()
