# For other machines: install, uninstall, the tarball, and a check of all installed compilers. tests/install/install.sh does
# all of this but the last in a scratch folder.
#
# A packager sets DESTDIR and PREFIX, and LIBDIR if libraries have a folder for each architecture:
#
#     make NVCC= PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu
#     make NVCC= PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu DESTDIR=$PWD/debian/tmp install
#
# Licence, changelog and README are not installed: each package copies them from the source to its own place.

DEST_BIN = $(DESTDIR)$(BINDIR)
DEST_INCLUDE = $(DESTDIR)$(INCLUDEDIR)
DEST_LIB = $(DESTDIR)$(LIBDIR)
DEST_MAN = $(DESTDIR)$(DATADIR)/man/man1
DEST_BASH = $(DESTDIR)$(DATADIR)/bash-completion/completions
DEST_ZSH = $(DESTDIR)$(DATADIR)/zsh/site-functions

# A program finds the library by SONAME, the linker finds it by libweft.so; both names lead to the file of this version.
.PHONY: install
install: all $(BUILD)/weft.1 $(BUILD)/weft.bash $(BUILD)/_weft $(BUILD)/weft.pc
	install -d $(DEST_BIN) $(DEST_INCLUDE) $(DEST_LIB)/pkgconfig $(DEST_MAN) $(DEST_BASH) $(DEST_ZSH)
	install -m 755 $(BUILD)/weft $(DEST_BIN)/weft
	install -m 644 include/weft.h $(DEST_INCLUDE)/weft.h
	install -m 644 $(BUILD)/libweft.a $(DEST_LIB)/libweft.a
	install -m 644 $(BUILD)/libweft.so $(DEST_LIB)/libweft.so.$(VERSION)
	ln -sf libweft.so.$(VERSION) $(DEST_LIB)/$(SONAME)
	ln -sf $(SONAME) $(DEST_LIB)/libweft.so
	install -m 644 $(BUILD)/weft.pc $(DEST_LIB)/pkgconfig/weft.pc
	install -m 644 $(BUILD)/weft.1 $(DEST_MAN)/weft.1
	install -m 644 $(BUILD)/weft.bash $(DEST_BASH)/weft
	install -m 644 $(BUILD)/_weft $(DEST_ZSH)/_weft

# Removes what `install` of this version has installed. Folders stay, because others use them.
.PHONY: uninstall
uninstall:
	rm -f $(DEST_BIN)/weft $(DEST_INCLUDE)/weft.h $(DEST_MAN)/weft.1 $(DEST_BASH)/weft $(DEST_ZSH)/_weft
	rm -f $(DEST_LIB)/libweft.a $(DEST_LIB)/libweft.so $(DEST_LIB)/$(SONAME) $(DEST_LIB)/libweft.so.$(VERSION)
	rm -f $(DEST_LIB)/pkgconfig/weft.pc

$(BUILD)/weft.1: $(BUILD)/weft
	$(Q)$(BUILD)/weft help --man >$@.part && mv $@.part $@

$(BUILD)/weft.bash: $(BUILD)/weft
	$(Q)$(BUILD)/weft help --completion bash >$@.part && mv $@.part $@

$(BUILD)/_weft: $(BUILD)/weft
	$(Q)$(BUILD)/weft help --completion zsh >$@.part && mv $@.part $@

# The file is written each time, because PREFIX may have changed; and it is replaced at once, because tests that read it run
# side by side.
.PHONY: $(BUILD)/weft.pc
$(BUILD)/weft.pc:
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))' \
	    'includedir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(INCLUDEDIR))' '' 'Name: weft' \
	    'Description: Library that runs GGUF language models on CPUs and NVIDIA GPUs' 'Version: $(VERSION)' \
	    'Libs: -L$${libdir} -lweft' 'Libs.private: $(LIB_LIBS) -pthread' 'Cflags: -I$${includedir}' >$@.$$$$ && mv $@.$$$$ $@

# Writes the list of what linked programs rely on again; `make check` compares with it. CONTRIBUTING.md, "Versions", says
# what follows from a difference.
.PHONY: abi-record
abi-record: $(BUILD)/libweft.so
	@CC="$(CC)" python3 tests/api/abi.py record $(BUILD)/libweft.so

# Tries every installed gcc and clang from -O0 to -O3: there must be no warning, and the bits must be the same.
# COMPILERS='gcc clang-19' tries only these.
.PHONY: compilers
compilers: deps
	@sh tests/compilers.sh $(COMPILERS)

# Packs the files of a commit without their history. The same commit gives the same bytes, whoever packs it, and whenever.
DIST = weft-$(VERSION)
DIST_COMMIT ?= HEAD

.PHONY: dist
dist:
	@mkdir -p $(BUILD)
	@git -c tar.umask=0022 archive --format=tar --prefix=$(DIST)/ $(DIST_COMMIT) >$(BUILD)/$(DIST).tar
	@gzip -9nf $(BUILD)/$(DIST).tar
	@sha256sum $(BUILD)/$(DIST).tar.gz
	@git diff --quiet HEAD || echo "what is not committed is not in it"
