"""Compile requirements/*.in into *.txt: exact pins for Python 3.11 on x86-64 Linux.

Run through `make lock`. Pins already in a .txt are kept unless `--upgrade` is given. uv resolves, because
only it can drop a declared dependency (requirements/cpu-overrides.txt); installing needs pip alone.
The pins carry no hashes: one torch version has one file on PyPI and another on the PyTorch CPU index.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from install import CPU_WHEELS, reachable

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
HEADER = "# Made by `make lock` from {source}. Edit that file, not this one.\n"


def pip_sources() -> list[str]:
    """uv arguments for the wheel folders and indexes that pip is configured with (uv does not read them)."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    arguments = []
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        option = key.rpartition(".")[2]
        if option in ("find-links", "extra-index-url"):
            for source in value.strip("'").replace("\\n", " ").split():
                arguments += [f"--{option}", source]
    return arguments


def compile_pins(
    name: str, *, agreeing: tuple[str, ...] = (), adding: bool = False, upgrade: bool = False
) -> None:
    """Write requirements/<name>.txt with the versions of `agreeing` locks; `adding` leaves out their pins."""
    source, target = REQUIREMENTS / f"{name}.in", REQUIREMENTS / f"{name}.txt"
    command = [Path(sys.executable).parent / "uv", "pip", "compile", source.relative_to(ROOT), "--quiet"]
    command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--no-header", "--annotation-style", "line", "--index-strategy", "unsafe-best-match"]
    command += pip_sources()
    if name != "gpu" and reachable(CPU_WHEELS):
        command += ["--extra-index-url", CPU_WHEELS]
    overrides = REQUIREMENTS / f"{name}-overrides.txt"
    if overrides.exists():
        command += ["--override", overrides]
    for other in agreeing:
        command += ["--constraint", REQUIREMENTS / f"{other}.txt"]
    command += ["--upgrade"] if upgrade else ["--constraint", target] if target.exists() else []
    environment = {**os.environ, "UV_HTTP_TIMEOUT": "180"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{name}: {result.stderr.strip()}")

    elsewhere = {pin.split("==")[0] for other in agreeing if adding for pin in read_pins(other)}
    lines = []
    for line in result.stdout.splitlines():
        if "==" not in line or line.split("==")[0] in elsewhere:
            continue
        # A local version such as 2.13.0+cpu exists on one index only; 2.13.0 is met by either build.
        pin, _, reasons = line.partition("  # via ")
        package, _, version = pin.strip().partition("==")
        wanted_by = [who for who in reasons.split(", ") if not who.startswith(("-c ", "--override "))]
        lines.append(f"{package}=={version.split('+')[0]}".ljust(47) + f" # {', '.join(wanted_by)}")
    target.write_text(HEADER.format(source=source.relative_to(ROOT)) + "\n".join(lines) + "\n")
    print(f"{target.relative_to(ROOT)}: {len(lines)} pins")


def read_pins(name: str) -> list[str]:
    """The `package==version` entries of requirements/<name>.txt."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if "==" in line.split("#")[0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest allowed versions")
    upgrade = parser.parse_args().upgrade
    compile_pins("cpu", upgrade=upgrade)
    compile_pins("worker", agreeing=("cpu",), upgrade=upgrade)
    compile_pins("world", agreeing=("cpu",), adding=True, upgrade=upgrade)
    compile_pins("dev", agreeing=("cpu", "world"), adding=True, upgrade=upgrade)
    compile_pins("gpu", upgrade=upgrade)


if __name__ == "__main__":
    main()
