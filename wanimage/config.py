"""Settings of every process, read from `WAN_*` environment variables (and `.env` in the working folder).

A default exists here and nowhere else. `Settings()` fails at start when a value is missing or contradictory,
naming the variable and the way out.
"""

import json
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wanimage.subjects import JOB_MAX_AGE_SECONDS

ROOT = Path(__file__).resolve().parent.parent
"""The checkout (or the image's /app): where `weights/` lies unless WAN_WEIGHTS says otherwise."""

PORTS = {"planner": 50051, "visualizer": 50052, "vae": 50053, "enhancer": 50054, "refiner": 50055}
"""gRPC port of each service by default."""

Role = Literal["front", "worker", "both"]


class Settings(BaseSettings):
    """What every process of the system shares."""

    model_config = SettingsConfigDict(
        env_prefix="WAN_", env_file=".env", extra="ignore", hide_input_in_errors=True
    )

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    nats_makes_streams: bool = True
    """Create and update the streams; false where another service does, and this one's NATS user may not."""
    s3_endpoint: str = "127.0.0.1:8333"
    """host:port, without a scheme."""
    s3_access_key: str = "wanimage"
    s3_secret_key: SecretStr = SecretStr("wanimage-secret")
    s3_bucket: str = "wanimage"
    s3_secure: bool = False
    """Speak https to S3."""
    weights: Path = ROOT / "weights" / "nano"
    """Folder of the weight family, with its manifest.json."""
    planner_model: str = ""
    """The planner's own model in place of the family's: the folder of a Qwen3-VL checkpoint or, with
    `planner_endpoint`, the name it is served under (empty: the only one)."""
    planner_endpoint: str = ""
    """URL of a server that runs the planner's model, ending in /v1: vLLM, or what speaks its chat API."""
    planner_endpoint_key: SecretStr = SecretStr("")
    """API key of `planner_endpoint`."""
    host: str = "127.0.0.1"
    """Address a service binds to; 0.0.0.0 in containers."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """gRPC port; None takes the service's own from PORTS, 0 any free one."""
    role: Role = "both"
    """`front` speaks gRPC, `worker` takes jobs, `both` does both."""
    api_keys: Annotated[dict[str, SecretStr], NoDecode] = Field(default_factory=dict)
    """Tenant to API key, as JSON or `tenant=key,tenant=key`, beside those made with `wan keys create`."""
    auth: Literal["auto", "keys"] = "auto"
    """`keys` lets nobody in without an API key; `auto` only once there has been one, in `api_keys` or made
    with `wan keys create`."""
    rate: float = Field(default=100.0, gt=0)
    """Calls a second that a tenant may make to one front over time."""
    burst: int = Field(default=1000, ge=1)
    """Calls that a tenant may make to one front at once, after a rest."""
    tls_cert: Path | None = None
    """This process's certificate (PEM, with the chain): fronts speak TLS with it, clients show it."""
    tls_key: Path | None = None
    """Private key of `tls_cert` (PEM)."""
    tls_client_ca: Path | None = None
    """Fronts let in only clients whose certificate one of these authorities signed (mTLS)."""
    tls_ca: Path | None = None
    """Authorities trusted for fronts, NATS and S3, in place of the system's."""
    c2pa_cert: Path | None = None
    """Vae and refiner put signed C2PA manifests into their pictures: certificate chain for it (PEM)."""
    c2pa_key: Path | None = None
    """Private key of `c2pa_cert`, ECDSA P-256 (PEM)."""
    max_deadline: float = Field(default=3600.0, gt=0, lt=JOB_MAX_AGE_SECONDS)
    """Longest deadline a caller may ask for, seconds; jobs are kept for two hours."""
    drain_seconds: float = Field(default=20.0, ge=0)
    """How long a stopping process may finish what it began."""
    max_pending_jobs: int = Field(default=256, ge=1)
    """Jobs of one kind that may wait before requests are refused, however fast they are worked off."""
    max_wait: float = Field(default=30.0, gt=0)
    """Seconds of work, at the rate it was done lately, that may wait before requests are refused."""
    ack_wait: float = Field(default=10.0, gt=1)
    """Seconds without a heartbeat after which a job is given to another worker."""
    max_deliver: int = Field(default=5, ge=1)
    """Deliveries of a job before it is dead-lettered."""
    session_ttl: float = Field(default=0.0, ge=0)
    """Seconds without an event after which `wan gc` deletes a session; 0 keeps all."""
    gc_grace: float = Field(default=86400.0, gt=0)
    """Seconds that `wan gc` leaves a young blob alone, and that the trash keeps a collected one."""
    threads: int = Field(default=0, ge=0)
    """torch threads of this process; 0 leaves torch's default."""
    log_format: Literal["console", "json"] = "console"
    log_level: str = "INFO"
    otlp_endpoint: str = ""
    """OpenTelemetry collector, e.g. http://127.0.0.1:4317; empty: no export."""
    trace_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of new traces that is recorded; one that goes on from elsewhere keeps what was decided there."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of Prometheus metrics (`/metrics`) on WAN_HOST; None: none, 0: any free one, told in the log."""

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            return json.loads(value)
        pairs = [item.partition("=") for item in value.split(",") if item.strip()]
        if any(not tenant.strip() or not key.strip() for tenant, _, key in pairs):
            raise ValueError("WAN_API_KEYS must be JSON or 'tenant=key,tenant=key'")
        return {tenant.strip(): key.strip() for tenant, _, key in pairs}

    @field_validator("planner_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("WAN_PLANNER_ENDPOINT is no URL; write http://host:port/v1")
        if parts.username or parts.password:
            raise ValueError("WAN_PLANNER_ENDPOINT holds a password; set WAN_PLANNER_ENDPOINT_KEY instead")
        return value

    @model_validator(mode="after")
    def _check_files(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("WAN_TLS_CERT and WAN_TLS_KEY go together; set both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("WAN_TLS_CLIENT_CA needs WAN_TLS_CERT and WAN_TLS_KEY; set them too")
        if (self.c2pa_cert is None) != (self.c2pa_key is None):
            raise ValueError("WAN_C2PA_CERT and WAN_C2PA_KEY go together; set both or neither")
        for name in ("c2pa_cert", "c2pa_key", "tls_cert", "tls_key", "tls_client_ca", "tls_ca"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"WAN_{name.upper()}: no file {str(path)!r}; name a PEM file")
        return self

    @property
    def own_planner(self) -> bool:
        """Whether another model plans than the family's."""
        return bool(self.planner_model or self.planner_endpoint)

    def address(self, service: str) -> str:
        """host:port this service binds to."""
        return f"{self.host}:{PORTS[service] if self.port is None else self.port}"
