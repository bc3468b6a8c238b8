"""Before the planner reads a request: what the prompt enhancer makes of it, where there is one.

By default the enhancer is asked about every request that begins something, and decides by its category
whether to rewrite (report 3.4). A turn never fails for it: an enhancer that is away, late or wrong leaves the
user's words as they are, and the log says so.
"""

from collections.abc import Callable
from dataclasses import dataclass

from services.planner.history import History
from wanimage.enhancejobs import SINGLE, category_word, changes, enhance_job, task_of
from wanimage.errors import WanError
from wanimage.jobs import Jobs, make_job
from wanimage.v1 import events_pb2, jobs_pb2, types_pb2

PATIENCE_SECONDS = {types_pb2.ENHANCER_VARIANT_QUALITY: 60.0}
"""How long a turn waits for a variant."""
FAST_SECONDS = 10.0
NOBODY = "no enhancer is running"

OPEN = "a series, and nobody said of how many pictures: the planner decides"
SERIAL = ("storyboard", "technical_diagram", "knowledge")
"""Categories of several pictures."""

Mode = types_pb2.EnhanceOptions


@dataclass(frozen=True)
class Enhancing:
    """Asks the enhancer on behalf of one tenant."""

    jobs: Jobs
    tenant: str
    family: str
    handed_on: Callable[[], bool] = lambda: False
    """Whether the turn goes on with another worker, which finds the job under way."""

    async def of(self, history: History, seconds_left: float) -> events_pb2.PromptEnhanced | None:
        """What became of the last turn's request; None where the enhancer has no say in it.

        It has none when the client turned it off, and, unless turned on, when nobody enhances here or when
        the turn goes on from pictures of earlier turns. Raises Unavailable when NATS is away.
        """
        turn = history.turns[-1]
        options = turn.options.enhance
        if options.mode == Mode.MODE_OFF:
            return None
        images = list(turn.images)
        drawn = [image for image in history.images if image is not None and image not in images]
        if drawn and not images:
            if options.mode != Mode.MODE_ON:
                return None
            images = drawn[-1:]
        if not await self.jobs.bus.heard(f"wan.queued.enhance.{self.tenant}"):
            return self._passed(options, NOBODY) if options.mode == Mode.MODE_ON else None
        task, count = task_of(turn.text, bool(images), turn.options.image_count)
        payload = enhance_job(task, count, turn.text, [image.base for image in images], options)
        patience = PATIENCE_SECONDS.get(options.variant, FAST_SECONDS)
        job = make_job(self.tenant, self.family, payload, min(patience, seconds_left))
        try:
            result = (await self.jobs.run(job, keep=self.handed_on)).enhance
        except WanError as error:
            return self._passed(options, f"the enhancer failed: {error}")
        return told(result, turn.text, payload.options.variant)

    @staticmethod
    def _passed(options: types_pb2.EnhanceOptions, reason: str) -> events_pb2.PromptEnhanced:
        return events_pb2.PromptEnhanced(pass_through_reason=reason, variant=options.variant)


def told(result: jobs_pb2.EnhanceResult, text: str, variant: int) -> events_pb2.PromptEnhanced:
    """The event of a result."""
    category = category_word(result)
    if result.rewritten and result.task in SINGLE and category in SERIAL and not result.common:
        return events_pb2.PromptEnhanced(
            category=category,
            pass_through_reason=OPEN,
            variant=variant,  # type: ignore[arg-type]
            usage=result.usage,
        )
    return events_pb2.PromptEnhanced(
        rewritten=result.rewritten,
        category=category,
        descriptions=[each.natural for each in result.descriptions],
        pass_through_reason=result.pass_through_reason,
        common=result.common,
        differences=changes(result),
        variant=variant,  # type: ignore[arg-type]
        request=request_of(result, text),
        usage=result.usage,
    )


def request_of(result: jobs_pb2.EnhanceResult, text: str) -> str:
    """What the planner reads of a rewrite; empty where it reads the user's own words.

    A single picture is ordered by its description. The entries of a series stand as sentences before the
    user's words, which say what else is wanted (a story is told, steps are explained); numbered, or behind
    those words, the nano planner draws one picture of all, or too many. Of an edit the planner reads the
    user's words: it was not trained on `common` and `difference`, which are for the client and the log.
    """
    if not result.descriptions:
        return ""
    if result.task in SINGLE:
        return f"Draw {result.descriptions[0].natural}."
    entries = [f"{each.natural[:1].upper()}{each.natural[1:]}." for each in result.descriptions]
    return " ".join([*entries, text])
