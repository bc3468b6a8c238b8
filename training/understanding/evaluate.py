"""`python -m training.understanding.evaluate --model weights/nano/understanding`: held-out dialogues.

Every assistant turn is written by vLLM without a grammar, so that what is measured is the model. After each
<BOI> the planner sees what a perfect visualizer would draw of its own words. Nothing is retried.
"""

import argparse
import asyncio
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.understanding.items import CELL_PX
from training.world.assets.concepts import CONCEPTS
from training.world.dialogues.dialogue import KINDS, sample_dialogue
from training.world.dialogues.talk import Dialogue
from training.world.scenes.caption import parse
from training.world.scenes.render import render
from training.world.scenes.scene import Scene, SceneObject, Spec
from wanimage import tokens
from wanimage.conditions import COLORS, PLACES
from wanimage.decoding import Decoder, DecodingConfig, Sampling, Segment, StopReason
from wanimage.markup import ImageSpec, Item, MarkupError, Parser, Tag, Text
from wanimage.tokens import Vocabulary

STORY = "Tell a three-picture story about a fox who finds a red balloon."
MAX_TOKENS = 1200
_SIZES = {"small": 0.22, "medium": 0.33, "large": 0.5}
_MENTION = re.compile(
    rf"(?:\b({'|'.join(COLORS)}) )?\b({'|'.join(sorted(CONCEPTS, key=len, reverse=True))})\b"
)


@dataclass
class Written:
    """An assistant turn as the model wrote it."""

    items: list[Item] = field(default_factory=list)
    problem: str = ""
    """Why it is not a whole well-formed turn; empty when it is."""

    @property
    def images(self) -> list[ImageSpec]:
        """Its pictures."""
        return [item for item in self.items if isinstance(item, ImageSpec)]

    @property
    def text(self) -> str:
        """Its text without pictures and reasoning."""
        return "".join(item.text for item in self.items if isinstance(item, Text)).strip()


async def evaluate(decoder: Decoder, per_kind: int, split: str, seed: int) -> dict[str, dict[str, float]]:
    """Percentages by kind of dialogue; `all` weighs the kinds as training does."""
    waiting = asyncio.Semaphore(decoder.config.max_num_seqs)
    tallies: dict[str, Counter[str]] = defaultdict(Counter)

    async def judge(kind: str, number: int) -> None:
        rng = np.random.default_rng([seed, number, *kind.encode()])
        dialogue = sample_dialogue(rng, split, kind)
        async with waiting:
            for index, turn in enumerate(dialogue.turns):
                if turn.role == "assistant":
                    context = history(decoder.vocabulary, dialogue, index)
                    written = await write(decoder, context, f"{kind}-{number}-{index}", temperature=0.0)
                    for name in (kind, "all"):
                        tallies[name] += score(dialogue, index, written)

    await asyncio.gather(*(judge(kind, n) for kind in KINDS for n in range(per_kind)))
    return {kind: percentages(tally) for kind, tally in sorted(tallies.items())}


async def write(decoder: Decoder, context: list[Segment], name: str, temperature: float) -> Written:
    """Let the model write one turn, drawing as it goes."""
    control = decoder.vocabulary.control
    stop = (control[tokens.BOI], control[tokens.IM_END])
    written, parser, unseen, used = Written(), Parser(), [], 0
    while True:
        room = min(MAX_TOKENS - used, decoder.config.max_model_len - decoder.count_tokens(context))
        if room < 1:
            written.problem = "too long"
            return written
        sampling = Sampling(max_tokens=room, temperature=temperature, top_p=0.9, seed=1)
        ids: list[int] = []
        reason = None
        async for delta in decoder.decode(context, sampling, stop=stop, request_id=f"{name}-{used}"):
            ids += delta.token_ids
            reason = delta.stop_reason
        used += len(ids)
        try:
            for piece in pieces_of(decoder.vocabulary, ids):
                written.items += parser.feed(piece)
            if reason is not StopReason.TOKEN or ids[-1] == stop[1]:
                parser.finish()
                written.problem = "" if reason is StopReason.TOKEN else "too long"
                return written
        except MarkupError as error:
            written.problem = str(error)
            return written
        context = [*context, tuple(ids)]
        unseen.append(written.images[-1])
        if not parser.series_left:
            context += [picture for spec in unseen if (picture := imagined(spec)) is not None]
            unseen.clear()


def pieces_of(vocabulary: Vocabulary, ids: list[int]) -> list[str | Tag]:
    """Parser pieces of one leg; text between tags is decoded as a whole."""
    pieces: list[str | Tag] = []
    text: list[int] = []
    for token in [*ids, None]:
        name = None if token is None else vocabulary.names.get(token)
        if token is not None and name is None:
            text.append(token)
            continue
        pieces.append(vocabulary.decode_bytes(text).decode("utf-8", "replace"))
        text = []
        if name is not None and name != tokens.IM_END:
            if name not in set(Tag):
                raise MarkupError(f"{name} inside a turn")
            pieces.append(Tag(name))
    return pieces


