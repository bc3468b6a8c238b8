"""Lists repeated, reordered and changed exactly, strings read out of quotes, words spelled.

A plan is right only when it carries every word of the request; so the commonest skill taught here is to copy.
"""

from training.understanding.data.exercise import Exercise, Maker, exercise, nouns, several, thing, token
from training.world.dialogues.talk import ORDINALS, Talk, capital
from training.world.pictures import vocabulary
from training.world.scenes.caption import join, with_article

LONGEST = 9
"""Most things of a list."""


def repeat(talk: Talk) -> Exercise:
    """A list said again, word by word."""
    items = _items(talk)
    given, wanted = _written(talk, items), ", ".join(items)
    ask = talk.pick(
        (
            "Repeat this list: {x}",
            "Say this again: {x}",
            "Copy exactly: {x}",
            "Write these words again, in the same order: {x}",
            "{x}\nRepeat that, please.",
            "Repeat after me: {x}",
        )
    )
    return exercise("repeat", ask.format(x=given), wanted)


def backwards(talk: Talk) -> Exercise:
    """A list from its end."""
    items = _items(talk, 6)
    ask = talk.pick(
        ("Say this list backwards: {x}", "Reverse the order: {x}", "From last to first, please: {x}")
    )
    numbered = [f"{i}. {item}" for i, item in enumerate(items, 1)]
    steps = (f"{'; '.join(numbered)}.", f"I begin with number {len(items)}.")
    return exercise("backwards", ask.format(x=_written(talk, items)), ", ".join(items[::-1]), steps)


def pick_out(talk: Talk) -> Exercise:
    """The third of a list, its last, or what stands beside something."""
    items = _items(talk, 7, least=3)
    given = _written(talk, items)
    index = int(talk.rng.integers(len(items)))
    numbered = "; ".join(f"{i}. {item}" for i, item in enumerate(items, 1))
    form = talk.pick(("nth", "nth", "after", "before", "last"))
    if form == "after" and index + 1 < len(items):
        ask, found = f"What comes after {items[index]} in this list? {given}", items[index + 1]
    elif form == "before" and index:
        ask, found = f"What comes before {items[index]} in this list? {given}", items[index - 1]
    elif form == "last":
        ask, found = f"What is the last of these? {given}", items[-1]
    else:
        nth = talk.pick((ORDINALS[index], f"{index + 1}{_suffix(index + 1)}"))
        ask, found = f"What is the {nth} of these? {given}", items[index]
    return exercise("pick out", ask, f"{found}", (f"{numbered}.",))


def change(talk: Talk) -> Exercise:
    """One thing less, more or another one; the rest stays."""
    items = _items(talk, 7, least=3)
    given, index, new = _written(talk, items), int(talk.rng.integers(len(items))), thing(talk)
    old = items[index]
    form = talk.pick(("less", "less", "more", "front", "swap", "swap"))
    if form == "less":
        ask = talk.pick(
            (f"Leave out {old}: {given}", f"{given}\nRemove {old} from the list.", f"{given} - without {old}")
        )
        return exercise("change a list", ask, ", ".join(items[:index] + items[index + 1 :]))
    if form == "more":
        return exercise("change a list", f"Add {new} at the end: {given}", ", ".join([*items, new]))
    if form == "front":
        return exercise("change a list", f"Put {new} first: {given}", ", ".join([new, *items]))
    ask = talk.pick((f"Replace {old} with {new}: {given}", f"{given}\nInstead of {old}, {new}."))
    return exercise("change a list", ask, ", ".join([*items[:index], new, *items[index + 1 :]]))


def written_out(talk: Talk) -> Exercise:
    """A list as a sentence, numbered, or with articles."""
    items = several(talk, talk.pick((2, 3, 4, 5)), thing)
    given = _written(talk, items)
    form = talk.pick(("sentence", "numbered", "bullets"))
    if form == "sentence":
        ask = talk.pick((f"Make a sentence of this list: {given}", f"Write this as one sentence: {given}"))
        return exercise("write out", ask, capital(f"{join([with_article(item) for item in items])}."))
    if form == "numbered":
        numbered = "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))
        return exercise("write out", f"Number these: {given}", numbered)
    return exercise(
        "write out", f"Write this as bullet points: {given}", "\n".join(f"- {item}" for item in items)
    )


