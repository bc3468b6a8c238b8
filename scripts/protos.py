"""Generate wanimage/v1 from protos/, and check that a change breaks no reader of the last contract.

Run through `make protos` and `make lint`.
"""

import argparse
import subprocess
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"


def sources() -> list[str]:
    """Paths of every .proto, relative to protos/."""
    return sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))


def generate(target: Path) -> None:
    """Write `wanimage/v1/*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` under `target`."""
    from grpc_tools import protoc

    # The folders under protos/ are the Python packages, so generated imports need no rewriting.
    well_known = resources.files("grpc_tools") / "_proto"
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *sources()]):
        sys.exit("protoc refused the files under protos/")


def breaking() -> None:
    """Compare protos/ with the contract of the baseline commit."""
    against = baseline()
    if against is None:
        print("protos: no earlier commit holds a contract to compare with")
        return
    buf = Path(sys.executable).parent / "buf"
    command = [buf, "breaking", "--against", f".git#ref={against}", "--against-config", "buf.yaml"]
    status = subprocess.run(command, cwd=ROOT).returncode
    if status:
        sys.exit(f"protos: breaks readers of {against}; add fields and methods, never change or reuse them")
    print(f"protos: compatible with {against}")


def baseline() -> str | None:
    """The newest earlier commit to answer to: the last tag's, else main's, else the parent of HEAD."""
    head = git("rev-parse", "HEAD")
    for name in (git("describe", "--tags", "--abbrev=0"), "origin/main", "main", "HEAD~1"):
        commit = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") if name else ""
        if commit and commit != head and ".proto" in git("ls-tree", "-r", "--name-only", commit, "protos"):
            return commit
    return None


def git(*arguments: str) -> str:
    """Standard output of a git command, empty when it fails."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["generate", "breaking"])
    if parser.parse_args().action == "generate":
        generate(ROOT)
    else:
        breaking()


if __name__ == "__main__":
    main()
