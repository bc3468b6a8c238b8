"""What an event log must say after faults, and what it tells of them."""

from collections.abc import Sequence
from datetime import UTC

from tests.standins.engines import story
from wanimage.markup import Parser, Text, split_tags
from wanimage.v1 import events_pb2

Events = Sequence[events_pb2.Event]


def turns_of(events: Events) -> list[list[events_pb2.Event]]:
    """The events of each turn, in order."""
    turns: dict[str, list[events_pb2.Event]] = {}
    for event in events:
        if event.turn_id:
            turns.setdefault(event.turn_id, []).append(event)
    return list(turns.values())


def faults_of_log(events: Events) -> list[str]:
    """What is wrong with a session told by stand-ins: gaps, pictures twice or missing, words twice or
    missing, turns without an end. Empty when all is well."""
    found = []
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        found.append(f"sequence numbers {[event.seq for event in events]}")
    planned = [event.image_planned.index for event in events if event.HasField("image_planned")]
    if planned != list(range(len(planned))):
        found.append(f"pictures planned {planned}")
    for turn in turns_of(events):
        found += [f"turn {turn[0].turn_id}: {fault}" for fault in _faults_of_turn(turn)]
    return found


def _faults_of_turn(turn: Events) -> list[str]:
    planned = [event.image_planned.index for event in turn if event.HasField("image_planned")]
    ready = [event.image_ready.image.index for event in turn if event.HasField("image_ready")]
    ends = [event for event in turn if event.WhichOneof("kind") in ("turn_finished", "turn_failed")]
    found = []
    if len(ends) != 1 or turn[-1] is not ends[0]:
        return [f"{len(ends)} ends, the last event is {turn[-1].WhichOneof('kind')} at {turn[-1].seq}"]
    if ready != sorted(set(ready)):
        found.append(f"pictures twice or out of order: {ready}")
    if ends[0].HasField("turn_failed"):
        return found
    if planned != ready:
        found.append(f"planned {planned}, ready {ready}")
    text = "".join(event.text_delta.text for event in turn)
    wanted = _words(story(turn[0].turn_started.text))
    if text != wanted:
        found.append(f"said {text!r}, not {wanted!r}")
    return found


def _words(script: str) -> str:
    parser = Parser()
    items = [item for piece in split_tags(script) for item in parser.feed(piece)]
    return "".join(item.text for item in items if isinstance(item, Text))


def silence_after(turn: Events, moment: float) -> float:
    """Seconds from `moment` (of time.time()) to the turn's next event; 0 when it did not run then."""
    times = [event.time.ToDatetime(UTC).timestamp() for event in turn]
    if not times[0] <= moment < times[-1]:
        return 0.0
    return next(time for time in times if time > moment) - moment
