# make demo      builds, enrolls you in a scratch folder and logs in once
# make test      all tests; the end-to-end ones need root
# make stress    the long versions of some, with figures; an hour and more
# make model     a million random answers judged twice, and all orders of steps of three logins
# make timing    whether the time of a comparison tells what was compared
# make fuzz      every parser, judge and what files hold, an hour each; FUZZ_SECONDS=, FUZZ_TARGETS=; needs nightly with llvm-tools, cargo-fuzz
# make mutants   what decides on an answer, changed in every small way, against the tests; hours; needs cargo-mutants
# make miri      what is pure, and the slot files, under Miri; needs nightly with miri
# make memory    ten thousand logins in one process: what they leave, and each access, by memcheck and AddressSanitizer;
#                needs nightly
# make boot      the packages on a Debian that boots, under emulation; some minutes, 100 MB to download, amd64 alone
# make bench     what a login costs, beside pam_permit and the modules of Debian; as root, some minutes
# make           builds the module, totpctl and its completions
# make deb       the Debian packages, in target/debian
# make vendor    the sources of all libraries into vendor/; what is built after that needs no network
# make reproducible   builds the packages once more, elsewhere and offline, and compares
# make install   DESTDIR= PREFIX= PAMDIR= SYSCONFDIR= STATEDIR=

