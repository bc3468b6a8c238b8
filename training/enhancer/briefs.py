"""Lettered pictures as users ask for them: some of it said, the rest left to the enhancer.

A `Brief` is a request and the description that answers it. What the request leaves out is filled in plainly
(large letters, black or white by what they stand on, a white ground), always in the same way, so that the
answer follows from the request.
"""

from dataclasses import dataclass

from training.world.dialogues.talk import Talk, capital
from training.world.pictures import charts, lettering, posters, screens
from training.world.scenes.caption import join, with_article
from wanimage.conditions import COLORS
from wanimage.enhancing import Description

GRID = (16, 16)
SAID = 0.55
"""Share of the properties that a request says."""
_DARK = ("red", "green", "teal", "blue", "purple", "brown", "black")
_SERIES = ("blue", "orange", "green", "red", "purple", "teal")
FONT = "sans"


@dataclass(frozen=True)
class Brief:
    """A request, its answer, and what was said and what was chosen, as the reasoning tells it."""

    request: str
    category: str
    description: Description
    said: tuple[str, ...]
    chosen: tuple[str, ...]


class _Notes:
    """Which properties a request says, and which are chosen."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.share = talk.pick((0.0, SAID, SAID, 1.0))
        self.said: list[str] = []
        self.chosen: list[str] = []

    def settle(self, name: str, value: str, plain: str) -> tuple[str, bool]:
        """(value, whether the request says it)."""
        if self.talk.chance(self.share):
            self.said.append(f"{name} {value}")
            return value, True
        self.chosen.append(f"{name} {plain}")
        return plain, False


def poster(talk: Talk) -> Brief:
    """A poster, or lettering alone."""
    graph = posters.sample(talk.rng, talk.split, GRID)
    notes, plain = _Notes(talk), graph.object is None and len(graph.blocks) == 1
    texts = [block.text for block in graph.blocks]
    notes.said += [f'"{text}"' for text in texts]
    ground, told = notes.settle("background", graph.ground.phrase, "on a plain white background")
    wanted, written = [], []
    for index, block in enumerate(graph.blocks):
        size, a = notes.settle("size", block.size_word, "small" if index else "large")
        color, b = notes.settle("colour", block.color, _ink(ground))
        font, c = notes.settle("font", block.font, FONT)
        look = " ".join(w for w, there in ((size, a), (color, b), (font, c)) if there)
        wanted.append(f'"{block.text}"' + (f" in {look} letters" if look else ""))
        written.append(f'"{block.text}" in {size} {color} {font} letters')
    shown = with_article(graph.object) if graph.object else ""
    subject = f"a poster that says {' and '.join(written)}" + (f" and shows {shown}" if shown else "")
    notes.said += [graph.object] if graph.object else []
    layout = [("small words" if i else "words", "bottom" if i else "top") for i in range(len(texts))]
    layout += [(graph.object, "center")] if graph.object else []
    forms = _LETTERS if plain and talk.chance(0.6) else _POSTERS
    behind = f", {ground}" if told else ""
    with_it = talk.pick((f" and shows {shown}", f", with {shown}")) if shown else ""
    request = talk.pick(forms).format(x=f"{' and '.join(wanted)}{with_it}{behind}")
    ink = dict.fromkeys(
        part.split(" in ")[1].split(" ")[1] for part in (w.rpartition('"')[2] for w in written)
    )
    description = Description(
        subject, tuple(layout if not plain else [(layout[0][0], "center")]), tuple(ink), "", ground
    )
    category = "text" if forms is _LETTERS else "poster"
    return Brief(request, category, description, tuple(notes.said), tuple(notes.chosen))


def chart(talk: Talk) -> Brief:
    """An infographic; its values are always said."""
    graph, notes = charts.sample(talk.rng, talk.split, GRID), _Notes(talk)
    round_one = graph.round
    form, told_form = notes.settle("form", graph.form, "pie" if round_one else "bar")
    font, told_font = notes.settle("font", graph.font, FONT)
    ground, told_ground = notes.settle("background", graph.ground, "#ffffff")
    notes.said += [f'"{graph.title}"']
    said, entries, colors = [], [], []
    line = form == "line"
    color_told = not line and talk.chance(notes.share)
    for index, entry in enumerate(graph.entries):
        value = f"{entry.label} {entry.value}{'%' if round_one else ''}"
        color = entry.color if color_told else _SERIES[index % len(_SERIES)]
        said.append(f"{value} ({color})" if color_told else value)
        entries.append(value if line else f"{value} ({color})")
        colors.append(color)
    ink = graph.color(0) if told_form and talk.chance(0.5) else _SERIES[0]
    with_line = f" with {with_article(ink)} line" if line else ""
    subject = f'{with_article(form)} chart{with_line} titled "{graph.title}" in {with_article(font)} font'
    subject += f" on {ground}: {', '.join(entries)}"
    parts = [with_article(f"{form} chart" if told_form else talk.pick(("chart", "infographic")))]
    if line and told_form and ink != _SERIES[0]:
        parts[0] += f" with {with_article(ink)} line"
    parts[0] += f' titled "{graph.title}"'
    parts[0] += f" in {with_article(font)} font" if told_font else ""
    parts[0] += f" on {ground}" if told_ground else ""
    request = talk.pick(_CHARTS).format(x=f"{parts[0]}: {', '.join(said)}")
    palette = tuple(dict.fromkeys([ink] if line else colors))
    layout = (("title", "top"), ("chart", "center"))
    return Brief(
        request, "infographic", Description(subject, layout, palette),
        (*notes.said, *said), tuple(notes.chosen),
    )  # fmt: skip


def screen(talk: Talk) -> Brief:
    """A screen of an app."""
    graph, notes = screens.sample(talk.rng, talk.split, GRID), _Notes(talk)
    theme, told_theme = notes.settle("theme", graph.theme, "light")
    bar, told_bar = notes.settle("header", graph.bar, "blue")
    font, told_font = notes.settle("font", graph.font, FONT)
    paint, told_paint = notes.settle("button", graph.button_color, "orange" if bar == "blue" else "blue")
    cards = ", ".join(f'"{c.label}" with {with_article(c.icon)}' for c in graph.cards)
    subject = (
        f'{with_article(theme)} app screen with {with_article(bar)} header "{graph.title}" in '
        f"{with_article(font)} font, {len(graph.cards)} cards in order: {cards}, "
        f'and {with_article(paint)} button "{graph.button}"'
    )
    notes.said += [f'"{graph.title}"', *(f'"{c.label}"' for c in graph.cards), f'"{graph.button}"']
    what = with_article(f"{theme} app screen" if told_theme else talk.pick(_SCREENS))
    header = f'{with_article(f"{bar} header")} "{graph.title}"' if told_bar else f'a header "{graph.title}"'
    header += f" in {with_article(font)} font" if told_font else ""
    button = with_article(f"{paint} button" if told_paint else "button") + f' "{graph.button}"'
    count = f"{len(graph.cards)} cards in order: " if talk.chance(notes.share) else "cards "
    request = talk.pick(_WISHES).format(x=f"{what} with {header}, {count}{cards}, and {button}")
    layout = (("header", "top"), ("cards", "center"), ("button", "bottom"))
    description = Description(subject, layout, tuple(dict.fromkeys((bar, paint))))
    return Brief(request, "interface", description, tuple(notes.said), tuple(notes.chosen))


def _ink(ground: str) -> str:
    """Black, or white on what is dark."""
    for word in ground.replace(",", " ").split():
        if word.startswith("#"):
            dark = lettering.contrast((255, 255, 255), lettering.rgb(word)) > lettering.contrast(
                (0, 0, 0), lettering.rgb(word)
            )
            return "white" if dark else "black"
        if word in COLORS:
            return "white" if word in _DARK else "black"
    return "black"


def reasoning(brief: Brief) -> str:
    """What was said, what is open, and what fills it."""
    chosen = f" Open: {join(list(brief.chosen))}." if brief.chosen else " Nothing is open."
    return f"{capital(brief.category)}. Said: {join(list(brief.said))}.{chosen}"


_POSTERS = (
    "A poster that says {x}.", "Make a poster that says {x}.", "poster: {x}", "A banner for our shop: {x}",
    "I need a flyer that says {x}.", "Please make me a poster with {x}.",
    "Design a poster with the words {x}.", "Could you design a poster that says {x}?",
    "We open next week and want a poster that says {x}. Keep to what I wrote.",
)  # fmt: skip
_LETTERS = (
    "Write {x}.", "Just the words {x}.", "lettering: {x}", "Draw the text {x}.",
    "A picture of the words {x}.", "Please render the text {x}.",
)  # fmt: skip
_CHARTS = (
    "{x}", "Draw {x}.", "Make {x}.", "Please draw {x}", "I need {x} for my report.",
    "Show these numbers as {x}", "Could you make {x}?",
)  # fmt: skip
_SCREENS = ("app screen", "mobile screen", "user interface", "app mockup")
_WISHES = (
    "{x}",
    "Design {x}.",
    "Make {x}.",
    "Please draw {x}.",
    "I need {x}.",
    "Could you design {x}?",
    "UI: {x}",
)
