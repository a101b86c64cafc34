"""The configuration of a kernel that lvslab builds: what is asked for, and whether the tree gave
it.

The format is that of .config (Documentation/kbuild/kconfig.rst). A request that a tree cannot meet
is dropped without a word by `make olddefconfig`, so what came out is compared with what went in,
and the reason is looked up in the tree's Kconfig files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lvslab.errors import UsageError

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")
_PARTS = (
    *(
        "arch/um",
        "arch/x86/um",
        "arch/Kconfig",
        "block",
        "certs",
        "crypto",
        "drivers",
        "fs",
        "init",
        "ipc",
        "kernel",
        "lib",
        "mm",
    ),
    *("net", "security", "usr"),
)
"""Where a tree's Kconfig files for ARCH=um stand."""


@dataclass(frozen=True)
class Unmet:
    """An option that did not come out as asked.

    Attributes:
        option: without CONFIG_.
        asked, got: values; "n" for unset.
        reason: from the tree's Kconfig files, "" until somebody looked.
    """

    option: str
    asked: str
    got: str
    reason: str = ""

    def __str__(self) -> str:
        return (
            f"CONFIG_{self.option}={self.asked} (got {self.got}{f': {self.reason}' if self.reason else ''})"
        )


def built_in(options: Mapping[str, str]) -> dict[str, str]:
    """The same without modules: what would be one is part of the kernel."""
    return {option: "y" if value == "m" else value for option, value in options.items()}


def shipped(name: str) -> dict[str, str]:
    """A fragment that comes with lvslab: "guest", "features" or "virtual-time"."""
    return parse((files("lvslab.catalog") / "configs" / f"{name}.config").read_text(), name)


def parse(text: str, where: str) -> dict[str, str]:
    """Option → value from a .config or a fragment of one; "n" for what is not set.

    Raises:
        UsageError: a line is neither an option nor a comment.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if match := _SET.fullmatch(line):
            found[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line):
            found[match[1]] = "n"
        elif line and not line.startswith("#"):
            raise UsageError(
                f"{where}: line {number}: '{line}' is no option; write CONFIG_NAME=y, or # CONFIG_NAME is"
                " not set"
            )
    return found


def text(*layers: Mapping[str, str]) -> str:
    """A .config of several layers; the last one that names an option decides."""
    merged = {option: value for layer in layers for option, value in layer.items()}
    return "".join(
        f"# CONFIG_{option} is not set\n" if value == "n" else f"CONFIG_{option}={value}\n"
        for option, value in merged.items()
    )


def unmet(asked: Mapping[str, str], got: Mapping[str, str]) -> list[Unmet]:
    """The options that did not come out as asked. Built in is as good as a module, and a number of
    0 as unset: BASE_SMALL was a number until Linux 6.10 (init/Kconfig).
    """
    as_good = {("m", "y"), ("n", "0")}
    pairs = ((option, value, got.get(option, "n")) for option, value in asked.items())
    return [
        Unmet(option, value, there)
        for option, value, there in pairs
        if there != value and (value, there) not in as_good
    ]


def explained(problems: Sequence[Unmet], tree: Path, got: Mapping[str, str]) -> list[Unmet]:
    """The same with reasons, from the Kconfig files of a tree."""
    if not problems:
        return []
    wanted = {each.option for each in problems}
    definitions: dict[str, list[list[str]]] = {}
    for path in _kconfig_files(tree):
        for option, body in _definitions(path.read_text(errors="replace"), wanted):
            definitions.setdefault(option, []).append(body)
    return [
        Unmet(each.option, each.asked, each.got, _reason(each, definitions.get(each.option), got))
        for each in problems
    ]


def _kconfig_files(tree: Path) -> Iterable[Path]:
    for part in _PARTS:
        place = tree / part
        yield from place.rglob("Kconfig*") if place.is_dir() else [place] if place.is_file() else []


def _definitions(text: str, wanted: set[str]) -> Iterable[tuple[str, list[str]]]:
    """(option, the lines below it) for each definition of a wanted option."""
    option, body = None, list[str]()
    for line in [*text.splitlines(), "end"]:
        if line and not line[0].isspace() and not line.startswith("#"):
            if option:
                yield option, body
            match = re.match(r"(?:menu)?config\s+(\w+)", line)
            option, body = (match[1] if match and match[1] in wanted else None), []
        elif option:
            body.append(line.strip())


def _reason(problem: Unmet, definitions: list[list[str]] | None, got: Mapping[str, str]) -> str:
    if definitions is None:
        return "this tree does not know it"
    if problem.asked == "n":
        return "another option selects it"
    expressions = [
        line.removeprefix("depends on").strip()
        for body in definitions
        for line in body
        if line.startswith("depends on")
    ]
    missing = [
        name
        for expression in expressions
        for name in re.findall(r"(?<![!\w])[A-Z][A-Z0-9_]+\b", expression)
        if got.get(name, "n") == "n"
    ]
    if missing:
        return f"it depends on {' and '.join(expressions)}; not set: {', '.join(dict.fromkeys(missing))}"
    return (
        f"it depends on {' and '.join(expressions)}"
        if expressions
        else "what it stands in, or its type, does not allow it"
    )
