"""Nothing in the tree reads or writes what can run code when it is read: pickle and its like."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    "benchmarks", "deploy", "examples", "requirements", "scripts", "services", "tests", "training",
    "wanimage",
)  # fmt: skip
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "jsonpickle"}
CALLS = {
    "torch.load", "torch.save", "torch.jit.load", "np.save", "numpy.save", "pandas.read_pickle",
    "pd.read_pickle",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec",
}  # fmt: skip
"""By the names they go by here; `torch.jit.load` reads pickles, and `eval` runs what it is given."""


def sources() -> list[Path]:
    """Every Python file of the tree."""
    return [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]


def dangers(tree: ast.AST) -> Iterator[str]:
    """What of the above a module does."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"import {each.name}" for each in names if each.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                yield f"from {module} import"
            case ast.Call(func=func, keywords=keywords):
                if ast.unparse(func) in CALLS:
                    yield f"{ast.unparse(func)}()"
                for each in keywords:
                    if each.arg == "allow_pickle" and ast.unparse(each.value) != "False":
                        yield "allow_pickle"
                    if each.arg == "weights_only" and ast.unparse(each.value) != "True":
                        yield "weights_only"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "import a, dill.x", "from pickle import loads", "torch.load(path)",
        "yaml.load(text, L)",
        "np.load(path, allow_pickle=True)", "eval(text)", "np.load(path, allow_pickle=allow)",
    ],
)  # fmt: skip
def test_each_danger_is_seen(code: str) -> None:
    assert list(dangers(ast.parse(code)))


def test_no_source_uses_pickle_or_its_like() -> None:
    found = {str(path.relative_to(ROOT)): list(dangers(ast.parse(path.read_text()))) for path in sources()}
    assert len(found) > 200
    assert {name: each for name, each in found.items() if each} == {}


def test_weights_are_safetensors_and_json() -> None:
    kinds = {path.suffix for path in (ROOT / "weights").rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".md", ".txt", ".jinja"}
