# Builds the simulator, its own tests, and any .cu file for it. The Makefile includes this; run.sh
# (make -f) builds one variant per configuration with its own CUDASIM_OUT and SAN.
#
#   cudasim        the simulator's own tests, the part that belongs into every run of the suite
#   cudasim-full   the same with more seeds, clang, coverage and nvcc
#
# For tests that link kernels with the simulator: $(CUDASIM_OUT)/libcudasim.a, the objects of .cu
# files ($(CUDASIM_OUT)/kernels/a.cu.o from kernels/a.cu), and $(CUDASIM_LDFLAGS). Host code in C
# needs only the include path of CUDA, and -I. to reach tests/cudasim/testing.h.

BUILD ?= build
SAN ?=
ifeq ($(origin CXX),default)
CXX = g++
endif
CUDASIM_OUT ?= $(BUILD)/cudasim
CUDASIM_OPT ?= -O2
# The Makefile has this line too; it is here for run.sh, which reads only this file.
WERROR ?= $(wildcard .git)
CUDA_INC ?= $(firstword $(wildcard $(CUDA_HOME)/include/cuda_runtime.h \
    /usr/local/cuda/include/cuda_runtime.h))

# ThreadSanitizer sees kernels and tests; the scheduler must stay invisible to it.
CUDASIM_TSAN := $(findstring thread,$(SAN))
CUDASIM_FLAGS = $(CUDASIM_OPT) -g -Wall -Wextra $(if $(WERROR),-Werror) -pthread -I. -Itests $(SAN) \
    -isystem $(patsubst %/,%,$(dir $(CUDA_INC))) -DCUDASIM $(if $(CUDASIM_TSAN),-DCUDASIM_TSAN)
CUDASIM_SHIMS = -Itests/cudasim/include
CUDASIM_LDFLAGS = -rdynamic -pthread $(SAN) -lstdc++ -ldl -lm

CUDASIM_SRC := $(wildcard tests/cudasim/*.cpp)
CUDASIM_OBJ := $(CUDASIM_SRC:%=$(CUDASIM_OUT)/%.o)
CUDASIM_SAMPLES := $(addprefix $(CUDASIM_OUT)/tests/cudasim/tests/,samples.cpp.o child.cpp.o \
    matvec.cu.o attention.cu.o tensor_cores.cu.o grid.cu.o intrinsics.cu.o graph.cu.o runtime.c.o \
    fault.c.o cublas.c.o dry.cu.o)
CUDASIM_BUGS := $(addprefix $(CUDASIM_OUT)/tests/cudasim/tests/,bugs.cpp.o child.cpp.o \
    bugs_kernels.cu.o bugs_memory.cu.o bugs_host.cu.o)

.PHONY: cudasim cudasim-full cudasim-tests
cudasim:
	@sh tests/cudasim/run.sh $(BUILD)
cudasim-full:
	@sh tests/cudasim/run.sh $(BUILD) full
cudasim-tests: $(CUDASIM_OUT)/samples $(CUDASIM_OUT)/bugs

$(CUDASIM_OUT)/libcudasim.a: $(CUDASIM_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^
$(CUDASIM_OUT)/samples: $(CUDASIM_SAMPLES) $(CUDASIM_OUT)/libcudasim.a
	@$(CXX) -o $@ $^ $(CUDASIM_LDFLAGS)
$(CUDASIM_OUT)/bugs: $(CUDASIM_BUGS) $(CUDASIM_OUT)/libcudasim.a
	@$(CXX) -o $@ $^ $(CUDASIM_LDFLAGS)

$(CUDASIM_OUT)/tests/cudasim/%.cpp.o: tests/cudasim/%.cpp
	@mkdir -p $(@D)
	@$(CXX) -std=c++17 -Wshadow $(filter-out -fsanitize=thread,$(CUDASIM_FLAGS)) $(CUDASIM_SHIMS) \
	    -MMD -MP -c $< -o $@
$(CUDASIM_OUT)/%.cu.o: %.cu
	@mkdir -p $(@D)
	@$(CXX) -std=c++20 $(CUDASIM_FLAGS) $(CUDASIM_SHIMS) -Iinclude -Isrc \
	    -Wno-unknown-pragmas -MMD -MP -x c++ -c $< -o $@
$(CUDASIM_OUT)/tests/cudasim/tests/%.c.o: tests/cudasim/tests/%.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -Wshadow $(CUDASIM_FLAGS) -MMD -MP -c $< -o $@

-include $(shell find $(CUDASIM_OUT) -name '*.cu.d' -o -name '*.cpp.d' -o -name '*.c.d' 2>/dev/null)
