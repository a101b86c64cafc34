"""What keepalived does with the lines of its file before it looks at them: comments go, files are
included, conditional lines are taken or left, parameters, sequences and lists are filled in
(keepalived.conf(5), "ADVANCED CONFIGURATION").
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lvslab.reading.unclear import Unclear

Include = Callable[[str, str], Sequence[tuple[str, str]] | None]
"""(what `include` asks for, the file where it stands) → name and text of each file that fits; None:
there is none, or it cannot be read.
"""

_INCLUDES = frozenset({"include", "includea", "includer", "includem", "includew", "includeb"})
_MOST_LINES = 200_000
"""A file that becomes longer than that defines something by itself."""
_LONGEST_LINE = 8_000
_DEEPEST = 20

_DEFINITION = re.compile(r"\$(\w+)=(.*)", re.DOTALL)
_USE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_SEQUENCE = re.compile(r"~SEQ(x?)\(\s*(\w+)\s*,([^()]*)\)\s*(.*)", re.DOTALL)
_LIST = re.compile(r"~LST\(([^()]*)\)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A line with its place; `depth` counts the includes around it."""

    text: str
    number: int
    file: str = ""
    depth: int = 0


def expanded(
    text: str,
    file: str,
    config_id: str,
    include: Include | None,
    unclear: list[Unclear],
    config_ids: dict[str, None],
) -> Iterator[Line]:
    """The lines that remain to be nested, in their order. What is not understood is added to
    `unclear`, the ids of conditional lines to `config_ids`.
    """
    parameters: dict[str, list[str]] = {"_HASH": ["#"], "_BANG": ["!"], "_INSTANCE": [config_id]}
    waiting = _lines(text, file, 0)
    taken = 0
    while waiting:
        line = waiting.pop()
        taken += 1
        if taken > _MOST_LINES:
            unclear.append(Unclear(line.number, line.text, f"more than {_MOST_LINES} lines", line.file))
            return
        words = line.text.split(maxsplit=1)
        if words and words[0] in _INCLUDES:
            waiting += _included(line, words[1] if len(words) > 1 else "", include, unclear)
            continue
        condition = re.match(r"@(\^?)(\S*)\s*(.*)", line.text, re.DOTALL)
        if condition:
            config_ids[condition[2]] = None
            if (condition[2] == config_id) != bool(condition[1]):
                waiting.append(replace(line, text=condition[3]))
            continue
        definition = _DEFINITION.match(line.text)
        if definition:
            parameters[definition[1]] = _value(definition[2], waiting)
            continue
        repeated = _repeated(line)
        if repeated is not None:
            waiting += reversed(repeated)
            continue
        parameters["_PWD"] = [posixpath.dirname(line.file)]
        filled = _filled(line.text, parameters)
        if filled == [line.text]:
            yield line
        elif max(map(len, filled)) > _LONGEST_LINE:
            unclear.append(Unclear(line.number, line.text, "its parameters contain themselves", line.file))
        else:
            waiting += [replace(line, text=part) for part in reversed(filled) if part]


def _lines(text: str, file: str, depth: int) -> list[Line]:
    """The lines of a file without comments and blank ones, the first one last."""
    lines = [
        Line(bare, number, file, depth)
        for number, raw in enumerate(text.splitlines(), start=1)
        if (bare := without_comment(raw).strip())
    ]
    return lines[::-1]


def without_comment(line: str) -> str:
    """A line up to its first "#" or "!" outside quotes."""
    quoted = ""
    escaped = False
    for at, letter in enumerate(line):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "\"'":
            quoted = letter
        elif letter in "#!":
            return line[:at]
    return line


def _included(
    line: Line,
    pattern: str,
    include: Include | None,
    unclear: list[Unclear],
) -> list[Line]:
    """The lines of the files that are included, the first one last."""
    pattern = pattern.strip().strip("\"'")
    files = include(pattern, line.file) if include and pattern and line.depth < _DEEPEST else None
    if files is None:
        if not include:
            why = "the included file was not given"
        elif line.depth >= _DEEPEST:
            why = "files include each other"
        else:
            why = "there is no such file, or it cannot be read"
        unclear.append(Unclear(line.number, line.text, why, line.file))
        return []
    return [read for name, text in reversed(files) for read in _lines(text, name, line.depth + 1)]


def _value(first: str, waiting: list[Line]) -> list[str]:
    """A parameter's lines: a line that ends with a backslash goes on with the next one."""
    parts = [first.strip()]
    while parts[-1].endswith("\\") and waiting:
        parts[-1] = parts[-1][:-1].strip()
        parts.append(waiting.pop().text)
    return [part for part in parts if part] or [""]


def _filled(text: str, parameters: dict[str, list[str]]) -> list[str]:
    """A line with its parameters filled in, up to one of several lines, which splits it, or to one
    that makes another kind of line of it. An unknown parameter stays as it is.
    """
    while len(text) <= _LONGEST_LINE:
        use = next((each for each in _USE.finditer(text) if (each[1] or each[2]) in parameters), None)
        if use is None:
            break
        first, *rest = parameters[use[1] or use[2]]
        before, after = text[: use.start()], text[use.end() :]
        if rest:
            return [before + first, *rest[:-1], rest[-1] + after]
        text = (before + first + after).strip()
        if text.startswith(("@", "~")) or _DEFINITION.match(text):
            break
    return [text]


def _repeated(line: Line) -> list[Line] | None:
    """The lines that a sequence or a list makes of one, each with a definition in front; None: it
    begins with neither.
    """
    sequence = _SEQUENCE.match(line.text)
    if sequence:
        numbers = _numbers([word.strip() for word in sequence[3].split(",")])
        shown = "{:x}" if sequence[1] else "{:d}"
        steps = [[(sequence[2], shown.format(number))] for number in numbers]
        rest = sequence[4]
    elif listed := _LIST.match(line.text):
        names, *values = _items(listed[1]) or [[]]
        steps = [list(zip(names, value, strict=False)) for value in values]
        rest = listed[2]
    else:
        return None
    return [
        replace(line, text=text)
        for step in steps
        for text in (*(f"${name}={value}" for name, value in step), rest)
    ]


def _numbers(words: Sequence[str]) -> range:
    """The numbers of ~SEQ: END, START and END, or START, STEP and END."""
    try:
        numbers = [int(word, 0) for word in words]
    except ValueError:
        return range(0)
    end = numbers[-1]
    start = numbers[0] if len(numbers) > 1 else (1 if end > 0 else -1)
    step = numbers[1] if len(numbers) > 2 else (1 if end >= start else -1)
    if step == 0:
        return range(0)
    return range(start, end + (1 if step > 0 else -1), step)[:_MOST_LINES]


def _items(text: str) -> list[list[str]]:
    """What ~LST lists: words, or groups of words in braces."""
    return [
        [word.strip() for word in (group[1] or group[2] or "").split(",")]
        for group in re.finditer(r"\{([^{}]*)\}|([^,{}\s]+)", text)
    ]
