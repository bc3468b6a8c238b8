"""Posters, screens and charts in tasks: words and values changed, and questions that are read off them."""

from dataclasses import replace

import numpy as np

from training.world.assets.concepts import concept
from training.world.dialogues.talk import NUMBERS, Grid, Talk
from training.world.pictures import charts, lettering, posters, screens, vocabulary
from training.world.pictures.charts import Chart, Entry
from training.world.pictures.lettering import Lettering, layout
from training.world.pictures.posters import Poster
from training.world.pictures.screens import Screen
from training.world.scenes.caption import with_article
from training.world.scenes.sample import split_of_key
from training.world.scenes.scene import unit_px
from training.world.tasks import cues
from training.world.tasks.answers import Answer
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, write
from training.world.tasks.checks import Done, Kept
from training.world.tasks.cues import Cue
from training.world.tasks.questions import Asker, Question, ask
from training.world.tasks.sample import NearMiss, Sample
from wanimage.conditions import COLORS

GRID: Grid = (16, 16)
"""Letters are legible from 256 pixels."""
CUED = 0.3
_TRIES = 400


def edit_text(talk: Talk, aspect: Grid | None = None) -> Sample:
    """Other words on a poster, or its words in another colour."""
    grid = aspect or GRID
    for _ in range(_TRIES):
        before = posters.sample(talk.rng, talk.split, grid)
        index = int(talk.rng.integers(len(before.blocks)))
        after = (_reworded if talk.chance(0.7) else _repainted)(talk, before, index, grid)
        if after and _admissible(after, talk.split):
            break
    else:
        raise ValueError(f"no edit of a poster of split {talk.split!r} in {_TRIES} tries")
    old, new = before.blocks[index], after.blocks[index]
    marks = (_around(talk, old, grid),) if talk.chance(CUED) else ()
    named = f"the words in {marks[0].phrase}" if marks else f'the words "{old.text}"'
    order = (
        talk.pick((f'change {named} to "{new.text}"', f'replace {named} with "{new.text}"'))
        if new.text != old.text
        else talk.pick((f"make {named} {new.color}", f"set {named} in {new.color}"))
    )
    source = replace(frame(talk, before, grid, "poster"), prompt="", cues=marks)
    target = frame(talk, after, grid, "poster")
    wish = Wish(
        f'"{new.text}"' if new.text != old.text else f"{new.color} letters",
        order,
        f"{order} and leave the rest of the poster alone",
        ("Keep the font and the place.",),
    )
    misses = [NearMiss("edit not done", (source.bare,))]
    misspelt = _misspelt(talk, new) if new.text != old.text else None
    if misspelt:
        misses.append(NearMiss("one letter wrong", (target.shows(_with(after, index, misspelt)),)))
    if marks:
        misses.append(NearMiss("cue left in the picture", (replace(target, cues=marks),)))
    return write(
        talk,
        "edit_text",
        wish,
        (target,),
        (source,),
        lead=talk.pick(("", "", "Done.", "Here it is.")),
        checks=(Kept(), Done()),
        near_misses=tuple(misses),
    )


def edit_chart(talk: Talk, aspect: Grid | None = None) -> Sample:
    """One value of a chart with an axis is another."""
    grid = aspect or GRID
    chart = charts.sample(talk.rng, talk.split, grid)
    while chart.round:
        chart = charts.sample(talk.rng, talk.split, grid)
    index = int(talk.rng.integers(len(chart.entries)))
    entry = chart.entries[index]
    options = [value for value in range(10, 96, 5) if abs(value - entry.value) >= 15]
    value = int(talk.pick(options))
    after = _valued(chart, index, value)
    other = _valued(chart, (index + 1) % len(chart.entries), value)
    order = talk.pick((f"set {entry.label} to {value}", f"change the value of {entry.label} to {value}"))
    source = replace(frame(talk, chart, grid, "chart"), prompt="")
    target = frame(talk, after, grid, "chart")
    wish = Wish(
        f"{entry.label} = {value}",
        order,
        f"{order} in this chart and keep the other values",
        (f"It is {entry.value} now.",),
    )
    misses = [NearMiss("edit not done", (source.bare,))]
    if other.entries != chart.entries:
        misses.append(NearMiss("wrong value changed", (target.shows(other),)))
    return write(
        talk,
        "edit_chart",
        wish,
        (target,),
        (source,),
        lead=talk.pick(("", f"{entry.label} is {value} now.", "Done.")),
        thought=f"{entry.label}: {entry.value} -> {value}." if talk.chance(0.2) else "",
        checks=(Kept(), Done()),
        near_misses=tuple(misses),
    )


