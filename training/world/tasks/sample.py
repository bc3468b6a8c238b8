"""One sample of a task: its pictures as graphs, drawn when asked, its words, and the check of its outcome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from training.world.dialogues.talk import Dialogue, Picture
from training.world.kinds import Graph, Pixels
from training.world.report import Finding, Report
from training.world.tasks import cues
from training.world.tasks.answers import Answer
from training.world.tasks.asking import Reading
from training.world.tasks.captions import Captions
from training.world.tasks.cues import Cue
from training.world.tasks.pictures import kind_of

CELL = 16
"""Pixels along a cell of a picture's grid: the base grid of 8x8 cells is 128 pixels."""
CUE_LEFT = 0.002
"""Largest share of a result in the colours of cues."""


@dataclass(frozen=True)
class Frame(Picture):
    """A picture of any kind: its graph (in `scene`), grid, prompt, and the cues drawn over it."""

    kind: str = "scene"
    cues: tuple[Cue, ...] = ()

    def draw(self, cell: int = CELL) -> Pixels:
        """Its pixels, straight RGBA uint8 `[cell * rows, cell * columns, 4]`."""
        return self.drawn(self.grid[0] * cell, self.grid[1] * cell)

    def drawn(self, height: int, width: int) -> Pixels:
        """Its pixels at another size of the same aspect."""
        return cues.draw(kind_of(self.kind).draw(self.scene, height, width), self.cues)

    @property
    def bare(self) -> "Frame":
        """The picture without cues."""
        return replace(self, cues=())

    def shows(self, graph: Graph) -> "Frame":
        """The same frame with another graph."""
        return replace(self, scene=graph)


@dataclass(frozen=True)
class NearMiss:
    """Results that nearly do the task: the fault they have, by name, and what they show. They must fail."""

    fault: str
    outputs: tuple[Frame, ...]


Check = Callable[["Sample", Sequence[Pixels]], list[Finding]]
"""What a task asks of its results beside that each shows its graph."""


@dataclass(frozen=True)
class Sample:
    """One sample.

    `requests` is the wish at every level of `asking.LEVELS`, of which `request` is the one in the dialogue.
    `captions` are the outputs', or a question's inputs'. `answer` is that of a question. `accepted` are
    the readings of an ambiguous request; `outputs` then show one of them.
    """

    task: str
    split: str
    inputs: tuple[Frame, ...]
    outputs: tuple[Frame, ...]
    captions: tuple[Captions, ...]
    requests: tuple[str, ...]
    request: str
    dialogue: Dialogue
    checks: tuple[Check, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    answer: Answer | None = None
    accepted: tuple[Reading, ...] = ()

    def verify(self, images: Sequence[Pixels]) -> Report:
        """Verdicts on results (straight RGBA uint8), one image an output in order.

        Raises ValueError when their number is wrong.
        """
        if len(images) != len(self.outputs):
            raise ValueError(f"{len(images)} images for {len(self.outputs)} outputs of a {self.task} sample")
        findings: list[Finding] = []
        unexplained = 0.0
        for number, (frame, image) in enumerate(zip(self.outputs, images, strict=True), 1):
            report = kind_of(frame.kind).verify(frame.scene, image)
            where = f"picture {number}: " if len(images) > 1 else ""
            findings += [replace(f, about=where + f.about) for f in report.findings]
            findings += [_clean(image, where)] if any(i.cues for i in self.inputs) else []
            unexplained = max(unexplained, report.unexplained)
        for check in self.checks:
            findings += check(self, images)
        return Report(tuple(findings), unexplained)

    def check(self, answer: str) -> bool:
        """Whether an answer in words is right. Raises ValueError for a sample that asks no question."""
        if self.answer is None:
            raise ValueError(f"a {self.task} sample asks no question; verify its pictures instead")
        return self.answer.check(answer)

    def accepts(self, kind: str, graph: Graph) -> bool:
        """Whether any reading of an ambiguous request accepts a picture of this graph."""
        return any(reading.accepts(kind, graph) for reading in self.accepted)


def _clean(image: Pixels, where: str) -> Finding:
    share = cues.left_in(image)
    return Finding("cues", f"{where}the picture", share < CUE_LEFT, f"{100 * share:.1f} % in a cue's colour")
