"""Plans and cells of sweeps that no kernel is needed for."""

from __future__ import annotations

from pathlib import Path

from lvslab.exitcodes import ExitCode
from lvslab.runs.records import Result
from lvslab.runs.writer import RunWriter
from lvslab.sweep.cell import Cell
from lvslab.sweep.design import cells_of
from lvslab.sweep.kernels import KernelOfCell
from lvslab.sweep.plan import Plan, read_plan
from lvslab.sweep.store import Store
from lvslab.sweep.work import Outcome, packed


def some_kernel(kind: str, time: str, name: str) -> KernelOfCell:
    """A kernel of any name, which knows few schedulers where it is an old one."""
    return KernelOfCell(f"{kind} {name}", ("rr", "wlc") if name == "old" else ())


def plan_of(folder: Path, text: str) -> Plan:
    """The plan of a text."""
    file = folder / "some.toml"
    file.write_text(text)
    return read_plan(file)


def numbered(count: int, *, timed: bool = False) -> list[Cell]:
    """Cells that do nothing."""
    return [Cell(f"n={n}", {"n": str(n)}, 1, ("list",), {"n": n}, timed, 1.0) for n in range(count)]


def square(cell: Cell, place: Path | None = None, processor: int | None = None) -> Outcome:
    """Work that takes no lab: the square of a cell's number in a file."""
    assert place is not None
    folder = place / f"of-{cell.key}"
    folder.mkdir(exist_ok=True)
    (folder / "square.txt").write_text(str(int(cell.axes["n"]) ** 2))
    return Outcome(ExitCode.OK, "", 0.5, "here", packed(folder))


def measured(cell: Cell, place: Path | None = None, processor: int | None = None) -> Outcome:
    """Work that takes no lab: a run directory with numbers that follow from the cell's axes."""
    assert place is not None
    servers, mode = int(cell.axes["servers"]), cell.axes["mode"]
    rate = servers * (2000.0 if mode == "dr" else 1000.0) + cell.repetition
    with RunWriter(place, f"cell-{cell.key}", kind="run", command=["lvslab", *cell.words]) as run:
        for metric, unit, value in (
            ("requests_per_second", "1/s", rate),
            ("throughput", "bit/s", 1e9 * rate),
        ):
            run.sample(lab=mode, mode=mode, metric=metric, unit=unit, repeat=1, value=value)
        run.sample(lab=mode, mode=mode, metric="latency", unit="s", repeat=1, values=[0.001, 0.002, 0.009])
        fails = mode == "dr" and servers == 8
        run.add_result(Result("every packet arrives", "fail" if fails else "pass", "one was lost" * fails))
    return Outcome(ExitCode.FAILED if fails else ExitCode.OK, "", 0.5, "here", packed(run.path))


def kept(folder: Path, text: str) -> Store:
    """A finished sweep of a plan with the axes `mode` and `servers`."""
    folder.mkdir(exist_ok=True)
    plan = plan_of(folder, text)
    cells, store = cells_of(plan, some_kernel), Store(folder / "sweep")
    with store.mine():
        store.begin(plan, cells)
        for cell in cells:
            store.keep(cell, measured(cell, store.work), 1)
    return store
