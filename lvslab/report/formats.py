"""Verdicts in the formats of other tools: JUnit XML for CI systems, TAP 14 for kernel people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree


def junit(name: str, results: Sequence[Mapping[str, Any]]) -> str:
    """JUnit XML: one suite, one case a result; `seconds` and `detail` are optional in a result."""
    counts = {
        verdict: sum(each["verdict"] == verdict for each in results) for verdict in ("pass", "fail", "skip")
    }
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(results)),
        failures=str(counts["fail"]),
        skipped=str(counts["skip"]),
        errors="0",
        time=f"{sum(float(each.get('seconds', 0)) for each in results):.3f}",
    )
    for each in results:
        subject, _, rest = str(each["name"]).partition(":")
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{name}.{_clean(subject)}",
            name=_clean(rest or subject),
            time=f"{each.get('seconds', 0):.3f}",
        )
        if each["verdict"] == "fail":
            ElementTree.SubElement(case, "failure", message=_clean(each["reason"])).text = _clean(
                "\n".join(each.get("detail", ()))
            )
        elif each["verdict"] == "skip":
            ElementTree.SubElement(case, "skipped", message=_clean(each["reason"]))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold."""
    return "".join(each for each in text if each in "\t\n" or each >= " ")


def tap(results: Sequence[Mapping[str, Any]]) -> str:
    """TAP version 14, with a YAML block below each failure."""
    lines = ["TAP version 14", f"1..{len(results)}"]
    for number, each in enumerate(results, start=1):
        name = str(each["name"]).replace("#", "\\#")
        if each["verdict"] == "skip":
            lines.append(f"ok {number} - {name} # SKIP {each['reason']}")
            continue
        lines.append(f"{'ok' if each['verdict'] == 'pass' else 'not ok'} {number} - {name}")
        if each["verdict"] == "fail":
            lines += ["  ---", f"  message: {_quoted(each['reason'])}"]
            lines += (
                ["  detail:", *(f"    - {_quoted(line)}" for line in each["detail"])]
                if each.get("detail")
                else []
            )
            lines.append("  ...")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
