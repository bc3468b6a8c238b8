"""The quality filter: scores with stated thresholds, in the order in which a record has to pass them.

| filter | score | kept |
|---|---|---|
| markup | the assistant's turns parse, and no user's text holds a control token | 1 |
| length | words of the longest turn | 1 to 700 |
| readable | share of printable characters | 1 |
| repetition | share of the reply's 4-word runs (outside of prompts) that stood there before | at most .34 |
| agreement | the share of what the graph says that the reply or the plan says too | 1 |
| rendered | the share of what is asked about that the verifier finds in the drawn picture | at least .99 |
| duplicate | whether an equal exchange was kept before | no |

`Filter.refuses` names the first that a record fails.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from training.understanding.data.reasoning import describes
from training.understanding.data.record import Record
from training.world.dialogues.talk import Picture
from training.world.scenes.caption import parse
from training.world.scenes.scene import Scene
from training.world.tasks.answers import Answer
from training.world.tasks.pictures import kind_of
from training.world.tasks.sample import Frame
from wanimage import markup
from wanimage.tokens import CONTROL_TOKENS

NAMES = ("markup", "length", "readable", "repetition", "agreement", "rendered", "duplicate")
_RUN = 4
"""Words of a run that counts as repeated."""
_PROMPT = re.compile(r"<imagine>.*?</BOI>|<imagine>.*?<BOI>", re.DOTALL)


@dataclass
class Filter:
    """Remembers what it kept, so that nothing is kept twice."""

    most_words: int = 700
    most_repeated: float = 0.34
    least_rendered: float = 0.99
    render: bool = True
    """Whether pictures that are asked about are drawn and verified, which takes most of the time."""
    seen: set[str] = field(default_factory=set)

    def refuses(self, record: Record, answer: Answer | None = None) -> str:
        """The first of NAMES that the record fails; empty when it is kept. `answer` is what was asked for."""
        turns = record.dialogue.turns
        replies = [turn.text for turn in turns if turn.role == "assistant"]
        longest = max(len(turn.text.split()) for turn in turns)
        if not well_formed(record):
            return "markup"
        if not 1 <= longest <= self.most_words or not all(turn.text.strip() for turn in turns):
            return "length"
        if not all(turn.text.replace("\n", "").isprintable() for turn in turns):
            return "readable"
        if max(repeated(reply) for reply in replies) > self.most_repeated:
            return "repetition"
        if not agrees(record, answer):
            return "agreement"
        if self.render and rendered(record) < self.least_rendered:
            return "rendered"
        name = digest(record)
        if name in self.seen:
            return "duplicate"
        self.seen.add(name)
        return ""


def well_formed(record: Record) -> bool:
    """Whether assistants' turns are markup that holds their pictures, and no user's text a control token."""
    for turn in record.dialogue.turns:
        if turn.role == "user":
            if any(token in turn.text for token in CONTROL_TOKENS):
                return False
            continue
        try:
            items = list(markup.parse(markup.split_tags(turn.text)))
        except markup.MarkupError:
            return False
        drawn = [(item.prompt, item.grid) for item in items if isinstance(item, markup.ImageSpec)]
        if drawn != [(picture.prompt, picture.grid) for picture in turn.pictures]:
            return False
    return True


def repeated(text: str) -> float:
    """Share of runs of words that stood in the text before, its prompts left out."""
    words = _PROMPT.sub(" ", text).lower().split()
    runs = [tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def agrees(record: Record, answer: Answer | None = None) -> bool:
    """Whether the last reply is right: by the exercise's check, and by the graphs of what it plans."""
    last = record.dialogue.turns[-1]
    if answer is not None and not answer.check(last.text):
        return False
    return all(carries(picture) for picture in last.pictures)


def carries(picture: Picture) -> bool:
    """Whether a picture's prompt says what its graph holds, in the world's own words or in others."""
    if not isinstance(picture.scene, Scene):
        kind = kind_of(getattr(picture, "kind", "scene"))
        return kind.phrase(picture.scene).lower().rstrip(".") == picture.prompt.lower().rstrip(".")
    try:
        return parse(picture.prompt) == picture.scene.spec
    except ValueError:
        return describes(picture, picture.prompt)


def rendered(record: Record) -> float:
    """Least share of verdicts that hold of the pictures which a question is about; 1 where none is."""
    if record.category != "I2T":
        return 1.0
    return min(
        (_verified(picture) for turn in record.dialogue.turns for picture in turn.pictures), default=1.0
    )


def _verified(picture: Picture) -> float:
    kind = kind_of(getattr(picture, "kind", "scene"))
    frame = picture if isinstance(picture, Frame) else Frame(picture.scene, picture.grid)
    return kind.verify(frame.scene, frame.bare.draw()).score()


def digest(record: Record) -> str:
    """The hash of an exchange: its words, less case and spaces, and its pictures."""
    said = [" ".join(turn.text.lower().split()) for turn in record.dialogue.turns]
    shown = [repr(picture.scene) for turn in record.dialogue.turns for picture in turn.pictures]
    return hashlib.sha256("\n".join([*said, *shown]).encode()).hexdigest()


def tally(refused: Sequence[str]) -> dict[str, int]:
    """How many each filter refused, in order, with `kept` first."""
    found = {"kept": refused.count("")}
    return found | {
        name: refused.count(name) for name in dict.fromkeys([*NAMES, *sorted(set(refused) - {""})])
    }
