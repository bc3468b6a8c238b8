"""All that the world is drawn with, fetched once: icons, fonts and, for the VAE's training, clip art."""

from pathlib import Path

from training.world.assets import clipart, fonts
from training.world.assets import sprites as assets
from training.world.assets.concepts import STYLES
from training.world.assets.packages import Log


def fetch(*, with_clipart: bool, log: Log = print) -> None:
    """Download what is missing. Raises Unavailable or DataLoss, naming the package."""
    assets.fetch(log)
    fonts.fetch(log)
    if with_clipart:
        clipart.fetch(log)


def missing() -> list[Path]:
    """Files that the world's pictures need and the cache lacks; clip art is not among them."""
    icons = [assets.icons_path(), *(assets.catalogue_path(style) for style in STYLES)]
    return [path for path in [*icons, *(font.file for font in fonts.FONTS.values())] if not path.exists()]
