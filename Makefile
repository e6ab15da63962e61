# Touchline. `make` alone tells what there is; the work is done by scripts/.
.DEFAULT_GOAL := help
.PHONY: help run check test bench bench-scale kafka setup

ARGS ?=

help: ## this list
	@echo 'Touchline: a goal on every screen while the ball is still in the net.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make run ARGS='--speed 60 --followers 5000' hands arguments to \`touchline demo\`."

run: ## the appliance with a match day in it; the live board is at http://127.0.0.1:8081/
	@scripts/run.sh $(ARGS)

check: ## formatting, lints and the laws of the house: under a minute once built
	@scripts/check.sh

test: ## everything: check, unit, loom, end to end, conformance, fuzz, simulation, the board
	@scripts/test.sh $(ARGS)

bench: ## the table of docs/performance.md, measured on this host
	@scripts/setup.sh build
	@scripts/bench.sh $(ARGS)

bench-scale: ## 250,000 sockets, then 1,000,000, both ends on this host: 24 GiB, 15 minutes
	@scripts/setup.sh build
	@scripts/bench-scale.sh $(ARGS)

kafka: ## three real brokers on 127.0.0.1, for trying things out; `scripts/kafka.sh stop` ends them
	@scripts/kafka.sh start 3

setup: ## all tools that the tests use, without running any
	@scripts/setup.sh all
