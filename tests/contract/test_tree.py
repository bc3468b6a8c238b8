"""Rules of the tree: file length, names, import directions."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("wanimage", "services", "training", "scripts", "tests", "benchmarks", "deploy")
MAX_LINES = 400


def sources() -> list[Path]:
    """Every Python file that a person wrote."""
    found = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))]


def test_sources_are_found_at_all() -> None:
    assert ROOT / "wanimage" / "errors.py" in sources()


def test_no_file_passes_the_line_limit() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "misc", "common"])
def test_no_module_is_a_drawer(name: str) -> None:
    assert [path for path in sources() if path.stem == name or path.parent.name == name] == []


def test_import_directions_are_kept() -> None:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
