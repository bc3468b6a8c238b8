"""The kinds of picture that tasks draw, by name."""

from training.world import chart_reading, portraits, posters, screens
from training.world.kinds import Kind
from training.world.tasks.scenes import SCENES

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (SCENES, portraits.KIND, posters.KIND, screens.KIND, chart_reading.KIND)
}
DETAIL = {"poster": 2, "screen": 2, "chart": 2}
"""Kinds that need that many times more cells a side than others, for their letters to be legible."""
SHARES = {"scenes": 0.5}
"""Share of text to image by kind; kinds that are not named share the rest."""


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises ValueError listing the names."""
    if name not in KINDS:
        raise ValueError(f"no kind of picture {name!r}; one of {tuple(KINDS)}")
    return KINDS[name]


def share_of_kinds() -> dict[str, float]:
    """The kinds of text to image, by share."""
    rest = (1 - sum(SHARES.values())) / max(1, len(KINDS) - len(SHARES))
    return {name: SHARES.get(name, rest) for name in KINDS}
