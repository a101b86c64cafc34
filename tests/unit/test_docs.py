"""The docs keep up with the code: they name what users' files may call; their examples load."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from lvslab import faults
from lvslab.plan import topology
from lvslab.plan.topology import LvsTopo
from lvslab.scenario import description
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.trial import Trial
from lvslab.training import exercise

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "reports").glob("*.md")])
EXAMPLES = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S))
]


def _public(kind: type) -> list[str]:
    """Methods, properties and attributes that a class defines itself, `build` of topologies aside:
    that is Mininet's name for what a subclass writes.
    """
    names = {*vars(kind), *inspect.get_annotations(kind)}
    return sorted(name for name in names if not name.startswith("_") and name != "build")


def _unnamed(names: list[str], page: str, prefix: str) -> list[str]:
    """Names that no code span of a page holds: a word of its prose alone explains nothing."""
    spans = re.findall(r"`[^`\n]+`", (ROOT / "docs" / page).read_text())
    return [
        name for name in names if not any(re.match(rf"`{re.escape(prefix + name)}\b", span) for span in spans)
    ]


@pytest.mark.parametrize(
    ("names", "page", "prefix"),
    [
        pytest.param(_public(LvsTopo), "topologies.md", "", id="LvsTopo"),
        pytest.param(_public(Experiment), "scenarios.md", "log.", id="Experiment"),
        pytest.param(_public(Trial), "scenarios.md", "trial.", id="Trial"),
        pytest.param(faults.__all__, "scenarios.md", "", id="faults"),
    ],
)
def test_what_a_file_may_call_is_explained(names: list[str], page: str, prefix: str) -> None:
    assert names
    assert not _unnamed(names, page, prefix)


def test_a_name_that_is_not_explained_is_found() -> None:
    assert _unnamed(["steady", "no_such_method"], "scenarios.md", "trial.") == ["no_such_method"]


def test_the_pages_have_examples() -> None:
    assert {"topologies.md-0", "scenarios.md-0", "training.md-0", "testing.md-0"} <= {
        str(example.id) for example in EXAMPLES
    }


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_loads(code: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(code)
    if "@scenario(" in code:
        assert description.load(str(file), {}).parameters is not None
    elif "@exercise(" in code:
        assert exercise.load(str(file)).hints
    elif "(LvsTopo)" in code:
        for directors in (1, 2):
            _, topo = topology.load(str(file), {}, {"clients": 2, "servers": 3, "directors": directors})
            assert len(topo.hosts()) == 2 + 3 + directors
    else:
        _imports_exist(code)


def _imports_exist(code: str) -> None:
    """Carry out the imports alone: tests of the pytest plugin need its fixtures to run."""
    imports = [node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "example", "exec"), {})


def _too_wide(text: str) -> list[str]:
    """Lines over 100 columns; rows of tables aside, which Markdown cannot break."""
    return [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")]


def _links(text: str) -> list[str]:
    """Relative targets of links and pictures, without their anchors; code is no link."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_wrapped_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    assert not _too_wide(text)
    assert not [target for target in _links(text) if not (page.parent / target).exists()]


def test_a_wide_line_and_a_dead_link_are_found() -> None:
    text = f"| {'wide row ' * 20}|\n{'word ' * 21}\n[here](README.md#top), [there](gone.md), `[x](code)`\n"
    assert len(_too_wide(text)) == 1
    assert _links(text) == ["README.md", "gone.md"]


def test_the_readme_is_two_screens() -> None:
    """For the newcomer; all else stands in docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80
