"""Pinned archives of drawings and fonts: downloaded once, checked against their digest, kept outside the
repository beside a record of their licence.
"""

import base64
import hashlib
import io
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wanimage.errors import DataLoss, Unavailable

REGISTRY_VARIABLE = "npm_config_registry"  # npm's own setting, lower case
COMMAND = "wan data world fetch"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Package:
    """One archive of one version: an npm package, or what lies at `address`."""

    name: str
    version: str
    integrity: str
    """`sha512-BASE64` as npm prints it, or `sha256-BASE64`."""
    megabytes: float
    licence: str
    """SPDX expression."""
    notice: str
    """Whose work it is and where it comes from."""
    address: str | None = None

    @property
    def stem(self) -> str:
        """`noto-1.2.9`: the beginning of its files' names in the cache."""
        return f"{self.name.rpartition('/')[2]}-{self.version}"

    @property
    def url(self) -> str:
        """Where to download it: below the npm registry unless it has an address of its own."""
        return self.address or f"{registry()}/{self.name}/-/{self.stem}.tgz"


def registry() -> str:
    """The npm registry: npm's own setting, or the public one."""
    return os.environ.get(REGISTRY_VARIABLE, "https://registry.npmjs.org").rstrip("/")


def cache_dir() -> Path:
    """`$WAN_CACHE/world`, or `~/.cache/wanimage/world`."""
    root = os.environ.get("WAN_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "wanimage") / "world"


def download(package: Package, log: Log) -> bytes:
    """The archive's bytes, checked.

    Raises Unavailable when the server cannot be reached, DataLoss when what came is not the pinned package.
    """
    log(f"downloading {package.url} ({package.megabytes:g} MB, {package.licence}) to {cache_dir()}")
    try:
        with urllib.request.urlopen(package.url, timeout=60) as response:
            archive: bytes = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise Unavailable(package.url, f"{error}; `{COMMAND}` needs it once") from error
    algorithm, _, expected = package.integrity.partition("-")
    digest = base64.b64encode(hashlib.new(algorithm, archive).digest()).decode()
    if digest != expected:
        raise DataLoss(
            f"{package.url} is not the pinned package ({algorithm} {digest}); run `{COMMAND}` again"
        )
    return archive


def npm_file(archive: bytes, member: str) -> bytes:
    """One file of an npm package, by its path in the package. Raises KeyError when there is none."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tarball:
        file = tarball.extractfile(f"package/{member}")
        assert file is not None, f"{member} of a pinned package is a file"
        return file.read()


def record_licence(package: Package, text: str = "") -> None:
    """Write the package's licence notice, and its text where it has one, beside its files."""
    head = f"{package.name} {package.version}: {package.licence}\n{package.notice}"
    notice = f"{head}\nDownloaded from {package.url}\n" + (f"\n{text}" if text else "")
    write_atomically(cache_dir() / f"{package.stem}.LICENSE", notice.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """The whole file or none of it, also when two processes fetch at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)
