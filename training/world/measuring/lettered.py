"""How right the verifiers of posters, charts and screens are, clean, softened and with one planted fault.

    python -m training.world.measuring.lettered --scenes 200

prints a Markdown table: for every kind and fault, how many verdicts on whole pictures are right (a clean
picture passes, a faulty one fails) and in how many the fault is among the failures by its own property.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.world.assets.concepts import CONCEPTS
from training.world.kinds import Kind
from training.world.measuring.verifiers import blur
from training.world.pictures import chart_reading, lettering, posters, screens, vocabulary
from training.world.pictures.charts import Chart, Entry
from training.world.pictures.lettering import Lettering
from training.world.pictures.posters import Poster
from training.world.pictures.screens import Screen
from training.world.pictures.spelling import alphabet, script_of
from wanimage.conditions import COLORS

Rng = np.random.Generator
Fault = Callable[[Any, Rng], Any | None]
SIZES = ((256, 256), (256, 384), (384, 256))
FAR = 90.0  # least distance (0..255, Euclidean) of a planted colour from the right one


# --- faults of text --------------------------------------------------------------------------------------


def wrong_letter(text: str, rng: Rng) -> str | None:
    """One letter is another of the same script and kind."""
    place = int(rng.choice([i for i, c in enumerate(text) if c != " "]))
    old = text[place]
    alike = [
        c for c in alphabet(script_of(text)) if c.isalpha() == old.isalpha() and c.isdigit() == old.isdigit()
    ]
    others = [c for c in alike if c.lower() != old.lower()]
    return text[:place] + str(rng.choice(others)) + text[place + 1 :]


def lost_letter(text: str, rng: Rng) -> str | None:
    """One letter is missing."""
    places = [i for i, c in enumerate(text) if c != " "]
    if len(places) < 2:
        return None
    place = int(rng.choice(places))
    return " ".join((text[:place] + text[place + 1 :]).split())


def swapped_letters(text: str, rng: Rng) -> str | None:
    """Two neighbours have changed places."""
    pairs = [i for i in range(len(text) - 1) if " " not in text[i : i + 2] and text[i] != text[i + 1]]
    if not pairs:
        return None
    i = int(rng.choice(pairs))
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def missing_word(text: str, rng: Rng) -> str | None:
    """One of several words is missing."""
    said = text.split(" ")
    if len(said) < 2:
        return None
    del said[int(rng.integers(len(said)))]
    return " ".join(said)


def other_word(text: str, rng: Rng) -> str | None:
    """A word is another."""
    said, script = text.split(" "), script_of(text)
    i = int(rng.integers(len(said)))
    word = vocabulary.sample_word(rng, script)
    said[i] = vocabulary.upper(word) if said[i].isupper() else word
    return " ".join(said) if " ".join(said).lower() != text.lower() else None


TEXT_FAULTS = (wrong_letter, lost_letter, swapped_letters, missing_word, other_word)


def _in_block(change: Callable[[str, Rng], str | None]) -> Fault:
    def plant(poster: Poster, rng: Rng) -> Poster | None:
        i = int(rng.integers(len(poster.blocks)))
        block = poster.blocks[i]
        j = int(rng.integers(len(block.lines)))
        text = change(block.lines[j], rng)
        if not text:
            return None
        lines = (*block.lines[:j], text, *block.lines[j + 1 :])
        return _with_block(poster, i, replace(block, lines=lines))

    return plant


def _with_block(poster: Poster, index: int, block: Lettering) -> Poster:
    return replace(poster, blocks=(*poster.blocks[:index], block, *poster.blocks[index + 1 :]))


def _other_font(word: str, text: str, rng: Rng) -> str | None:
    others = [w for w in lettering.faces(script_of(text)) if w != word]
    return str(rng.choice(others)) if others else None


def _other_color(color: str, rng: Rng, choices: Iterable[str] = COLORS) -> str:
    right = np.array(lettering.rgb(color), float)
    far = [c for c in choices if float(np.linalg.norm(right - lettering.rgb(c))) > FAR and c != color]
    return str(rng.choice(far))


def poster_font(poster: Poster, rng: Rng) -> Poster | None:
    """One block has another font."""
    i = int(rng.integers(len(poster.blocks)))
    word = _other_font(poster.blocks[i].font, poster.blocks[i].text, rng)
    return _with_block(poster, i, replace(poster.blocks[i], font=word)) if word else None


def poster_color(poster: Poster, rng: Rng) -> Poster | None:
    """One block has another colour that is legible."""
    i = int(rng.integers(len(poster.blocks)))
    color = _other_color(poster.blocks[i].color, rng)
    if min(lettering.contrast(lettering.rgb(color), lettering.rgb(g)) for g in poster.ground.colors) < 60:
        return None
    return _with_block(poster, i, replace(poster.blocks[i], color=color))


def poster_object(poster: Poster, rng: Rng) -> Poster | None:
    """The object is another."""
    if poster.object is None:
        return None
    other = str(rng.choice([c for c in CONCEPTS if c != poster.object]))
    return replace(poster, object=other)


def poster_ground(poster: Poster, rng: Rng) -> Poster | None:
    """The ground is another of its kind."""
    other = posters.sample(rng, "train", (1, 1)).ground
    old = poster.ground
    if other.kind != old.kind:
        return None
    if old.scenery and other.scenery:
        if (old.scenery.setting, old.scenery.time) == (other.scenery.setting, other.scenery.time):
            return None
        return replace(poster, ground=replace(old, scenery=other.scenery))
    far = float(np.abs(np.subtract(lettering.rgb(old.first), lettering.rgb(other.first))).max()) > FAR / 2
    legible = all(
        lettering.contrast(lettering.rgb(b.color), lettering.rgb(c)) > 60
        for b in poster.blocks
        for c in other.colors
    )
    return replace(poster, ground=other) if far and legible else None


# --- faults of charts ------------------------------------------------------------------------------------


def _with_entry(chart: Chart, index: int, entry: Entry) -> Chart:
    return replace(chart, entries=(*chart.entries[:index], entry, *chart.entries[index + 1 :]))


def chart_value(chart: Chart, rng: Rng) -> Chart | None:
    """A value is off by at least 8 (of a circle: taken from another)."""
    i, j = (int(k) for k in rng.choice(len(chart.entries), 2, replace=False))
    old = chart.entries[i].value
    room = chart.entries[j].value - 4 if chart.round else 98 - old
    if room < 8:
        return None
    step = int(rng.integers(8, room + 1))
    planted = _entry(chart, i, old + step)
    if not chart.round:
        return _with_entry(chart, i, planted)
    entries = list(chart.entries)
    entries[i], entries[j] = planted, _entry(chart, j, chart.entries[j].value - step)
    return replace(chart, entries=tuple(entries))


def _entry(chart: Chart, index: int, value: int) -> Entry:
    return replace(chart.entries[index], value=value)


def chart_swap(chart: Chart, rng: Rng) -> Chart | None:
    """Two values that differ by 8 or more have changed places."""
    i, j = (int(k) for k in rng.choice(len(chart.entries), 2, replace=False))
    a, b = chart.entries[i].value, chart.entries[j].value
    if abs(a - b) < 8:
        return None
    entries = list(chart.entries)
    entries[i], entries[j] = _entry(chart, i, b), _entry(chart, j, a)
    return replace(chart, entries=tuple(entries))


def chart_color(chart: Chart, rng: Rng) -> Chart | None:
    """An entry (of a line, all of it) has another colour."""
    i = 0 if chart.form == "line" else int(rng.integers(len(chart.entries)))
    color = _other_color(chart.entries[i].color, rng, [c for c in COLORS if c not in ("white", "grey")])
    return _with_entry(chart, i, replace(chart.entries[i], color=color))


def chart_label(chart: Chart, rng: Rng) -> Chart | None:
    """A letter of a label is another."""
    i = int(rng.integers(len(chart.entries)))
    label = wrong_letter(chart.entries[i].label, rng)
    return _with_entry(chart, i, replace(chart.entries[i], label=label)) if label else None


def chart_title(chart: Chart, rng: Rng) -> Chart | None:
    """The title has one of the faults of text."""
    title = TEXT_FAULTS[int(rng.integers(len(TEXT_FAULTS)))](chart.title, rng)
    return replace(chart, title=title) if title else None


def chart_form(chart: Chart, rng: Rng) -> Chart | None:
    """A pie is a donut, bars are a line, or the other way round."""
    other = {"pie": "donut", "donut": "pie", "bar": "line", "line": "bar"}.get(chart.form)
    return replace(chart, form=other) if other else None


def any_font(graph: Any, rng: Rng) -> Any | None:
    """All letters have another font."""
    word = _other_font(graph.font, graph.title, rng)
    return replace(graph, font=word) if word else None


# --- faults of screens -----------------------------------------------------------------------------------


def screen_card(screen: Screen, rng: Rng) -> Screen | None:
    """A card is missing."""
    if len(screen.cards) < 3:
        return None
    i = int(rng.integers(len(screen.cards)))
    return replace(screen, cards=screen.cards[:i] + screen.cards[i + 1 :])


def screen_icon(screen: Screen, rng: Rng) -> Screen | None:
    """A card has another icon."""
    i = int(rng.integers(len(screen.cards)))
    other = str(rng.choice([c for c in CONCEPTS if c != screen.cards[i].icon]))
    cards = (*screen.cards[:i], replace(screen.cards[i], icon=other), *screen.cards[i + 1 :])
    return replace(screen, cards=cards)


def screen_text(screen: Screen, rng: Rng) -> Screen | None:
    """Title, button or a label has one of the faults of text."""
    change = TEXT_FAULTS[int(rng.integers(len(TEXT_FAULTS)))]
    which = int(rng.integers(2 + len(screen.cards)))
    old = (screen.title, screen.button, *(c.label for c in screen.cards))[which]
    text = change(old, rng)
    if not text:
        return None
    if which < 2:
        return replace(screen, title=text) if which == 0 else replace(screen, button=text)
    i = which - 2
    cards = (*screen.cards[:i], replace(screen.cards[i], label=text), *screen.cards[i + 1 :])
    return replace(screen, cards=cards)


def screen_button(screen: Screen, rng: Rng) -> Screen | None:
    """The button has another colour."""
    return replace(screen, button_color=_other_color(screen.button_color, rng, screens.PAINTS))


def screen_bar(screen: Screen, rng: Rng) -> Screen | None:
    """The header has another colour."""
    return replace(screen, bar=_other_color(screen.bar, rng, screens.PAINTS))


FAULTS: dict[str, tuple[Kind, tuple[tuple[str, str, Fault], ...]]] = {  # (name, property, fault)
    "poster": (
        posters.KIND,
        (
            *((f.__name__.replace("_", " "), "text", _in_block(f)) for f in TEXT_FAULTS),
            ("wrong font", "font", poster_font),
            ("wrong colour", "color", poster_color),
            ("wrong object", "object", poster_object),
            ("wrong background", "background", poster_ground),
        ),
    ),
    "chart": (
        chart_reading.KIND,
        (
            ("wrong value", "value", chart_value),
            ("swapped values", "value", chart_swap),
            ("wrong colour", "color", chart_color),
            ("wrong label", "text", chart_label),
            ("wrong title", "text", chart_title),
            ("wrong form", "form", chart_form),
            ("wrong font", "font", any_font),
        ),
    ),
    "screen": (
        screens.KIND,
        (
            ("missing card", "count", screen_card),
            ("wrong icon", "object", screen_icon),
            ("wrong text", "text", screen_text),
            ("wrong button colour", "color", screen_button),
            ("wrong header colour", "color", screen_bar),
            ("wrong font", "font", any_font),
        ),
    ),
}


@dataclass(frozen=True)
class Row:
    """One line of the table; shares of pictures."""

    kind: str
    picture: str
    count: int
    right: float
    named: float
    milliseconds: float


def measure(scenes: int, seed: int = 0, kinds: Iterable[str] = FAULTS, split: str = "val") -> Iterator[Row]:
    """The rows of the table, one after the other."""
    for name in kinds:
        kind, faults = FAULTS[name]
        for radius, title in ((0.0, "clean"), (1.0, "blurred, radius 1 px")):
            yield _row(name, kind, title, None, "", radius, scenes, seed, split)
        for title, asked, fault in faults:
            yield _row(name, kind, title, fault, asked, 0.0, scenes, seed, split)


def _row(
    name: str, kind: Kind, title: str, fault: Fault | None, asked: str, radius: float, scenes: int, seed: int,
    split: str,
) -> Row:  # fmt: skip
    rng = np.random.default_rng(seed)
    right, named, spent, count = 0, 0, 0.0, 0
    while count < scenes:
        size = SIZES[int(rng.integers(len(SIZES)))]
        graph = kind.sample(rng, split, size)
        drawn = fault(graph, rng) if fault else graph
        if drawn is None:
            continue
        image = kind.draw(drawn, *size)
        image = blur(image, radius) if radius else image
        start = time.process_time()
        report = kind.verify(graph, image)
        spent += time.process_time() - start
        right += report.passed == (fault is None)
        named += (
            any(f.property == asked and not f.passed for f in report.findings) if fault else report.passed
        )
        count += 1
    return Row(name, title, count, right / count, named / count, 1000 * spent / count)


def _line(row: Row) -> str:
    """A line of Markdown."""
    cells = (row.kind, row.picture, f"{100 * row.right:.1f} %", f"{100 * row.named:.1f} %")
    return f"| {' | '.join(cells)} | {row.milliseconds:.0f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(FAULTS))
    options = parser.parse_args()
    print("| kind | picture | right verdicts | fault named | ms of CPU |\n|---|---|---|---|---|")
    for row in measure(options.scenes, options.seed, options.kinds):
        print(_line(row), flush=True)


if __name__ == "__main__":
    main()