def question_chart(talk: Talk, aspect: Grid | None = None) -> Sample:
    """A question about a chart's values."""
    grid = aspect or GRID
    chart = charts.sample(talk.rng, talk.split, grid)
    return ask(talk, "question_chart", chart, "chart", grid, CHART_QUESTIONS)


def question_text(talk: Talk, aspect: Grid | None = None) -> Sample:
    """A question about what is written on a poster or a screen."""
    grid = aspect or GRID
    if talk.chance(0.5):
        poster = posters.sample(talk.rng, talk.split, grid)
        return ask(talk, "question_text", poster, "poster", grid, POSTER_QUESTIONS)
    screen = screens.sample(talk.rng, talk.split, grid)
    return ask(talk, "question_text", screen, "screen", grid, SCREEN_QUESTIONS)


# --- charts ----------------------------------------------------------------------------------------------


def _value(talk: Talk, chart: Chart) -> Question:
    entry = talk.pick(chart.entries)
    answer = Answer(str(entry.value), f"It is {entry.value}.", _numbers(chart, entry.value))
    label = entry.label
    return Question(f"What is the value of {label}?", f"read the value of {label}", f"{label}?", answer)


def _extreme(talk: Talk, chart: Chart) -> Question | None:
    most = talk.chance(0.5)
    found = (max if most else min)(chart.entries, key=lambda e: e.value)
    if sum(e.value == found.value for e in chart.entries) > 1:
        return None
    word = "highest" if most else "lowest"
    rivals = tuple(e.label for e in chart.entries if e is not found)
    steps = (*_read(chart.entries), f"The {word} of these is {found.value}, of {found.label}.")
    answer = Answer(found.label, f"{found.label} has the {word} value.", rivals, steps)
    return Question(f"Which value is the {word}?", f"find the {word} value", f"{word}?", answer)


def _difference(talk: Talk, chart: Chart) -> Question | None:
    a, b = _two(talk, chart)
    gap = abs(a.value - b.value)
    if gap == 0:
        return None
    high, low = (a, b) if a.value > b.value else (b, a)
    steps = (*_read((a, b)), f"{high.value} - {low.value} = {gap}.")
    answer = Answer(str(gap), f"The difference is {gap}.", _numbers(chart, gap), steps)
    said = f"the difference between {a.label} and {b.label}"
    return Question(f"What is {said}?", f"work out {said}", f"{a.label} - {b.label}", answer)


def _sum(talk: Talk, chart: Chart) -> Question:
    a, b = _two(talk, chart)
    total = a.value + b.value
    steps = (*_read((a, b)), f"{a.value} + {b.value} = {total}.")
    answer = Answer(str(total), f"Together they are {total}.", _numbers(chart, total), steps)
    said = f"{a.label} and {b.label}"
    return Question(f"How much are {said} together?", f"add up {said}", f"{a.label} + {b.label}", answer)


