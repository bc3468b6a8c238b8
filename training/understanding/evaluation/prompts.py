"""Prompts read back by the world's own grammars, one for every kind of picture.

A scene becomes the `Spec` of its caption. Every other kind becomes claims: what the phrase of
`training.world.pictures` says, property by property, so that two phrases can be compared.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from training.world.pictures.palettes import LAYOUTS
from training.world.pictures.portraits import WORDS as FACE
from training.world.scenes.caption import noun_phrase, parse
from training.world.scenes.scene import Spec
from wanimage.conditions import COLORS, TRANSPARENT, plain_phrase


@dataclass(frozen=True)
class Claim:
    """One property: its value, words of which any says it in a request, and its cause when it is wrong."""

    value: str
    words: tuple[str, ...]
    cause: str


@dataclass(frozen=True)
class Said:
    """What a prompt of another kind than a scene says."""

    kind: str
    claims: dict[str, Claim]


Claims = Iterator[tuple[str, Claim]]


class NotOfTheWorld(ValueError):
    """A prompt that none of the world's grammars reads."""


def read_prompt(prompt: str) -> Spec | Said:
    """What a prompt says. Raises NotOfTheWorld, naming the words."""
    prompt = prompt.strip()
    for kind, (opening, claims) in _KINDS.items():
        if opening.match(prompt):
            return Said(kind, dict(claims(prompt)))
    try:
        return parse(prompt)
    except ValueError as error:
        raise NotOfTheWorld(str(error)) from error


def understood(prompt: str) -> Spec | Said | None:
    """What a prompt says, or None when it is not of the world."""
    try:
        return read_prompt(prompt)
    except NotOfTheWorld:
        return None


# --- kinds -----------------------------------------------------------------------------------------------

_A = r"an? "
_GROUND = rf"on a plain (?:{'|'.join(COLORS)}) background|{TRANSPARENT}"
_WORD = {name: rf"(?P<{name}>{'|'.join(words)})" for name, words in FACE.items()}
_FACE = re.compile(
    rf"{_A}{_WORD['expression']} person with {_WORD['skin']} skin, "
    rf"(?:(?P<bald>no hair)|{_WORD['hair']} {_WORD['hair_color']} hair)"
    rf"(?:, {_WORD['glasses']})?(?:, {_WORD['beard']})? and {_WORD['clothes']} clothes, "
    rf"(?P<background>{_GROUND})"
)
_BLOCK = re.compile(
    r'"(?P<text>[^"]*)" in (?P<size>\w+) (?P<color>#?\w+) (?P<font>[\w-]+) letters'
    r"(?:, (?P<align>\w+)-aligned)?"
)
_POSTER = re.compile(rf"a poster that says (?P<blocks>{_BLOCK.pattern.replace('?P<', '?P<first_')}"
                     rf"(?: and {_BLOCK.pattern.replace('?P<', '?P<next_')})*)"
                     rf"(?: and shows {_A}(?P<object>[\w ]+))?, (?P<ground>on .+)")  # fmt: skip
_SCREEN = re.compile(
    rf'{_A}(?P<theme>\w+) app screen with {_A}(?P<bar>\w+) header "(?P<title>[^"]*)" in a (?P<font>[\w-]+) '
    rf'font, (?P<count>\d+) cards in order: (?P<cards>.+), and {_A}(?P<paint>\w+) button "(?P<button>[^"]*)"'
)
_CARD = re.compile(rf'"(?P<label>[^"]*)" with {_A}(?P<icon>[\w ]+?)(?:, |$)')
_CHART = re.compile(
    rf"{_A}(?P<form>[\w ]+?) chart(?: with {_A}(?P<line>\w+) line)? titled "
    r'"(?P<title>[^"]*)" in a (?P<font>[\w-]+) font on (?P<ground>#\w+): (?P<entries>.+)'
)
_ENTRY = re.compile(r"(?P<label>[^,]+?) (?P<value>\d+%?)(?: \((?P<color>#?\w+)\))?(?:, |$)")
_PALETTE = re.compile(
    r"a palette of (?P<colors>#\w{6} \d+%(?:, #\w{6} \d+%)* and #\w{6} \d+%), in "
    rf"(?P<layout>{'|'.join(LAYOUTS.values())})"
)
_SHARE = re.compile(r"(#\w{6}) (\d+%)")
_STICKER = re.compile(
    rf"a sticker of (?P<noun>{_A}[\w -]+), (?P<effect>with .+|see-through at \d+% opacity), {TRANSPARENT}"
    r"(?:, drawn in (?P<style>\w+) style)?"
)
_COLLAGE = re.compile(r"a collage of (?P<count>two|three|four) panels; (?P<panels>.+)")


