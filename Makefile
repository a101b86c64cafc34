# Everything from a bare Debian machine: `make demo` and `make test`. Root is asked for only to install packages; run again, nothing is
# done twice. `make help` lists the targets.

PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	"$$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$each"; break; }; done)
VENV := .venv
LVSLAB := $(VENV)/bin/lvslab

.PHONY: help install packages kernels demo unit lab test slow soak lint perf clean

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

kernels: install ## from newer Debian suites: a guest kernel, a stock one for QEMU, Pound; without a network what needs them is skipped
	-@$(LVSLAB) kernels fetch debian/trixie:uml debian/bookworm:amd64
	-@$(VENV)/bin/python -m lvslab.proxies.pound_program

unit: install ## tests without a kernel: pure logic, and everything shipped loads
	$(VENV)/bin/pytest -n 2 --dist loadfile tests/unit tests/shipped

lab: install kernels ## tests that boot kernels and judge packets
	$(VENV)/bin/pytest --durations=20 tests/lab

test: unit lab ## all tests; lab tests boot kernels

slow: install ## tests of minutes each: kernels are built from source (compilers: `lvslab kernels build --help`), and a machine with ip_vs is booted
	$(VENV)/bin/pytest tests/slow

soak: install ## what only repeats: thousands of boots beside busy processors, an hour or two (LVSLAB_SOAK_BOOTS=300: minutes)
	$(VENV)/bin/pytest tests/soak

lint: install ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

perf: install ## speed, as ratios taken in one run
	$(VENV)/bin/python tests/perf.py

clean: ## remove what make has built; runs stay
	rm -rf $(VENV) build dist
