# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
# Short names for what meson, ./check and the tools do. `make help` lists them.
BUILD ?= build
PREFIX ?= /usr/local
C_FILES = $(shell git ls-files '*.c' '*.h')

all:            ## build weftd and weft in $(BUILD)/
all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup --prefix=$(PREFIX) $(BUILD)

check:          ## every test that belongs to every change (root)
	WEFT_BUILD=$(abspath $(BUILD)) ./check

check-unit:     ## the unit tests and the fuzz corpus only
	WEFT_BUILD=$(abspath $(BUILD)) ./check --unit

check-net:      ## the network tests only (root); K=EXPRESSION chooses some
	WEFT_BUILD=$(abspath $(BUILD)) ./check --net $(if $(K),-k '$(K)')

check-san:      ## the same tests with AddressSanitizer and UBSan, in build-san/ (root)
	./check --san

check-long:     ## the long variants: 60 s outages, a controller killed 50 times and the like (root)
	WEFT_BUILD=$(abspath $(BUILD)) ./check --long

check-soak:     ## random events for SOAK_SECONDS (300), SOAK_SEED as an earlier run printed it (root)
	WEFT_BUILD=$(abspath $(BUILD)) ./check --soak

check-clients:  ## weft under Docker, podman and containerd, as README.md sets them up (root); K=EXPRESSION
	WEFT_BUILD=$(abspath $(BUILD)) ./check --clients $(if $(K),-k '$(K)')

check-vm:       ## kernel, network, and a database whose power fails, in virtual machines; PART=kernel or store (root)
	WEFT_BUILD=$(abspath $(BUILD)) tests/vm/run $(PART)

bench:          ## measure, beside bare-kernel and etcd figures of the same run (root)
	WEFT_BUILD=$(abspath $(BUILD)) tests/bench/run $(BENCH)

fuzz:           ## run each fuzz target for FUZZ_SECONDS (20)
	tests/fuzz/run $(or $(FUZZ_SECONDS),20)

lint:           ## hold the tree against its own rules; RULE=NAME for one of them
	packaging/debian/install-packages build lint
	/usr/bin/python3 tests/lint/lint.py --self-test $(RULE)
	/usr/bin/python3 tests/lint/lint.py $(RULE)

format:         ## let clang-format lay out all C
	clang-format -i $(C_FILES)

install: all    ## into DESTDIR and PREFIX (/usr/local)
	meson install -C $(BUILD)

clean:          ## remove what was built
	rm -rf build build-san build-fuzz

help:           ## this list
	@sed -n 's/^\([a-z-]*\):[a-z ]*## /\1\t/p' Makefile | expand -t 16

.PHONY: all check check-unit check-net check-san check-long check-clients check-vm check-soak bench fuzz lint format install clean help