def _match(pattern: re.Pattern[str], prompt: str) -> re.Match[str]:
    found = pattern.fullmatch(prompt)
    if not found:
        raise NotOfTheWorld(f"not a phrase of the world: {prompt!r}")
    return found


def _all(pattern: re.Pattern[str], listed: str, between: str = "") -> list[re.Match[str]]:
    """Matches that cover a list."""
    found, end = [], 0
    for match in pattern.finditer(listed):
        if listed[end : match.start()] not in ("", between):
            break
        found.append(match)
        end = match.end()
    if end != len(listed):
        raise NotOfTheWorld(f"not a phrase of the world: {listed[end:]!r} in {listed!r}")
    return found


def _portrait(prompt: str) -> Claims:
    face = _match(_FACE, prompt)
    hair = face["hair"] or "no"
    yield "expression", Claim(face["expression"], (face["expression"],), "face")
    yield "skin", Claim(face["skin"], (f"{face['skin']} skin",), "face")
    yield (
        "hair",
        Claim(hair, ("no hair",) if face["bald"] else (f"{hair} {face['hair_color']} hair",), "face"),
    )
    yield "hair color", Claim(face["hair_color"] or "black", (f"{face['hair_color']} hair",), "colour")
    for name in ("glasses", "beard"):
        yield name, Claim(face[name] or f"no {name}", (f", {face[name]}", f"and {face[name]}"), "face")
    yield "clothes", Claim(face["clothes"], (f"{face['clothes']} clothes",), "colour")
    yield "background", Claim(face["background"], (face["background"],), "background")


def _poster(prompt: str) -> Claims:
    poster = _match(_POSTER, prompt)
    for index, block in enumerate(_all(_BLOCK, poster["blocks"], " and "), 1):
        quoted = f'"{block["text"]}"'
        yield f"text {index}", Claim(block["text"], (quoted,), "text")
        look = f"in {block['size']} {block['color']} {block['font']} letters"
        for name in ("size", "color", "font", "align"):
            cause = "colour" if name == "color" else "look"
            yield f"{name} {index}", Claim(block[name] or "", (f"{quoted} {look}",), cause)
    if poster["object"]:
        yield (
            "object",
            Claim(poster["object"], (f"shows a {poster['object']}", f"shows an {poster['object']}"), "noun"),
        )
    yield "ground", Claim(poster["ground"], (poster["ground"],), "background")


def _screen(prompt: str) -> Claims:
    screen = _match(_SCREEN, prompt)
    yield "theme", Claim(screen["theme"], (f"{screen['theme']} app screen",), "look")
    yield "bar", Claim(screen["bar"], (f"{screen['bar']} header",), "colour")
    yield "title", Claim(screen["title"], (f'header "{screen["title"]}"',), "text")
    yield "font", Claim(screen["font"], (f"{screen['font']} font",), "look")
    yield "cards", Claim(screen["count"], (f"{screen['count']} cards",), "count")
    for index, card in enumerate(_all(_CARD, screen["cards"]), 1):
        yield f"label {index}", Claim(card["label"], (f'"{card["label"]}"',), "text")
        with_it = f'"{card["label"]}" with a'
        yield (
            f"icon {index}",
            Claim(card["icon"], (f"{with_it} {card['icon']}", f"{with_it}n {card['icon']}"), "noun"),
        )
    yield "paint", Claim(screen["paint"], (f"{screen['paint']} button",), "colour")
    yield "button", Claim(screen["button"], (f'button "{screen["button"]}"',), "text")


