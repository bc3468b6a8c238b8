"""Counting, comparing, ordering and small sums, each with the steps that lead to the answer."""

from collections import Counter
from collections.abc import Sequence

from training.understanding.data.exercise import Exercise, Maker, exercise, nouns, several, thing
from training.world.assets.concepts import concept
from training.world.dialogues.talk import NUMBERS, Talk, capital
from training.world.pictures import vocabulary
from training.world.scenes.caption import join, with_article
from training.world.tasks.answers import Answer
from wanimage.conditions import COLORS

KINDS = {"animal": "animals", "food": "things to eat", "vehicle": "vehicles", "person": "persons"}
"""Kinds of noun that may be asked for, and what they are called."""
_RANKS = {"small": 0, "medium": 1, "large": 2}


def count_list(talk: Talk) -> Exercise:
    """How many things are listed."""
    items = several(talk, talk.pick(range(2, 10)), thing)
    ask = talk.pick(("How many things are these? {x}", "Count these: {x}", "{x}: how many are that?"))
    steps = (", ".join(f"{i} {item}" for i, item in enumerate(items, 1)) + ".",)
    return _number(talk, "count", ask.format(x=", ".join(items)), len(items), steps)


def count_one(talk: Talk) -> Exercise:
    """How often a word stands in a list, or how many are of one colour."""
    names = several(talk, 3, lambda t: t.pick(nouns(t.split)))
    items = [talk.pick(names) for _ in range(talk.pick(range(4, 9)))]
    if talk.chance(0.5):
        name = talk.pick(names)
        found = Counter(items)[name]
        marked = [f"{item}{' (yes)' if item == name else ''}" for item in items]
        ask = f"How many times does {name} stand here? {', '.join(items)}"
        return _number(talk, "count one", ask, found, (", ".join(marked) + ".", f"That is {found}."))
    colors = several(talk, 3, lambda t: t.pick(list(COLORS)))
    painted = [(talk.pick(colors), item) for item in items]
    color = talk.pick(colors)
    hits = [f"{c} {item}" for c, item in painted if c == color]
    ask = f"How many of these are {color}? {', '.join(' '.join(pair) for pair in painted)}"
    steps = (f"{capital(color)}: {', '.join(hits) if hits else 'none'}.", f"That is {len(hits)}.")
    return _number(talk, "count one", ask, len(hits), steps)


def count_kind(talk: Talk) -> Exercise:
    """How many of a list are animals, food, vehicles."""
    kind = talk.pick(("animal", "food", "vehicle"))
    items = several(talk, talk.pick(range(3, 8)), lambda t: t.pick(nouns(t.split)))
    hits = [item for item in items if concept(item).kind == kind]
    steps = (f"{capital(KINDS[kind])}: {', '.join(hits) if hits else 'none'}.", f"That is {len(hits)}.")
    return _number(
        talk, "count kind", f"How many of these are {KINDS[kind]}? {', '.join(items)}", len(hits), steps
    )


def total(talk: Talk) -> Exercise:
    """How many things some groups are together."""
    names = several(talk, talk.pick((2, 2, 3, 4)), lambda t: t.pick(nouns(t.split)))
    counts = [int(n) for n in talk.rng.integers(1, 8, len(names))]
    said = join([_group(talk, n, name) for n, name in zip(counts, names, strict=True)])
    ask = talk.pick(
        (
            "{X}. How many things are that together?",
            "There are {x}. How many is that altogether?",
            "How many things are {x} in total?",
        )
    )
    result = sum(counts)
    steps = _running(counts)
    return _number(talk, "total", ask.format(x=said, X=capital(said)), result, steps)


def story_sum(talk: Talk) -> Exercise:
    """Some come, some go."""
    name = talk.pick(nouns(talk.split))
    plural, start = concept(name).plural, int(talk.rng.integers(3, 10))
    away, more = int(talk.rng.integers(1, start)), int(talk.rng.integers(1, 6))
    if talk.chance(0.5):
        ask, result = f"There are {start} {plural}. {away} go away. How many are left?", start - away
        steps: tuple[str, ...] = (f"{start} - {away} = {result}.",)
    else:
        result = start - away + more
        ask = f"There are {start} {plural}. {away} go away and {more} come. How many are there now?"
        steps = (f"{start} - {away} = {start - away}.", f"{start - away} + {more} = {result}.")
    return _number(talk, "story sum", ask, result, steps)


