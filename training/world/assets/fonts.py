"""The open fonts that the world's texts are set in: one for each word a caption may use, fetched from npm.

The packages are Google Fonts packed by Expo. Only the face in use is kept, as a TTF that both Pillow and
resvg read, with the font's own licence text beside it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from PIL import ImageFont

from training.world.assets.packages import (
    COMMAND,
    Log,
    Package,
    cache_dir,
    download,
    npm_file,
    record_licence,
    write_atomically,
)
from wanimage.errors import NotFound

SCRIPTS = {  # a text that needs all of a script's letters
    "latin": "ABCXYZabcxyz0123456789.,!?&%éüñçßø",
    "greek": "ΑΒΓΔΩαβγδωάέήίόύώ",
    "cyrillic": "АБВГЯЁабвгяё",
    "han": "你好春天快乐的猫山水",
}


@dataclass(frozen=True)
class Font:
    """One face."""

    name: str
    """Its family name, as in an SVG's `font-family`."""
    face: str
    """The weight in use, as its package names it: `700Bold`."""
    scripts: tuple[str, ...]
    """Keys of `SCRIPTS`."""
    package: Package

    @property
    def file(self) -> Path:
        """Its TTF in the cache."""
        return cache_dir() / f"{self.package.stem}-{self.face}.ttf"

    @property
    def member(self) -> str:
        """Its TTF in the package."""
        return f"{self.face}/{self.name.replace(' ', '')}_{self.face}.ttf"

    @property
    def licence(self) -> str:
        """SPDX expression."""
        return self.package.licence


def _google(
    name: str, face: str, scripts: str, version: str, megabytes: float, sha512: str, licence: str = "OFL-1.1"
) -> Font:
    package = Package(
        name=f"@expo-google-fonts/{name.lower().replace(' ', '-')}",
        version=version,
        integrity=f"sha512-{sha512}",
        megabytes=megabytes,
        licence=licence,
        notice=f"{name}, from Google Fonts (https://fonts.google.com), packed by Expo; its licence follows.",
    )
    return Font(name, face, tuple(scripts.split()), package)


FONTS: dict[str, Font] = {
    "serif": _google(
        "Lora",
        "400Regular",
        "latin cyrillic",
        "0.4.2",
        1.4,
        "Bnofh2mIOUKp4KUS48VjaBgug4lQOcw/ftU0NFv5OPtiutL422//G1v63xDZEMUEL6ft4fi5q94/uKcpDjbPag==",
    ),
    "sans": _google(
        "Didact Gothic",
        "400Regular",
        "latin greek cyrillic",
        "0.4.1",
        0.2,
        "2rJOmveo6pk3U6dvdsVypqKmuDYNqdyQwWSS3lXwq6U9Mep3WYGTw1PN/rUXjKKUE9YXsCPwN2dLcXpzPUu6ag==",
    ),
    "slab": _google(
        "Roboto Slab",
        "700Bold",
        "latin greek cyrillic",
        "0.4.2",
        1.5,
        "dT4K0ut4Y0uU5VJJ/PQjDKO8tZZXBkhiO3/WOhxqQy7LWRFXlWFWaMlpXLi3HUSDG7nkoSD2+MJWA6lDnPk7MQ==",
        "Apache-2.0",
    ),
    "display": _google(
        "Russo One",
        "400Regular",
        "latin cyrillic",
        "0.4.1",
        0.1,
        "RPpUR3ZzgXr3fOHIImNJtUwy3IPnyiAX+FewYW6NTqkConBaJbkCGA160xCvmqoo5iqxNB4XheTHsgyYM+gHIQ==",
    ),
    "handwritten": _google(
        "Caveat",
        "700Bold",
        "latin cyrillic",
        "0.4.2",
        0.9,
        "kCG35tRUX8Wi+u0Jh5ck3K1u7vZkdLnwRTuKMrEnlVmikvxQFXN1KjF5cL2vqRG7Hwm7648Zl8xe1BWAoIsPCA==",
    ),
    "script": _google(
        "Pacifico",
        "400Regular",
        "latin cyrillic",
        "0.4.1",
        0.3,
        "w21ZIeNdwVWPH173HNszX8ML1deogOsHcxhJ0ghpbyBzr7R6PGSJ6yWL5jBixvWV/E34xDk28aNn/cX+gqzf3Q==",
    ),
    "monospaced": _google(
        "PT Mono",
        "400Regular",
        "latin cyrillic",
        "0.4.1",
        0.2,
        "f9YMfoZAVovNtt30vOJ1Awpv6Tzzowm8hxqia506pyJi6w2mPKswz0yTB1jzeS7GCoRZnLcagUcu+uuxzYUVyA==",
    ),
    "rounded": _google(
        "Comfortaa",
        "700Bold",
        "latin greek cyrillic",
        "0.4.2",
        0.8,
        "eGz3aw5gQ4NA/saaiMv5CH709vB5tG+puP9vy+rFX3XXc20JQ0A/qeBiCH+J8enPvXDi0rXyG3EgqbJ4Er2htg==",
    ),
    "chinese": _google(
        "ZCOOL KuaiLe",
        "400Regular",
        "han",
        "0.4.2",
        1.3,
        "KkcHLXsOWzINR2ezf3bPpn4ePATD5JmG31Lif9/N1YkC1ZRyscwB3B5OV4svMjNtz5EE9XcK04JiIYfMAzUd3A==",
    ),
}


def fetch(log: Log = print) -> None:
    """Download the fonts into the cache unless they are there.

    Raises Unavailable when the registry cannot be reached, DataLoss when what came is not the pinned package.
    """
    with ThreadPoolExecutor(len(FONTS)) as pool:
        list(pool.map(lambda face: _fetch_font(face, log), FONTS.values()))


def font(word: str, px: int) -> ImageFont.FreeTypeFont:
    """The face of a font word at an em of `px`, cached.

    Raises NotFound naming the command when it is not fetched, ValueError for another word.
    """
    return _sized(_file(word), px)


def supports(word: str, text: str) -> bool:
    """Whether every character of the text has a glyph; raises as `font` does."""
    return all(ord(character) in _coverage(_file(word)) for character in text if character != "\n")


def _fetch_font(face: Font, log: Log) -> None:
    if face.file.exists():
        log(f"{face.file} is there")
        return
    archive = download(face.package, log)
    record_licence(face.package, npm_file(archive, "LICENSE_FONT").decode("utf-8-sig"))
    write_atomically(face.file, npm_file(archive, face.member))
    log(f"wrote {face.file}")


def _file(word: str) -> Path:
    if word not in FONTS:
        raise ValueError(f"no font {word!r}; one of {tuple(FONTS)}")
    if not FONTS[word].file.exists():
        raise NotFound("font file", str(FONTS[word].file), f"run `{COMMAND}` first")
    return FONTS[word].file


@lru_cache(maxsize=1024)
def _sized(file: Path, px: int) -> ImageFont.FreeTypeFont:
    # The basic layout is the same on every machine; the other depends on a system library.
    return ImageFont.truetype(file, px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=32)
def _coverage(file: Path) -> frozenset[int]:
    """The code points of a font file."""
    with TTFont(file, lazy=True) as tables:
        return frozenset(tables.getBestCmap())
