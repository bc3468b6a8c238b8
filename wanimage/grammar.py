"""The markup as a grammar for constrained decoding, from wherever the turn stands (EBNF: wanimage/markup.py).

One leg of decoding ends at a <BOI> or at the end of the turn, so a grammar describes only the rest of a leg.
Control tokens are matched by id: text that looks like a tag never opens anything.
"""

from collections.abc import Mapping
from functools import lru_cache

from wanimage import tokens
from wanimage.decoding import lark
from wanimage.markup import MAX_SERIES, Parser, Tag

LARGEST_SIDE = 24
"""Longest side in cells that the planner may write: 1:8 at 72 cells; other sizes come from options."""
LONGEST_PROMPT = 600
"""Tokens of one picture's prompt, as many as the report's prompt enhancer writes (3.4): a planner that
repeats itself without end still gets to its picture."""

_START = {
    "text": "leg",
    "think": "REASON {END_THINK} leg",
    "think begun": "THOUGHT? {END_THINK} leg",
    "prompt": "prompt after_prompt",
    "prompt begun": "more? after_prompt",
    "before_size": "size",
    "grid": "GRID after_grid",
    "before_boi": "{BOI}",
    "count": "COUNT {END_SERIES} image",
    "in_series": "image",
}
_RULES = """\
after_prompt: {END_IMAGINE} size
size: {SIZE} GRID after_grid
after_grid: {END_SIZE} {BOI}
image: {IMAGINE} prompt after_prompt
series: {SERIES} COUNT {END_SERIES} image
think: {THINK} THOUGHT? {END_THINK}
TEXT: /(?s:.+)/
THOUGHT: /(?s:.+)/
more[max_tokens={longest}]: /(?s:.+)/
prompt[max_tokens={longest}]: /(?s:[ \\n]*[^ \\n].*)/
REASON: /(?s:[ \\n]*[^ \\n].*)/
"""


def grammar_of(
    parser: Parser,
    begun: bool,
    control: Mapping[str, int],
    *,
    max_cells: int,
    banned: frozenset[Tag] = frozenset(),
) -> str:
    """Lark text of what may follow.

    `parser` has read the turn so far; `begun` says whether text of the open construct is already written.
    `banned` tags may not open a construct in this leg; they do not reach into an open series.
    Raises `ValueError` in the middle of a number, where no turn is ever resumed.
    """
    state = parser.state
    if begun and state in ("grid", "count"):
        raise ValueError(f"cannot resume inside <{state}>; resume before it")
    key = f"{state} begun" if begun and state in ("prompt", "think") else state
    ids = tuple(sorted((tag, control[tag.value]) for tag in Tag))
    return _grammar(key, ids, max_cells, banned)


@lru_cache(maxsize=256)
def _grammar(state: str, ids: tuple[tuple[Tag, int], ...], max_cells: int, banned: frozenset[Tag]) -> str:
    inner = ["TEXT", *(["think"] if Tag.THINK not in banned else [])]
    last = [name for name, tag in (("image", Tag.IMAGINE), ("series", Tag.SERIES)) if tag not in banned]
    if Tag.IMAGINE in banned:  # a series consists of images
        last = []
    leg = f"({' | '.join(inner)})*" + (f" ({' | '.join(last)})?" if last else "")
    names = {tag.name: f"<[{token}]>" for tag, token in ids}
    rules = f"start: {_START[state]}\nleg: {leg}\n{_RULES}".format(**names, longest=LONGEST_PROMPT)
    counts = "|".join(str(number) for number in range(2, MAX_SERIES + 1))
    return lark(f"{rules}COUNT: /{counts}/\nGRID: /{_grids(max_cells)}/\n")


def _grids(max_cells: int) -> str:
    """A regular expression of every grid."""
    return "|".join(
        f"{height}\\*({'|'.join(map(str, widths))})" for height, widths in grids(max_cells).items()
    )


@lru_cache(maxsize=8)
def grids(max_cells: int) -> dict[int, list[int]]:
    """Widths by height of every grid within the cells, the aspect and `LARGEST_SIDE`."""
    sides = range(1, LARGEST_SIDE + 1)
    rows = {
        height: [
            width
            for width in sides
            if height * width <= max_cells and max(height, width) <= 8 * min(height, width)
        ]
        for height in sides
    }
    return {height: widths for height, widths in rows.items() if widths}


assert {tag.value for tag in Tag} <= set(tokens.CONTROL_TOKENS), "every tag is a control token"
