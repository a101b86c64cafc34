# Everything from a bare Debian machine: `make demo` and `make test`. Root is asked for only to install packages; run again, nothing is
# done twice. `make help` lists the targets.

PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	"$$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$each"; break; }; done)
VENV := .venv
LVSLAB := $(VENV)/bin/lvslab

# Container images like to forbid Python to keep what it compiled: then each of the thousands of processes that tests start compiles
# lvslab anew, which is most of what a command costs.
unexport PYTHONDONTWRITEBYTECODE

WORLD = director-power-cut --time virtual
# A kernel for virtual time is built where none is: minutes, and compilers.
VIRTUAL = $(LVSLAB) run $(WORLD) --dry-run >/dev/null 2>&1 || { lvslab/data/install-packages optional; \
	$(LVSLAB) kernels build debian/trixie --virtual-time; }

.PHONY: help install packages kernels demo classroom unit integration lab test slow faults soak lint perf simulation clean

help: ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: packages $(VENV)/.installed ## Debian packages and the virtual environment .venv

packages: ## the Debian packages of lvslab/data/debian-packages.txt, those that are missing
	@lvslab/data/install-packages

$(VENV)/.installed: pyproject.toml | packages
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 to 3.13 found; set PYTHON=/path/to/python3" >&2; exit 4; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: install ## prove and measure all five modes, then cut a director's power; leaves two reports
	$(LVSLAB) check
	$(LVSLAB) run compare-modes
	$(LVSLAB) run director-power-cut

classroom: install ## open a class of three demo students in the browser, with links printed
	$(LVSLAB) classroom start lvslab/classroom/demo/course.toml

kernels: install ## from newer Debian suites: a guest kernel, a stock one for QEMU, Pound; one for virtual time is built; without a network what needs them is skipped
	-@$(LVSLAB) kernels fetch debian/trixie:uml debian/forky:uml debian/bookworm:amd64
	-@$(VIRTUAL)
	-@$(VENV)/bin/python -m lvslab.proxies.pound_program

unit: install ## tests of pure logic, and everything shipped loads
	$(VENV)/bin/pytest -n auto --dist loadfile --no-loadscope-reorder tests/unit tests/shipped

integration: install ## tests that start programs and draw whole reports, without a kernel
	$(VENV)/bin/pytest -n $$(($$(nproc) + 1)) --dist loadfile --no-loadscope-reorder tests/integration

lab: install kernels ## tests that boot kernels and judge packets: modules side by side, then those that judge times
	@lvslab/data/install-packages test
	failed=0; \
	$(VENV)/bin/pytest -n $$((2 * $$(nproc) + 1)) --dist loadscope --no-loadscope-reorder --durations=20 -m 'not timed' tests/lab || failed=1; \
	$(VENV)/bin/pytest -n $$((2 * $$(nproc))) --durations=20 -m timed tests/lab || failed=1; \
	exit $$failed

test: unit integration lab ## all tests; lab tests boot kernels

slow: install ## tests of minutes each: kernels are built from source (compilers: `lvslab kernels build --help`), and a machine with ip_vs is booted
	$(VENV)/bin/pytest tests/slow

faults: install ## IPVS's modules are built with ninety faults in them, one at a time is on: which check sees each goes to docs/kernel-faults.md
	$(VENV)/bin/python -m tests.slow.faults --whole --page docs/kernel-faults.md

soak: install ## what only repeats: thousands of boots beside busy processors, the suite twice, many more generated cases; an hour or two (LVSLAB_SOAK_BOOTS=300: minutes)
	$(VENV)/bin/pytest -s tests/soak
	LVSLAB_CASES=1000 $(VENV)/bin/pytest -n 2 --dist loadfile tests/unit tests/integration

lint: install ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

perf: install ## speed, as ratios taken in one run
	$(VENV)/bin/python -m tests.perf

WORLDS = build/simulation
SEEDS = 20

simulation: install ## a kernel for virtual time, 20 worlds of a power cut, twice: all frames are the same; ends with the outages' distribution
	$(VIRTUAL)
	rm -rf $(WORLDS)
	$(VENV)/bin/lvslab run $(WORLD) --seeds $(SEEDS) --runs $(WORLDS)/first
	$(VENV)/bin/lvslab run $(WORLD) --seeds $(SEEDS) --runs $(WORLDS)/again
	cmp $(WORLDS)/first/*/seeds.csv $(WORLDS)/again/*/seeds.csv
	@echo 'The same $(SEEDS) worlds, twice: all hashes are equal.'

clean: ## remove what make has built; runs stay
	rm -rf $(VENV) build dist
