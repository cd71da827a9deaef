# Every target sets itself up (see tools/setup.sh) and is quick the second time.
.PHONY: help demo test lint bench clean
PY := .venv/bin/python
export OMP_NUM_THREADS ?= 1

help:  ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

demo:  ## play a full trial through pixels, detector, estimator, skills, serial link and firmware; leaves runs/demo/
	@tools/setup.sh sim
	@$(PY) -m robot demo

test:  ## run all tests
	@tools/setup.sh sim,hil,train,dev
	@$(PY) -m pytest

lint:  ## ruff, mypy, import-linter
	@tools/setup.sh sim,hil,train,dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

bench:  ## measure speed; writes runs/bench.json
	@tools/setup.sh sim,hil,train,dev
	@$(PY) -m robot bench --json runs/bench.json

clean:  ## remove what the other targets made
	rm -rf .venv build runs *.egg-info firmware_bridge/firmware/build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