def listed(talk: Talk) -> Exercise:
    """A sentence taken apart into its things."""
    items = several(talk, talk.pick((2, 3, 4, 5)), thing)
    said = join([with_article(item) for item in items])
    where = talk.ground_words(talk.scenery())
    ask = talk.pick(
        (
            f"List the things in this request: draw {said} {where}",
            f"Which things does this name? {capital(said)} {where}.",
            f"What has to be in the picture? I want {said} {where}.",
        )
    )
    return exercise("list things", ask, ", ".join(items))


def quoted(talk: Talk) -> Exercise:
    """What a poster shall say, letter by letter."""
    script = talk.weighted({"latin": 0.55, "greek": 0.15, "cyrillic": 0.15, "han": 0.15})
    texts = [vocabulary.sample_text(talk.rng, talk.pick((1, 2, 3, 4)), script, talk.split) for _ in range(2)]
    if talk.chance(0.3):
        texts = [" ".join(several(talk, talk.pick((1, 2, 3)), token)) for _ in range(2)]
    if talk.chance(0.35):
        ask = f'A poster that says "{texts[0]}" above and "{texts[1]}" below. What is written on it?'
        return exercise("quote", ask, f'"{texts[0]}" and "{texts[1]}".')
    ask = talk.pick(
        (
            'Make a card with the words "{x}" on it. Which words?',
            'What does it say? A sign with "{x}".',
            'Which text do I want here: a poster that says "{x}" in red letters',
            'Copy the words in quotes: my poster says "{x}".',
        )
    )
    return exercise("quote", ask.format(x=texts[0]), f'"{texts[0]}"')


def palette(talk: Talk) -> Exercise:
    """Colour values with their shares, read out of a sentence."""
    count = talk.pick((2, 3, 4, 5, 6))
    colors = [f"#{int(talk.rng.integers(1 << 24)):06X}" for _ in range(count)]
    shares = [str(int(n)) for n in talk.rng.integers(3, 60, count)]
    pairs = [f"{color} {share}%" for color, share in zip(colors, shares, strict=True)]
    given = f"a palette of {join(pairs)}"
    index = int(talk.rng.integers(count))
    form = talk.pick(("all", "all", "share", "color"))
    if form == "share":
        return exercise("palette", f"{capital(given)}. How much is {colors[index]}?", f"{shares[index]}%")
    if form == "color" and shares.count(shares[index]) == 1:
        return exercise("palette", f"{capital(given)}. Which colour has {shares[index]}%?", colors[index])
    return exercise("palette", f"List the colours and their shares: {given}", ", ".join(pairs))


def spell(talk: Talk) -> Exercise:
    """A word letter by letter, or letters as a word."""
    word = talk.pick(nouns(talk.split)) if talk.chance(0.5) else token(talk)
    letters = "-".join(word.replace(" ", ""))
    if talk.chance(0.5):
        return exercise("spell", f"Spell {word}.", letters)
    return exercise("spell", f"Which word is this: {letters}", word.replace(" ", ""))


COPYING: dict[str, tuple[Maker, float]] = {  # maker and share
    "repeat": (repeat, 0.3),
    "backwards": (backwards, 0.06),
    "pick out": (pick_out, 0.1),
    "change a list": (change, 0.14),
    "write out": (written_out, 0.1),
    "list things": (listed, 0.12),
    "quote": (quoted, 0.12),
    "palette": (palette, 0.06),
    "spell": (spell, 0.04),
}


def _items(talk: Talk, most: int = LONGEST, least: int = 2) -> list[str]:
    """Different things, or strings that mean nothing, or both."""
    count = int(talk.rng.integers(least, most + 1))
    strange = talk.pick((0.0, 0.0, 0.2, 1.0))
    return several(talk, count, lambda t: token(t) if t.chance(strange) else thing(t))


def _written(talk: Talk, items: list[str]) -> str:
    """A list as people write one."""
    form = talk.pick(("commas", "commas", "commas", "lines", "bullets", "and", "semicolons"))
    if form == "lines":
        return "\n" + "\n".join(items)
    if form == "bullets":
        return "\n" + "\n".join(f"- {item}" for item in items)
    return join(items) if form == "and" else ("; " if form == "semicolons" else ", ").join(items)


def _suffix(number: int) -> str:
    return {1: "st", 2: "nd", 3: "rd"}.get(number, "th")