def _claim(talk: Talk, chart: Chart) -> Question | None:
    a, b = _two(talk, chart)
    if a.value == b.value:
        return None
    key, rival = ("true", "false") if a.value > b.value else ("false", "true")
    sign = ">" if a.value > b.value else "<"
    steps = (*_read((a, b)), f"{a.value} {sign} {b.value}, so that is {key}.")
    answer = Answer(key, f"That is {key}.", (rival,), steps)
    said = f"{a.label} is higher than {b.label}"
    return Question(f"True or false: {said}.", f"check whether {said}", f"{a.label} > {b.label}?", answer)


CHART_QUESTIONS: tuple[Asker, ...] = (_value, _extreme, _difference, _sum, _claim)


def _two(talk: Talk, chart: Chart) -> tuple[Entry, Entry]:
    i, j = (int(k) for k in talk.rng.permutation(len(chart.entries))[:2])
    return chart.entries[i], chart.entries[j]


def _read(entries: tuple[Entry, ...]) -> tuple[str, ...]:
    return tuple(f"{e.label} is {e.value}." for e in entries)


def _numbers(chart: Chart, key: int) -> tuple[str, ...]:
    """Wrong numbers: the chart's own, and the key's neighbours."""
    found = {e.value for e in chart.entries} | {key - 10, key - 1, key + 1, key + 10}
    return tuple(str(n) for n in sorted(found) if n != key and n >= 0)


def _valued(chart: Chart, index: int, value: int) -> Chart:
    entries = list(chart.entries)
    entries[index] = replace(entries[index], value=value)
    return replace(chart, entries=tuple(entries))


# --- posters and screens ---------------------------------------------------------------------------------


def _words(talk: Talk, poster: Poster) -> Question:
    block = talk.pick(poster.blocks)
    size = block.size_word
    which = f"the {size} letters" if len({b.size_word for b in poster.blocks}) == len(poster.blocks) else "it"
    block = block if which != "it" else poster.blocks[0]
    letters = which if which != "it" else "the first words on it"
    said = f"what {letters} say"
    rivals = tuple(b.text for b in poster.blocks if b.text != block.text)
    steps = tuple(f'Line {i} reads "{line}".' for i, line in enumerate(block.lines, 1))
    answer = Answer(block.text, f'It says "{block.text}".', rivals, steps)
    return Question(f"What do {letters} say?", f"read {said}", "text?", answer)


def _ink(talk: Talk, poster: Poster) -> Question | None:
    del talk
    colors = {b.color for b in poster.blocks}
    color = poster.blocks[0].color
    if len(colors) > 1 or color not in COLORS:
        return None
    answer = Answer(color, f"The letters are {color}.", tuple(c for c in COLORS if c != color))
    return Question(
        "What colour are the letters?", "name the colour of the letters", "letters' colour", answer
    )


def _shown(talk: Talk, poster: Poster) -> Question:
    there = poster.object is not None and talk.chance(0.6)
    name = str(poster.object) if there else talk.concept(str(poster.object))
    key, rival = ("yes", "no") if there else ("no", "yes")
    words = with_article(name)
    shown = with_article(poster.object) if poster.object else "only words"
    seen = f"The poster shows {shown}{'' if there else f' and no {name}'}."
    reply = f"Yes, there is {words}." if there else f"No, there is no {name}."
    answer = Answer(key, reply, (rival,), (seen,))
    return Question(f"Is there {words} on the poster?", f"check for {words}", f"{name}?", answer)


POSTER_QUESTIONS: tuple[Asker, ...] = (_words, _ink, _shown)


def _title(talk: Talk, screen: Screen) -> Question:
    del talk
    others = tuple(c.label for c in screen.cards if c.label != screen.title)
    answer = Answer(screen.title, f'The title is "{screen.title}".', others)
    return Question("What is the title of this screen?", "read the title", "title?", answer)


def _button(talk: Talk, screen: Screen) -> Question:
    del talk
    others = tuple(c.label for c in screen.cards if c.label != screen.button)
    answer = Answer(screen.button, f'It says "{screen.button}".', others)
    return Question("What does the button say?", "read the button", "button?", answer)


