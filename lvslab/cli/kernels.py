"""`lvslab kernels`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.cli.common import JSON, in_sandbox
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.catalog.catalog import CatalogEntry

_MIB = 1 << 20


@click.group(invoke_without_command=True, short_help="List the kernels that are here, and get others.")
@click.pass_context
@JSON
def kernels(context: click.Context, as_json: bool) -> int:
    """List the kernels that are here; get others: fetch them, build one from source, add your
    own. --kernel takes each name.
    """
    return ExitCode.OK if context.invoked_subcommand else _list(as_json)


@kernels.command("list", short_help="List the kernels that are here, with what each has.")
@click.option(
    "--available",
    is_flag=True,
    help="List instead what can be fetched; asks every source.",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="SUITE",
    help="With --available: look at this suite only; repeatable.",
)
@JSON
def kernels_list(available: bool, suites: tuple[str, ...], as_json: bool) -> int:
    """List the kernels that are here, each with what it has and lacks, as its trial boot showed; or
    those that can be fetched.
    """
    if suites and not available:
        raise UsageError("kernels list: --suite goes with --available")
    return _list_available(suites, as_json) if available else _list(as_json)


class _Fetch(click.Command):
    """Adds the sources of kernels to its help."""

    def format_help_text(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from lvslab.catalog.sources import SOURCES

        super().format_help_text(context, formatter)
        for source in SOURCES.values():
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(source.how)
            with formatter.indentation(), formatter.indentation():
                formatter.write_text(source.about)


@kernels.command("fetch", cls=_Fetch, short_help="Get kernels of a distribution, without installing them.")
@click.argument("specs", nargs=-1, required=True, metavar="NAME...")
def kernels_fetch(specs: tuple[str, ...]) -> int:
    """Get kernels by the names that their sources give them; nothing is installed, each is tried by
    a boot.
    """
    from lvslab.catalog.fetch import fetch
    from lvslab.catalog.sources import source_of
    from lvslab.cli.terminal import Progress
    from lvslab.host.distribution import require_programs

    for spec in specs:
        source_of(spec).parse(spec)
    require_programs()
    with Progress() as progress:
        fetched = [fetch(spec, tell=progress) for spec in specs]
    for entry in fetched:
        _print_entry(entry)
    return ExitCode.OK


@kernels.command("build", short_help="Build a kernel with all of IPVS from source.")
@click.argument("tree")
@click.option(
    "--config",
    "fragment",
    type=click.Path(path_type=Path),
    metavar="FRAGMENT",
    help="Options on top, as in .config.",
)
@click.option("--name", metavar="NAME", help="Its name will be local/NAME; by default the kernel's release.")
@click.option(
    "--virtual-time",
    is_flag=True,
    help="A kernel for simulated worlds, whose clock a calendar moves; its name ends with -vt.",
)
def kernels_build(tree: str, fragment: Path | None, name: str | None, virtual_time: bool) -> int:
    """Build a small User-Mode Linux kernel with all of IPVS from a kernel source TREE, and try it
    by a boot.

    TREE is a directory, such as a git checkout, which is not written to, an archive such as
    /usr/src/linux-source-6.1.tar.xz, or debian/SUITE: the source in that suite of Debian's, which
    is fetched once.
    """
    from lvslab.catalog import build
    from lvslab.catalog.debian import sourcecode
    from lvslab.cli.terminal import Progress
    from lvslab.host.distribution import require_programs
    from lvslab.kernels.cache import cache_directory

    suite = sourcecode.suite_of(tree)
    if suite is not None:
        build.require_tools()
        require_programs()
        with Progress() as progress:
            path = sourcecode.archive(suite, cache_directory(), progress)
    else:
        path = Path(tree)
    request = build.prepare(path, fragment, name, virtual_time)
    require_programs()
    return _add_in_sandbox(lambda tell: build.build(request, tell=tell))


@kernels.command("add", short_help="Take a kernel of yours into the catalog.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Its name will be local/NAME; by default the kernel's release.")
@click.option(
    "--modules",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Its modules, such as /lib/modules/RELEASE.",
)
def kernels_add(path: Path, name: str | None, modules: Path | None) -> int:
    """Copy a kernel of yours into the catalog, once it has booted: a User-Mode Linux program, or a
    bzImage.

    PATH is the file, with its modules in modules/RELEASE beside it or in DIR, or a directory with
    both.
    """
    from lvslab.catalog import add
    from lvslab.host.distribution import require_programs

    addition = add.prepare(path, name, modules)
    require_programs()
    return _add_in_sandbox(lambda tell: add.add(addition, tell=tell))


@kernels.command("remove", short_help="Delete kernels that were fetched, built or added.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def kernels_remove(names: tuple[str, ...]) -> int:
    """Delete kernels that were fetched, built or added; of several versions the newest, unless NAME
    says which.
    """
    from lvslab.catalog import catalog, store
    from lvslab.cli.terminal import Progress, print_lines
    from lvslab.kernels.cache import cache_directory

    found = [catalog.find_entry(name) for name in names]
    with Progress() as progress:
        for entry in found:
            store.remove(entry, cache_directory(), progress)
    print_lines([f"{entry.full_name}: removed" for entry in found])
    return ExitCode.OK


# -- adding ----------------------------------------------------------------------------------------


def _add_in_sandbox(work: Callable[[Any], CatalogEntry]) -> int:
    """Run what adds a kernel where all its programs end with it, also by `kill -9`."""
    from lvslab.cli.terminal import Progress, print_error

    def guarded() -> int:
        try:
            with Progress() as progress:
                entry = work(progress)
        except KeyboardInterrupt:
            print_error("interrupted; nothing was added")
            return ExitCode.INTERRUPTED
        _print_entry(entry)
        return ExitCode.OK

    return in_sandbox(guarded)


def _print_entry(entry: CatalogEntry) -> None:
    from lvslab.cli.terminal import print_lines
    from lvslab.kernels.kinds import KINDS

    use = f"--kernel {entry.name}" if entry.facts.met else KINDS[entry.kind].use.format(entry.name)
    print_lines(
        [
            f"{entry.full_name}: {entry.kind} {entry.release}, {entry.size() / _MIB:.0f} MiB, ready after"
            f" {entry.boot_seconds:.1f} s; use it: {use}"
        ]
    )


# -- listing ---------------------------------------------------------------------------------------


def _list(as_json: bool) -> int:
    from lvslab.cli.terminal import Progress, print_json, print_lines, print_table

    def work() -> int:
        from lvslab.catalog.listing import kernels_listed
        from lvslab.catalog.names import LOCAL

        with Progress() as progress:
            rows, absent = kernels_listed(progress)
        if as_json:
            print_json({"kernels": [row.to_json() for row in rows], "absent": absent})
            return ExitCode.OK
        print_table(
            ("kernel", "kind", "release", "MiB", "has", "lacks"),
            [
                (
                    row.name,
                    row.kind,
                    row.release,
                    f"{row.size / _MIB:.0f}" if row.size else "",
                    row.has,
                    ", ".join(row.lacks),
                )
                for row in rows
            ],
        )
        reasons = [
            f"{row.name} lacks {', '.join(need for need, each in row.lacks.items() if each == why)}: {why}"
            for row in rows
            for why in dict.fromkeys(row.lacks.values())
        ]
        origins = [f"{row.name}: {row.origin}" for row in rows if row.name.startswith(f"{LOCAL}/")]
        gone = [f"{name} is not here: {why}" for name, why in absent.items()]
        print_lines(
            [
                "",
                *origins,
                *reasons,
                *gone,
                "what else can be had: lvslab kernels list --available; lvslab kernels build --help",
            ]
        )
        return ExitCode.OK

    return in_sandbox(work)


def _list_available(suites: tuple[str, ...], as_json: bool) -> int:
    import tempfile

    from lvslab.catalog import catalog
    from lvslab.catalog.source import Offer
    from lvslab.catalog.sources import SOURCES
    from lvslab.cli.terminal import Progress, print_json, print_lines, print_table

    offers: list[Offer] = []
    with Progress() as progress, tempfile.TemporaryDirectory(prefix="lvslab-available-") as work:
        for name, source in SOURCES.items():
            (own := Path(work) / name).mkdir()
            offers += source.offers(suites, own, progress)
    fetched = {entry.full_name for entry in catalog.entries()}

    def here(offer: Offer) -> list[str]:
        return [version for version in offer.versions if f"{offer.kernel.name}={version}" in fetched]

    if as_json:
        print_json(
            {
                "available": [
                    {
                        "name": str(offer.kernel),
                        "versions": list(offer.versions),
                        "here": here(offer),
                        "problem": offer.problem,
                    }
                    for offer in offers
                ]
            }
        )
    else:
        rows = [
            (str(offer.kernel), ", ".join(offer.versions) or offer.problem, ", ".join(here(offer)))
            for offer in offers
        ]
        print_table(("kernel", "versions", "here"), rows)
        print_lines(["", "get one: lvslab kernels fetch NAME"])
    return ExitCode.OK if any(offer.versions for offer in offers) else ExitCode.CANNOT