def history(vocabulary: Vocabulary, dialogue: Dialogue, until: int) -> list[Segment]:
    """The context of turn `until`: the dialogue's own turns before it, as in `items.dialogue_item`."""
    control, text = vocabulary.control, vocabulary.encode_user_text
    context: list[Segment] = []
    for turn in dialogue.turns[:until]:
        context.append((control[tokens.IM_START], *text(f"{turn.role}\n")))
        if turn.role == "user":
            context += [drawn(p.scene, p.grid) for p in turn.pictures]
            context.append(tuple(text(turn.text)))
        else:
            parser, shown, unseen = Parser(), iter(turn.pictures), []
            ids = vocabulary.encode_markup(turn.text)
            for piece_ids in _legs(ids, control[tokens.BOI]):
                context.append(tuple(piece_ids))
                for piece in pieces_of(vocabulary, piece_ids):
                    parser.feed(piece)
                if piece_ids[-1] == control[tokens.BOI]:
                    unseen.append(next(shown))
                    if not parser.series_left:
                        context += [drawn(p.scene, p.grid) for p in unseen]
                        unseen = []
        context.append((control[tokens.IM_END], *text("\n")))
    context.append((control[tokens.IM_START], *text("assistant\n")))
    return context


def _legs(ids: list[int], boi: int) -> list[list[int]]:
    legs: list[list[int]] = [[]]
    for token in ids:
        legs[-1].append(token)
        if token == boi:
            legs.append([])
    return [leg for leg in legs if leg]


def drawn(scene: Scene, grid: tuple[int, int]) -> np.ndarray:
    """The scene's pixels at a grid."""
    return render(scene, grid[0] * CELL_PX, grid[1] * CELL_PX)


def imagined(spec: ImageSpec) -> np.ndarray | None:
    """What a perfect visualizer draws of a prompt; None where the prompt is not of the world."""
    found = understood(spec)
    if found is None:
        return None
    objects = []
    for thing in found.objects:
        row, column = divmod(PLACES.index(thing.place), 3)
        place = (0.24 + 0.26 * column, 0.24 + 0.26 * row)
        objects.append(SceneObject(thing.concept, thing.color, *place, _SIZES[thing.size]))
    return drawn(Scene(tuple(objects), found.background), spec.grid)


def understood(spec: ImageSpec) -> Spec | None:
    """The prompt read back by the world's grammar."""
    try:
        return parse(spec.prompt.strip())
    except ValueError:
        return None


def score(dialogue: Dialogue, index: int, written: Written) -> Counter[str]:
    """Counts of one assistant turn: `x` right of `x?` asked, for every measure that applies."""
    gold, user = dialogue.turns[index], dialogue.turns[index - 1]
    tally: Counter[str] = Counter()

    def mark(name: str, right: bool) -> None:
        tally[name] += right
        tally[f"{name}?"] += 1

    mark("well_formed", not written.problem)
    mark("count", len(written.images) == len(gold.pictures))
    specs = [understood(spec) for spec in written.images]
    for spec in specs:
        mark("prompt_of_world", spec is not None)
    if gold.pictures and len(specs) == len(gold.pictures):
        known = [spec for spec in specs if spec is not None]
        said = {(thing.color, thing.concept) for spec in known for thing in spec.objects}
        for color, concept in _MENTION.findall(user.text):
            named = any(thing.concept == concept for p in gold.pictures for thing in p.scene.spec.objects)
            if named:  # removals and replaced things are mentioned, and rightly absent
                mark(
                    "asked_object", ((color or None, concept) in said) or (not color and _has(said, concept))
                )
        for spec, wanted in zip(specs, gold.pictures, strict=True):
            if len(gold.pictures) == 1 and dialogue.kind != "story":
                mark("same_cast", spec is not None and _cast(spec) == _cast(wanted.scene.spec))
        mark("size", [s.grid for s in written.images] == [p.grid for p in gold.pictures])
    if dialogue.kind == "question" and not gold.pictures:
        mark("vqa", written.text == gold.text.strip())
    return tally


def _has(said: set[tuple[str | None, str]], concept: str) -> bool:
    return any(name == concept for _, name in said)


def _cast(spec: Spec) -> list[str]:
    return sorted(thing.concept for thing in spec.objects)


def percentages(tally: Counter[str]) -> dict[str, float]:
    """`{name: percent}` with the number of cases as `name_n`."""
    found: dict[str, float] = {}
    for name in sorted(key for key in tally if not key.endswith("?")):
        found[name] = round(100 * tally[name] / tally[f"{name}?"], 1)
        found[f"{name}_n"] = tally[f"{name}?"]
    return found


async def run(arguments: argparse.Namespace) -> None:
    """Load, tell the demo's story, count, write the report."""
    decoder = await Decoder.load(DecodingConfig(model=arguments.model))
    try:
        text = decoder.vocabulary.encode_user_text
        control = decoder.vocabulary.control
        ask = (control[tokens.IM_START], *text("user\n"), *text(STORY), control[tokens.IM_END], *text("\n"))
        opened: list[Segment] = [ask, (control[tokens.IM_START], *text("assistant\n"))]
        story = await write(decoder, opened, "story", temperature=0.0)
        print(STORY)
        for item in story.items:
            print(
                f"  [{item.grid[0]}*{item.grid[1]}] {item.prompt}"
                if isinstance(item, ImageSpec)
                else item.text
            )
        print(f"  ({story.problem or 'well formed'})")
        report = await evaluate(decoder, arguments.dialogues, arguments.split, arguments.seed)
    finally:
        decoder.close()
    for kind, numbers in report.items():
        print(kind.ljust(12), "  ".join(f"{k} {v}" for k, v in numbers.items() if not k.endswith("_n")))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["all"]))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m training.understanding.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the exported branch")
    parser.add_argument("--dialogues", type=int, default=20, help="dialogues of each kind")
    parser.add_argument("--split", default="heldout")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where to write the report as JSON")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
