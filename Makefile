# A small layer over meson: `make`, `make demo`, `make check`.
BUILD ?= build
JOBS ?= $(shell nproc)

.PHONY: all setup demo check check-long bench install clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) --quiet

setup:
	@tests/setup.sh test

$(BUILD)/build.ninja:
	@tests/setup.sh build
	@meson setup $(BUILD) >/dev/null || { cat $(BUILD)/meson-logs/meson-log.txt; exit 1; }

# Installs what is missing, builds, fetches a kernel and boots it to a shell on this terminal.
demo: all
	@tests/guest/demo.sh

check: setup all
	@python3 tests/check.py $(BUILD) --no-suite long

check-long: setup all
	@python3 tests/check.py $(BUILD) --timeout-multiplier 20

bench: setup all
	@python3 tests/bench/bench.py $(BENCH)

install: all
	@meson install -C $(BUILD) --quiet

clean:
	@rm -rf $(BUILD)
