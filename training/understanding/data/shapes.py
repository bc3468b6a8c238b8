"""How people say the shape of a picture, and the grid that is meant.

A grid is (height, width) in cells of 16 pixels. Anything that names an aspect means the grid of the family
that is nearest to it; words that name a use ("phone wallpaper") mean that use's aspect.
"""

import math

from training.understanding.data.exercise import Exercise, Maker, exercise
from training.world.dialogues.talk import SIZE_WORDINGS, Grid, Talk, capital

GRIDS: tuple[Grid, ...] = (
    (8, 8), (7, 9), (9, 7), (6, 10), (10, 6), (5, 12), (12, 5), (4, 16), (16, 4), (3, 24), (24, 3),
)  # fmt: skip
"""Shapes of the nano family, nearest to square first."""
USES: dict[Grid, tuple[str, ...]] = {
    (8, 8): ("square", "1:1", "profile picture", "album cover", "icon-shaped", "512x512", "1024x1024"),
    (7, 9): ("4:3", "1024x768", "800x600", "slide in 4:3"),
    (9, 7): ("3:4", "768x1024", "600x800", "portrait 3:4"),
    (6, 10): (
        "wide", "landscape", "16:9", "horizontal", "landscape 16:9", "1920x1080", "1280x720", "widescreen",
        "desktop wallpaper", "video thumbnail", "landscape format", "16 by 9",
    ),
    (10, 6): (
        "tall", "portrait", "9:16", "vertical", "portrait 9:16", "1080x1920", "720x1280", "phone wallpaper",
        "upright", "portrait format", "9 by 16", "for my phone",
    ),
    (5, 12): ("very wide", "panorama", "panoramic", "21:9", "2560x1080", "ultrawide", "cinema format"),
    (12, 5): ("very tall", "9:21", "1080x2560", "tall panel"),
    (4, 16): ("banner", "4:1", "banner-shaped", "website banner", "1600x400", "header image", "2048x512"),
    (16, 4): ("scroll", "1:4", "bookmark-shaped", "bookmark", "400x1600", "side banner"),
    (3, 24): ("long banner", "8:1", "very long banner", "1:8 banner", "2048x256", "streamer"),
    (24, 3): ("long scroll", "1:8", "very long scroll", "256x2048", "hanging scroll"),
}  # fmt: skip
"""Ways to say a shape; the world's own (`SIZE_WORDINGS`) are among them."""
_NOUN = ("banner", "scroll", "wallpaper", "thumbnail", "cover", "bookmark", "panorama", "streamer", "panel")


def grid_of(height: float, width: float) -> Grid:
    """The grid of the family whose aspect is nearest, by ratio. Raises ValueError for sides of 0 or less."""
    if height <= 0 or width <= 0:
        raise ValueError(f"a picture of {height} by {width} has no shape; both sides are above 0")
    return min(GRIDS, key=lambda grid: abs(math.log(width / height) - math.log(grid[1] / grid[0])))


def wording(talk: Talk, grid: Grid) -> str:
    """One way to say it: words, a ratio, or pixels. Raises KeyError for a grid that is none of GRIDS."""
    if talk.chance(0.15):
        unit = talk.pick((64, 80, 100, 120, 128, 160, 200))
        return f"{grid[1] * unit}{talk.pick(('x', ' x ', '×'))}{grid[0] * unit}"
    return talk.pick(USES[grid])


def asked(talk: Talk, words: str, grid: Grid) -> str:
    """A request's words with the shape before, behind or inside them, as people put it."""
    shape = wording(talk, grid)
    noun = shape.split(" ")[-1] in _NOUN
    bare = shape.startswith("for ")
    forms = [f"{words}, {shape}", f"{shape}: {words}", f"{words} ({shape})", f"{words}. Format: {shape}."]
    if bare:
        forms = [f"{words} {shape}", f"{words}, {shape}"]
    elif noun:
        forms += [f"{words} as a {shape}", f"I need a {shape}: {words}", f"a {shape} with {words}"]
    else:
        forms += [f"{words}, make it {shape}", f"{shape} picture of {words}", f"Draw {words} in {shape}"]
    return talk.pick(forms)


def to_grid(talk: Talk) -> Exercise:
    """The size tag for a wording."""
    grid = talk.pick(GRIDS)
    shape = wording(talk, grid)
    said = talk.pick(
        ("Which size is {x}?", "Size of {x}, in cells", "{X}: which grid is that?", "Grid for: {x}")
    )
    return exercise("size", said.format(x=shape, X=capital(shape)), f"{grid[0]}*{grid[1]}", _steps(grid))


def of_pixels(talk: Talk) -> Exercise:
    """Whether numbers of pixels are wide, tall or square."""
    width, height = (int(n) * 8 for n in talk.rng.integers(30, 300, 2))
    if talk.chance(0.15):
        height = width
    word = "square" if width == height else "wide" if width > height else "tall"
    sign = "=" if width == height else ">" if width > height else "<"
    steps = (f"The width is {width}, the height is {height}.", f"{width} {sign} {height}: {word}.")
    return exercise(
        "orientation", f"Is {width}x{height} wide, tall or square?", capital(f"{word}."), steps, word
    )


def to_words(talk: Talk) -> Exercise:
    """What a size tag looks like."""
    grid = talk.pick(list(SIZE_WORDINGS))
    words = [wordings[0] for wordings in SIZE_WORDINGS.values()]
    word = SIZE_WORDINGS[grid][0]
    ask = f"What shape is {grid[0]}*{grid[1]}?"
    return exercise(
        "size in words", ask, capital(f"{word}."), (*_steps(grid), f"So it is {word}."), word, words
    )


SHAPES: dict[str, tuple[Maker, float]] = {  # maker and share
    "size": (to_grid, 0.7),
    "orientation": (of_pixels, 0.2),
    "size in words": (to_words, 0.1),
}


def _steps(grid: Grid) -> tuple[str, ...]:
    height, width = grid
    relation = (
        "as wide as tall" if height == width else "wider than tall" if width > height else "taller than wide"
    )
    return (f"It is {relation}: {height} high, {width} wide.",)
