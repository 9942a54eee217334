# What a person or a machine does with this tree. `make help` lists it.
# Whatever is missing is installed first (tools/install): on Debian 12 and 13 git and make are enough to begin with.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

cargo := tools/rust cargo
scripts := $(wildcard tools/* .ci/run)

# Of the demo: how many machines, what firmware they have, who hands out the addresses, and whether to stay up afterwards.
export NODES ?= 1
export FIRMWARE ?= uefi
export MODE ?= server
export KEEP ?= 0

# Of the benchmark: which figures, by the beginnings of their names (all), and whether to be short.
FIGURES ?=
export QUICK ?= 0

, := ,
step = @printf '\n==> %s\n' "$(1)"

.NOTPARALLEL:
# How long `make fuzz` goes on, in seconds, for all targets together.
DURATION ?= 3600
# How often `make crash` kills.
KILLS ?= 200

# How often `make races` races.
RACES ?= 1000

.PHONY: races crash fuzz fuzz-smoke
.PHONY: help demo build test check bench-dhcp bench-delivery bench-cloud install-build install-check install-lab install-bench format lint lint-scripts dependencies unit whole

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install-lab ## Boot a machine with an empty disk over the network: NODES=3 FIRMWARE=uefi|bios|http MODE=server|proxy KEEP=1
	$(call step,build$(,) some minutes the first time)
	@$(cargo) test --locked --no-run --quiet --test chain
	$(call step,demo)
	@$(cargo) test --locked --quiet --test chain -- demo

build: install-build ## Build the two programs into target/release
	$(call step,build$(,) some minutes the first time)
	@$(cargo) build --locked --release --bins

check: install-check format lint-scripts dependencies lint unit ## Format, lints, dependencies and unit tests

test: install-check install-lab check whole fuzz-smoke ## Everything

bench-dhcp: install-lab ## Measure DHCP beside Kea and dnsmasq: QUICK=1, FIGURES="exchanges p99"
	$(call step,build$(,) some minutes the first time)
	@$(cargo) bench --locked --no-run --quiet --bench dhcp
	$(call step,DHCP$(,) some ten minutes)
	@$(cargo) bench --locked --quiet --bench dhcp -- $(FIGURES)

bench-delivery: install-bench ## Measure TFTP beside tftpd-hpa, dnsmasq and the tftpd crate: QUICK=1, FIGURES="tftp_mib"
	$(call step,build$(,) some minutes the first time)
	@$(cargo) bench --locked --no-run --quiet --bench delivery
	$(call step,delivery$(,) some minutes)
	@TFTPD="$$(tools/install --tftpd)" $(cargo) bench --locked --quiet --bench delivery -- $(FIGURES)

bench-cloud: install-bench ## Measure the cloud beside nginx: QUICK=1
	$(call step,build$(,) some minutes the first time)
	@$(cargo) bench --locked --no-run --quiet --bench cloud
	$(call step,cloud$(,) some two minutes)
	@$(cargo) bench --locked --quiet --bench cloud

install-build:
	$(call step,what building needs)
	@tools/install build

install-check:
	$(call step,what building and checking need)
	@tools/install build check

install-bench:
	$(call step,what the benchmark needs)
	@tools/install build check lab bench

install-lab:
	$(call step,what the lab needs)
	@tools/install build lab

format:
	$(call step,format)
	@$(cargo) fmt --all --check

lint-scripts:
	$(call step,scripts)
	@shellcheck $(scripts)

dependencies:
	$(call step,licences$(,) bans and sources of what we depend on)
	@tools/rust "$$(tools/install --cargo-deny)" --log-level error check bans licenses sources

lint:
	$(call step,lints)
	@tools/lint

unit:
	$(call step,unit tests)
	@$(cargo) test --locked --quiet --lib --bins

whole:
	$(call step,examples in the documentation)
	@$(cargo) test --locked --quiet --doc
	$(call step,tests of the whole)
	@$(cargo) test --locked --test '*'

fuzz-smoke: install-check
	$(call step,fuzzing$(,) half a minute after the build)
	@tools/fuzz smoke 30

fuzz: install-check ## Fuzz for an hour, or DURATION=SECONDS, and keep what finds new paths in fuzz/corpus
	$(call step,fuzzing for $(DURATION) seconds)
	@tools/fuzz run $(DURATION)

races: install-check ## Let 64 clients race for one ticket, approval and token at two replicas, 1,000 times on each database, or RACES=N
	$(call step,races)
	@FAIRLEAD_RACES=$(RACES) $(cargo) test --locked --release --lib one_wins -- --nocapture

crash: install-lab ## Kill fairlead-edge under load 200 times, or KILLS=N, and look for every lease that was acknowledged
	$(call step,killing)
	@FAIRLEAD_KILLS=$(KILLS) $(cargo) test --locked --test crash -- --nocapture kill_
