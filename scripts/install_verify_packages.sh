#!/bin/sh
# Installs what `make verify-native` uses, on Debian and Ubuntu. Run as root. Whatever cannot be had is named, and the
# steps that need it say so and count as skipped.
set -eu
cd "$(dirname "$0")/.."
private="$PWD/build/verify/cbmc"

apt-get update -qq
for package in gcc clang make valgrind gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "not installed: $package"
done

# CBMC: from the system's own release where that has it, else from a newer one, unpacked beside and never installed: it
# brings the C library that it was linked with.
if command -v cbmc >/dev/null || apt-get install -y -qq --no-install-recommends cbmc >/dev/null 2>&1; then
    cbmc --version
    exit 0
fi
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
if [ -z "$mirror" ]; then
    echo "not installed: cbmc (this release has none, and only Debian bookworm is helped out with trixie's)"
    exit 0
fi
mkdir -p "$private/lists/partial" "$private/archives/partial" "$private/root"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$private/sources.list"
newer_apt() {
    apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$private/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$private/lists" -o Dir::Cache="$private" \
        -o Dir::State::status=/dev/null "$@"
}
newer_apt update
(cd "$private/archives" && newer_apt download cbmc minisat libc6 libgcc-s1 libstdc++6)
for package in "$private"/archives/*.deb; do dpkg -x "$package" "$private/root"; done
rm -rf "$private/lists" "$private/archives"
libraries="$private/root/usr/lib"
cat >"$private/cbmc" <<END
#!/bin/sh
exec "$libraries/x86_64-linux-gnu/ld-linux-x86-64.so.2" --library-path "$libraries/x86_64-linux-gnu:$libraries" \\
    "$private/root/usr/bin/cbmc" "\$@"
END
chmod +x "$private/cbmc"
"$private/cbmc" --version
