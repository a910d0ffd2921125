# Tests of the CUDA backend. Each program is linked twice from the same objects: with the simulator (cuda-check, part of
# `make test`) and, by `make test-gpu`, with the kernels of nvcc. Programs named sim_* plan failures, so they run on the
# simulator only.
#
#   cuda-check      all programs on the simulator, in several orders of threads, and the kernels under ThreadSanitizer;
#                   and tools/gpu-check.sh, with planted failures
#   gpu-check-test  more of the latter: both its calls as a whole, on tiny models
#   cuda-coverage   fails if a line of kernels/*.cu was never executed
#   test-gpu        all programs on the first GPU

CUDA_TEST_SRC := $(wildcard tests/cuda/test_*.c)
SIM_TEST_SRC := $(CUDA_TEST_SRC) $(wildcard tests/cuda/sim_*.c)
CUDA_TEST_OBJ := $(BUILD)/obj/tests/cuda/device.o $(SUPPORT_OBJ) $(SYNTH_OBJ)
SIM_TESTS := $(SIM_TEST_SRC:tests/cuda/%.c=$(BUILD)/sim/%)
GPU_TESTS := $(CUDA_TEST_SRC:tests/cuda/%.c=$(BUILD)/gpu/%)
SIM_OBJ := $(KERNELS:%.cu=$(CUDASIM_OUT)/%.cu.o) $(CUDASIM_OUT)/libcudasim.a
# The engine looks for cuBLAS at run time; here it has to find that of the simulator.
SIM_LIBS = -Wl,-u,cublasCreate_v2 $(CUDASIM_LDFLAGS) -lpcre2-8 -ljansson -lm

$(BUILD)/obj/tests/cuda/%.o: CFLAGS += -isystem $(CUDA_DIR)/include

$(BUILD)/sim/weft: $(TOOL_OBJ) $(HOST_OBJ) $(SIM_OBJ)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(TOOL_LIBS) $(SIM_LIBS)

$(BUILD)/sim/sim_bench: $(BUILD)/obj/tools/gpu-bench/gpu_time.o

$(BUILD)/sim/%: $(BUILD)/obj/tests/cuda/%.o $(CUDA_TEST_OBJ) $(HOST_OBJ) $(SIM_OBJ)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) -lcmocka $(SIM_LIBS)

$(BUILD)/gpu/%: $(BUILD)/obj/tests/cuda/%.o $(CUDA_TEST_OBJ) $(HOST_OBJ) $(KERNEL_OBJ)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) -lcmocka $(LIB_LIBS)

# These tests plan failures of the system, besides those of the device.
$(BUILD)/sim/sim_load: SIM_LIBS += -Wl,--wrap=pread,--wrap=pthread_create,--wrap=dlsym

.PHONY: cuda-check cuda-sim cuda-tsan cuda-coverage gpu-check-test test-gpu
ifeq ($(NVCC),)
cuda-check cuda-sim cuda-tsan cuda-coverage gpu-check-test test-gpu:
	@echo "skip $@: nvcc not found"
else
cuda-check: cuda-sim gpu-check-programs
	@bash tests/cuda/gpu_check.sh $(BUILD)
	@$(MAKE) --no-print-directory cuda-tsan BUILD=build/tsan OPT=-O1 CUDASIM_OPT=-O1 SAN=-fsanitize=thread

gpu-check-test: gpu-check-programs
	@bash tests/cuda/gpu_check.sh $(BUILD) all

cuda-sim: $(SIM_TESTS) $(BUILD)/sim/weft $(BUILD)/sim/weft-gpu-bench $(if $(SAN),,$(BUILD)/sim/launches.jsonl)
	@sh tests/cuda/run.sh $(BUILD) '$(SAN)'

# Only kernels run here, because whole models take too long.
cuda-tsan: $(filter-out %/test_model %/test_shapes %/test_schedule %/test_prefill,$(CUDA_TEST_SRC:tests/cuda/%.c=$(BUILD)/sim/%))
	@sh tests/cuda/run.sh $(BUILD) '$(SAN)'

cuda-coverage:
	@$(MAKE) --no-print-directory cuda-coverage-run BUILD=build/coverage OPT=-O1 CUDASIM_OPT='-O0 -fno-exceptions' \
	    CUDASIM_OUT=build/coverage/cudasim SAN=--coverage
	@sh tests/cudasim/coverage.sh build/coverage/cudasim $(KERNELS)

.PHONY: cuda-coverage-run
cuda-coverage-run: $(SIM_TESTS)
	@find $(BUILD) -name '*.gcda' -delete
	@for t in $(CUDA_TEST_SRC:tests/cuda/%.c=$(BUILD)/sim/%); do \
	    case $$t in *model | *shapes | *schedule) level=thin ;; *) level=all ;; esac; \
	    WEFT_TEST_LEVEL=$$level $$t >/dev/null 2>&1 || { echo "$$t failed"; exit 1; }; done

test-gpu: $(GPU_TESTS)
	@for t in $(GPU_TESTS); do WEFT_TEST_LEVEL=all $$t || exit 1; done
endif

# weft-gpu-bench times the device, the kernels and whole models; on the simulator only its --smoke makes sense.
GPU_BENCH_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tools/gpu-bench/*.c)) $(SYNTH_OBJ)
$(BUILD)/obj/tools/gpu-bench/%.o: CFLAGS += -isystem $(CUDA_DIR)/include

$(BUILD)/weft-gpu-bench: $(GPU_BENCH_OBJ) $(HOST_OBJ) $(KERNEL_OBJ)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

$(BUILD)/sim/weft-gpu-bench: $(GPU_BENCH_OBJ) $(HOST_OBJ) $(SIM_OBJ)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(SIM_LIBS)

# weft-launches records what the host's code launches for real models. It runs on the simulator, which computes nothing of
# that.
LAUNCHES_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tools/gpu-model/*.c)) $(SYNTH_OBJ)
$(BUILD)/obj/tools/gpu-model/%.o: CFLAGS += -Itools/gpu-model -isystem $(CUDA_DIR)/include

$(BUILD)/sim/weft-launches: $(LAUNCHES_OBJ) $(HOST_OBJ) $(SIM_OBJ)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) -Wl,--wrap=mmap,--wrap=pread $(SIM_LIBS)

$(BUILD)/sim/launches.jsonl: $(BUILD)/sim/weft-launches
	$(if $(V),,@echo '  RUN $<')
	$(Q)$< >$@.part && mv $@.part $@

# The programs that tools/gpu-check.sh runs.
.PHONY: gpu-programs
gpu-programs: $(GPU_TESTS) $(BUILD)/weft $(BUILD)/weft-synth $(BUILD)/weft-gpu-bench

# The same programs on the simulator, for tools/gpu-check.sh --smoke.
.PHONY: gpu-check-programs gpu-check-smoke
gpu-check-programs: $(CUDA_TEST_SRC:tests/cuda/%.c=$(BUILD)/sim/%) $(BUILD)/sim/weft $(BUILD)/sim/weft-gpu-bench $(BUILD)/weft-synth

gpu-check-smoke: deps
	@$(MAKE) $(JOBS) --no-print-directory -s gpu-check-programs
	@tools/gpu-check.sh --smoke --programs $(BUILD)/sim