DESTDIR    ?=
PREFIX     ?= /usr/local
SBINDIR    ?= $(PREFIX)/sbin
DOCDIR     ?= $(PREFIX)/share/doc/pam_totp
MANDIR     ?= $(PREFIX)/share/man
BASHDIR    ?= $(PREFIX)/share/bash-completion/completions
FISHDIR    ?= $(PREFIX)/share/fish/vendor_completions.d
# What Debian's zsh reads: one folder of the administrator's, another of the packages'.
ZSHDIR     ?= $(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
# Where libpam looks for modules: the multiarch folder on Debian.
MULTIARCH  := $(shell gcc -print-multiarch 2>/dev/null)
PAMDIR     ?= /lib/$(if $(MULTIARCH),$(MULTIARCH)/)security
SYSCONFDIR ?= /etc
STATEDIR   ?= /var/lib/pam_totp

# What is built on and for, as the compiler names it.
HOST        = "$$(rustc -vV | sed -n 's/^host: //p')"

# What install strips by; empty where the symbols are wanted.
STRIP      ?= -s

CARGO      ?= cargo
CARGOFLAGS ?= --locked
TARGET     := $(or $(CARGO_TARGET_DIR),target)
BUILD      := $(abspath $(TARGET))/release
PACKAGES   := $(abspath $(TARGET))/debian
EXAMPLES   := $(wildcard pam.d-examples/*)

# The clone that this is; the packages are built in a copy of it.
ROOT       ?= $(CURDIR)
# With the sources of all libraries at hand no others are looked for.
VENDORED    = $(if $(wildcard $(ROOT)/vendor),--offline --config 'source.crates-io.replace-with="vendored"' \
              --config 'source.vendored.directory="$(ROOT)/vendor"')
# No folder of whoever builds gets into what is built: it is the same everywhere. The last that fits holds.
CARGO_DIR  := $(or $(CARGO_HOME),$(HOME)/.cargo)
LIBRARIES   = $(ROOT)/vendor $(shell ls -d $(CARGO_DIR)/registry/src/* 2>/dev/null)
# They replace those of .cargo/config.toml, which cargo would find twice from the copy.
FLAGS       = --cfg=sha2_backend_soft="compact" --remap-path-prefix=$(ROOT)=/usr/src/pam-totp \
              --remap-path-prefix=$(PACKAGES)/source=/usr/src/pam-totp \
              $(foreach path,$(LIBRARIES),--remap-path-prefix=$(path)=/usr/share/cargo/registry)
# No option of whoever calls gets in either, such as Debian's for a package.
WITH_FLAGS  = env RUSTFLAGS='$(strip $(FLAGS))' $(CARGO)
RELEASE     = --release $(CARGOFLAGS) $(VENDORED)

# Other places than the usual ones are built in.
ifneq ($(SYSCONFDIR),/etc)
export PAM_TOTP_CONFIG := $(SYSCONFDIR)/security/pam_totp.toml
endif
ifneq ($(STATEDIR),/var/lib/pam_totp)
export PAM_TOTP_STATEDIR := $(STATEDIR)
endif

# rustup's cargo may not be in the PATH, and goes before a system's older one.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

all: build completions

build: libraries
	@$(WITH_FLAGS) build $(RELEASE)

# Before their folder is named to the compiler.
libraries:
	@$(CARGO) fetch --quiet --target $(HOST) $(CARGOFLAGS) $(VENDORED)

# Generated: clap knows every option. The manual pages are written by hand, and tests/tests/manual.rs compares them with
# what clap, the parser and the module say: that takes no further crate, and keeps true what no generator knows.
completions: libraries
	@$(WITH_FLAGS) run $(RELEASE) --quiet --package totpctl --example completions -- $(BUILD)/completions

demo:
	tests/set-up.sh demo
	$(MAKE) --no-print-directory build
	@$(WITH_FLAGS) build $(RELEASE) --package end-to-end --bin demo-login
	@tests/demo.sh $(BUILD)

# Most of the tests' time is spent waiting for the delays of pam_unix and login.
test:
	tests/set-up.sh test
	$(MAKE) --no-print-directory all deb
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} $(CARGO) test --workspace --no-fail-fast $(CARGOFLAGS)

# What needs neither root nor more than the compiler, as where a package is built.
unit:
	$(CARGO) test --workspace --exclude end-to-end $(CARGOFLAGS) $(VENDORED) -- --skip command::tests

# One part by PART=race|mixed|guesses|strangers|addresses|faults; smaller by STRESS_ROUNDS, STRESS_MIXED, STRESS_GUESSES,
# STRESS_SAMPLES and STRESS_ADDRESSES.
stress:
	tests/set-up.sh test
	$(MAKE) --no-print-directory all
	@$(WITH_FLAGS) build $(RELEASE) --package end-to-end --bins
	$(BUILD)/stress $(PART)

# From another seed each time; MODEL_SEED= repeats one.
model: export MODEL_SEED := $(or $(MODEL_SEED),$(shell date +%s))
model: export MODEL_STEPS ?= 1000000
model: export MODEL_LOGINS ?= 3
model:
	$(CARGO) test --profile proof --package totp-core --test model $(CARGOFLAGS) -- --nocapture
	$(CARGO) test --profile proof --package end-to-end --test protocol $(CARGOFLAGS) -- --nocapture

timing:
	$(CARGO) bench --profile proof --package totp-core --bench timing $(CARGOFLAGS)

FUZZ_SECONDS ?= 3600
fuzz:
	fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)
	fuzz/coverage.sh $(FUZZ_TARGETS)

mutants:
	tests/set-up.sh test
	$(MAKE) --no-print-directory all
	$(CARGO) mutants --output $(TARGET)
	$(CARGO) mutants --no-config --profile mutants --output $(TARGET)/slots --package totp-host --file src/host/src/slot.rs \
	    --file src/host/src/lock.rs --exclude-re 'impl fmt::Display' --cargo-test-arg=--lib -- slot:: lock::
	$(CARGO) run --package end-to-end --bin mutants $(CARGOFLAGS) -- $(abspath $(TARGET))/mutated

# Each property with two examples, and a tenth of the corpora: Miri takes a thousand times as long. What else there is can't be run by it: it has no
# openat, which opens every other file, nor mappings of files, signal masks, prctl, accounts and libpam. And it cuts reads
# and writes short unless told not to, which local disks don't. A QR code alone would take it hours.
miri: export MIRIFLAGS := -Zmiri-disable-isolation -Zmiri-no-short-fd-operations
miri: export PROPTEST_CASES := 2
miri:
	$(CARGO) +nightly miri test --package totp-core --lib $(CARGOFLAGS) -- --skip a_picture_is_shown
	$(CARGO) +nightly miri test --package totp-core --test judge $(CARGOFLAGS) -- a_bound a_clock_out a_clock_that a_code_i
	$(CARGO) +nightly miri test --package totp-import $(CARGOFLAGS)
	$(CARGO) +nightly miri test --package totpctl --test corpora $(CARGOFLAGS) -- what_was_found_once
	$(CARGO) +nightly miri test --package totp-host --lib $(CARGOFLAGS) -- slot::

# Valgrind looks at what is shipped. std keeps a pointer into the middle of a block, which makes that one "possibly lost".
MEMCHECK   = valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect \
             --errors-for-leak-kinds=definite,indirect --error-exitcode=1
# For AddressSanitizer all is built once more; the program has its functions, and the module finds them there.
SANITIZED  = $(abspath $(TARGET))/asan/$(HOST)/debug
MEMORY_LOGINS ?= 10000
memory:
	tests/set-up.sh memory
	$(MAKE) --no-print-directory build
	@$(WITH_FLAGS) build $(RELEASE) --package end-to-end --bin cycles
	GLIBC_TUNABLES=glibc.malloc.tcache_count=0 PAM_TOTP_BUILD=$(BUILD) $(BUILD)/cycles $(MEMORY_LOGINS)
	GLIBC_TUNABLES=glibc.malloc.tcache_count=0 PAM_TOTP_BUILD=$(BUILD) $(BUILD)/cycles $(MEMORY_LOGINS) unloaded
	PAM_TOTP_BUILD=$(BUILD) $(MEMCHECK) $(BUILD)/cycles $(MEMORY_LOGINS) watched
	PAM_TOTP_BUILD=$(BUILD) $(MEMCHECK) $(BUILD)/cycles 200 unloaded watched
	PAM_TOTP_BUILD=$(BUILD) $(MEMCHECK) $(BUILD)/cycles 20 anew
	RUSTFLAGS='-Zsanitizer=address -Clink-arg=-Wl,--export-dynamic --cfg=sha2_backend_soft="compact"' \
	    $(CARGO) +nightly build $(CARGOFLAGS) --target $(HOST) --target-dir $(TARGET)/asan \
	    --package pam_totp --package totpctl --package end-to-end --lib --bin totpctl --bin cycles
	PAM_TOTP_BUILD=$(SANITIZED) $(SANITIZED)/cycles $(MEMORY_LOGINS) watched
	PAM_TOTP_BUILD=$(SANITIZED) $(SANITIZED)/cycles 100 anew

# What is Debian's stays in target/boot.
boot: deb
	tests/set-up.sh boot
	@$(WITH_FLAGS) build $(RELEASE) --package end-to-end --bin boot
	$(BUILD)/boot

# BENCH_ROUNDS=1000, or fewer.
bench:
	tests/set-up.sh bench
	$(MAKE) --no-print-directory all
	@$(WITH_FLAGS) build $(RELEASE) --package end-to-end --bin bench
	@$(BUILD)/bench

# After `make` with the same SYSCONFDIR and STATEDIR.
install:
	for folder in $(PAMDIR) $(SBINDIR) $(DOCDIR)/examples $(MANDIR)/man5 $(MANDIR)/man8 $(BASHDIR) $(FISHDIR) $(ZSHDIR) \
	    $(SYSCONFDIR)/security; do \
	    [ -d $(DESTDIR)$$folder ] || install -d $(DESTDIR)$$folder || exit 1; done
	install -d -m 0700 $(DESTDIR)$(STATEDIR) $(DESTDIR)$(STATEDIR)/secrets $(DESTDIR)$(STATEDIR)/state
	install -m 0644 $(STRIP) $(BUILD)/libpam_totp.so $(DESTDIR)$(PAMDIR)/pam_totp.so.new
	mv -f $(DESTDIR)$(PAMDIR)/pam_totp.so.new $(DESTDIR)$(PAMDIR)/pam_totp.so
	install -m 0755 $(STRIP) $(BUILD)/totpctl $(DESTDIR)$(SBINDIR)/totpctl
	install -m 0644 README.md MIGRATING.md SECURITY.md $(DESTDIR)$(DOCDIR)
	install -m 0644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/examples
	install -m 0644 man/pam_totp.conf.5 $(DESTDIR)$(MANDIR)/man5
	install -m 0644 man/pam_totp.8 man/totpctl.8 $(DESTDIR)$(MANDIR)/man8
	install -m 0644 $(BUILD)/completions/totpctl.bash $(DESTDIR)$(BASHDIR)/totpctl
	install -m 0644 $(BUILD)/completions/totpctl.fish $(DESTDIR)$(FISHDIR)
	install -m 0644 $(BUILD)/completions/_totpctl $(DESTDIR)$(ZSHDIR)

# Secrets and states stay: who really wants them gone removes $(STATEDIR).
uninstall:
	@if grep -rs '^[^#]*pam_totp\.so' $(DESTDIR)/etc/pam.d $(DESTDIR)/etc/pam.conf | grep .; then \
	    echo "These stacks still name pam_totp.so: without it nobody can log in by them. What a rollout has changed," \
	    "totpctl rollout --revert SERVICE takes back." >&2; exit 1; fi
	rm -f $(DESTDIR)$(PAMDIR)/pam_totp.so $(DESTDIR)$(SBINDIR)/totpctl
	rm -f $(DESTDIR)$(MANDIR)/man5/pam_totp.conf.5 $(DESTDIR)$(MANDIR)/man8/pam_totp.8 $(DESTDIR)$(MANDIR)/man8/totpctl.8
	rm -f $(DESTDIR)$(BASHDIR)/totpctl $(DESTDIR)$(FISHDIR)/totpctl.fish $(DESTDIR)$(ZSHDIR)/_totpctl
	rm -rf $(DESTDIR)$(DOCDIR)
	@echo "What stays: $(STATEDIR) with all secrets, $(SYSCONFDIR)/security/pam_totp.toml, and /etc/pam.d/totp-enroll if you made it."

# In a copy, so that nothing but target/ changes; with what is built already.
deb:
	tests/set-up.sh deb
	@$(MAKE) --no-print-directory $(PACKAGES)/built

$(PACKAGES)/built: $(wildcard $(filter-out tests/%,$(shell git ls-files --cached --others --exclude-standard 2>/dev/null)))
	rm -rf $(PACKAGES)
	mkdir -p $(PACKAGES)/source
	git ls-files --cached --others --exclude-standard | while read -r file; do [ ! -e "$$file" ] || echo "$$file"; done \
	    | xargs cp --parents --preserve=mode,timestamps --target-directory=$(PACKAGES)/source
	cd $(PACKAGES)/source && env --unset=MAKEFLAGS ROOT=$(ROOT) CARGO_TARGET_DIR=$(abspath $(TARGET)) DEB_BUILD_OPTIONS=nocheck \
	    dpkg-buildpackage --build=binary --unsigned-changes --unsigned-buildinfo --no-check-builddeps
	# cargo took note of the sources where it last compiled them: the copy must not be what the next make looks at.
	rm -rf $(PACKAGES)/source
	touch $@

vendor:
	rm -rf vendor
	$(CARGO) vendor --locked --versioned-dirs vendor >/dev/null

reproducible: deb
	tests/reproducible.sh $(PACKAGES)

clean:
	$(CARGO) clean

.PHONY: all libraries build completions demo test unit stress model timing fuzz mutants miri memory boot bench install uninstall deb vendor reproducible clean
