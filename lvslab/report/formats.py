"""Verdicts in the formats of other tools: JUnit XML for CI systems, TAP 14 for kernel people."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from lvslab.runs.records import Result


def junit(name: str, results: Sequence[Result]) -> str:
    """JUnit XML: one suite, one case a result."""
    counts = {
        verdict: sum(result.verdict == verdict for result in results) for verdict in ("pass", "fail", "skip")
    }
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(results)),
        failures=str(counts["fail"]),
        skipped=str(counts["skip"]),
        errors="0",
        time=f"{sum(result.seconds or 0 for result in results):.3f}",
    )
    for result in results:
        subject, _, rest = result.name.partition(":")
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{name}.{_clean(subject)}",
            name=_clean(rest or subject),
            time=f"{result.seconds or 0:.3f}",
        )
        if result.verdict == "fail":
            ElementTree.SubElement(case, "failure", message=_clean(result.reason)).text = _clean(
                "\n".join(result.detail or ())
            )
        elif result.verdict == "skip":
            ElementTree.SubElement(case, "skipped", message=_clean(result.reason))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold."""
    return "".join(each for each in text if each in "\t\n" or each >= " ")


def tap(results: Sequence[Result]) -> str:
    """TAP version 14, with a YAML block below each failure."""
    lines = ["TAP version 14", f"1..{len(results)}"]
    for number, result in enumerate(results, start=1):
        name = result.name.replace("#", "\\#")
        if result.verdict == "skip":
            lines.append(f"ok {number} - {name} # SKIP {result.reason}")
            continue
        lines.append(f"{'ok' if result.verdict == 'pass' else 'not ok'} {number} - {name}")
        if result.verdict == "fail":
            lines += ["  ---", f"  message: {_quoted(result.reason)}"]
            if result.detail:
                lines += ["  detail:", *(f"    - {_quoted(line)}" for line in result.detail)]
            lines.append("  ...")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