def arithmetic(talk: Talk) -> Exercise:
    """Sums, differences and products of small numbers."""
    sign = talk.pick(("+", "+", "-", "*"))
    a, b = (int(n) for n in talk.rng.integers(1, 10 if sign == "*" else 60, 2))
    a, b = (max(a, b), min(a, b)) if sign == "-" else (a, b)
    result = {"+": a + b, "-": a - b, "*": a * b}[sign]
    words = {"+": "plus", "-": "minus", "*": "times"}[sign]
    ask = talk.pick(
        (
            f"What is {a} {sign} {b}?",
            f"What is {a} {words} {b}?",
            f"{a} {sign} {b} = ?",
            f"Calculate {a} {sign} {b}.",
        )
    )
    return _number(talk, "sum", ask, result, _sum_steps(a, sign, b, result))


def rest(talk: Talk) -> Exercise:
    """What is missing to a hundred percent."""
    colors = several(talk, talk.pick((2, 3, 4)), lambda t: t.pick(list(COLORS)))
    parts = [5 * int(n) for n in talk.rng.integers(1, 6, len(colors) - 1)]
    known = ", ".join(f"{c} {p}%" for c, p in zip(colors[:-1], parts, strict=True))
    result = 100 - sum(parts)
    ask = f"The background is {known} and the rest is {colors[-1]}. How much is {colors[-1]}?"
    steps = (*_running(parts), f"100 - {sum(parts)} = {result}.")
    return exercise("rest", ask, f"{result}%", steps)


def compare(talk: Talk) -> Exercise:
    """Which of some labelled values is the largest or the smallest, or by how much two differ."""
    labels = several(
        talk, talk.pick((3, 4, 5)), lambda t: vocabulary.sample_word(t.rng, "latin", t.split).capitalize()
    )
    values = [int(n) for n in talk.rng.permutation(90)[: len(labels)] + 5]
    given = ", ".join(f"{label} {value}" for label, value in zip(labels, values, strict=True))
    form = talk.pick(("largest", "smallest", "difference"))
    if form == "difference":
        a, b = values[0], values[1]
        ask = f"{given}. What is the difference between {labels[0]} and {labels[1]}?"
        steps = (f"{labels[0]} is {a}, {labels[1]} is {b}.", f"{max(a, b)} - {min(a, b)} = {abs(a - b)}.")
        return _number(talk, "compare", ask, abs(a - b), steps)
    best = max(values) if form == "largest" else min(values)
    ordered = sorted(values, reverse=form == "largest")
    label = labels[values.index(best)]
    steps = (f"From the {form}: {', '.join(map(str, ordered))}.", f"{best} is {label}.")
    return exercise("compare", f"{given}. Which is the {form}?", f"{label}", steps)


def sort_values(talk: Talk) -> Exercise:
    """Numbers or words in order."""
    if talk.chance(0.5):
        values = [int(n) for n in talk.rng.permutation(99)[: talk.pick((3, 4, 5, 6))] + 1]
        down = talk.chance(0.3)
        given = ", ".join(map(str, values))
        ask = f"Sort these numbers{' from large to small' if down else ''}: {given}"
        return exercise("sort", ask, ", ".join(map(str, sorted(values, reverse=down))))
    words = several(talk, talk.pick((3, 4, 5)), lambda t: t.pick(nouns(t.split)))
    return exercise("sort", f"Sort these words by the alphabet: {', '.join(words)}", ", ".join(sorted(words)))


def sort_sizes(talk: Talk) -> Exercise:
    """Things from small to large, or the other way."""
    names = several(talk, 3, lambda t: t.pick(nouns(t.split)))
    sizes = [str(size) for size in talk.rng.permutation(list(_RANKS))]
    things = [
        " ".join(w for w in (size, name) if w != "medium") for size, name in zip(sizes, names, strict=True)
    ]
    down = talk.chance(0.5)
    order = sorted(range(3), key=lambda i: _RANKS[sizes[i]], reverse=down)
    direction = "large to small" if down else "small to large"
    steps = (f"{'; '.join(f'{name} is {size}' for name, size in zip(names, sizes, strict=True))}.",)
    said = join([with_article(t) for t in things])
    return exercise("sort sizes", f"Sort from {direction}: {said}", ", ".join(names[i] for i in order), steps)


