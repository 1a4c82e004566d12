# Two commands for a fresh machine: `make compare` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Some containers forbid Python to keep what it compiled; every test that starts a process would pay for that.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup compare cross-table test test-slow check gpu clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(VENV)/.installed  ## create the environment and install the zoo into it

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"the zoo needs Python 3.10 to 3.13, {sys.executable} is {v.major}.{v.minor}; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

compare: setup  ## pretrain and evaluate small backbones on the embedded videos; writes runs/compare/report.html
	$(BIN)/zoo compare vit_pico videomamba_pico umt_pico vjepa_pico timesformer_pico --suite digits --budget quick

# Every backbone under every objective that it can be trained under; rows are listed in README.md.
VIT := vit_pico:mae vit_pico:umt vit_pico:vjepa vit_pico:self_distillation
VIDEOMAMBA := $(subst vit_pico,videomamba_pico,$(VIT))
DIVIDED := $(subst vit_pico,timesformer_pico,$(VIT))
JOINT := $(subst vit_pico,timesformer_joint_pico,$(VIT))
ADAPTED := hf_videomae_pico:self_distillation timm_vit_pico:self_distillation

cross-table: setup  ## the cross table with 3 seeds, under 4 hours on two cores; stop and start it at will
	$(BIN)/zoo compare $(VIT) $(VIDEOMAMBA) $(DIVIDED) $(JOINT) $(ADAPTED) --seeds 3 --out runs/cross-table

# Run-time shape checks and torch.compile exclude each other, hence two runs. The second reads few files.
COMPILED := $(shell grep -rl --include='test_*.py' 'mark.compiled' tests)
test: setup  ## the fast tests (4 to 6 minutes on two cores)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu and not compiled"
	ZOO_SHAPE_CHECKS=0 $(BIN)/python -m pytest -n 2 -m "compiled and not slow and not gpu" $(COMPILED)

test-slow: setup  ## the full product of cases
	ZOO_SHAPE_CHECKS=all $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not gpu and not compiled"
	ZOO_SHAPE_CHECKS=0 $(BIN)/python -m pytest -n 2 -m "slow and compiled and not gpu" $(COMPILED)

check: setup  ## ruff, the type checker, the structure tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_structure.py

# A GPU machine may have no network to set anything up with: PyTorch, Triton, Lightning, timm, transformers and pytest
# are enough there. Steps that fail or miss a goal do not keep the others from writing their results.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
gpu:  ## everything that needs a GPU; results go to benchmarks/results/
	@$(GPU_PYTHON) -c 'import sys, torch; torch.cuda.is_available() or sys.exit("make gpu: PyTorch sees no GPU; nothing was run, no result was written")'
	status=0; \
	$(GPU_PYTHON) -m pytest -m gpu -W default || status=1; \
	$(GPU_PYTHON) -m benchmarks.speed.scan_gpu || status=1; \
	$(GPU_PYTHON) -m benchmarks.cli efficiency --paper videomamba:figure1 --device cuda --frames 8,64 --out benchmarks/results/figure1 || status=1; \
	exit $$status

clean:  ## remove the environment and caches (runs/ stays)
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
