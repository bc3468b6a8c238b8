"""The kinds of picture the world draws, behind one interface: a scene graph that can be drawn and checked.

A scene graph is a frozen dataclass. A `Kind` says how to make one at random, draw it, put it into words and
read it back from pixels; tasks, captions, previews and measurements know kinds and never their modules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.world.report import Report

Pixels = NDArray[np.uint8]
"""Straight RGBA `[H, W, 4]`."""
Graph = Any
"""A kind's own frozen dataclass, hashable, with a `repr` that names every property (splits hash it)."""


@dataclass(frozen=True)
class Kind:
    """One kind of picture."""

    name: str
    category: str
    """Class of its structured captions: one of `captions.CLASSES`."""
    sample: Callable[[np.random.Generator, str, tuple[int, int]], Graph]
    """`(rng, split, (height, width))` -> a random graph of that split for that aspect (any unit)."""
    draw: Callable[[Graph, int, int], Pixels]
    """`(graph, height, width)` -> the picture, any size and aspect from 1:8 to 8:1."""
    verify: Callable[[Graph, Pixels], Report]
    phrase: Callable[[Graph], str]
    """Its concise caption; says every property that `verify` checks."""
    attributes: Callable[[Graph], dict[str, str]]
    """Sentences by name of `captions.ATTRIBUTES`, those its class has and the graph fills."""
