# SPDX-License-Identifier: Apache-2.0
# The everyday verbs. What is built comes from meson.build; everything goes to build/.
BUILD = build/gcc
PREFIX = /usr/local
FUZZ_SECONDS = 60
RUN_demo = tools/demo
RUN_bench = bench/run

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup --prefix=$(PREFIX) $(BUILD)

deps:
	tools/deps

test: deps
	/usr/bin/python3 tests/run

demo bench: deps
	@$(MAKE) --no-print-directory all
	$(RUN_$@) $(BUILD)

fuzz: deps
	/usr/bin/python3 tests/run --fuzz-seconds=$(FUZZ_SECONDS) fuzz

install: all
	meson install -C $(BUILD)

clean:
	rm -rf build

help:
	@echo 'make          build $(BUILD)/src/pbsmap'
	@echo 'make deps     install the Debian packages that are missing'
	@echo 'make test     all builds, all suites (tests/run --help: parts of it)'
	@echo 'make demo     a backup becomes a block device, step by step'
	@echo 'make bench    the numbers, beside their limits; build/bench.json'
	@echo 'make fuzz     FUZZ_SECONDS=60 for each parser'
	@echo 'make install  PREFIX=/usr/local DESTDIR='
	@echo 'make clean'

.PHONY: all deps test demo bench fuzz install clean help
