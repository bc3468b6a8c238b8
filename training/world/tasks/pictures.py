"""The kinds of picture that tasks draw, by name."""

from training.world.kinds import Kind
from training.world.pictures import chart_reading, collages, palettes, portraits, posters, screens, stickers
from training.world.tasks.scenes import SCENES

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        SCENES,
        portraits.KIND,
        posters.KIND,
        screens.KIND,
        chart_reading.KIND,
        palettes.KIND,
        stickers.KIND,
        collages.KIND,
    )
}
DETAIL = {"poster": 2, "screen": 2, "chart": 2, "collage": 2}
"""Kinds that need that many times more cells a side than others, for letters and panels to be legible."""
FAMILIAR = ("palette", "collage")
"""Kinds that have no pictures with held-out concepts."""
SHARES = {"scene": 0.4}
"""Share of text to image by kind; kinds that are not named share the rest."""


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises ValueError listing the names."""
    if name not in KINDS:
        raise ValueError(f"no kind of picture {name!r}; one of {tuple(KINDS)}")
    return KINDS[name]


def share_of_kinds(split: str) -> dict[str, float]:
    """The kinds of text to image that have pictures of a split, by share."""
    rest = (1 - sum(SHARES.values())) / max(1, len(KINDS) - len(SHARES))
    fair = [name for name in KINDS if split != "heldout_concepts" or name not in FAMILIAR]
    return {name: SHARES.get(name, rest) for name in fair}
