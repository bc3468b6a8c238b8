"""The kinds of picture that tasks draw, by name."""

from training.world.kinds import Kind
from training.world.tasks.scenes import SCENES

KINDS: dict[str, Kind] = {kind.name: kind for kind in (SCENES,)}


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises ValueError listing the names."""
    if name not in KINDS:
        raise ValueError(f"no kind of picture {name!r}; one of {tuple(KINDS)}")
    return KINDS[name]
