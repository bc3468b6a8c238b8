"""Write `.env` from `.env.example`, with a fresh secret wherever one is empty.

    python3 deploy/new_env.py [TARGET]

Refuses to replace a file that exists: the secrets in it may be in use.
"""

import re
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMPTY_SECRET = re.compile(r"^(\w+_(?:PASSWORD|SECRET_KEY))=$", re.MULTILINE)


def filled(example: str) -> str:
    """`example` with its empty secrets set. Each begins with a letter: nats-server would read a number."""
    return EMPTY_SECRET.sub(lambda found: f"{found[1]}=w{secrets.token_hex(16)}", example)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".env"
    try:
        target.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        sys.exit(f"{target} exists; remove it first if its secrets are not in use")
    target.write_text(filled((ROOT / ".env.example").read_text()))


if __name__ == "__main__":
    main()
