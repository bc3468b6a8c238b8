"""The passes of an evaluation over one loaded model."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.understanding.evaluation import questions
from training.understanding.evaluation.cases import Case, cases_of, families_of
from training.understanding.evaluation.drawing import picture_of
from training.understanding.evaluation.judging import judge
from training.understanding.evaluation.report import Results
from training.understanding.evaluation.writing import Mode, Written, write
from wanimage.decoding import Decoder, DecodingConfig
from wanimage.markup import ImageSpec

AT_ONCE = 48
"""Turns that are written together."""
GRAMMAR_SHARE = 4
"""One in so many samples is also written under the grammar."""
REASONED_TIMES = 3
"""So many times more samples of families that ask numeric and logical questions, for both ways to answer."""


@dataclass(frozen=True)
class Plan:
    """What is measured: `n` samples of every family of a split."""

    model: Path
    n: int = 40
    split: str = "heldout"
    seed: int = 7
    mode: Mode = field(default_factory=Mode)
    families: tuple[str, ...] = ()
    extras: bool = True
    """Whether the passes under the grammar and with thinking forced on and off are made too."""


async def evaluate(plan: Plan, threads: int) -> Results:
    """Load the model and make all passes."""
    config = DecodingConfig(model=plan.model, max_num_seqs=AT_ONCE, threads=threads)
    decoder = await Decoder.load(config)
    results = Results()
    try:
        await _pass(decoder, _cases(plan, plan.n), plan.mode, lambda c, w: results.add(c, w, judge(c, w)))
        if plan.extras:
            await _with_grammar(decoder, plan, results)
            await _both_ways(decoder, plan, results)
    finally:
        decoder.close()
    return results


async def _with_grammar(decoder: Decoder, plan: Plan, results: Results) -> None:
    """A share of the samples again, constrained: what is written must be well formed."""

    def count(case: Case, written: Written) -> None:
        results.add_only("well_formed_grammar", case, not written.problem)
        if written.problem:
            results.causes[
                "under the grammar: " + ("never ends" if written.endless else written.problem)
            ] += 1

    cases = _cases(plan, max(1, plan.n // GRAMMAR_SHARE))
    await _pass(decoder, cases, Mode("auto", grammar=True), count)


async def _both_ways(decoder: Decoder, plan: Plan, results: Results) -> None:
    """Numeric and logical questions, answered after forced reasoning and without any."""
    families = [f for f in questions.REASONED_FAMILIES if f in (plan.families or families_of(plan.split))]

    def asked() -> Iterator[Case]:
        for case in _cases(plan, REASONED_TIMES * plan.n, families):
            if questions.sort_of(case) in questions.REASONED:
                yield case

    for think in ("on", "off"):

        def count(case: Case, written: Written, name: str = f"reasoned_{think}") -> None:
            right = not written.problem and not written.images and questions.check(case, written.text)
            results.add_only(name, case, right)

        await _pass(decoder, asked(), Mode(think), count)


def _cases(plan: Plan, count: int, families: Sequence[str] | None = None) -> Iterator[Case]:
    """Samples family by family, number by number, so that long and short turns mix."""
    chosen = families if families is not None else plan.families or families_of(plan.split)
    for number in range(count):
        for family in chosen:
            yield from cases_of(family, number, plan.split, plan.seed)


async def _pass(
    decoder: Decoder, cases: Iterator[Case], mode: Mode, count: Callable[[Case, Written], None]
) -> None:
    """Write every case, many at a time; cases are sampled in a thread meanwhile."""
    room = asyncio.Semaphore(2 * AT_ONCE)
    started, turns, written_tokens = time.monotonic(), 0, 0

    async def one(case: Case) -> None:
        def see(spec: ImageSpec, number: int) -> np.ndarray | None:
            return picture_of(spec, number, case.gold.pictures)

        nonlocal turns, written_tokens
        try:
            written = await write(decoder, case, see, mode)
            turns, written_tokens = turns + 1, written_tokens + written.tokens
            count(case, written)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        async for case in _sampled(cases):
            await room.acquire()
            group.create_task(one(case))
    seconds = time.monotonic() - started
    print(f"{mode}: {turns} turns, {written_tokens} tokens in {seconds:.0f} s", flush=True)


async def _sampled(cases: Iterator[Case]) -> AsyncIterator[Case]:
    while (case := await asyncio.to_thread(next, cases, None)) is not None:
        yield case
