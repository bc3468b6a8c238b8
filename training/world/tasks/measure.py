"""How right the tasks' verifiers are: on their own drawings, and on results with one planted fault.

    python -m training.world.tasks.measure --samples 1000

Faults are the samples' near misses, and for questions the answer's rivals; one is caught when the report does
not pass, or the answer is not accepted.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.world.tasks import TASKS, sample_task
from training.world.tasks.sample import CELL, Sample


@dataclass
class Row:
    """One task's verdicts: sound results passed, and faults caught, by name."""

    sound: list[bool] = field(default_factory=list)
    faults: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    seconds: list[float] = field(default_factory=list)

    @property
    def caught(self) -> list[bool]:
        """All faults' verdicts."""
        return [caught for verdicts in self.faults.values() for caught in verdicts]


def measure(
    samples: int, split: str = "val", seed: int = 0, cell: int = CELL, names: Sequence[str] = tuple(TASKS)
) -> Iterator[tuple[str, Row]]:
    """Verdicts task by task, on `samples` samples spread evenly over the named tasks."""
    for number, name in enumerate(names):
        row = Row()
        for index in range(number, samples, len(names)):
            sample = sample_task(np.random.default_rng([seed, index]), split, name)
            _judge(sample, row, cell)
        yield name, row


def _judge(sample: Sample, row: Row, cell: int) -> None:
    """Add the verdicts on one sample's own drawings, its near misses and its wrong answers."""
    images = [frame.draw(cell) for frame in sample.outputs]
    start = time.process_time()
    sound = sample.verify(images).passed
    row.seconds.append(time.process_time() - start)
    row.sound.append(sound and _answered(sample))
    for miss in sample.near_misses:
        drawn = [frame.drawn(*image.shape[:2]) for frame, image in zip(miss.outputs, images, strict=True)]
        row.faults[miss.fault].append(not sample.verify(drawn).passed)
    for rival in sample.answer.rivals if sample.answer else ():
        row.faults["wrong answer"].append(not sample.check(f"I think it is {rival}."))


def _answered(sample: Sample) -> bool:
    """Whether a question's own dialogue answers it; true for the others."""
    return sample.answer is None or sample.check(sample.dialogue.turns[-1].text)


def main() -> None:
    """Print the table, then one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000, help="samples over all tasks")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), help="which tasks; all when left out")
    parser.add_argument("--split", default="val", help="train, val or heldout")
    options = parser.parse_args()
    print("| task | samples | passes | faults caught | of | ms a verdict |\n|---|---|---|---|---|---|")
    rows: dict[str, Row] = {}
    for name, row in measure(options.samples, options.split, options.seed, names=options.tasks):
        rows[name] = row
        print(_line(name, row), flush=True)
    every = Row([v for r in rows.values() for v in r.sound])
    every.faults["all"] = [v for r in rows.values() for v in r.caught]
    every.seconds = [v for r in rows.values() for v in r.seconds]
    print(_line("all", every))
    missed = {
        f"{name}: {fault}": f"{verdicts.count(False)} of {len(verdicts)}"
        for name, row in rows.items()
        for fault, verdicts in row.faults.items()
        if not all(verdicts)
    }
    print(json.dumps({"samples": options.samples, "split": options.split, "missed": missed}))


def _line(name: str, row: Row) -> str:
    sound, caught = 100 * float(np.mean(row.sound)), 100 * float(np.mean(row.caught or [True]))
    milliseconds = 1e3 * float(np.mean(row.seconds))
    return (
        f"| {name} | {len(row.sound)} | {sound:.1f} % | {caught:.1f} % | {len(row.caught)} "
        f"| {milliseconds:.0f} |"
    )


if __name__ == "__main__":
    main()