def odd_one(talk: Talk) -> Exercise | None:
    """The one of another kind."""
    kinds = [str(k) for k in talk.rng.permutation(list(KINDS))[:2]]
    alike = [n for n in nouns(talk.split) if concept(n).kind == kinds[0]]
    others = [n for n in nouns(talk.split) if concept(n).kind == kinds[1]]
    if len(alike) < 3 or not others:
        return None
    odd = talk.pick(others)
    items = [str(i) for i in talk.rng.permutation([*several(talk, 3, lambda t: t.pick(alike)), odd])]
    rivals = tuple(item for item in items if item != odd)
    steps = (f"{capital(join(list(rivals)))} are {KINDS[kinds[0]]}.", f"{capital(odd)} is not.")
    ask = talk.pick(
        ("Which one does not belong? {x}", "Find the odd one out: {x}", "What does not fit here? {x}")
    )
    return Exercise(
        "odd one out", ask.format(x=", ".join(items)), Answer(odd, f"{capital(odd)}.", rivals, steps)
    )


def pictures_needed(talk: Talk) -> Exercise:
    """How many pictures a request is about."""
    n = int(talk.rng.integers(2, 13))
    word, name = talk.number(n), talk.pick(nouns(talk.split))
    asks = (
        f"A story about {with_article(name)} in {word} pictures.",
        f"Draw {word} pictures of {with_article(name)}.",
        f"I need a set of {word} {name} stickers.",
        f"{capital(word)} portraits of the same {name}, please.",
        f"{capital(word)} steps, with a picture after each.",
    )
    if talk.chance(0.3):
        names = several(talk, talk.pick((2, 3, 4, 5)), lambda t: t.pick(nouns(t.split)))
        said = f"One picture for each of these: {', '.join(names)}."
        return _number(
            talk,
            "pictures",
            f"{said} How many pictures is that?",
            len(names),
            (", ".join(f"{i} {x}" for i, x in enumerate(names, 1)) + ".",),
        )
    return _number(talk, "pictures", f"{talk.pick(asks)} How many pictures is that?", n, ())


RECKONING: dict[str, tuple[Maker, float]] = {  # maker and share
    "count": (count_list, 0.12),
    "count one": (count_one, 0.1),
    "count kind": (count_kind, 0.08),
    "total": (total, 0.12),
    "story sum": (story_sum, 0.08),
    "sum": (arithmetic, 0.12),
    "rest": (rest, 0.06),
    "compare": (compare, 0.1),
    "sort": (sort_values, 0.07),
    "sort sizes": (sort_sizes, 0.05),
    "odd one out": (odd_one, 0.06),
    "pictures": (pictures_needed, 0.08),
}


def _number(talk: Talk, task: str, ask: str, value: int, steps: tuple[str, ...]) -> Exercise:
    """The reply is the number, in words or digits; a check takes either."""
    said = NUMBERS[value] if value < len(NUMBERS) and talk.chance(0.3) else str(value)
    return Exercise(task, ask, Answer(str(value), capital(f"{said}."), (), steps))


def _running(numbers: Sequence[int]) -> tuple[str, ...]:
    """One sum after another."""
    steps, so_far = [], numbers[0]
    for number in numbers[1:]:
        steps.append(f"{so_far} + {number} = {so_far + number}.")
        so_far += number
    return tuple(steps)


def _group(talk: Talk, count: int, name: str) -> str:
    return with_article(name) if count == 1 else f"{talk.number(count)} {concept(name).plural}"


def _sum_steps(a: int, sign: str, b: int, result: int) -> tuple[str, ...]:
    """Tens and ones apart, where there are tens."""
    if sign == "*":
        return (f"{' + '.join([str(a)] * b)} = {result}.",) if b > 1 else (f"{a} once is {result}.",)
    if a < 10 or b < 10:
        return (f"{a} {sign} {b} = {result}.",)
    tens, ones = b // 10 * 10, b % 10
    first = a + tens if sign == "+" else a - tens
    return (f"{a} {sign} {tens} = {first}.", f"{first} {sign} {ones} = {result}.")
