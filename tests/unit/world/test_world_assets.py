"""The icons come from one pinned package, whole or not at all."""

import io
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from training.world import assets
from training.world.concepts import COLORABLE, CONCEPTS
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
    assert lines[0].startswith("downloading https://mirror.example/npm/@iconify-json/fluent-emoji-flat/-/")
    assert "1.2 MB" in lines[0]


def test_fetched_icons_are_not_fetched_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    assets.icons_path().write_text("{}")
    monkeypatch.delattr("urllib.request.urlopen")
    assert assets.fetch(log=lambda line: None) == assets.icons_path()


def test_a_sprite_without_icons_names_the_command(cache: Path) -> None:
    assets.sprite.cache_clear()
    with pytest.raises(NotFound, match="wan data world fetch"):
        assets.sprite("dog", None, 14)


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
