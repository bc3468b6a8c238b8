"""Text to image, over all kinds of picture."""

from training.world.dialogues.talk import SIZE_WORDINGS, Grid, Talk, capital
from training.world.tasks.asking import Wish
from training.world.tasks.building import frame, some_grid, write
from training.world.tasks.captions import natural, statements, structured
from training.world.tasks.pictures import DETAIL, kind_of, share_of_kinds
from training.world.tasks.sample import Frame, NearMiss, Sample

_TRIES = 20
_ORDERS = ("draw", "paint", "make a picture of", "create", "show me", "generate")


def draw(talk: Talk, aspect: Grid | None = None) -> Sample:
    """One picture of any kind, asked for in words."""
    name = talk.weighted(share_of_kinds(talk.split))
    kind, grid = kind_of(name), some_grid(talk, aspect)
    detail = DETAIL.get(name, 1)
    graph = kind.sample(talk.rng, talk.split, grid)
    target = frame(talk, graph, (grid[0] * detail, grid[1] * detail), name)
    phrase = kind.phrase(target.scene)
    brief = natural(kind, target.scene, talk.rng, "brief").rstrip(".")
    order = talk.pick(_ORDERS)
    shape = (
        f" as a {talk.pick(SIZE_WORDINGS[grid])} picture" if grid in SIZE_WORDINGS and grid != (8, 8) else ""
    )
    details = _details(talk, target)
    wish = Wish(
        brief[:1].lower() + brief[1:],
        f"{order} {brief[:1].lower()}{brief[1:]}",
        f"{order} {phrase}{shape}",
        details,
    )
    return write(
        talk,
        "text_to_image",
        wish,
        (target,),
        lead=talk.pick(("", "", "Here is your picture.", "Of course.")),
        thought=f"{capital(phrase)}." if talk.chance(0.1) else "",
        near_misses=_near_misses(talk, target),
    )


def _details(talk: Talk, target: Frame) -> tuple[str, ...]:
    """Some of what the structured caption says."""
    said = structured(kind_of(target.kind), target.scene)["attributes"].values()
    sentences = [s for text in said for s in statements(text)]
    return tuple(s for s in sentences if talk.chance(0.5))


def _near_misses(talk: Talk, target: Frame) -> tuple[NearMiss, ...]:
    """Another picture of the same kind."""
    kind = kind_of(target.kind)
    wanted = kind.phrase(target.scene)
    for _ in range(_TRIES):
        other = kind.sample(talk.rng, talk.split, target.grid)
        if kind.phrase(other) != wanted:
            return (NearMiss("another picture", (target.shows(other),)),)
    return ()
