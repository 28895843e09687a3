# Polyport. The two commands: `make run` serves the example, `make test` checks everything.

PREFIX  ?= /usr/local
DESTDIR ?=

bindir     = $(DESTDIR)$(PREFIX)/bin
plugindir  = $(DESTDIR)$(PREFIX)/lib/polyport/plugins
includedir = $(DESTDIR)$(PREFIX)/include
docdir     = $(DESTDIR)$(PREFIX)/share/doc/polyport
pkgconfigdir = $(DESTDIR)$(PREFIX)/share/pkgconfig
unitdir    = $(DESTDIR)$(PREFIX)/lib/systemd/system
holedir    = $(DESTDIR)$(PREFIX)/share/polyport/gopher
confdir    = $(DESTDIR)/etc/polyport
mandir     = $(DESTDIR)$(PREFIX)/share/man
sharedir   = $(DESTDIR)$(PREFIX)/share
rotatedir  = $(DESTDIR)/etc/logrotate.d

# The store refuses what others could have written, and so must the build.
SHELL = /bin/sh
CARGO = umask 022 && cargo

# Two builds at once on a small machine only wait for each other.
.NOTPARALLEL:
.PHONY: help run run-cluster test test-clients test-system soak abidiff check build bench install deb clean

# Programs that the tests set on the daemon, and files, each with its Debian package.
PEERS = nc:netcat-openbsd ncat:ncat socat:socat curl:curl python3:python3 telnet:telnet \
    lynx:lynx w3m:w3m gopher:gopher pip3:python3-pip pygopherd:pygopherd gophernicus:gophernicus \
    groff:groff-base script:bsdutils inetd:openbsd-inetd ip:iproute2 unshare:util-linux /etc/services:netbase valgrind:valgrind \
    nats-server:nats-server setsid:util-linux openssl:openssl

help:
	@echo 'make run      build, then serve etc/polyport.toml on unprivileged ports (Ctrl-C stops)'
	@echo 'make run-cluster  a NATS server and three nodes on loopback ports, one chat for all'
	@echo 'make test     everything that must pass'
	@echo 'make test-clients  a headless Chromium follows the links of the hole that is shipped'
	@echo 'make soak     its long forms: more seeds, more bytes, each parser fuzzed for FUZZ_SECONDS'
	@echo 'make abidiff  what libabigail says of the plugin ABI since 1.0, as a second opinion'
	@echo 'make check    the quick part of it: format, lints, house rules'
	@echo 'make build    the release build'
	@echo 'make bench    measurements, as ratios to a bare server in the same run; ARGS="--only gopher"'
	@echo 'make deb      packages for Debian, below target/deb'
	@echo 'make test-system  what a real systemd does with them; root, and a Debian mirror'
	@echo 'make install  PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'

run: build
	@mkdir -p run/state
	@./target/release/polyport run --announce -c etc/polyport.toml \
	    --set daemon.plugin_dir=target/release \
	    --set daemon.run_dir=run --set daemon.state_dir=run/state \
	    --set services.gopher.settings.root='$(CURDIR)/etc/gopher'

run-cluster: build
	@./scripts/require.sh nats-server:nats-server setsid:util-linux
	@./scripts/cluster.sh target/release

build:
	@./scripts/require.sh
	@$(CARGO) build --release --workspace --exclude 'polyport-fixture-*' --exclude polyport-bench

check:
	@./scripts/require.sh
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings
	@$(CARGO) test --quiet -p polyport --test tidy

test: check
	@./scripts/require.sh $(PEERS)
	@./scripts/clients.sh
	@$(CARGO) build --workspace
	@$(CARGO) test --workspace

test-clients:
	@./scripts/require.sh chromium-headless-shell:chromium-headless-shell python3:python3
	@$(CARGO) build -p polyport -p polyport-gopher
	@./tests/browser/run

soak:
	@./scripts/require.sh
	@export SEEDS=20000 DEPTH=1 POLYPORT_ROUNDS=500000 POLYPORT_SOAK=1; \
	    (export POLYPORT_SEEDS=5000; $(CARGO) test -p polyport --lib simulation) && \
	    $(CARGO) test -p polyport --test lifecycle_simulation --test mutations --test memory && \
	    $(CARGO) test -p polyport-gopher --test parsers && \
	    (export POLYPORT_SECONDS=600; $(CARGO) test -p polyport-udp-echo --test echo unasked) && \
	    $(CARGO) test -p polyport --test faults blame && \
	    $(CARGO) test -p polyport --test nats && \
	    (export POLYPORT_ROUNDS=10000; $(CARGO) test -p polyport --test reload) && \
	    $(CARGO) test -p polyport --test upgrade --test notify && \
	    $(CARGO) test -p polyport --test provenance && \
	    $(CARGO) test --release -p polyport --test storms -- --test-threads=1
	@umask 022 && ./scripts/fuzz.sh

