"""Pictures inside a terminal."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from wanimage.cli import inline
from wanimage.cli.inline import Protocol, Show
from wanimage.cli.turn import Picture
from wanimage.cli.view import TurnView


def encoded(pixels: np.ndarray, image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, image_format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.ITERM2),
        ({"TERM": "tmux-256color", "TMUX": "x", "KITTY_WINDOW_ID": "1"}, Protocol.NONE),
        ({"TERM": "tmux-256color", "TMUX": "x", "COLORTERM": "truecolor"}, Protocol.BLOCKS),
        ({"TERM": "xterm-256color", "COLORTERM": "24bit"}, Protocol.BLOCKS),
        ({"TERM": "xterm-256color"}, Protocol.NONE),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, Protocol.NONE),
        ({}, Protocol.NONE),
    ],
)
def test_the_terminals_environment_decides_the_protocol(environment, expected):
    assert inline.protocol(Show.AUTO, terminal=True, environment=environment) is expected
    assert inline.protocol(Show.AUTO, terminal=False, environment=environment) is Protocol.NONE
    assert inline.protocol(Show.BLOCKS, terminal=False, environment=environment) is Protocol.BLOCKS


def test_kitty_chunks_join_to_the_png():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    data = encoded(pixels)
    found = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", inline.kitty(data))
    assert len(found) > 1
    assert all(len(payload) <= inline.KITTY_CHUNK for _, payload in found)
    assert [control.rpartition("m=")[2] for control, _ in found] == ["1"] * (len(found) - 1) + ["0"]
    assert base64.b64decode("".join(payload for _, payload in found)) == data


def test_kitty_gets_png_whatever_the_encoding():
    webp = encoded(np.full((16, 16, 4), 255, np.uint8), "WEBP")
    payload = re.search(r";([^\x1b]*)\x1b", inline.kitty(webp))[1]
    assert base64.b64decode(payload).startswith(b"\x89PNG")


def test_iterm2_carries_the_file_and_its_size():
    data = encoded(np.full((16, 16, 4), 9, np.uint8))
    found = re.fullmatch(r"\x1b\]1337;File=inline=1;size=(\d+);[^:]*:([^\x07]*)\x07\n", inline.iterm2(data))
    assert int(found[1]) == len(data)
    assert base64.b64decode(found[2]) == data


@pytest.mark.parametrize(("height", "width"), [(128, 128), (64, 256), (384, 48)])
def test_blocks_keep_the_aspect(height, width):
    text = inline.blocks(encoded(np.full((height, width, 4), 200, np.uint8)), columns=32)
    lines = text.plain.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert 0.7 < (len(lines[0]) / (2 * len(lines))) / (width / height) < 1.4
    assert len(lines[0]) <= 32


def test_blocks_show_upper_and_lower_pixels_as_colours():
    pixels = np.zeros((2, 1, 4), np.uint8)
    pixels[0, 0], pixels[1, 0] = (255, 0, 0, 255), (0, 0, 255, 255)
    text = inline.blocks(encoded(pixels), columns=1)
    style = text.spans[0].style
    assert (style.color.triplet, style.bgcolor.triplet) == ((255, 0, 0), (0, 0, 255))


def test_transparency_shows_a_checkerboard():
    mixed = inline.over_checker(np.zeros((8, 8, 4), np.uint8))
    assert set(np.unique(mixed)) == set(inline.CHECKER)


def test_a_large_picture_goes_to_the_terminal_as_a_thumbnail_and_a_small_one_as_it_is():
    small = encoded(np.full((8, 8, 4), 255, np.uint8), "WEBP")
    assert inline.shrunk(small) == small
    noise = np.random.default_rng(0).integers(0, 256, (500, 2000, 4), np.uint8)
    with Image.open(io.BytesIO(inline.shrunk(encoded(noise)))) as shown:
        assert (shown.size, shown.format) == ((inline.SHRUNK_SIDE, 256), "PNG")


def test_a_picture_too_large_to_decode_is_saved_without_being_shown(monkeypatch):
    monkeypatch.setattr(inline, "SHRINK_BYTES", 100)
    monkeypatch.setattr("wanimage.images.MAX_BYTES", 200)
    console = Console(file=io.StringIO(), width=200)
    turn_view = TurnView(console, Show.KITTY)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    turn_view.saved(Picture(0, "noise", path=Path("out/noise.png")), encoded(noise))
    assert "out/noise.png" in console.file.getvalue()
    assert "not shown" in console.file.getvalue()
