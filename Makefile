# Every target is thin and can be repeated; continuous integration runs `make lint test` and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST_ARGS ?=

.PHONY: help setup world demo test faults fuzz lint format protos lock train-vae train-nano eval-planner bench bench-visualizer compose-smoke clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /\1\t/' | expand -t 16

setup: $(INSTALLED)  ## make .venv from the locked requirements
$(INSTALLED): requirements/cpu.txt requirements/world.txt requirements/dev.txt requirements/torchvision_hook.py scripts/install.py pyproject.toml
	@$(PYTHON) scripts/install.py --venv $(VENV)
	@touch $@

world: $(INSTALLED)  ## fetch the design world's drawings, once
	@$(BIN)/wan data world fetch

demo: $(INSTALLED)  ## start the services, run one turn, then chat if this is a terminal
	@$(BIN)/wan demo

test: $(INSTALLED) world  ## every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

faults: $(INSTALLED) world  ## the whole fault suite; a slice of it is part of `make test`
	@$(BIN)/python -m pytest tests/faults --scale full $(PYTEST_ARGS)

fuzz: $(INSTALLED)  ## the whole fuzz suite; a fixed-seed slice of it is part of `make test`
	@$(BIN)/python -m pytest tests/fuzz --scale full $(PYTEST_ARGS)

lint: $(INSTALLED)  ## formatting, types, import directions, protos, Dockerfiles
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/buf lint
	@$(BIN)/python scripts/protos.py breaking
	@$(BIN)/hadolint services/*/Dockerfile

format: $(INSTALLED)  ## apply formatting and safe fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

protos: $(INSTALLED)  ## regenerate wanimage/v1 from protos/
	@$(BIN)/python scripts/protos.py generate

lock: $(INSTALLED)  ## compile requirements/*.in to *.txt
	@$(BIN)/python scripts/lock.py $(LOCK_ARGS)

train-vae: $(INSTALLED) world  ## train the VAE's three stages into runs/; goes on where it was stopped
	@$(BIN)/wan data world fetch --clipart
	@$(BIN)/python -m training.vae --out runs/nano/vae --family weights/nano --export runs/nano/vae/export --resume

train-nano: $(INSTALLED) world  ## retrain the shipped family from scratch
	@$(BIN)/wan train nano

PLANNER ?= weights/nano/understanding
eval-planner: $(INSTALLED) world  ## every bar of the planner on held-out requests; PLANNER=folder, EVAL_ARGS=--n 8 for a look
	@$(BIN)/python -m training.understanding.evaluation --model $(PLANNER) $(EVAL_ARGS)

bench: $(INSTALLED) world  ## run benchmarks/, each ending in one JSON line
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

bench-visualizer: $(INSTALLED)  ## seconds a picture, beside the machine's ceiling and a diffusers pipeline
	@$(BIN)/python benchmarks/visualizer_speed.py

bench-planner: $(INSTALLED)  ## the planner under 1, 4 and 16 sessions, with and without its prefix cache
	@$(BIN)/python benchmarks/planner_serving.py

compose-smoke: $(INSTALLED)  ## build the images, start compose.yaml, draw one picture; skips without a docker engine
	@scripts/compose_smoke.sh

clean:  ## remove what the targets above made, except trained weights
	rm -rf $(VENV) .wan build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
