# Every target makes the virtual environment it needs. Variables:
#   PYTHON=python3.12   the interpreter (3.11 or newer) the environment is made with
#   ARGS="-k pump -x"   more for pytest (unit, firmware, e2e, test, test-hil) or the bench
#   JOBS=1              processes the whole suite runs in (default 4)
#   PORT=/dev/ttyUSB0   the board of test-hil (PORT=virtual: one is made); BOARD=esp32-c3-devkitm
#   NODE=greenhouse     the node flash writes; its PORT=/dev/ttyUSB0, IMAGE=file.bin, FILE=fleet.toml
#   DEMO_SECONDS=20     end the demo by itself
#   HOURS=720           virtual hours of the soak (default 24); SEED=7 DIALECT=dese run one again

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UMQTT := build/umqtt/umqtt/simple.py
PYTEST := $(BIN)/pytest
ARGS ?=
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help venv umqtt demo test unit firmware e2e soak flash test-hil check format bench bench-return bench-service bench-live dist clean

help: ## Print these targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1 \2/p' $(MAKEFILE_LIST) | \
		while read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

venv: $(STAMP) ## Make the virtual environment (.venv)

umqtt: $(UMQTT) ## Fetch umqtt.simple, the MQTT client the nodes stand on

demo: $(STAMP) $(UMQTT) ## Show a broker and five simulated nodes at work (Ctrl-C ends it)
	@$(BIN)/fieldhand demo

test: $(STAMP) $(UMQTT) ## Run all tests
	$(PYTEST) -n $(JOBS) $(ARGS)

unit: $(STAMP) $(UMQTT) ## Run the tests of single parts
	$(PYTEST) tests/unit $(ARGS)

firmware: $(STAMP) $(UMQTT) ## Run the firmware's tests under MicroPython
	$(PYTEST) tests/firmware $(ARGS)

e2e: $(STAMP) $(UMQTT) ## Run the tests with real brokers and simulated nodes
	$(PYTEST) tests/e2e $(ARGS)

soak: $(STAMP) $(UMQTT) ## Run nodes for HOURS of virtual time with random faults
	@$(BIN)/python tests/soak/soak.py $(if $(HOURS),--hours $(HOURS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(DIALECT),--dialect $(DIALECT)) $(ARGS)

flash: $(STAMP) ## Write a complete board: NODE=greenhouse [PORT=...] [IMAGE=...]
	@test -n "$(NODE)" || { echo 'which node? make flash NODE=greenhouse' >&2; exit 2; }
	@$(BIN)/fieldhand flash "$(NODE)" $(if $(PORT),--port "$(PORT)") \
		$(if $(IMAGE),--image "$(IMAGE)") $(if $(FILE),--file "$(FILE)") $(ARGS)

test-hil: $(STAMP) $(UMQTT) ## Flash and test the board at PORT=/dev/ttyUSB0, or PORT=virtual
	PORT=$(PORT) BOARD=$(BOARD) $(PYTEST) tests/hil --junitxml=build/hil/junit.xml $(ARGS)

check: $(STAMP) ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## Format the source and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) $(UMQTT) ## Measure sessions, heap and latency against Mosquitto, and the host service
	$(BIN)/python tools/bench.py $(ARGS)
	$(if $(ARGS),,$(BIN)/python tools/bench_service.py)

bench-return: $(STAMP) $(UMQTT) ## Let 1,000 nodes come back to a broker that was killed (5 minutes)
	$(BIN)/python tools/bench_return.py $(ARGS)

bench-live: $(STAMP) ## Measure from a reading to 500 live clients of each kind
	@$(BIN)/python tools/bench_live.py $(ARGS)

bench-service: $(STAMP) ## Measure the host service: readings a second, memory, latency to live clients (6 minutes)
	@$(BIN)/python tools/bench_service.py $(ARGS)

dist: $(STAMP) $(UMQTT) ## Build the wheel and the source distribution into dist/
	rm -rf dist
	$(BIN)/hatchling build

clean: ## Remove everything that make has made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml tools/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Fieldhand needs Python 3.11 or newer: make PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
		{ echo 'no virtual environment: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c tools/constraints.txt -e '.[dev]'
	@touch $@

$(UMQTT): tools/get_umqtt.py | $(STAMP)
	@$(BIN)/python tools/get_umqtt.py
	@touch $@
