"""What the refiner can do: `python -m training.refiner.evaluate --n 24 --out runs/nano/refiner/eval`.

Two kinds of held-out cases, all refined to `--edge` pixels:

- `restored`: drawings of the world that were shrunk and degraded; the truth is known. Compared with bicubic
  and Lanczos enlargement, and with a small super-resolution network where `--rival` names one (`rival.py`).
- `drawn`: what the visualizer itself makes of prompts; the verifiers say whether it shows them, before and
  after.

Writes `rows.json`, `table.md` and contact sheets: look at them.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.refiner import judging
from training.refiner.pairs import Case, DataConfig, Studio
from training.refiner.rival import Rival
from training.visualizer.capabilities import rows as capabilities
from training.visualizer.evaluate import gathered
from training.visualizer.evaluate import run as painted
from training.visualizer.sample import Painter
from training.world.kinds import Graph, Pixels
from training.world.pictures import portraits
from training.world.tasks.pictures import kind_of
from wanimage.images import resize
from wanimage.limits import target_size
from wanimage.models.refiner import Refiner
from wanimage.refining import MODES, Mode, enlargement_of, read_prompts, refine
from wanimage.sampling import SamplerConfig

log = logging.getLogger("training.refiner.evaluate")
RESTORED = {"scene": 0.4, "portrait": 0.2, "poster": 0.2, "sticker": 0.2}
DRAWN = ("2 objects", "portraits", "text of 1-3 words", "stickers")
SHOWN, TILE = 8, 288
Measures = dict[str, float]
Enlarge = Callable[[Pixels, tuple[int, int]], Pixels]


@dataclass(frozen=True)
class Refined:
    """The models, ready to refine."""

    studio: Studio
    refiner: Refiner
    edge: int

    def __call__(self, picture: Pixels, prompt: str, mode: Mode, seed: int = 0) -> Pixels:
        size = target_size((picture.shape[0], picture.shape[1]), self.edge, "edge")
        with torch.inference_mode():
            said = read_prompts(self.studio.understanding, self.refiner, [prompt])
            return refine(
                self.studio.vae, self.refiner, enlargement_of(picture, size), said, MODES[mode], seed
            )


def main() -> None:
    """Parse, refine, judge, write."""
    parser = argparse.ArgumentParser(prog="python -m training.refiner.evaluate", description=__doc__)
    parser.add_argument("--family", type=Path, default=Path("weights/nano"))
    parser.add_argument("--refiner", type=Path, help="folder of another refiner")
    parser.add_argument("--rival", type=Path, help="weights of a super-resolution network (rival.py)")
    parser.add_argument("--out", type=Path, default=Path("runs/nano/refiner/eval"))
    parser.add_argument("--n", type=int, default=24, help="cases a row")
    parser.add_argument("--edge", type=int, default=2048)
    parser.add_argument("--rows", default="restored,drawn")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = DataConfig(
        split="heldout", seed=1, sources=RESTORED, edges=(arguments.edge,), larger=0.0, cells=(64,)
    )
    studio = Studio(arguments.family, data)
    refined = Refined(studio, Refiner.load(arguments.refiner or arguments.family), arguments.edge)
    rivals: dict[str, Enlarge] = {}
    if arguments.rival:
        rivals["network"] = Rival.load(arguments.rival).enlarge
    results = []
    wanted = arguments.rows.split(",")
    if "restored" in wanted:
        for mode in Mode:
            results.append(restored(refined, mode, arguments.n, rivals, arguments.out))
            _write(results, arguments.out)
    if "drawn" in wanted:
        for name in DRAWN:
            results += drawn(refined, name, arguments.n, arguments.out)
            _write(results, arguments.out)
    print((arguments.out / "table.md").read_text())


def restored(
    refined: Refined, mode: Mode, count: int, rivals: dict[str, Enlarge], out: Path
) -> dict[str, object]:
    """Degraded drawings against their truth: badly treated ones for repair, others for high fidelity."""
    config = replace(refined.studio.config, repair=float(mode is Mode.REPAIR))
    studio, cases, shown, seconds = replace(refined.studio, config=config), [], [], []
    for index in range(count):
        with torch.inference_mode():
            case = studio.case(np.random.default_rng([config.seed, index]))
        size = (case.truth.shape[0], case.truth.shape[1])
        started = time.perf_counter()
        ours = refined(case.source, case.prompt, mode)
        seconds.append((time.perf_counter() - started) / (size[0] * size[1] / 1e6))
        bicubic = judging.enlarged_by("bicubic", case.source, size)
        others = {name: enlarge(case.source, size) for name, enlarge in rivals.items()}
        cases.append(
            _against_truth(case, ours, {"bicubic": bicubic} | others)
            | _before_and_after(case, ours)
            | _blind(case.source, ours, bicubic)
        )
        if index < SHOWN:
            shown.append([bicubic, *others.values(), ours, case.truth])
    _sheet(shown, out / f"restored_{mode.value}.png")
    return {
        "row": f"restored, {mode.value}", "n": count, "measures": gathered(cases),
        "seconds a megapixel": round(float(np.median(seconds)), 2),
    }  # fmt: skip


def drawn(refined: Refined, name: str, count: int, out: Path) -> list[dict[str, object]]:
    """The visualizer's own pictures of a capability, in both modes."""
    studio = refined.studio
    painter = Painter(studio.understanding, studio.mot, studio.vae, precision="fp32")
    made = painted(painter, capabilities()[name], count, SamplerConfig())
    results = []
    for mode in Mode:
        cases: list[Measures] = []
        shown: list[list[Pixels]] = []
        for case in made:
            frame, picture = case.task.shots[0], case.pictures[0]
            ours = refined(picture, frame.prompt, mode)
            small = resize(ours, *picture.shape[:2])
            verdict = kind_of(frame.kind).verify(frame.scene, small)
            bicubic = judging.enlarged_by("bicubic", picture, (ours.shape[0], ours.shape[1]))
            found = _blind(picture, ours, bicubic)
            found["passed before"] = float(case.report.passed)
            found["passed"] = float(verdict.passed)
            found["same verdicts"] = judging.same_verdicts(case.report, verdict)
            if frame.kind == "portrait":
                found["same face"] = float(portraits.read(picture) == portraits.read(small))
            if frame.kind == "poster":
                found |= _read(frame.scene, picture, ours)
            cases.append(found)
            if len(shown) < SHOWN:
                shown.append([bicubic, ours])
        _sheet(shown, out / f"drawn_{name.replace(' ', '_')}_{mode.value}.png")
        results.append({"row": f"{name}, {mode.value}", "n": len(cases), "measures": gathered(cases)})
    return results


