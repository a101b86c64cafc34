"""Records as JSON objects, and JSON objects as records: one rule for every record.

A record is a frozen dataclass of `records`. A field is the key of its name, tuples are lists,
records inside are objects. What is written is everything; what is read may have less: a key that is
missing or null is the field's default, an unknown key is ignored. Whatever else is wrong raises
`UsageError` with its place, such as `run.json.labs[0].nodes[2].role`.

Three entries of a field's `metadata` make exceptions: "key" is its key where that is not its name,
"sparse" leaves it out where it has its default, "fallback" is what an unknown word is read as.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from lvslab.errors import UsageError

R = TypeVar("R")

_NOUNS = {bool: "true or false", str: "a string", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Key:
    """One key of a record's JSON object.

    Attributes:
        name: in JSON.
        field: of the dataclass.
        type: of the value, without None.
        nullable: whether null is a value of its own.
        required: whether it must be there.
        default: what stands for a key that is missing.
        sparse: it is left out where it has its default.
        fallback: what an unknown word is read as; None: it is refused.
    """

    name: str
    field: str
    type: Any
    nullable: bool
    required: bool
    default: object
    sparse: bool
    fallback: str | None


@cache
def keys(record: type) -> tuple[Key, ...]:
    """The keys of a record, in the order in which they are written."""
    hints = get_type_hints(record)
    return tuple(_key(item, hints[item.name]) for item in fields(record))


def _key(item: Field[Any], hint: Any) -> Key:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    (kind,) = [option for option in options if option is not types.NoneType]
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return Key(
        name=item.metadata.get("key", item.name),
        field=item.name,
        type=kind,
        nullable=len(options) > 1,
        required=default is MISSING,
        default=default,
        sparse=item.metadata.get("sparse", False),
        fallback=item.metadata.get("fallback"),
    )


# -- writing ---------------------------------------------------------------------------------------


def to_json(record: Any) -> dict[str, Any]:
    """The JSON object of a record."""
    return {
        item.name: _plain(value)
        for item in keys(cast(Any, type(record)))
        for value in (getattr(record, item.field),)
        if not (item.sparse and value == item.default)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return to_json(value)


# -- reading ---------------------------------------------------------------------------------------


def from_json(record: type[R], data: object, where: str) -> R:
    """The record that a JSON object holds.

    Args:
        where: the object's place, for messages.

    Raises:
        UsageError: it is no such object.
    """
    if not isinstance(data, dict):
        raise _wrong(where, "an object", data)
    values = {}
    for item in keys(cast(Any, record)):
        value = data.get(item.name)
        if value is not None:
            values[item.field] = _read(item.type, value, f"{where}.{item.name}", item.fallback)
        elif item.required:
            raise UsageError(f"{where}.{item.name}: {_noun(item.type)} is expected here, it is missing")
    return record(**values)


def _read(kind: Any, value: Any, where: str, fallback: str | None = None) -> Any:
    """The value of a type, from its JSON."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if kind in _NOUNS:
        return _scalar(kind, value, where)
    if origin is Literal:
        return _word(get_args(kind), _scalar(str, value, where), where, fallback)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        item_kind = get_args(kind)[0]
        return tuple(_read(item_kind, item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        item_kind = get_args(kind)[1]
        return {name: _read(item_kind, item, f"{where}.{name}") for name, item in value.items()}
    if origin in (Union, types.UnionType):
        (some,) = [option for option in get_args(kind) if option is not types.NoneType]
        return None if value is None else _read(some, value, where)
    assert is_dataclass(kind), f"{kind} has no JSON"
    return from_json(cast(type, kind), value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    """A string, number or truth; a whole number may be written as 2.0, and a bool is no number."""
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    accepted: Any = (int, float) if kind is float else kind
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, accepted):
        raise _wrong(where, _NOUNS[kind], value)
    return value


def _word(allowed: tuple[str, ...], value: str, where: str, fallback: str | None) -> str:
    if value in allowed:
        return value
    if fallback is None:
        raise UsageError(f"{where}: '{value}' is not one of {', '.join(allowed)}")
    return fallback


def _noun(kind: Any) -> str:
    """What a message calls a value of a type."""
    origin = get_origin(kind)
    if origin is Literal:
        return "a string"
    return "a list" if origin is tuple else _NOUNS.get(kind, "an object")


def _wrong(where: str, expected: str, value: object) -> UsageError:
    return UsageError(f"{where}: {expected} is expected here, found {type(value).__name__}")
