# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT

TIERS := unit fetcher oe docker boot newest

.PHONY: help setup test test-all lint demo check-layer kill-test long-test newer-test newest-test programs bench fuzz clean $(TIERS:%=test-%)

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16
	@echo 'test-TIER       only one tier: $(TIERS)'

setup: ## install what the tests and the demo need; quick when it is there
	@command -v python3 >/dev/null || { apt='$(if $(filter-out 0,$(shell id -u)),sudo) apt-get -q'; \
		$$apt update && $$apt install -y python3; }
	@scripts/setup

programs: setup ## Docker and containerd of tests/programs.ini, made by Go (nine CPU minutes, the first time)
	@PYTHONPATH=tests python3 -B -m support.goprograms

test: setup programs ## lint and all tiers, with a summary
	@scripts/test

test-all: setup programs ## all tests on every release and Docker (three hours)
	@DOCKIN_ALL=1 scripts/test --seconds 7500

test-docker test-boot test-newest: programs

$(TIERS:%=test-%): test-%: setup
	@scripts/test $*

lint: setup ## check the files without running them
	@scripts/lint

demo: setup ## an image from a registry to a package to a container
	@scripts/demo

check-layer: setup ## yocto-check-layer in full, on every release (8 minutes each)
	@scripts/test --seconds 7500 oe -- -m long --timeout=2400

kill-test: setup ## a hundred first boots that are hit at random instants (20 minutes); needs root
	@scripts/test --seconds 7500 boot -- -m long -s --timeout=7200 -k test_kill

long-test: setup ## the fetcher: 3 GB of layers, 300 killed fetches, 15,000 random recipes (15 minutes, 20 GB)
	@scripts/test --seconds 7500 fetcher -- -m long -s -n 0

newer-test: setup ## Docker, Podman and systemd of Debian's next release, and Podman of experimental (25 minutes); needs root
	@DOCKIN_SUITE=forky scripts/test docker boot
	@DOCKIN_SUITE=experimental scripts/test docker boot -- -k 'podman or imagestore'

newest-test: programs ## all of docker and boot on Docker 29 and containerd 2.4 of tests/programs.ini; needs root
	@scripts/test --seconds 7500 newest

bench: setup ## measure, into bench/results.md (35 minutes on an idle machine); needs root
	@scripts/bench

SECONDS_EACH ?= 30

fuzz: setup ## fuzz what reads foreign bytes, SECONDS_EACH=30 for each reader
	@scripts/fuzz --seconds $(SECONDS_EACH)

clean: ## remove what Python leaves in the tree (not the cache)
	@find . -name __pycache__ -prune -exec rm -rf {} +
	@rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
