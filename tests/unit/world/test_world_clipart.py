"""The clip art keeps what draws something, once, cut to what is drawn, in two splits sharing nothing."""

import base64
import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from training.world.assets import clipart
from wanimage.errors import DataLoss, NotFound

_SVG = '<svg xmlns="http://www.w3.org/2000/svg" {frame}>{body}</svg>'
_PAGE = 'width="200pt" height="100pt"'  # 250 x 125 units
_CORNER = '<rect x="20" y="10" width="50" height="25" fill="#0a0"/>'
DRAWINGS = {
    "a/box.svg": _SVG.format(frame=_PAGE, body=_CORNER),
    "b/box.svg": _SVG.format(frame=_PAGE, body=_CORNER),  # the same drawing once more
    "b/disc.svg": _SVG.format(frame='viewBox="-5 -5 10 10"', body='<circle r="5" fill="#00c"/>'),
    "c/empty.svg": _SVG.format(frame=_PAGE, body=""),
    "c/broken.svg": "<svg width='10' height='10'><rect",
    "c/blurred.svg": _SVG.format(frame=_PAGE, body="<filter id='f'/><circle r='50' cx='70' cy='70'/>"),
    "c/huge.svg": _SVG.format(
        frame=_PAGE, body='<circle r="50" cx="60" cy="60" fill="red"/>' + " " * 100_000
    ),
    "shapes/stars/star.svg": _SVG.format(frame=_PAGE, body='<circle r="50" cx="70" cy="70"/>'),
}


def _debian_package() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tarball:
        for name, svg in DRAWINGS.items():
            member = tarfile.TarInfo(f"./usr/share/openclipart/svg/{name}")
            member.size = len(svg)
            tarball.addfile(member, io.BytesIO(svg.encode()))
    out = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0"), ("data.tar.xz", data.getvalue())):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the clip art of a small package."""
    package = _debian_package()
    digest = base64.b64encode(hashlib.sha256(package).digest()).decode()
    monkeypatch.setenv("WAN_CACHE", str(tmp_path))
    monkeypatch.setattr(
        clipart, "PACKAGE", dataclasses.replace(clipart.PACKAGE, integrity=f"sha256-{digest}")
    )
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(package))
    return clipart.fetch(log=lambda line: None)


def _all_names() -> list[str]:
    return sorted(name for split in clipart.SPLITS for name in clipart.names(split))


@pytest.mark.usefixtures("fetched")
def test_only_small_plain_drawings_that_draw_something_are_kept_once() -> None:
    assert _all_names() == ["a/box.svg", "b/disc.svg"]


@pytest.mark.usefixtures("fetched")
def test_a_drawing_is_cut_to_what_is_drawn_and_keeps_its_aspect() -> None:
    alpha = clipart.draw("a/box.svg", 64)[..., 3]
    rows, columns = np.flatnonzero(alpha.max(1) > 0.5), np.flatnonzero(alpha.max(0) > 0.5)
    assert np.ptp(columns) + 1 >= 60  # of 64: the page was probed at 128 pixels
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(2, rel=0.1)
    assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 1


@pytest.mark.usefixtures("fetched")
def test_a_drawing_is_premultiplied_float() -> None:
    pixels = clipart.draw("b/disc.svg", 32)
    assert pixels.shape == (32, 32, 4)
    assert pixels.dtype == np.float32
    assert (pixels[..., :3] <= 255 * pixels[..., 3:] + 1e-3).all()
    np.testing.assert_allclose(pixels[16, 16], [0, 0, 204, 1])


def test_a_fetch_records_its_licence(fetched: Path) -> None:
    assert "public domain" in fetched.with_name(f"{clipart.PACKAGE.stem}.LICENSE").read_text()


def test_a_changed_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(_debian_package()))
    with pytest.raises(DataLoss, match="not the pinned package"):
        clipart.fetch(log=lambda line: None)
    assert not clipart.path().exists()


def test_missing_clip_art_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_CACHE", str(tmp_path))
    with pytest.raises(NotFound, match="fetch --clipart"):
        clipart.names("train")


def test_a_tenth_is_held_out_and_copies_in_two_folders_stay_together() -> None:
    held_out = [clipart.split_of(f"x/{n}.svg") == "heldout" for n in range(2000)]
    assert 0.08 < np.mean(held_out) < 0.12
    assert all((clipart.split_of(f"y/z/{n}.svg") == "heldout") == held for n, held in enumerate(held_out))
