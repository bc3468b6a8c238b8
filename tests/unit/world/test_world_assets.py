"""The icons come from one pinned package, whole or not at all."""

import base64
import dataclasses
import hashlib
import io
import json
import tarfile
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.world.assets import sprites as assets
from training.world.assets.array_cache import keep_arrays
from training.world.assets.concepts import CATALOGUE, COLORABLE, CONCEPTS, STYLES
from wanimage.conditions import COLORS
from wanimage.errors import DataLoss, NotFound, Unavailable


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("WAN_CACHE", str(tmp_path))
    return tmp_path / "world"


def test_a_changed_package_is_refused_and_nothing_is_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"not the pinned tarball"))
    with pytest.raises(DataLoss, match="not the pinned package"):
        assets.fetch(log=lambda line: None)
    assert not cache.exists()


def test_an_unreachable_registry_names_the_command(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, timeout: int) -> None:
        raise urllib.error.URLError("connection refused")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(Unavailable, match="wan data world fetch"):
        assets.fetch(log=lambda line: None)


def test_fetch_says_url_and_size_before_it_downloads(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setenv("npm_config_registry", "https://mirror.example/npm/")
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b""))
    with pytest.raises(DataLoss):
        assets.fetch(log=lines.append)
    said = next(line for line in lines if "fluent-emoji-flat" in line)
    assert said.startswith("downloading https://mirror.example/npm/@iconify-json/fluent-emoji-flat/-/")
    assert "1.2 MB" in said
    assert "MIT" in said


def test_fetched_icons_are_not_fetched_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    for path in (assets.icons_path(), *(assets.catalogue_path(style) for style in STYLES)):
        path.write_text("{}")
    monkeypatch.delattr("urllib.request.urlopen")
    assert assets.fetch(log=lambda line: None) == assets.icons_path()


@pytest.mark.parametrize("style", STYLES)
def test_a_sprite_without_icons_names_the_command(cache: Path, style: str) -> None:
    assets.sprite.cache_clear()
    assets._master.cache_clear()
    with pytest.raises(NotFound, match="wan data world fetch"):
        assets.sprite("dog", None, 14, style)


def test_fetch_keeps_the_icons_of_the_catalogue_and_a_licence_of_each_style(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve_square_icons(monkeypatch)
    assets.fetch(log=lambda line: None)
    core, rest = (json.loads(p.read_text()) for p in (assets.icons_path(), assets.catalogue_path("flat")))
    assert set(core) == {c.icon for c in CONCEPTS.values()}
    assert set(core) | set(rest) == {c.icon for c in CATALOGUE.values()}
    assert set(json.loads(assets.catalogue_path("noto").read_text())) == {c.icon for c in CATALOGUE.values()}
    notices = [(cache / f"{package.stem}.LICENSE").read_text() for package in assets.PACKAGES.values()]
    assert [("Apache-2.0" in notice) for notice in notices] == [False, False, False, True]


def test_icons_on_another_view_box_are_scaled_to_the_common_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stub's icons are squares that fill the right half of their view box, which in noto has side 128."""
    _serve_square_icons(monkeypatch)
    assets.fetch(log=lambda line: None)
    assets._view.cache_clear()
    assert assets._view("zebra", "noto") == assets._view("zebra", "flat") == "16.0 8.0 16.0 16.0"
    assets._view.cache_clear()


def _serve_square_icons(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry whose packages draw every icon as one square."""
    for style, package in assets.PACKAGES.items():
        side = 128 if style == "noto" else 32
        square = f'<path d="M{side / 2} {side / 4}h{side / 2}v{side / 2}h-{side / 2}z"/>'
        icons = {c.icon: {"body": square} for c in CATALOGUE.values()}
        content = json.dumps({"icons": icons, "width": side, "height": side}).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tarball:
            member = tarfile.TarInfo("package/icons.json")
            member.size = len(content)
            tarball.addfile(member, io.BytesIO(content))
        digest = base64.b64encode(hashlib.sha512(archive.getvalue()).digest()).decode()
        stub = dataclasses.replace(package, integrity=f"sha512-{digest}")
        monkeypatch.setitem(assets.PACKAGES, style, stub)
        _ARCHIVES[stub.url] = archive.getvalue()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(_ARCHIVES[url]))


_ARCHIVES: dict[str, bytes] = {}


@pytest.mark.usefixtures("icons")
def test_an_outline_takes_any_colour_and_nothing_else() -> None:
    sprite = assets.sprite("fox", "teal", 48, "outline")
    drawn = sprite[sprite[..., 3] > 0.99]
    np.testing.assert_allclose(drawn[:, :3], np.broadcast_to(COLORS["teal"], (len(drawn), 3)))


@pytest.mark.usefixtures("icons")
@pytest.mark.parametrize("px", [24, 150, 300])
def test_a_scaled_style_is_as_tight_and_premultiplied_as_the_others(px: int) -> None:
    sprite = assets.sprite("fox", "red", px, "gradient")
    alpha = sprite[..., 3]
    rows, columns = np.flatnonzero((alpha > 0.05).any(1)), np.flatnonzero((alpha > 0.05).any(0))
    assert max(np.ptp(rows), np.ptp(columns)) >= px - 3
    assert (sprite[..., :3] <= 255 * sprite[..., 3:] + 1).all()
    assert not sprite.flags.writeable


def test_the_sprite_cache_lets_the_oldest_go_at_its_limit_of_bytes() -> None:
    made = []

    @keep_arrays(max_bytes=3 * 400)
    def row(value: int) -> NDArray[np.float32]:
        made.append(value)
        return np.full(100, value, np.float32)

    for value in (1, 2, 3, 1, 4, 1, 3, 2):  # 2 goes when 4 comes; 1 was asked for again and stays
        assert row(value)[0] == value
    assert made == [1, 2, 3, 4, 2]
    assert row.nbytes == 3 * 400


@pytest.mark.usefixtures("icons")
def test_every_concept_fills_its_sprite() -> None:
    for name in CONCEPTS:
        alpha = assets.sprite(name, None, 32)[..., 3]
        rows, columns = np.flatnonzero((alpha > 0.05).any(1)), np.flatnonzero((alpha > 0.05).any(0))
        assert max(np.ptp(rows), np.ptp(columns)) >= 30, name


@pytest.mark.usefixtures("icons")
@pytest.mark.parametrize("name", COLORABLE)
def test_a_colour_word_paints_a_fifth_of_its_sprite(name: str) -> None:
    """Shades of the word's own colour; the rest is what the icon never changes (wheels, handles, straps)."""
    for color, rgb in COLORS.items():
        sprite = assets.sprite(name, color, 24)
        opaque = sprite[sprite[..., 3] > 0.99][:, :3]
        assert (np.abs(opaque - rgb).max(-1) < 56).mean() > 0.2, color


@pytest.mark.parametrize(
    "svg", ["", "no markup", "<svg", '<svg xmlns="http://www.w3.org/2000/svg" width="0"/>']
)
def test_what_is_no_svg_is_refused(svg: str) -> None:
    with pytest.raises(ValueError, match="no SVG that can be drawn"):
        assets.rasterise_svg(svg)


def test_any_thread_draws() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><path d="M0 0h8v8z"/></svg>'
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(assets.rasterise_svg, svg).result()
    assert np.array_equal(drawn, assets.rasterise_svg(svg))
