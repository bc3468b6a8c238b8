"""Open fonts in clearly different faces, usable by Pillow and resvg alike, that know what they can write."""

import base64
import dataclasses
import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.world.assets import fonts
from training.world.assets.fonts import FONTS, SCRIPTS
from training.world.assets.packages import COMMAND
from training.world.assets.sprites import rasterise_svg
from wanimage.errors import DataLoss, NotFound


@pytest.fixture(scope="session")
def faces() -> None:
    """The fetched fonts: without them the test skips on a laptop and fails where CI=true."""
    missing = [str(font.file) for font in FONTS.values() if not font.file.exists()]
    if missing:
        reason = f"no fonts at {', '.join(missing)}; run `{COMMAND}`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def _write(word: str, text: str, px: int = 32) -> np.ndarray:
    image = Image.new("L", (8 * px, 2 * px))
    ImageDraw.Draw(image).text((px // 2, px // 4), text, 255, fonts.font(word, px))
    return np.asarray(image)


def test_there_are_faces_for_latin_greek_cyrillic_and_chinese() -> None:
    assert {"serif", "sans", "slab", "handwritten", "monospaced", "rounded"} <= set(FONTS)
    assert {script for font in FONTS.values() for script in font.scripts} == set(SCRIPTS)
    assert all(font.licence in ("OFL-1.1", "Apache-2.0") for font in FONTS.values())


@pytest.mark.usefixtures("faces")
@pytest.mark.parametrize("word", FONTS)
def test_a_font_supports_the_scripts_it_names_and_no_other(word: str) -> None:
    found = {script for script, text in SCRIPTS.items() if fonts.supports(word, text)}
    assert found == set(FONTS[word].scripts)


@pytest.mark.usefixtures("faces")
def test_a_text_with_one_missing_glyph_is_not_supported() -> None:
    assert fonts.supports("serif", "a fox\nby day")
    assert not fonts.supports("serif", "a fox 猫")


@pytest.mark.usefixtures("faces")
@pytest.mark.parametrize("word", FONTS)
def test_every_letter_of_a_supported_script_draws_a_shape_of_its_own(word: str) -> None:
    letters = {"chinese": SCRIPTS["han"]}.get(word, "ABCXYZabxyz0123456789")
    assert len({_write(word, letter).tobytes() for letter in letters}) == len(letters)
    assert all(_write(word, letter).any() for letter in letters)


@pytest.mark.usefixtures("faces")
def test_no_two_faces_draw_a_word_alike() -> None:
    drawn = [_write(word, "Harbour 27").astype(np.float32) for word in FONTS if word != "chinese"]
    for i, first in enumerate(drawn):
        for second in drawn[:i]:
            assert np.abs(first - second).sum() > 0.5 * min(first.sum(), second.sum())


@pytest.mark.usefixtures("faces")
@pytest.mark.parametrize("word", FONTS)
def test_resvg_sets_the_face_that_pillow_sets(word: str) -> None:
    """The ink of both agrees but for their ways to smooth edges."""
    font, text = FONTS[word], "你好" if word == "chinese" else "Fox"
    weight = "bold" if "Bold" in font.face else "normal"
    style = f'x="16" y="48" font-size="32" font-family="{font.name}" font-weight="{weight}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="256" height="64"><text {style}>{text}</text></svg>'
    vector = rasterise_svg(svg, font_files=[font.file])[..., 3]
    image = Image.new("L", (256, 64))
    ImageDraw.Draw(image).text((16, 48), text, 255, fonts.font(word, 32), anchor="ls")
    raster = np.asarray(image)
    assert vector.mean() == pytest.approx(raster.mean(), rel=0.15)
    shared = np.minimum(vector, raster).sum(dtype=np.int64)
    assert shared > 0.7 * raster.sum()


@pytest.mark.usefixtures("faces")
def test_a_face_is_opened_once_for_each_size() -> None:
    assert fonts.font("sans", 20) is fonts.font("sans", 20)
    assert fonts.font("sans", 20).size == 20


def test_another_word_names_the_words_there_are() -> None:
    with pytest.raises(ValueError, match=r"no font 'gothic'.*handwritten"):
        fonts.font("gothic", 12)


def test_a_font_that_is_not_fetched_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_CACHE", str(tmp_path))
    with pytest.raises(NotFound, match="wan data world fetch"):
        fonts.supports("serif", "fox")


def test_fetch_keeps_the_face_in_use_and_its_licence_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_CACHE", str(tmp_path))
    serif = FONTS["serif"]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tarball:
        for name, content in ((serif.member, b"glyphs"), ("LICENSE_FONT", b"the font's own terms")):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tarball.addfile(member, io.BytesIO(content))
    digest = base64.b64encode(hashlib.sha512(archive.getvalue()).digest()).decode()
    package = dataclasses.replace(serif.package, integrity=f"sha512-{digest}")
    monkeypatch.setattr(fonts, "FONTS", {"serif": dataclasses.replace(serif, package=package)})
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(archive.getvalue()))
    fonts.fetch(log=lambda line: None)
    assert serif.file.read_bytes() == b"glyphs"
    notice = serif.file.with_name(f"{package.stem}.LICENSE").read_text()
    assert "OFL-1.1" in notice
    assert "the font's own terms" in notice


def test_a_changed_font_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"something else"))
    with pytest.raises(DataLoss, match="not the pinned package"):
        fonts.fetch(log=lambda line: None)
    assert not list(tmp_path.rglob("*.ttf"))
