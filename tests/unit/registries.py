"""A registry with an entry more, for as long as a test runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest


def extend(monkeypatch: pytest.MonkeyPatch, registry: Mapping[str, Any], **more: Any) -> None:
    """Let every module that imported a registry see more entries in it; nothing else of lvslab is
    touched, so what works then works by an entry alone.
    """
    extended = MappingProxyType({**registry, **more})
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("lvslab."):
            for name, value in list(vars(module).items()):
                if value is registry:
                    monkeypatch.setattr(module, name, extended)
