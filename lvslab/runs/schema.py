"""JSON Schemas (draft 2020-12) of a run directory's JSON, made from the records.

They are kept in lvslab/data/ for readers in other languages; `python -m lvslab.runs.schema` writes
them anew. Required is what every directory of this format version has, older ones included; further
keys may come with later versions of lvslab.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from lvslab.runs.codec import Key, keys
from lvslab.runs.records import FORMAT, VERSION, PathFile, RunFile, Sample

FILES: Mapping[str, tuple[str, type]] = {
    "run.schema.json": ("run.json", RunFile),
    "sample.schema.json": ("a line of samples.jsonl", Sample),
    "path.schema.json": ("captures/<lab>.path.json", PathFile),
}
"""Name of a schema's file → what it describes, and the record of that."""

FOLDER = Path(__file__).resolve().parents[1] / "data"

_SCALARS = {str: "string", int: "integer", float: "number"}


def document(name: str) -> dict[str, Any]:
    """The schema of a file in `FILES`."""
    subject, record = FILES[name]
    records: dict[str, Any] = {}
    top = _object(record, records)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{subject} of a run directory, {FORMAT} version {VERSION}",
        **top,
        "$defs": dict(sorted(records.items())),
    }


def text(name: str) -> str:
    """The schema of a file in `FILES`, as the file holds it."""
    return json.dumps(document(name), indent=1, ensure_ascii=False) + "\n"


def _object(record: Any, records: dict[str, Any]) -> dict[str, Any]:
    """A record's own schema; those of the records inside go to `records`."""
    known = keys(record)
    return {
        "description": " ".join((inspect.getdoc(record) or "").partition("\n\n")[0].split()),
        "type": "object",
        "properties": {key.name: _property(key, records) for key in known},
        "required": [key.name for key in known if key.required],
    }


def _property(key: Key, records: dict[str, Any]) -> dict[str, Any]:
    schema = _value(key.type, records)
    return _or_null(schema) if key.nullable else schema


def _value(kind: Any, records: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _value(arguments[0], records)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _value(arguments[1], records)}
    if origin in (Union, types.UnionType):
        (some,) = [option for option in arguments if option is not types.NoneType]
        return _or_null(_value(some, records))
    if kind.__name__ not in records:
        records[kind.__name__] = _object(kind, records)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


if __name__ == "__main__":
    for file in FILES:
        (FOLDER / file).write_text(text(file), encoding="utf-8")
