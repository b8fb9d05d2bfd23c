# make demo      builds, enrolls you in a scratch folder and logs in once
# make test      all tests; the end-to-end ones need root
# make stress    the long versions of some, with figures; half an hour and more
# make           builds the module, totpctl and its completions
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

CARGO      ?= cargo
CARGOFLAGS ?= --locked
TARGET     := $(or $(CARGO_TARGET_DIR),target)
BUILD      := $(abspath $(TARGET))/release
EXAMPLES   := $(wildcard pam.d-examples/*)

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

build:
	$(CARGO) build --release $(CARGOFLAGS)

# Generated: clap knows every option. The manual pages are written by hand, and tests/tests/manual.rs compares them with
# what clap, the parser and the module say: that takes no further crate, and keeps true what no generator knows.
completions:
	$(CARGO) run --release $(CARGOFLAGS) --quiet --package totpctl --example completions -- $(BUILD)/completions

demo:
	tests/set-up.sh demo
	$(MAKE) --no-print-directory build
	$(CARGO) build --release $(CARGOFLAGS) --package end-to-end --bin demo-login
	@tests/demo.sh $(BUILD)

# Most of the tests' time is spent waiting for the delays of pam_unix and login.
test:
	tests/set-up.sh test
	$(MAKE) --no-print-directory all
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} $(CARGO) test --workspace --no-fail-fast $(CARGOFLAGS)

# One part by PART=race|guesses|strangers|addresses; smaller by STRESS_ROUNDS, STRESS_GUESSES, STRESS_SAMPLES and
# STRESS_ADDRESSES.
stress:
	tests/set-up.sh test
	$(MAKE) --no-print-directory all
	$(CARGO) build --release $(CARGOFLAGS) --package end-to-end --bins
	$(BUILD)/stress $(PART)

# After `make` with the same SYSCONFDIR and STATEDIR.
install:
	for folder in $(PAMDIR) $(SBINDIR) $(DOCDIR)/examples $(MANDIR)/man5 $(MANDIR)/man8 $(BASHDIR) $(FISHDIR) $(ZSHDIR) \
	    $(SYSCONFDIR)/security; do \
	    [ -d $(DESTDIR)$$folder ] || install -d $(DESTDIR)$$folder || exit 1; done
	install -d -m 0700 $(DESTDIR)$(STATEDIR) $(DESTDIR)$(STATEDIR)/secrets $(DESTDIR)$(STATEDIR)/state
	install -m 0644 -s $(BUILD)/libpam_totp.so $(DESTDIR)$(PAMDIR)/pam_totp.so.new
	mv -f $(DESTDIR)$(PAMDIR)/pam_totp.so.new $(DESTDIR)$(PAMDIR)/pam_totp.so
	install -m 0755 -s $(BUILD)/totpctl $(DESTDIR)$(SBINDIR)/totpctl
	install -m 0644 README.md SECURITY.md $(DESTDIR)$(DOCDIR)
	install -m 0644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/examples
	install -m 0644 man/pam_totp.conf.5 $(DESTDIR)$(MANDIR)/man5
	install -m 0644 man/pam_totp.8 man/totpctl.8 $(DESTDIR)$(MANDIR)/man8
	install -m 0644 $(BUILD)/completions/totpctl.bash $(DESTDIR)$(BASHDIR)/totpctl
	install -m 0644 $(BUILD)/completions/totpctl.fish $(DESTDIR)$(FISHDIR)
	install -m 0644 $(BUILD)/completions/_totpctl $(DESTDIR)$(ZSHDIR)

# Secrets and states stay: who really wants them gone removes $(STATEDIR).
uninstall:
	@if grep -rs '^[^#]*pam_totp\.so' $(DESTDIR)/etc/pam.d $(DESTDIR)/etc/pam.conf | grep .; then \
	    echo "These stacks still name pam_totp.so: without it nobody can log in by them." >&2; exit 1; fi
	rm -f $(DESTDIR)$(PAMDIR)/pam_totp.so $(DESTDIR)$(SBINDIR)/totpctl
	rm -f $(DESTDIR)$(MANDIR)/man5/pam_totp.conf.5 $(DESTDIR)$(MANDIR)/man8/pam_totp.8 $(DESTDIR)$(MANDIR)/man8/totpctl.8
	rm -f $(DESTDIR)$(BASHDIR)/totpctl $(DESTDIR)$(FISHDIR)/totpctl.fish $(DESTDIR)$(ZSHDIR)/_totpctl
	rm -rf $(DESTDIR)$(DOCDIR)

clean:
	$(CARGO) clean

.PHONY: all build completions demo test stress install uninstall clean
