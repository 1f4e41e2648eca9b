# Everything here sets itself up on a fresh machine: `make up` to use HAPI, `make test` to test it.

# The first Python here that runs and is new enough.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
PEERS := .cache/peers
PAGE_TOOLS := .cache/page-tools
REAL_AGENTS := .cache/agents
comma := ,
space := $(subst ,, )
# How many processes share the tests, a file of them at a time: one more than processors, as tests also wait. 0 runs them in one, where a debugger can look in.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] && echo $$((n + 1)) || echo 4)
ifdef HAPI_PEERS
HAVE_PEERS := 1
endif
export HAPI_PEERS ?= $(CURDIR)/$(PEERS)/node_modules
ifdef HAPI_AGENTS
HAVE_AGENTS := 1
endif
ifdef HAPI_PAGE_TOOLS
HAVE_PAGE_TOOLS := 1
endif
export HAPI_PAGE_TOOLS ?= $(CURDIR)/$(PAGE_TOOLS)/node_modules
export HAPI_AGENTS ?= $(CURDIR)/$(REAL_AGENTS)
PIP := $(BIN)/pip install -qq --disable-pip-version-check
# The path of this directory goes into a file of the environment. pip writes it in the encoding of the locale, which may lack the
# characters (LC_ALL=C), and each Python that starts reads it in that of its own. ASCII_PTH writes it without any such character.
UTF8 := $(if $(findstring UTF-8,$(shell locale charmap 2>/dev/null)),,LC_ALL=C.UTF-8)
define ASCII_PTH
import sys
for name in sys.argv[1:]:
    text = open(name, "rb").read().decode()
    if not text.isascii():
        lines = [f"import sys; sys.path.append({ascii(path)})" for path in text.splitlines()]
        open(name, "w").write("\n".join(lines) + "\n")
endef
export ASCII_PTH
# Plugins of twistd are looked up by directory, so the development install has to put this directory on sys.path.
EDITABLE := --config-settings editable_mode=compat --editable

# The tests start some hundred programs: without bytecode each of them would compile HAPI anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help up test agents faults growth coverage lint docs dist bench peers page-tools real-agents clean

help:
	@echo "make up     hub, runner and page on this machine (ARGS='--port 4000' for options)"
	@echo "make test   the test suite, npm programs and browser included (ARGS='tests/cli' for a part)"
	@echo "make agents the tests with every real agent (1 GB of packages); ARGS='qwen kimi' for some of them"
	@echo "make faults the tests that name a fault, at release level (hours); ARGS='tests/runner' for a part"
	@echo "make growth three hubs of one database while they and it fail, for minutes (ARGS='--help' for more)"
	@echo "make coverage  the branches of lock, hand-off, processes, guard and codec that their tests take"
	@echo "make lint   ruff and mypy; TypeScript, ESLint and Prettier for the page's scripts"
	@echo "make docs   the documentation, as docs/_build/html"
	@echo "make dist   source distribution and wheel in dist/, checked"
	@echo "make bench  the figures beside those of the npm programs"

up: $(VENV)/.ready-up
	@exec $(BIN)/hapi up $(ARGS)

test: $(VENV)/.ready-test peers page-tools real-agents
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

# What each of them did is written into the table of docs/agents.md.
agents: $(VENV)/.ready-test peers
	$(BIN)/python -m tests.agents.install $(HAPI_AGENTS) $(or $(ARGS),all)
	HAPI_REAL_AGENTS=$(or $(subst $(space),$(comma),$(ARGS)),all) HAPI_WRITE_TABLES=1 $(BIN)/python -m pytest tests/agents
	$(BIN)/python -m tests.agents.results --write

# pytest's -k knows no patterns: the table spells out how the names end.
faults: $(VENV)/.ready-test peers
	$(BIN)/python tests/faults/table.py
	HAPI_FAULTS=release $(BIN)/python -m pytest -k "$$($(BIN)/python tests/faults/table.py --names)" $(ARGS)

# The seed of a run that failed draws the same faults again: ARGS='--seed 7'.
growth: $(VENV)/.ready-test peers
	$(BIN)/python -m tests.growth --store postgres --hubs 3 --active --replica --browser \
	  --messages 100000 --seconds 600 --prompts 2000 --spawns 200 $(ARGS)

coverage: $(VENV)/.ready-test
	$(BIN)/python -m benchmarks.branches $(ARGS)

lint: $(VENV)/.ready-lint
	$(BIN)/ruff check hapi tests benchmarks twisted docs
	$(BIN)/mypy hapi
	.ci/lint-page $(PAGE_TOOLS)

docs: $(VENV)/.ready-docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

dist: $(VENV)/.ready-dist
	@rm -rf dist
	@mkdir -p dist
	$(BIN)/python -m build --outdir dist . >dist/build.log 2>&1 || { cat dist/build.log; exit 1; }
	@rm dist/build.log
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

bench: $(VENV)/.ready-test peers
	$(BIN)/python -m benchmarks $(ARGS)

# The npm programs and the browser of the tests. Where they cannot be had, the tests that need them say so.
# HAPI_PEERS names a node_modules directory that has them already.
peers:
	@$(if $(HAVE_PEERS),:,.ci/peers $(PEERS))

# axe-core of the tests of the page. Where it cannot be had, these tests say so. HAPI_PAGE_TOOLS names a node_modules directory that
# has it already.
page-tools:
	@$(if $(HAVE_PAGE_TOOLS),:,.ci/page-tools $(PAGE_TOOLS) || :)

# The real agents that the tests of each change run.
real-agents: $(VENV)/.ready-test
	@$(if $(HAVE_AGENTS),:,$(BIN)/python -m tests.agents.install $(REAL_AGENTS))

clean:
	rm -rf $(VENV) .cache build dist docs/_build *.egg-info

# What an interrupted venv or pip leaves behind passes for installed: a marker with the pid of make stands while they work, and
# where it was left everything is made anew. A pip that just fails (no network) keeps what was ready before.
UNFINISHED := $(VENV)/.unfinished

define install
@test -n "$(PYTHON)" || { echo "HAPI needs Python 3.11 or newer (make PYTHON=/path/to/python)" >&2; exit 1; }
@if [ -e $(UNFINISHED) ]; then \
  ! kill -0 "$$(cat $(UNFINISHED))" 2>/dev/null || { echo "another make installs into $(VENV)" >&2; exit 1; }; \
  rm -rf $(VENV); \
fi
@mkdir -p $(VENV) && echo $$PPID > $(UNFINISHED)
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
  { rm -rf $(VENV); echo "on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
@echo "installing $(1) into $(VENV)"
@$(UTF8) $(PIP) $(EDITABLE) $(1) || { code=$$?; [ $$code -gt 128 ] || [ ! -e $(VENV)/.ready-up ] || rm $(UNFINISHED); exit $$code; }
@for file in $(VENV)/lib/python*/site-packages/__editable__.*.pth; do \
  [ ! -e "$$file" ] || $(BIN)/python -S -c "$$ASCII_PTH" "$$file" || exit 1; \
done
@touch $@ $(VENV)/.ready-up
@rm $(UNFINISHED)
endef

$(VENV)/.ready-up: setup.cfg
	$(call install,.)

$(VENV)/.ready-test: setup.cfg
	$(call install,'.[test]')

$(VENV)/.ready-lint: setup.cfg
	$(call install,'.[lint]')

$(VENV)/.ready-docs: setup.cfg
	$(call install,'.[docs]')

$(VENV)/.ready-dist: setup.cfg
	$(call install,'.[dist]')
