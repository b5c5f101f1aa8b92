#!/bin/sh
# The ring's Python tests on emulated ARM64: python_aarch64.sh FOLDER
#
# An ARM64 Python 3.11 is unpacked from Debian bookworm's packages into FOLDER, never installed, and NumPy's and the test
# tools' wheels beside it. The compiled ring is cross-compiled against that Python's headers. Ends with 75 and a sentence
# where something cannot be had. The last line of a run is pytest's.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
python="$root/.venv/bin/python"
mkdir -p "$1" && cd "$1"
here=$PWD
absent() { echo "$1"; exit 75; }

emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || absent "qemu-aarch64 is not installed"
compiler=$(command -v aarch64-linux-gnu-gcc) || absent "aarch64-linux-gnu-gcc is not installed"

if [ ! -e interpreter/usr/bin/python3.11 ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null |
        head -n 1)
    [ -n "$mirror" ] || absent "no package source of Debian bookworm is configured here"
    mkdir -p lists/partial archives/partial interpreter
    echo "deb [arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >sources.list
    foreign() {
        apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
            -o Dir::Etc::sourcelist="$here/sources.list" -o Dir::Etc::sourceparts=/dev/null \
            -o Dir::State::lists="$here/lists" -o Dir::Cache="$here" -o Dir::State::status=/dev/null "$@"
    }
    foreign update || absent "the package source cannot be reached"
    (cd archives && foreign download \
        python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11-dev libc6 libgcc-s1 libstdc++6 \
        zlib1g libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1)
    for package in archives/*.deb; do dpkg -x "$package" interpreter; done
    rm -rf lists archives
fi

if [ ! -e site/numpy ]; then
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --dest wheels \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
        'numpy>=2,<2.4' hypothesis pytest pytest-timeout iniconfig pluggy packaging pygments sortedcontainers \
        >pip.log 2>&1 || absent "the ARM64 wheels cannot be had: $(tail -n 1 pip.log)"
    mkdir -p site
    for wheel in wheels/*.whl; do "$python" -m zipfile -e "$wheel" site; done
fi

# The ring alone, with the few modules that it needs.
rm -rf tree && mkdir -p tree/preloader/replay tree/tests/contract
echo "[pytest]" >tree/pytest.ini # or the repository's own settings would put its package first
: >tree/preloader/__init__.py
: >tree/preloader/replay/__init__.py
cp "$root/preloader/errors.py" tree/preloader/
cp "$root/preloader/replay/clock.py" tree/preloader/replay/
cp -R "$root/preloader/ring" tree/preloader/
rm -f tree/preloader/ring/*.so
cp "$root/tests/contract/ring_samples.py" "$root/tests/contract/test_rings.py" \
    "$root/tests/contract/test_ring_memory.py" tree/tests/contract/
headers="$PWD/interpreter/usr/include"
"$compiler" -shared -fPIC -fvisibility=hidden -O2 -std=c11 -D_GNU_SOURCE -I"$headers/python3.11" -I"$headers" \
    "$root"/native/binding/*.c "$root/native/ring.c" -lm -o tree/preloader/ring/_native.cpython-311-aarch64-linux-gnu.so

cd tree
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$PWD:$PWD/../site"
arm64="$emulator -L ../interpreter ../interpreter/usr/bin/python3.11"
$arm64 -W error -c 'from preloader.ring import BACKEND; assert BACKEND == "c", BACKEND'
$arm64 -m pytest -q -p no:cacheprovider -W error --timeout 300 tests