# A report is for a person to judge, and no suppression is ever to be written for it.
abidiff:
	@./scripts/require.sh abidiff:abigail-tools
	@mkdir -p target/abi
	@cc -g -std=c99 -Wall -Wextra -Werror -pedantic -shared -fPIC -I plugin-api/include \
	    plugin-api/tests/probe.c -o target/abi/probe.so
	@abidiff --no-architecture --no-show-locs plugin-api/tests/frozen/1.0/probe.abixml target/abi/probe.so \
	    && echo 'abidiff: no type that a plugin reaches has changed since 1.0'

bench: build
	@$(CARGO) run --release -p polyport-bench -- $(ARGS)

install:
	@test -x target/release/polyport || { echo 'run `make build` first'; exit 1; }
	install -D -m 0755 target/release/polyport $(bindir)/polyport
	for plugin in plugins/*; do \
	    name=$${plugin##*/}; \
	    install -D -m 0644 target/release/libpolyport_$$(echo $$name | tr - _).so \
	        $(plugindir)/$$name.so || exit 1; \
	done
	install -D -m 0644 plugin-api/include/polyport_plugin.h $(includedir)/polyport_plugin.h
	sed 's|^#plugin_dir = .*|plugin_dir = "$(PREFIX)/lib/polyport/plugins"|' etc/polyport.toml \
	    > target/polyport.toml
	test -e $(confdir)/polyport.toml || install -D -m 0644 target/polyport.toml $(confdir)/polyport.toml
	for file in etc/conf.d/*.toml; do \
	    sed 's|/usr/local/share|$(PREFIX)/share|' $$file > target/$${file##*/} || exit 1; \
	    test -e $(confdir)/conf.d/$${file##*/} \
	        || install -D -m 0644 target/$${file##*/} $(confdir)/conf.d/$${file##*/} || exit 1; \
	done
	cd etc/gopher && find . -type f -exec install -D -m 0644 {} $(abspath $(holedir))/{} \;

	for unit in systemd/*.service systemd/*.socket; do \
	    sed 's|@PREFIX@|$(PREFIX)|' $$unit > target/$${unit##*/} || exit 1; \
	    install -D -m 0644 target/$${unit##*/} $(unitdir)/$${unit##*/} || exit 1; \
	done
	install -D -m 0644 systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/polyport.conf
	install -D -m 0644 systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/polyport.conf
	install -D -m 0644 systemd/notify-reload.conf $(docdir)/notify-reload.conf
	for page in polyport.8 polyport.toml.5 polyport-plugins.7; do \
	    target/release/polyport manual $$page > target/$$page || exit 1; \
	    gzip -9nf target/$$page || exit 1; \
	    install -D -m 0644 target/$$page.gz $(mandir)/man$${page##*.}/$$page.gz || exit 1; \
	done
	for shell in bash:bash-completion/completions/polyport zsh:zsh/vendor-completions/_polyport \
	    fish:fish/vendor_completions.d/polyport.fish; do \
	    target/release/polyport completions $${shell%%:*} > target/completions || exit 1; \
	    install -D -m 0644 target/completions $(sharedir)/$${shell##*:} || exit 1; \
	done
	for document in README.md SECURITY.md docs/operations.md docs/limits.md docs/sandbox.md \
	    docs/gopher.md docs/line-chat.md docs/bus.md docs/carry.md docs/abi.md docs/writing-plugins.md \
	    docs/extensions.md; do \
	    install -D -m 0644 $$document $(docdir)/$${document##*/} || exit 1; \
	done
	test -e $(rotatedir)/polyport \
	    || install -D -m 0644 packaging/logrotate.conf $(rotatedir)/polyport
	for file in finger.c finger.rs finger_blocking.rs blocking.c smallest.c smallest.rs \
	    greeting.c proving.c sending.c carrying.c shouting.c counting.c; do \
	    install -D -m 0644 plugin-api/examples/$$file $(sharedir)/polyport/template/$$file || exit 1; \
	done
	sed "s|@PREFIX@|$(PREFIX)|; s|@VERSION@|$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)|" \
	    packaging/polyport-plugin.pc > target/polyport-plugin.pc
	install -D -m 0644 target/polyport-plugin.pc $(pkgconfigdir)/polyport-plugin.pc

deb: build
	@./packaging/deb.sh

test-system: deb
	@./scripts/require.sh debootstrap:debootstrap systemd-nspawn:systemd-container python3:python3 \
	    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
	@./tests/system/run

clean:
	cargo clean
	rm -rf run
