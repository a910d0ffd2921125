# Predicts the time of the kernels on an H200, and checks gates on their machine code; see tools/gpu-model/MODEL.md.
#
#   gpu-model         prints a line for each model and case; fails if a figure or a row of the gates has become worse
#   gpu-model-write   records the current figures and rows, and shows the old ones
#   gpu-model-detail  each kernel of the decode steps
#
# nvdisasm and cuobjdump come with most CUDA toolkits; if they are missing, pip installs them. cuda-check also runs
# gpu-model, unless these programs cannot be installed or there is no Python 3.11.

GPU_MODEL = tools/gpu-model
GPU_LAUNCHES ?= $(BUILD)/sim/launches.jsonl
GPU_VENV = $(CACHE)/gpu-model-$(shell cksum $(GPU_MODEL)/requirements.txt 2>/dev/null | cut -d ' ' -f 1)
# The folder of both programs, if they are installed.
GPU_TOOLS := $(firstword $(foreach d,$(CUDA_DIR)/bin $(patsubst %/,%,$(dir $(shell command -v nvdisasm 2>/dev/null))),\
    $(if $(wildcard $(d)/nvdisasm),$(if $(wildcard $(d)/cuobjdump),$(d)))))
GPU_TOOLS_DONE = $(if $(GPU_TOOLS),,$(GPU_VENV)/done)

$(GPU_VENV)/done: $(GPU_MODEL)/requirements.txt
	@sh tools/deps.sh gpu-model
	@echo "making $(GPU_VENV)"
	@rm -rf $(GPU_VENV) && mkdir -p $(GPU_VENV) && python3 -m venv $(GPU_VENV)
	@$(GPU_VENV)/bin/pip install -q --disable-pip-version-check -r $< || { rm -rf $(GPU_VENV); \
	    echo "$(GPU_MODEL): needs nvdisasm and cuobjdump: install a CUDA toolkit that has them" >&2; exit 1; }
	@ln -s "$$(dirname "$$(find $(GPU_VENV)/lib -name nvdisasm -type f | head -n 1)")" $(GPU_VENV)/tools
	@touch $@

.PHONY: gpu-model gpu-model-write gpu-model-detail gpu-model-test
ifeq ($(NVCC),)
gpu-model gpu-model-write gpu-model-detail gpu-model-test:
	@echo "skip $@: nvcc not found"
else ifeq ($(filter sm_90a,$(CUDA_ARCH)),)
gpu-model gpu-model-write gpu-model-detail gpu-model-test:
	@echo "skip $@: it is about code for sm_90a, and CUDA_ARCH is $(CUDA_ARCH)"
cuda-check: gpu-model
else
GPU_PYTHON = GPU_MODEL_TOOLS=$(or $(GPU_TOOLS),$(GPU_VENV)/tools) python3
GPU_MODEL_NEEDS = $(GPU_TOOLS_DONE) $(KERNEL_OBJ) $(GPU_LAUNCHES)

gpu-model: $(GPU_MODEL_NEEDS)
	@$(GPU_PYTHON) $(GPU_MODEL)/gates.py --launches $(GPU_LAUNCHES)
	@$(GPU_PYTHON) $(GPU_MODEL)/model.py --launches $(GPU_LAUNCHES) --check

gpu-model-write: $(GPU_MODEL_NEEDS)
	@$(GPU_PYTHON) $(GPU_MODEL)/gates.py --launches $(GPU_LAUNCHES) --write
	@$(GPU_PYTHON) $(GPU_MODEL)/model.py --launches $(GPU_LAUNCHES) --write

gpu-model-detail: $(GPU_MODEL_NEEDS)
	@$(GPU_PYTHON) $(GPU_MODEL)/model.py --launches $(GPU_LAUNCHES) --detail

gpu-model-test:
	@python3 -m unittest -q tests/test_gpu_model.py

# The files that the other make needs are made here, so that two makes do not build the same file at the same time.
.PHONY: gpu-model-if-possible
gpu-model-if-possible: $(KERNEL_OBJ) $(GPU_LAUNCHES)
	@if ! python3 -c 'import tomllib' 2>/dev/null; then echo "skip gpu-model: no Python 3.11 or later"; \
	    elif ! $(MAKE) --no-print-directory gpu-model-test; then exit 1; \
	    elif [ -z "$(GPU_TOOLS_DONE)" ] || $(MAKE) --no-print-directory $(GPU_TOOLS_DONE) >/dev/null 2>&1; \
	    then $(MAKE) --no-print-directory gpu-model; \
	    else echo "skip gpu-model: no nvdisasm, and pip cannot install it"; fi

# All variants of the host code launch the same kernels.
ifeq ($(SAN),)
cuda-check: gpu-model-if-possible
endif
endif
