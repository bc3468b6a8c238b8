"""Commands and paths that the documents name exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("services/*/README.md")])
FENCE = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOP_LEVEL = (
    "benchmarks",
    "deploy",
    "docs",
    "protos",
    "requirements",
    "scripts",
    "services",
    "tests",
    "training",
)
PATH = re.compile(rf"`((?:{'|'.join(TOP_LEVEL)}|wanimage|weights)/[\w./-]*)`")


def commands(document: Path) -> list[list[str]]:
    """Words of each command line in the document's shell blocks."""
    lines = [line for block in FENCE.findall(document.read_text()) for line in block.splitlines()]
    split = [line.removeprefix("$ ").split("#")[0].split() for line in lines]
    return [words for words in split if words]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_readme_gives_the_commands_to_start_with() -> None:
    given = [" ".join(words[:2]) for words in commands(ROOT / "README.md")]
    assert "make demo" in given


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_in_a_document_exists(document: Path) -> None:
    named = {
        word for words in commands(document) if words[0] == "make" for word in words[1:] if word.islower()
    }
    assert named <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_wan_command_in_a_document_exists(document: Path) -> None:
    from wanimage.cli.main import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]  # a group: wan has many commands
    named = {words[1] for words in commands(document) if words[0].endswith("wan") and len(words) > 1}
    assert {name for name in named if not name.startswith("-")} <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_in_a_document_exists(document: Path) -> None:
    named = PATH.findall(document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_make_target_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z-]+):.*  ## ", makefile, re.MULTILINE))
    assert explained == make_targets()


def test_the_table_of_packages_names_every_module() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## The packages")[2]
    groups = re.findall(r"`wanimage/(\{[a-z,]+\}|[a-z]+)(?:\.py)?`", table)
    named = [name for group in groups for name in group.strip("{}").split(",")]
    there = {path.stem for path in (ROOT / "wanimage").glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in (ROOT / "wanimage").glob("*/__init__.py")} - {"v1"}
    assert sorted(named) == sorted(there | packages)
