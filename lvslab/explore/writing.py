"""Findings as files: a scenario that repeats one, and the schedule as TOML."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from lvslab.explore.schedule import Injection, Parameter, Setup, as_toml
from lvslab.explore.searching import Finding

_WIDTH = 96


def write_finding(folder: Path, finding: Finding) -> Path:
    """Write a finding's scenario, and its schedule beside it; returns the scenario's file.

    Raises:
        OSError: a file cannot be written.
    """
    name = re.sub(r"[^a-z0-9]+", "_", finding.violation.fingerprint.lower()).strip("_")
    file = folder / f"{name}.py"
    file.write_text(as_scenario(finding), encoding="utf-8")
    file.with_suffix(".toml").write_text(as_toml(finding.shortest.case), encoding="utf-8")
    return file


def as_scenario(finding: Finding) -> str:
    """The scenario's text."""
    case, violation = finding.shortest.case, finding.violation
    sentence = f"{violation.fingerprint}. In the world of seed {case.seed}: {violation.sentence}."
    said = "\n".join(textwrap.wrap(sentence.replace("\\", "/").replace('"""', "'''"), _WIDTH))
    calls = "".join(f"    {_call(injection)},\n" for injection in case.schedule)
    return (
        f'"""{said}\n"""\n\nfrom lvslab.explore import Injection, Setup, repeat\n\n'
        f"run = repeat(\n    {_setup(case.setup)},\n{calls}    title={_word(violation.fingerprint)},\n)\n"
    )


def _setup(setup: Setup) -> str:
    plain = Setup()
    said = [
        f"{name}={_word(value)}"
        for name, value in vars(setup).items()
        if value != getattr(plain, name) or name == "mode"
    ]
    return f"Setup({', '.join(said)})"


def _words(parameters: Mapping[str, Parameter]) -> str:
    return "{" + ", ".join(f"{_word(name)}: {_word(value)}" for name, value in parameters.items()) + "}"


def _word(value: object) -> str:
    """As Python reads it, with double quotes as formatters set them."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _call(injection: Injection) -> str:
    words = [repr(injection.at), _word(injection.kind), _word(injection.target)]
    words += [] if injection.duration is None else [repr(injection.duration)]
    words += [f"parameters={_words(injection.parameters)}"] if injection.parameters else []
    return f"Injection({', '.join(words)})"