def _chart(prompt: str) -> Claims:
    chart = _match(_CHART, prompt)
    yield "form", Claim(chart["form"], (f"{chart['form']} chart",), "look")
    yield "line", Claim(chart["line"] or "", (f"{chart['line']} line",), "colour")
    yield "title", Claim(chart["title"], (f'titled "{chart["title"]}"',), "text")
    yield "font", Claim(chart["font"], (f"{chart['font']} font",), "look")
    yield "ground", Claim(chart["ground"], (f"on {chart['ground']}",), "background")
    for index, entry in enumerate(_all(_ENTRY, chart["entries"]), 1):
        said = f"{entry['label']} {entry['value']}"
        yield f"label {index}", Claim(entry["label"], (said,), "text")
        yield f"value {index}", Claim(entry["value"], (said,), "number")
        yield f"color {index}", Claim(entry["color"] or "", (f"{said} ({entry['color']})",), "colour")


def _palette(prompt: str) -> Claims:
    palette = _match(_PALETTE, prompt)
    for index, (color, share) in enumerate(_SHARE.findall(palette["colors"]), 1):
        yield f"color {index}", Claim(color, (f"{color} {share}",), "colour")
        yield f"share {index}", Claim(share, (f"{color} {share}",), "number")
    yield "layout", Claim(palette["layout"], (palette["layout"],), "look")


def _sticker(prompt: str) -> Claims:
    sticker = _match(_STICKER, prompt)
    yield "object", Claim(sticker["noun"], (sticker["noun"],), "noun")
    yield "effect", Claim(sticker["effect"], (sticker["effect"],), "look")
    yield "style", Claim(sticker["style"] or "flat", (f"drawn in {sticker['style']} style",), "style")


def _collage(prompt: str) -> Claims:
    collage = _match(_COLLAGE, prompt)
    panels = [panel.partition(": ") for panel in collage["panels"].split("; ")]
    if len(panels) != {"two": 2, "three": 3, "four": 4}[collage["count"]]:
        raise NotOfTheWorld(f"{len(panels)} panels in {prompt!r}")
    yield "panels", Claim(collage["count"], (f"{collage['count']} panels",), "count")
    for number, (name, _, words) in enumerate(panels, 1):
        try:
            spec = parse(words)
        except ValueError as error:
            raise NotOfTheWorld(str(error)) from error
        yield f"name {number}", Claim(name, (f"{name}: ",), "place")
        for index, item in enumerate(spec.objects, 1):
            noun = noun_phrase(item)
            yield f"object {number}.{index}", Claim(noun, (noun,), "noun")
            yield f"place {number}.{index}", Claim(item.place, (words,), "place")
        yield f"ground {number}", Claim(spec.background.phrase, (words,), "background")


_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], Claims]]] = {
    "portrait": (re.compile(rf"{_A}\w+ person with "), _portrait),
    "poster": (re.compile(r"a poster "), _poster),
    "screen": (re.compile(rf"{_A}\w+ app screen "), _screen),
    "chart": (re.compile(rf"{_A}[\w ]+? chart "), _chart),
    "palette": (re.compile(r"a palette of "), _palette),
    "sticker": (re.compile(r"a sticker of "), _sticker),
    "collage": (re.compile(r"a collage of "), _collage),
}


def face_of(said: Said) -> dict[str, str]:
    """The fields of a `Portrait` that a portrait's claims name."""
    values = {name.replace(" ", "_"): claim.value for name, claim in said.claims.items()}
    ground = values["background"]
    plain = next((color for color in COLORS if ground == plain_phrase(color)), "transparent")
    return values | {"background": plain}
