# This is read behind the Makefile of a tree, its own or an older one, to link manifest.c with that tree's library:
#
#     make -f Makefile -f manifest.mk BUILD=... NVCC= BUILD/manifest BUILD/manifest-emulated
#     make -f Makefile -f manifest.mk BUILD=... BUILD/manifest-sim
#
# It uses these variables of the Makefile. If a tree has renamed one, it is here under both names:
#   HOST_OBJ            objects of the library, without those of nvcc
#   LIB_LIBS            what they are linked with
#   SIMDE_OBJ           AVX-512 as SIMDe emulates it: an object of the same name as the library's, whose function has
#                       _simde behind its name
#   SIM_OBJ, SIM_LIBS   the kernels and the device for the simulator, and what they are linked with
MANIFEST := $(wildcard $(dir $(lastword $(MAKEFILE_LIST)))manifest*.[ch])
MANIFEST_LINK = $(CC) -std=c11 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror \
    -Iinclude -o $@ $(filter %.c %.o %.a,$^) $(LDFLAGS)
MANIFEST_NATIVE := $(filter %/$(notdir $(SIMDE_OBJ)),$(HOST_OBJ))

$(foreach v,HOST_OBJ SIMDE_OBJ SIM_OBJ SIM_LIBS LIB_LIBS,$(if $($v),,$(error manifest.mk: this Makefile has no $v)))
$(if $(filter 1,$(words $(MANIFEST_NATIVE))),,$(error manifest.mk: $(words $(MANIFEST_NATIVE)) objects of HOST_OBJ \
    are called as $(SIMDE_OBJ) is, expected 1))

$(BUILD)/manifest: $(MANIFEST) $(HOST_OBJ)
	@$(MANIFEST_LINK) $(LIB_LIBS)

# AVX-512 as SIMDe emulates it takes the place of the library's own.
$(BUILD)/manifest-emulated: $(MANIFEST) $(filter-out $(MANIFEST_NATIVE),$(HOST_OBJ)) $(BUILD)/manifest-simde.o
	@$(MANIFEST_LINK) $(LIB_LIBS)

$(BUILD)/manifest-simde.o: $(SIMDE_OBJ)
	@objcopy --redefine-sym cpu_ops_avx512_simde=cpu_ops_avx512 $< $@

$(BUILD)/manifest-sim: $(MANIFEST) $(HOST_OBJ) $(SIM_OBJ)
	@$(MANIFEST_LINK) $(SIM_LIBS)
