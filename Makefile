# `make help` lists the targets. Each makes .venv where it is missing or older than the lock.

SHELL := /bin/bash
# ninja and the other tools of the environment, for what compiles at run time.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

BIN := .venv/bin
BENCHMARKS = $(if $(NAME),benchmarks/$(NAME).py,$(wildcard benchmarks/[!_]*.py))

.DEFAULT_GOAL := help
.PHONY: help env demo test check bench warm-policy report lock clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

env:  ## make .venv from constraints/cpu.lock
	@scripts/make_env.sh

demo: env  ## run the demo
	$(BIN)/rl-avr demo

# All tests go in two processes of one thread each: the models are too small for two threads.
test: env  ## run the tests (ARGS="-k name" for some)
	$(if $(ARGS),,OMP_NUM_THREADS=1) $(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadfile)

check: env  ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: env  ## run every benchmark (NAME=grpo for one)
	@failed=; for file in $(BENCHMARKS); do \
	  echo "== $$file"; $(BIN)/python "$$file" || failed="$$failed $$file"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

warm-policy: env  ## train the small warm policy that the demo starts from
	$(BIN)/rl-avr data make --config configs/warm_policy/data.yaml
	$(BIN)/rl-avr sft --config configs/warm_policy/sft.yaml
	rm -rf assets/warm_policy && cp -r runs/warm_policy/policy assets/warm_policy
	cp runs/warm_policy/metrics.jsonl assets/warm_policy/train_log.jsonl
	cp runs/warm_policy/config.yaml assets/warm_policy/train_config.yaml

report: env  ## write the report of a run again (RUN=runs/demo)
	$(BIN)/rl-avr report $(or $(RUN),runs/demo)

# Only a changed lock is written; the environment then counts as unfinished, so the next `make env`
# builds it anew from that lock.
lock:  ## write constraints/cpu.lock from what is installed in .venv
	@set -eo pipefail; new=$$(mktemp); trap 'rm -f "$$new"' EXIT; \
	sed '/^[^#]/,$$d' constraints/cpu.lock >"$$new"; \
	$(BIN)/python -m pip list --format=freeze --exclude-editable \
	  | grep -v '^rl_avr' | LC_ALL=C sort -f >>"$$new"; \
	if cmp -s "$$new" constraints/cpu.lock; then echo "lock: unchanged"; else \
	  cat "$$new" >constraints/cpu.lock; echo unfinished >.venv/.rl_avr-lock; \
	  echo "lock: written; bring constraints/gpu.txt in step"; \
	fi

clean:  ## remove caches and build output (not .venv, not runs/)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find rl_avr rewards rollouts sft_warmstart tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
