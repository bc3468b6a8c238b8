"""Which threads do the work: what takes long must not be done on an event loop."""

import threading
from types import ModuleType
from typing import Any

import pytest


def callers_of(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[threading.Thread]:
    """The threads in which `module.name` is called from now on, call by call."""
    callers: list[threading.Thread] = []
    called = getattr(module, name)

    def noted(*args: Any, **named: Any) -> Any:
        callers.append(threading.current_thread())
        return called(*args, **named)

    monkeypatch.setattr(module, name, noted)
    return callers
