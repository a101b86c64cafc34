"""The pytest plugin: regression tests against a real director. docs/testing.md is its manual.

A test that uses one of the fixtures `lvs_lab`, `lvs_lab_factory`, `lvs_kernel` runs in a sandbox
(lvslab/testing); others are left alone, and as long as there are none of the first kind, nothing of
lvslab is loaded but this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from _pytest._code.code import ExceptionRepr

from lvslab.errors import CannotError, UsageError

if TYPE_CHECKING:
    from lvslab.kernels.needs import Kernels
    from lvslab.testing.lab import KernelUnderTest, LabUnderTest
    from lvslab.testing.rehearsal import Rehearser
    from lvslab.testing.settings import Asked, Settings

_MARKER = (
    "lvs(mode, modes, timeout, clients, servers, directors, scheduler, weights, control, sysctls, without,"
    " …): the lab that the fixture lvs_lab brings up; docs/testing.md of lvslab lists the options"
)
_SETTINGS = pytest.StashKey["Settings"]()
_KERNELS = pytest.StashKey[dict[str | None, "Kernels"]]()
_ASKED = pytest.StashKey["Asked"]()
_NEW_RUNS = pytest.StashKey[Path]()


class LabFactory(Protocol):
    """What the fixture `lvs_lab_factory` is."""

    def __call__(self, mode: str | None = None, **options: Any) -> LabUnderTest:
        """Bring up a lab, which lives until the test ends; what is not said is as in the test's
        marker.
        """


# -- options ---------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """The command line's options."""
    group = parser.getgroup("lvslab", "tests against a real IPVS director (lvslab)")
    group.addoption(
        "--lvs-kernel",
        action="append",
        default=[],
        metavar="NAME",
        help="Kernel of the director: host, uml, or one of `lvslab kernels`; repeatable: every test runs on each.",  # noqa: E501
    )
    group.addoption(
        "--lvs-mode",
        action="append",
        default=[],
        metavar="MODE",
        help="Forwarding mode, or 'all'; repeatable: a test that names no mode runs in each, one that does only in those of its own.",  # noqa: E501
    )
    group.addoption(
        "--lvs-require",
        action="store_true",
        help="Fail what this machine or kernel cannot do, instead of a skip.",
    )
    group.addoption(
        "--lvs-runs", default="runs", metavar="DIR", help="Where run directories go (default: runs)."
    )
    group.addoption("--lvs-keep", action="store_true", help="Keep the run directories of passed tests, too.")
    group.addoption(
        "--lvs-timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="For one test with its lab (default: 300).",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse wrong options before anything is collected."""
    config.addinivalue_line("markers", _MARKER)
    if (
        any(config.getoption(name) for name in ("lvs_kernel", "lvs_mode"))
        or config.getoption("lvs_timeout") <= 0
    ):
        try:
            _settings(config)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error


def _settings(config: pytest.Config) -> Settings:
    """The options, read once."""
    if _SETTINGS not in config.stash:
        from lvslab.testing.settings import read_settings

        config.stash[_SETTINGS] = read_settings(
            kernels=config.getoption("lvs_kernel"),
            modes=config.getoption("lvs_mode"),
            require=config.getoption("lvs_require"),
            runs=config.invocation_params.dir / config.getoption("lvs_runs"),
            keep=config.getoption("lvs_keep"),
            timeout=config.getoption("lvs_timeout"),
        )
    return config.stash[_SETTINGS]


# -- collection ------------------------------------------------------------------------------------


def _uses_a_director(item: Any) -> bool:
    return "lvs_kernel" in getattr(item, "fixturenames", ())


def _asked(node: pytest.Item) -> Asked:
    """What the test's markers say, checked."""
    from lvslab.testing.settings import asked_by

    try:
        if _ASKED not in node.stash:
            node.stash[_ASKED] = asked_by((mark.args, mark.kwargs) for mark in node.iter_markers("lvs"))
        return node.stash[_ASKED]
    except UsageError as error:
        raise pytest.Collector.CollectError(f"{node.nodeid}: {error}") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each mode and each kernel asked for."""
    if not _uses_a_director(metafunc):
        return
    from lvslab.testing.settings import modes_of

    settings = _settings(metafunc.config)
    modes = modes_of(_asked(metafunc.definition), settings)
    if modes:
        metafunc.parametrize("lvs_mode", modes, indirect=True)
    if settings.kernels:
        metafunc.parametrize("lvs_kernel", settings.kernels, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of modes that --lvs-mode does not name."""
    if not config.getoption("lvs_mode"):
        return
    from lvslab.testing.settings import is_wanted

    wanted, unwanted = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        fits = not _uses_a_director(item) or is_wanted(_mode(item), _settings(config))
        (wanted if fits else unwanted).append(item)
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = wanted


def _mode(item: pytest.Item) -> str:
    from lvslab.testing.settings import DEFAULT_MODE

    chosen = getattr(getattr(item, "callspec", None), "params", {}).get("lvs_mode")
    return str(chosen or next(iter(_asked(item).modes), DEFAULT_MODE))


# -- the run ---------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Carry out a test that uses a director in a sandbox."""
    if not _uses_a_director(item):
        return None
    import lvslab.lab.net  # noqa: F401  # loaded once here, every test's process has it
    from lvslab.testing.protocol import run_item

    config, settings = item.config, _settings(item.config)
    known = config.stash.setdefault(_KERNELS, {})
    if _NEW_RUNS not in config.stash and not settings.runs.exists():
        config.stash[_NEW_RUNS] = settings.runs
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None and "tmp_path_factory" in item.fixturenames:  # type: ignore[attr-defined]
        # one for the session: a folder made in the test's process would be one for each
        factory.getbasetemp()
    limit = _asked(item).timeout or settings.timeout
    run_item(item, nextitem, limit, settings.require, settings.keep, known.update)
    return True


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In the sandbox: a failure's report names the run directory and what happened."""
    outcome: Any = yield
    if not _uses_a_director(item):
        return
    from lvslab.testing.protocol import TEST

    test = item.stash.get(TEST, None)
    if test is not None:
        report = outcome.get_result()
        reason = (
            call.excinfo.exconly() if call.excinfo is not None else f"{call.when} took {call.duration:.2f} s"
        )
        for title, text in test.judge(
            report.outcome, reason, call.excinfo.value if call.excinfo is not None else None
        ):
            _add_section(report, title, text)


def _add_section(report: pytest.TestReport, title: str, text: str) -> None:
    """Add it to what is shown of a failure, also in JUnit files and whatever
    --show-capture says.
    """
    if isinstance(report.longrepr, ExceptionRepr):
        report.longrepr.addsection(title, text)
    else:
        report.longrepr = f"{report.longrepr or ''}\n{title}:\n{text}"


def pytest_enter_pdb(config: pytest.Config) -> None:
    """In the sandbox: whoever debugs is not hurried."""
    if _KERNELS not in config.stash:
        return
    from lvslab.testing import process, protocol

    send = config.stash.get(protocol.LINE, None)
    if send is not None:
        protocol.lift_time_limit()
        send(process.UNLIMITED, None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder of run directories if it was made for this session and is empty."""
    runs = config.stash.get(_NEW_RUNS, None)
    if runs is not None and not hasattr(config, "workerinput") and runs.is_dir() and not any(runs.iterdir()):
        runs.rmdir()


# -- fixtures --------------------------------------------------------------------------------------


@pytest.fixture
def lvs_mode(request: pytest.FixtureRequest) -> str:
    """The forwarding mode of the test."""
    return _mode(request.node)


@pytest.fixture
def lvs_kernel(request: pytest.FixtureRequest, lvs_mode: str) -> KernelUnderTest:
    """The director's kernel: the one of --lvs-kernel, or the cheapest that has what the test's mode
    needs.
    """
    from lvslab.modes import mode_named
    from lvslab.modes.base import Role
    from lvslab.testing.lab import KernelUnderTest
    from lvslab.testing.protocol import LINE, refuse

    if LINE not in request.config.stash:
        pytest.fail(
            "lvs_… fixtures must be named as arguments of the test or of its fixtures, not asked for",
            pytrace=False,
        )
    named = getattr(request, "param", None)
    options = _asked(request.node).options
    wanted = named or next(iter(options.get("kernels", ())), None)
    needs = mode_named(lvs_mode).needs[Role.DIRECTOR] | frozenset(options.get("more_needs", ()))
    try:
        kernels = _kernels(request.config, wanted)
        name, _ = kernels.choose(needs, wanted, "director")
    except CannotError as error:
        refuse(request.node, str(error), _settings(request.config).require)
    return KernelUnderTest(name, kernels.facts[name])


def _kernels(config: pytest.Config, wanted: str | None) -> Kernels:
    """The kernels to choose from; what trials have found out is kept for the tests that follow."""
    from lvslab.catalog.choice import kernels_for
    from lvslab.kernels.needs import Need
    from lvslab.testing.protocol import KEPT, LINE

    known = config.stash[_KERNELS]
    if wanted not in known:
        known[wanted] = kernels_for(tuple(Need), wanted)
        config.stash[LINE](KEPT, {wanted: known[wanted]})
    return known[wanted]


@pytest.fixture
def lvs_lab_factory(
    request: pytest.FixtureRequest, lvs_mode: str, lvs_kernel: KernelUnderTest
) -> Iterator[LabFactory]:
    """Brings up further labs: `other = lvs_lab_factory("dr", servers=3)`; all end with the test."""
    from lvslab.testing.labtest import LabTest
    from lvslab.testing.protocol import LINE, RUN, TEST, refuse

    config, settings = request.config, _settings(request.config)
    named = request.node.callspec.params.get("lvs_kernel") if hasattr(request.node, "callspec") else None
    test = LabTest(
        settings.runs,
        request.node.name,
        request.node.nodeid,
        lvs_mode,
        _asked(request.node).options,
        _kernels(config, named),
        [named] if named else [],
        ["pytest", *map(str, config.invocation_params.args)],
    )
    with test:
        request.node.stash[TEST] = test
        config.stash[LINE](RUN, test.run.path)

        def bring_up(mode: str | None = None, **options: Any) -> LabUnderTest:
            __tracebackhide__ = True
            try:
                return test.lab(mode, **options)
            except CannotError as error:
                refuse(request.node, str(error), settings.require)

        yield bring_up


@pytest.fixture
def lvs_lab(lvs_lab_factory: LabFactory) -> LabUnderTest:
    """A running lab as the test's marker describes it: `@pytest.mark.lvs(mode="dr", servers=3)`; by
    default NAT with two real servers.
    """
    __tracebackhide__ = True
    return lvs_lab_factory()


@pytest.fixture
def lvs_rehearsal(request: pytest.FixtureRequest) -> Rehearser:
    """Rehearses files of one's own: `answers = lvs_rehearsal("keepalived.conf")`
    (docs/rehearse.md).
    """
    from lvslab.testing.rehearsal import Rehearser

    settings = _settings(request.config)
    return Rehearser(settings.runs, next(iter(settings.kernels), ""))
