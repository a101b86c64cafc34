"""Verdicts in the formats of other tools: JUnit XML for CI systems, TAP 14, and KTAP for the CI of
kernels.
"""

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


def ktap(results: Sequence[Result]) -> str:
    """KTAP version 1 (Documentation/dev-tools/ktap.rst): a test a subject, its checks nested below
    it, with the seconds of each and the reason of each failure as diagnostic lines.
    """
    subjects: dict[str, list[Result]] = {}
    for result in results:
        subjects.setdefault(result.name.partition(":")[0], []).append(result)
    lines = ["KTAP version 1", f"1..{len(subjects)}"]
    for number, (subject, own) in enumerate(subjects.items(), start=1):
        nested = ["KTAP version 1", f"# Subtest: {subject}", f"1..{len(own)}"]
        for place, result in enumerate(own, start=1):
            nested += _ktap_lines(place, result)
        lines += [f"  {line}" for line in nested]
        verdicts = {result.verdict for result in own}
        skipped = " # SKIP all its checks" if verdicts == {"skip"} else ""
        lines.append(f"{'not ok' if 'fail' in verdicts else 'ok'} {number} {subject}{skipped}")
    return "\n".join(lines) + "\n"


def _ktap_lines(number: int, result: Result) -> list[str]:
    name = result.name.replace("#", "_")  # begins a directive, and KTAP knows no escape
    if result.verdict == "skip":
        return [f"ok {number} {name} # SKIP {_one_line(result.reason)}"]
    seconds = "" if result.seconds is None else f" # time={result.seconds * 1000:.0f}ms"
    if result.verdict == "pass":
        return [f"ok {number} {name}{seconds}"]
    told = [result.reason, *(result.detail or ())]
    return [*(f"# {_one_line(text)}" for text in told), f"not ok {number} {name}{seconds}"]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
