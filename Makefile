# A small layer over meson: `make`, `make demo`, `make check`.
BUILD ?= build
JOBS ?= $(shell nproc)
# Test machines may be slow, and busy with something else.
PATIENCE ?= 5

.PHONY: all packages setup setup-long sanitized demo check check-asan check-long bench bench-micro bench-scale install clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) --quiet

packages:
	@tests/setup.sh build

setup:
	@tests/setup.sh test

setup-long:
	@tests/setup.sh long

$(BUILD)/build.ninja:
	@tests/setup.sh build
	@meson setup $(BUILD) >/dev/null || { cat $(BUILD)/meson-logs/meson-log.txt; exit 1; }

$(BUILD)-asan/build.ninja:
	@tests/setup.sh build
	@meson setup $(BUILD)-asan -Db_sanitize=address,undefined >/dev/null || \
	    { cat $(BUILD)-asan/meson-logs/meson-log.txt; exit 1; }

sanitized: $(BUILD)-asan/build.ninja
	@ninja -C $(BUILD)-asan -j $(JOBS) --quiet

# Installs what is missing, builds, fetches a kernel and boots it to a shell on this terminal; with
# GUEST=debian makes a Debian disk and boots that, in a window where there is a screen.
demo: packages $(BUILD)/build.ninja
	@[ "$(GUEST)" != debian ] || tests/setup.sh disk
	@ninja -C $(BUILD) -j $(JOBS) --quiet dragoman bios/bios.bin
	@DRAGOMAN=$(BUILD)/dragoman GUEST=$(GUEST) tests/guest/demo.sh

# The second build runs the tests of the parts with the address and undefined-behaviour sanitizers.
check: setup all sanitized
	@python3 tests/check.py $(BUILD) $(BUILD)-asan -- --no-suite long -t $(PATIENCE)

check-asan: setup sanitized
	@python3 tests/check.py $(BUILD)-asan -- --no-suite long -t $(PATIENCE)

# Everything, with many more cases, fresh seeds and a soak: hours.
check-long: setup-long all sanitized
	@python3 tests/check.py $(BUILD) $(BUILD)-asan -- -t $(PATIENCE)

bench: setup all
	@python3 tests/bench/bench.py --json $(BUILD)/bench.json --svg $(BUILD)/bench.svg $(BENCH)

bench-micro: setup all
	@python3 tests/bench/micro.py $(BENCH)

bench-scale: setup all
	@python3 tests/bench/scale.py $(BENCH)

install: all
	@meson install -C $(BUILD) --no-rebuild --quiet

clean:
	@rm -rf $(BUILD) $(BUILD)-asan