def _against_truth(case: Case, ours: Pixels, others: dict[str, Pixels]) -> Measures:
    """How near the truth a refinement and enlargements of the same source come."""
    truth, size = case.truth, (case.truth.shape[0], case.truth.shape[1])
    shrunk = resize(truth, *case.source.shape[:2])
    others = others | {
        "lanczos": judging.enlarged_by("lanczos", case.source, size),
        "bicubic, only shrunk": judging.enlarged_by("bicubic", shrunk, size),
    }
    found = {"dB": judging.psnr(truth, ours)}
    found |= {f"dB {name}": judging.psnr(truth, other) for name, other in others.items()}
    if (truth[..., 3] < 255).any():
        found["alpha error"] = judging.halo(truth, ours)
        found["alpha error bicubic"] = judging.halo(truth, others["bicubic"])
    return found


def _before_and_after(case: Case, ours: Pixels) -> Measures:
    """What verifier and OCR make of a source and its refinement, and the verifier of the truth."""
    before, after = case.verdict(case.source), case.verdict(ours)
    found = {
        "passed truth": float(case.verdict(case.truth).passed),
        "passed before": float(before.passed),
        "passed": float(after.passed),
    }
    if case.kind == "poster":
        found |= _read(case.graph, case.source, ours)
    return found


def _read(graph: Graph | None, source: Pixels, ours: Pixels) -> Measures:
    """Share of characters that are read, before and after; nothing where they are of no known script."""
    read = [judging.characters_read(graph, each) for each in (source, ours)]
    return {} if read[0] is None or read[1] is None else {"read before": read[0], "read": read[1]}


def _blind(source: Pixels, ours: Pixels, bicubic: Pixels) -> Measures:
    """What needs no truth."""
    return {
        "deltaE": judging.colour_shift(source, ours),
        "sharpness": judging.sharpness(ours),
        "sharpness bicubic": judging.sharpness(bicubic),
        "tenengrad": judging.tenengrad(ours),
        "tenengrad bicubic": judging.tenengrad(bicubic),
        "seam": judging.seam(ours, bicubic),
    }


def _write(results: Sequence[dict[str, object]], out: Path) -> None:
    (out / "rows.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = ["| row | n | measures |", "|---|---|---|"]
    for row in results:
        measures = row["measures"]
        assert isinstance(measures, dict)
        said = "; ".join(f"{name} {v[0]:.3g} ({v[1]:.3g} to {v[2]:.3g})" for name, v in measures.items())
        lines.append(f"| {row['row']} | {row['n']} | {said} |")
    (out / "table.md").write_text("\n".join(lines) + "\n")
    log.info("%s", lines[-1])


def _sheet(rows: Sequence[Sequence[Pixels]], path: Path) -> None:
    """A row a case: each picture whole, and its liveliest eighth at full size below it."""
    if not rows:
        return
    sheet = Image.new("RGB", (TILE * len(rows), 2 * TILE * len(rows[0])), "grey")
    for x, pictures in enumerate(rows):
        top, left = _liveliest(pictures[-1])
        for y, picture in enumerate(pictures):
            image = Image.fromarray(picture, "RGBA")
            part = image.crop((left, top, left + TILE, top + TILE))
            image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(image, (x * TILE, 2 * y * TILE), image)
            sheet.paste(part, (x * TILE, (2 * y + 1) * TILE), part)
    sheet.save(path)


def _liveliest(picture: Pixels) -> tuple[int, int]:
    grey = picture[::8, ::8, :3].astype(np.float32).mean(-1) * (picture[::8, ::8, 3] / 255)
    side = TILE // 8
    spots = [
        (r, c)
        for r in range(0, max(1, grey.shape[0] - side), side // 2)
        for c in range(0, max(1, grey.shape[1] - side), side // 2)
    ]
    top, left = max(spots, key=lambda at: grey[at[0] : at[0] + side, at[1] : at[1] + side].std())
    return top * 8, left * 8


if __name__ == "__main__":
    main()
