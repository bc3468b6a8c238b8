"""`python -m tests.standins planner|visualizer|vae [--role front|worker|both] [--port N]`."""

import sys

from tests.standins.engines import SERVICES
from wanimage import serve

if __name__ == "__main__":
    chosen = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if chosen not in SERVICES:
        sys.exit(f"which service? one of {', '.join(SERVICES)}")
    sys.exit(serve.main(SERVICES[chosen]))