def _cards(talk: Talk, screen: Screen) -> Question:
    del talk
    count = len(screen.cards)
    steps = tuple(f'{i}. "{c.label}".' for i, c in enumerate(screen.cards, 1))
    rivals = tuple(str(n) for n in range(1, 7) if n != count)
    answer = Answer(str(count), f"There are {NUMBERS[count]} cards.", rivals, steps)
    return Question("How many cards are there?", "count the cards", "cards?", answer)


def _label(talk: Talk, screen: Screen) -> Question | None:
    icons = [c.icon for c in screen.cards]
    card = talk.pick(screen.cards)
    others = tuple(c.label for c in screen.cards if c.label != card.label)
    if icons.count(card.icon) > 1:
        return None
    answer = Answer(card.label, f'It says "{card.label}".', others)
    name = concept(card.icon).name
    return Question(
        f"What is written beside the {name}?", f"read the label of the {name}", f"{name}?", answer
    )


SCREEN_QUESTIONS: tuple[Asker, ...] = (_title, _button, _cards, _label)


# --- changing posters ------------------------------------------------------------------------------------


def _with(poster: Poster, index: int, block: Lettering) -> Poster:
    blocks = list(poster.blocks)
    blocks[index] = block
    return replace(poster, blocks=tuple(blocks))


def _admissible(poster: Poster, split: str) -> bool:
    """Whether a changed poster may be drawn in a split; held-out words are in it however it is composed."""
    return split == "heldout_concepts" or split_of_key(posters.key(poster)) in (split, "train")


def _reworded(talk: Talk, poster: Poster, index: int, grid: Grid) -> Poster | None:
    """Other words of the same script, in as many lines, that take no more room than the old ones."""
    block = poster.blocks[index]
    if not block.text.isascii():
        return None
    room = max(line.width for line in layout(block, *grid))
    for _ in range(20):
        text = vocabulary.sample_text(talk.rng, len(block.text.split()), "latin", talk.split)
        lines = vocabulary.wrap(text, len(block.lines))
        new = replace(block, lines=lines)
        fits = max(line.width for line in layout(new, *grid)) <= room
        if len(lines) == len(block.lines) and fits and text.lower() != block.text.lower() and text.isascii():
            return _with(poster, index, new)
    return None


def _repainted(talk: Talk, poster: Poster, index: int, grid: Grid) -> Poster | None:
    del grid
    block = poster.blocks[index]
    color = lettering.sample_ink(talk.rng, poster.ground.colors)
    distance = np.abs(np.subtract(lettering.rgb(color), lettering.rgb(block.color))).max()
    return _with(poster, index, replace(block, color=color)) if distance > 60 else None


def _misspelt(talk: Talk, block: Lettering) -> Lettering | None:
    """One letter of the first line is another."""
    line = block.lines[0]
    places = [i for i, letter in enumerate(line) if letter.isalpha()]
    if not places:
        return None
    i = talk.pick(places)
    swap = {"o": "a", "e": "o", "n": "r", "r": "n", "t": "k", "l": "t", "s": "e", "a": "e"}
    letter = swap.get(line[i].lower(), "o" if line[i].lower() != "o" else "a")
    letter = letter.upper() if line[i].isupper() else letter
    return replace(block, lines=(line[:i] + letter + line[i + 1 :], *block.lines[1:]))


def _around(talk: Talk, block: Lettering, grid: Grid) -> Cue:
    """A box around a block's lines."""
    height, width = (float(side) for side in grid)
    lines = layout(block, *grid)
    em = lines[0].em
    x0, x1 = min(line.x for line in lines), max(line.x + line.width for line in lines)
    y0, y1 = lines[0].y - em, lines[-1].y + 0.35 * em
    pad = 0.02 * unit_px(*grid)
    center = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
    return cues.box(
        talk.pick(list(cues.COLORS)), *center, ((x1 - x0) / 2 + pad) / width, ((y1 - y0) / 2 + pad) / height
    )
