"""The locks, and the repair of torchvision that goes with them."""

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
LOCKS = ("cpu", "worker", "world", "dev", "gpu")


def pins(name: str) -> dict[str, str]:
    """Package to version of requirements/<name>.txt."""
    lines = (line.split("#")[0].strip() for line in (REQUIREMENTS / f"{name}.txt").read_text().splitlines())
    return dict(line.split("==", 1) for line in lines if line)


def wanted(name: str) -> set[str]:
    """Packages that requirements/<name>.in asks for, itself or through a file it includes."""
    found: set[str] = set()
    for line in (REQUIREMENTS / f"{name}.in").read_text().splitlines():
        requirement = line.split("#")[0].strip()
        if requirement.startswith("-r "):
            found |= wanted(requirement.removeprefix("-r ").removesuffix(".in"))
        elif requirement:
            found.add(re.split(r"[\[=<>]", requirement)[0])
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_everything_asked_for(name: str) -> None:
    assert wanted(name) <= pins(name).keys() | pins("cpu").keys(), "run `make lock`"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_exact_public_versions(name: str) -> None:
    assert {k: v for k, v in pins(name).items() if not re.fullmatch(r"[0-9][0-9a-z.]*", v)} == {}


def test_worker_lock_is_part_of_the_cpu_lock() -> None:
    assert pins("worker").items() <= pins("cpu").items()


@pytest.mark.parametrize("name", ["world", "dev"])
def test_added_locks_repeat_no_pin_of_the_cpu_lock(name: str) -> None:
    assert pins(name).keys() & pins("cpu").keys() == set()


@pytest.mark.parametrize("package", ["torchaudio", "torchcodec", "triton"])
def test_cpu_lock_leaves_out_cuda_only_packages(package: str) -> None:
    assert package not in pins("cpu")


def test_torchvision_imports_in_a_fresh_interpreter() -> None:
    code = "import torchvision.transforms, torch; assert torch.version.cuda is None"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def hook() -> Iterator[dict[str, Any]]:
    """The hook's namespace, its finder taken out of this interpreter again."""
    before = list(sys.meta_path)
    yield runpy.run_path(str(REQUIREMENTS / "torchvision_hook.py"))
    sys.meta_path[:] = before


@pytest.mark.parametrize(
    ("version", "cuda", "needed"),
    [("0.28.0", None, True), ("0.28.0+cpu", None, False), ("0.28.0", "13.0", False)],
)
def test_torchvision_hook_acts_only_on_a_cuda_build_beside_a_cpu_torch(
    hook: dict[str, Any], monkeypatch: pytest.MonkeyPatch, version: str, cuda: str | None, needed: bool
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(version=SimpleNamespace(cuda=cuda)))
    assert hook["needs_operators"]() is needed


def test_torchvision_hook_finds_nothing_itself(hook: dict[str, Any]) -> None:
    assert hook["DeclareOperators"]().find_spec("torchvision") is None
