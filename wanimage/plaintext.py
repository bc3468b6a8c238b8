"""The markup in plain text, for models whose tokenizer has none of its control tokens.

Tags are written out, less <BOI>: a picture ends with its size. In text, "<" always begins a tag; whoever
means the character writes "&lt;". So neither a user's words nor a model's can be taken for a tag, and a
grammar needs no more than "anything but <" for text.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from wanimage.grammar import grids
from wanimage.markup import MAX_SERIES, Parser, Tag

STOP = Tag.END_SIZE.value
"""What a leg of decoding ends with when it planned a picture."""
TAGS = tuple(tag for tag in Tag if tag is not Tag.BOI)

_AMBIGUOUS = re.compile(r"&(?=(?:amp;)*lt;)")
_ENTITY = re.compile(r"&((?:amp;)*)lt;")
_CUT_ENTITY = re.compile(r"&(?:amp;)*(?:a|am|amp|l|lt)?$")


def escape(text: str) -> str:
    """Text that holds no tag: "<" as "&lt;", and what already looked like it with one more "amp;"."""
    return _AMBIGUOUS.sub("&amp;", text).replace("<", "&lt;")


def unescape(text: str) -> str:
    """The inverse of `escape`."""
    return _ENTITY.sub(lambda found: f"&{found[1][4:]}lt;" if found[1] else "<", text)


class TextReader:
    """Text as it is decoded, to pieces for `wanimage.markup.Parser`."""

    def __init__(self) -> None:
        self._held = ""
        self._last: Tag | None = None

    def feed(self, text: str) -> list[str | Tag]:
        """The pieces that `text` completes; half a tag or an entity is held back."""
        self._held += text
        return [piece for piece in self._pieces() if piece]

    def finish(self, *, stopped: bool) -> list[str | Tag]:
        """What is left. `stopped`: the model or `STOP` ended the leg, so that an open size is closed."""
        found: list[str | Tag] = [unescape(self._held)] if self._held else []
        self._held = ""
        if stopped and self._last is Tag.SIZE:
            found += [Tag.END_SIZE, Tag.BOI]
        return found

    def _pieces(self) -> Iterator[str | Tag]:
        while self._held:
            at = self._held.find("<")
            if at < 0:
                cut = _CUT_ENTITY.search(self._held)
                end = cut.start() if cut else len(self._held)
                yield self._take(end)
                return
            yield self._take(at)
            tag = next((tag for tag in TAGS if self._held.startswith(tag.value)), None)
            if tag:
                self._held, self._last = self._held[len(tag.value) :], tag
                yield from (tag, Tag.BOI) if tag is Tag.END_SIZE else (tag,)
            elif any(tag.value.startswith(self._held) for tag in TAGS):
                return
            else:
                yield self._take(1)

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return unescape(taken)


_START = {
    "text": "leg",
    "think": 'some "</think>" leg',
    "think begun": 'prose "</think>" leg',
    "prompt": "some after_prompt",
    "prompt begun": "prose after_prompt",
    "before_size": "size",
    "grid": 'grid "</size>"',
    "before_boi": '""',
    "count": 'count "</series>" image',
    "in_series": "image",
}
_RULES = """\
after_prompt ::= "</imagine>" size
size ::= "<size>" grid "</size>"
image ::= "<imagine>" some after_prompt
series ::= "<series>" count "</series>" image
think ::= "<think>" prose "</think>"
prose ::= [^<]*
some ::= [ \\n]* [^< \\n] [^<]*
"""


def grammar_of(parser: Parser, begun: bool, *, max_cells: int, banned: frozenset[Tag] = frozenset()) -> str:
    """EBNF of what may follow, as `wanimage.grammar.grammar_of` says it in control tokens."""
    state = parser.state
    if begun and state in ("grid", "count"):
        raise ValueError(f"cannot resume inside <{state}>; resume before it")
    key = f"{state} begun" if begun and state in ("prompt", "think") else state
    return _grammar(key, max_cells, banned)


@lru_cache(maxsize=256)
def _grammar(state: str, max_cells: int, banned: frozenset[Tag]) -> str:
    inner = "prose" if Tag.THINK in banned else "prose (think prose)*"
    last = [name for name, tag in (("image", Tag.IMAGINE), ("series", Tag.SERIES)) if tag not in banned]
    if Tag.IMAGINE in banned:  # a series consists of images
        last = []
    leg = f"{inner} ({' | '.join(last)})?" if last else inner
    counts = " | ".join(f'"{number}"' for number in range(2, MAX_SERIES + 1))
    rows = " | ".join(
        f'"{height}*" ({" | ".join(f"{chr(34)}{width}{chr(34)}" for width in widths)})'
        for height, widths in grids(max_cells).items()
    )
    return f"root ::= {_START[state]}\nleg ::= {leg}\n{_RULES}count ::= {counts}\ngrid ::= {rows}\n"
