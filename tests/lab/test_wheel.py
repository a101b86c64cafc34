"""The wheel is whole: built from this checkout, installed into a fresh environment, and used in a
folder where no checkout is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {"topologies": "lvslab/shipped/topologies", "scenarios": "lvslab/shipped/scenarios"}
"""Folders at the top of the checkout → where the wheel has them."""


@dataclass(frozen=True)
class Installed:
    """lvslab in an environment of its own.

    Attributes:
        wheel: what was installed.
        programs: the environment's folder of programs.
        away: an empty folder to work in.
    """

    wheel: Path
    programs: Path
    away: Path

    def run(self, *command: str) -> str:
        """What a program of the environment prints; it must end with exit code 0."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        program, *arguments = command
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.away,
            env=clean,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Only lvslab itself is installed: what it depends on is read from this environment, whose
    folder of packages stands in a .pth file. Python does not follow the .pth files in there
    (site.addpackage), so the editable install of this checkout stays out of sight.
    """
    folder = tmp_path_factory.mktemp("wheel")
    here = folder / "environment"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True
    )
    (wheel,) = folder.glob("lvslab-*.whl")
    venv.create(here, symlinks=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", here, "install", "--quiet", "--no-deps", wheel], check=True
    )
    packages = sysconfig.get_path("purelib", vars={"base": str(here), "platbase": str(here)})
    Path(packages, "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (folder / "away").mkdir()
    return Installed(wheel, here / "bin", folder / "away")


def test_the_wheel_holds_every_file_of_the_package(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [
        path
        for folder in ("lvslab", *SHIPPED)
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    expected = set()
    for path in files:
        top, _, rest = str(path.relative_to(ROOT)).partition("/")
        expected.add(f"{SHIPPED.get(top, top)}/{rest}")
    assert {"lvslab/kernels/guest/init.sh", "lvslab/shipped/topologies/nat.py"} <= expected
    assert held == expected


def test_what_runs_is_the_installed_package(installed: Installed) -> None:
    code = "import sys, lvslab; print(lvslab.__file__); print(*sys.path, sep='\\n')"
    file, *path = installed.run("python", "-c", code).splitlines()
    assert Path(file).is_relative_to(installed.programs.parent)
    assert str(ROOT) not in path


def test_topologies_and_scenarios_are_found(installed: Installed) -> None:
    listed = installed.run("lvslab", "list")
    names = [path.stem.replace("_", "-") for path in (ROOT / "scenarios").glob("*.py")]
    names += [path.stem for path in (ROOT / "topologies").glob("*.py")]
    assert len(names) > 20 and not [name for name in names if name not in listed]


def test_a_mode_is_proven(installed: Installed) -> None:
    assert "PASS" in installed.run("lvslab", "verify", "nat")
    (run,) = (installed.away / "runs").glob("*-verify*")
    assert (run / "captures" / "nat.pcapng").stat().st_size > 0


def test_a_scenario_runs_and_draws_its_report(installed: Installed) -> None:
    installed.run("lvslab", "run", "weighted-round-robin")
    (run,) = (installed.away / "runs").glob("*-weighted-round-robin*")
    assert "<svg" in (run / "report.html").read_text()


def test_pytest_has_the_plugin(installed: Installed) -> None:
    (installed.away / "test_mine.py").write_text(
        "def test_served(lvs_lab):\n    assert set(lvs_lab.get(4)) == {'rs1', 'rs2'}\n"
    )
    said = installed.run("python", "-m", "pytest", "-q", "--lvs-require", "-p", "no:cacheprovider")
    assert "1 passed" in said
