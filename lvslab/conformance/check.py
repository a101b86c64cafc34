"""What a check is: a small function with a name, its expectation in one sentence, and what it needs
from the kernel.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from lvslab.conformance.checks import MODULES, TIMERS
from lvslab.conformance.testbed import Bench
from lvslab.errors import UsageError
from lvslab.kernels.needs import Need

_MARK = "__lvslab_checks__"

Body = Callable[..., None]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: SUBJECT:WHAT[:VARIANT], for example "scheduler:wrr:distribution".
        expects: what must hold, one sentence.
        tags: words to select by; the subject is always one.
        needs: what the director's kernel must have besides IPVS.
        spoilt_by: by so many seconds a machine must be late to explain a failure, which is then not
            judged: what the check looks at lives that short. None: it is judged on any machine.
        body: called with the bench and `values`.
    """

    name: str
    expects: str
    tags: tuple[str, ...]
    needs: frozenset[Need]
    body: Body
    values: Mapping[str, Any]
    spoilt_by: float | None = None

    def run(self, bench: Bench) -> None:
        """Carry it out.

        Raises:
            CheckFailed: an expectation did not hold.
            CheckSkipped: the kernel cannot do it.
        """
        self.body(bench, **self.values)


def check(
    name: str,
    expects: str,
    *,
    tags: Iterable[str] = (),
    needs: Iterable[Need] = (),
    spoilt_by: float | None = None,
    each: Sequence[Mapping[str, Any]] = ({},),
) -> Callable[[Body], Body]:
    """Mark a function as one or several checks.

    Args:
        name, expects: may hold {placeholders} for the values of `each`.
        tags, needs, spoilt_by: as `Check` has them.
        each: values of the function's further arguments, one mapping a check.
    """

    def mark(body: Body) -> Body:
        marked = []
        for values in each:
            full = name.format(**values)
            subject = full.partition(":")[0]
            marked.append(
                Check(
                    full,
                    expects.format(**values),
                    (subject, *(tag.format(**values) for tag in tags)),
                    frozenset(needs),
                    body,
                    dict(values),
                    spoilt_by,
                )
            )
        setattr(body, _MARK, marked)
        return body

    return mark


def all_checks() -> list[Check]:
    """Every check of the suite (see `_checks_of`)."""
    return _checks_of(MODULES)


def timer_checks() -> list[Check]:
    """Every check of the profile "timers" (see `_checks_of`)."""
    return _checks_of(TIMERS)


def _checks_of(modules: Sequence[str]) -> list[Check]:
    """The checks of modules: one module after the other, in each as they are written.

    Raises:
        ValueError: two have the same name.
    """
    found: list[Check] = []
    for name in modules:
        module = importlib.import_module(f"lvslab.conformance.checks.{name}")
        for value in vars(module).values():
            found += getattr(value, _MARK, [])
    count = Counter(check.name for check in found)
    twice = sorted(name for name, times in count.items() if times > 1)
    if twice:
        raise ValueError(f"checks with the same name: {', '.join(twice)}")
    return found


def select(checks: Sequence[Check], only: Sequence[str], tags: Sequence[str] = ()) -> list[Check]:
    """Checks by name patterns (`scheduler:*`) and tags; without either, all.

    Raises:
        UsageError: a pattern or tag that fits none.
    """
    for pattern in only:
        if not any(fnmatchcase(each.name, pattern) for each in checks):
            raise UsageError(f"--only '{pattern}': no check has such a name; see: lvslab list --checks")
    known = sorted({tag for each in checks for tag in each.tags})
    for tag in tags:
        if tag not in known:
            raise UsageError(f"--tag '{tag}': no check has it; tags: {', '.join(known)}")
    return [
        each
        for each in checks
        if (not only or any(fnmatchcase(each.name, pattern) for pattern in only))
        and (not tags or set(tags) & set(each.tags))
    ]
