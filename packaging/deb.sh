#!/bin/sh
# Packs what `make install` installs into two packages below target/deb: polyport, the daemon with
# its plugins and units, and polyport-dev, the header. Nothing is fetched and nothing is built here.
set -eu
cd "$(dirname "$0")/.."
umask 022

# Two builds of one commit are one package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)${DEB_REVISION:--1}
architecture=$(dpkg --print-architecture)
out=target/deb
rm -rf $out/polyport $out/polyport-dev
mkdir -p $out
make --no-print-directory -s install DESTDIR="$PWD/$out/polyport" PREFIX=/usr

# --- polyport-dev: what a plugin is built with ----------------------------------------------------
mkdir -p $out/polyport-dev/usr $out/polyport-dev/DEBIAN
mv $out/polyport/usr/include $out/polyport-dev/usr/
mkdir -p $out/polyport-dev/usr/share
mv $out/polyport/usr/share/pkgconfig $out/polyport-dev/usr/share/
mkdir -p $out/polyport-dev/usr/share/polyport
mv $out/polyport/usr/share/polyport/template $out/polyport-dev/usr/share/polyport/

# --- polyport -------------------------------------------------------------------------------------
control=$out/polyport/DEBIAN
mkdir -p $control
strip --strip-debug $out/polyport/usr/bin/polyport $out/polyport/usr/lib/polyport/plugins/*.so
for script in preinst postinst prerm postrm; do
    install -m 0755 packaging/debian/$script $control/$script
done
install -D -m 0644 packaging/debian/lintian-overrides \
    $out/polyport/usr/share/lintian/overrides/polyport
(cd $out/polyport && find etc -type f -printf '/%p\n' | sort) > $control/conffiles
# The oldest C library that has every symbol that is used.
needs=$(objdump -T $out/polyport/usr/bin/polyport $out/polyport/usr/lib/polyport/plugins/*.so \
    | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1)

maintainer='Polyport maintainers <maintainers@example.org>'
describe() {
    package=$1 depends=$2 summary=$3
    doc=$out/$package/usr/share/doc/$package
    install -D -m 0644 packaging/debian/copyright $doc/copyright
    gzip -9nc CHANGELOG.md > $doc/changelog.gz
    gzip -9nc > $doc/changelog.Debian.gz <<END
polyport ($version) unstable; urgency=medium

  * Built from the sources; what is new in them is in changelog.gz.

 -- $maintainer  $(date -u -R -d @$SOURCE_DATE_EPOCH)
END
    size=$(du -sk --exclude=DEBIAN $out/$package | cut -f 1)
    cat > $out/$package/DEBIAN/control <<END
Package: $package
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Section: net
Priority: optional
Installed-Size: $size
Depends: $depends${recommends:+
Recommends: $recommends}
Description: $summary
 Polyport owns sockets, processes and limits; each service is a plugin that
 speaks one protocol.
END
    # For dpkg --verify.
    (cd $out/$package && find * -path DEBIAN -prune -o -type f -print0 | sort -z \
        | xargs -0 md5sum > DEBIAN/md5sums)
    dpkg-deb --root-owner-group -Zxz --build $out/$package $out >&2
}

recommends=logrotate \
describe polyport "libc6 (>= $needs), libgcc-s1, systemd (>= 252), init-system-helpers (>= 1.65)" \
    "gateway daemon whose protocols are plugins"
describe polyport-dev "libc6-dev" "header for plugins of the Polyport gateway"
ls $out/*_"$version"_"$architecture".deb
