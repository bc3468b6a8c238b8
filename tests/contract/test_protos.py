"""The contract under protos/: stubs, style, and readers of earlier releases."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "wanimage" / "v1"
BUF = Path(sys.executable).parent / "buf"


def stubs(folder: Path) -> dict[str, str]:
    """Generated files of a folder by name."""
    return {path.name: path.read_text() for path in sorted(folder.glob("*_pb2*.py*"))}


def buf(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUF, *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A copy of the contract that a test may break."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def test_stubs_equal_a_fresh_generation(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "scripts" / "protos.py"))["generate"](tmp_path)
    fresh = stubs(tmp_path / "wanimage" / "v1")
    assert fresh
    assert stubs(STUBS) == fresh, "run `make protos`"


def test_contract_follows_the_style() -> None:
    result = buf("lint")
    assert result.returncode == 0, result.stdout


def test_contract_breaks_no_reader_of_the_last_one() -> None:
    command = [sys.executable, "scripts/protos.py", "breaking"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_breaking_check_accepts_a_new_field(contract: Path) -> None:
    path = contract / "protos" / "wanimage" / "v1" / "vae.proto"
    path.write_text(path.read_text() + "\nmessage Added {\n  uint32 value = 1;\n}\n")
    result = buf("breaking", "--against", ROOT / "protos", cwd=contract)
    assert result.returncode == 0, result.stdout


def test_breaking_check_refuses_a_changed_field_number(contract: Path) -> None:
    path = contract / "protos" / "wanimage" / "v1" / "vae.proto"
    path.write_text(path.read_text().replace(" = 1;", " = 101;"))
    result = buf("breaking", "--against", ROOT / "protos", cwd=contract)
    assert result.returncode != 0
    assert "was deleted" in result.stdout
