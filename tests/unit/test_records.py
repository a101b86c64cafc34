"""Records, their JSON and the schemas that lvslab ships for it are one and the same thing."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvslab.errors import UsageError
from lvslab.runs import records, schema
from lvslab.runs.codec import from_json, keys, to_json
from tests.unit import sample_failover, sample_run

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "data" / "run-1"

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)
SCALARS: Mapping[Any, st.SearchStrategy[Any]] = {
    Any: ANYTHING,
    str: st.text(max_size=8),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    types.NoneType: st.none(),
}


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """All values of a field's type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in SCALARS:
        return SCALARS[kind]
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(st.text(max_size=8), values(arguments[1]), max_size=2)
    if origin in (Union, types.UnionType):
        return st.one_of([values(option) for option in arguments])
    hints = get_type_hints(kind)
    return st.builds(kind, **{item.name: values(hints[item.name]) for item in fields(kind)})


RECORDS = [item for item in vars(records).values() if is_dataclass(item)]


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((schema.FOLDER / name).read_text()))


def problems(directory: Path) -> list[str]:
    """What the schemas have against a run directory."""
    documents = [("run.schema.json", (directory / "run.json").read_text())]
    documents += [
        ("path.schema.json", file.read_text()) for file in sorted(directory.glob("captures/*.path.json"))
    ]
    documents += [
        ("sample.schema.json", line) for line in (directory / "samples.jsonl").read_text().splitlines()
    ]
    return [
        f"{name}: {error.json_path}: {error.message}"
        for name, text in documents
        for error in validator(name).iter_errors(json.loads(text))
    ]


@pytest.mark.parametrize("name", schema.FILES)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read_back_and_keeps_to_its_schema(name: str, data: st.DataObject) -> None:
    record = schema.FILES[name][1]
    written = data.draw(values(record))
    document = json.loads(json.dumps(to_json(written)))
    assert from_json(record, document, "here") == written
    validator(name).validate(document)


@pytest.mark.parametrize("name", schema.FILES)
def test_the_shipped_schemas_are_those_of_the_records(name: str) -> None:
    assert (schema.FOLDER / name).read_text() == schema.text(name), (
        "the records have changed: run .venv/bin/python -m lvslab.runs.schema, and say what is new in"
        " docs/run-directory.md"
    )
    jsonschema.Draft202012Validator.check_schema(schema.document(name))


@pytest.mark.parametrize("folder", [GOLDEN, ROOT / "reports" / "sample", ROOT / "reports" / "failover"])
def test_old_directories_keep_to_the_schemas(folder: Path) -> None:
    assert problems(folder) == []


def test_fresh_directories_keep_to_the_schemas(tmp_path: Path) -> None:
    for path in (
        sample_run.complete(tmp_path, modes=["nat", "tun"], repeats=1),
        sample_run.failed(tmp_path),
        sample_run.empty(tmp_path),
        sample_failover.failover(tmp_path, repeats=1),
    ):
        assert problems(path) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": "flent"}, "$.format"),
        ({"status": "great"}, "$.status"),
        ({"labs": [{"name": "nat"}]}, "$.labs[0]"),
        ({"labs": {}}, "$.labs"),
        ({"results": [{"name": "a", "verdict": "maybe"}]}, "$.results[0].verdict"),
        ({"trials": [{"name": "a", "repeat": 1, "start": "now"}]}, "$.trials[0].start"),
        ({"tools": {"wrk": 4}}, "$.tools.wrk"),
    ],
)
def test_a_schema_refuses_what_is_no_run(changes: dict[str, Any], problem: str) -> None:
    document = json.loads((GOLDEN / "run.json").read_text())
    assert [error.json_path for error in validator("run.schema.json").iter_errors(document | changes)] == [
        problem
    ]


# -- reading what is not quite right ---------------------------------------------------------------


def test_null_and_missing_are_the_default() -> None:
    read = from_json(records.Step, {"t": None, "from": None, "to": None, "rewritten": None}, "step")
    assert read == from_json(records.Step, {}, "step") == records.Step()


def test_keys_have_the_names_of_the_format() -> None:
    written = to_json(records.Step(source="c1", target=None))
    assert written["from"] == "c1" and written["to"] is None and "source" not in written


def test_marks_stand_in_the_order_of_time_whoever_made_them() -> None:
    marks = (records.Mark(2.0, "repair"), records.Mark(1.0, "fault"))
    trial = records.Trial(name="a", repeat=1, start=0.0, marks=marks)
    assert [mark["kind"] for mark in to_json(trial)["marks"]] == ["fault", "repair"]


def test_a_whole_number_may_be_written_with_a_point_and_no_other() -> None:
    counters = from_json(records.Counters, {"conns": 7.0}, "counters")
    assert counters.conns == 7 and isinstance(counters.conns, int)
    with pytest.raises(UsageError, match=r"counters\.conns: a whole number is expected here, found float"):
        from_json(records.Counters, {"conns": 7.5}, "counters")


@pytest.mark.parametrize(
    ("record", "data", "message"),
    [
        (records.Result, [], "here: an object is expected here, found list"),
        (records.Result, {"verdict": "pass"}, r"here\.name: a string is expected here, it is missing"),
        (records.Result, {"name": 1, "verdict": "pass"}, r"here\.name: a string is expected here, found int"),
        (records.Result, {"name": "a", "verdict": "pass", "evidence": [1]}, r"here\.evidence\[0\]: a string"),
        (records.Bound, {"seconds": True}, r"here\.seconds: a number is expected here, found bool"),
        (records.Sample, {"metric": "a", "values": [1, "2"]}, r"here\.values\[1\]: a number"),
        (records.Sample, {"metric": "a", "labels": {"per": 1}}, r"here\.labels\.per: a string"),
        (records.Node, {"name": "a", "role": "b", "kernel": {}}, r"here\.kernel\.kind: a string .* missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(record: type, data: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_json(record, data, "here")


def test_the_format_is_described_key_by_key() -> None:
    described = (ROOT / "docs" / "run-directory.md").read_text()
    unsaid = [
        f"{record}: {key.name}"
        for record in RECORDS
        for key in keys(record)
        if f"`{key.name}`" not in described
    ]
    assert unsaid == []
