#!/bin/sh
# The ring's tests on every Python that can be had: pythons.sh [FOLDER]
#
# FOLDER (default: build/pythons) keeps interpreters and environments between runs. Every python3.11, 3.12 and 3.13 on
# PATH or under pyenv is used as it is; a free-threaded 3.13 is built from the distribution's source package, with apt-get
# and a C compiler, where python3.13t is not on PATH. What cannot be had is said, and is no failure. The last line is the
# verdict.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$root/build/pythons}
mkdir -p "$work" && work=$(cd "$work" && pwd) || exit 1
tools="pytest pytest-timeout hypothesis<6.140 numpy>=2,<2.4 setuptools>=80"
failed=""
passed=""
absent=""

find_python() { # 3.12 -> a path, or nothing
    for candidate in "$(command -v "python$1")" "$HOME/.pyenv/versions/$1".*/bin/python; do
        "$candidate" -c '' 2>/dev/null && { echo "$candidate"; return; }
    done
}

build_free_threaded() { # -> a path, or nothing; minutes, once
    made=$work/free-threaded/bin/python3.13t
    [ -x "$made" ] && { echo "$made"; return; }
    source=$work/source
    rm -rf "$source" && mkdir -p "$source/lists/partial" "$source/cache" "$source/tree" || return
    mirror=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' /etc/apt/sources.list.d/*.sources \
        /etc/apt/sources.list 2>/dev/null | head -1)
    [ -n "$mirror" ] || return
    echo "deb-src $mirror trixie main" >"$source/sources.list"
    options="-qq -o Dir::State::lists=$source/lists -o Dir::Cache=$source/cache -o APT::Sandbox::User=root \
        -o Dir::Etc::sourcelist=$source/sources.list -o Dir::Etc::sourceparts=/dev/null"
    (
        cd "$source" &&
            apt-get $options update && apt-get $options source --download-only python3.13 &&
            tar xf python3.13_*.orig.tar.* -C tree --strip-components=1 && cd tree &&
            ./configure -q --disable-gil --disable-test-modules --prefix="$work/free-threaded" &&
            make -s -j"$(getconf _NPROCESSORS_ONLN)" && make -s install
    ) >"$work/free-threaded.log" 2>&1
    [ -x "$made" ] && echo "$made"
}

# The ring alone, without the package that it is part of: what an interpreter needs for which not all of the
# package's dependencies are made.
ring_alone() { # into
    mkdir -p "$1/preloader/replay" "$1/preloader/prediction" "$1/tests/contract" || return
    echo "[pytest]" >"$1/pytest.ini" # or the settings of a repository around it would put its package first
    : >"$1/preloader/__init__.py"
    : >"$1/preloader/replay/__init__.py"
    cp "$root/preloader/errors.py" "$1/preloader/" && cp "$root/preloader/replay/clock.py" "$1/preloader/replay/"
    cp "$root"/tests/contract/*ring*.py "$root/tests/stress/test_ring_threads.py" "$1/tests/contract/"
    cp -R "$root/preloader/ring" "$1/preloader/" && rm -f "$1"/preloader/ring/*.so
    cp -R "$root/native" "$root/setup.py" "$1/"
    printf '[project]\nname = "preloader"\nversion = "0"\n[tool.setuptools]\npackages = ["preloader", "preloader.ring"]\n' >"$1/pyproject.toml"
}

check() { # name python
    if [ -z "$2" ]; then
        absent="$absent $1"
        echo "== $1: cannot be had here"
        return
    fi
    tree=$work/$1
    echo "== $1: $("$2" -VV | tr '\n' ' ')"
    rm -rf "$tree" && ring_alone "$tree" && cd "$tree" &&
        { [ -d "$work/venv-$1" ] || "$2" -m venv "$work/venv-$1"; } &&
        (IFS=' '; set -f; "$work/venv-$1/bin/python" -m pip install -qq --only-binary=:all: $tools) &&
        "$work/venv-$1/bin/python" setup.py -q build_ext --inplace >"$work/$1.log" 2>&1 &&
        "$work/venv-$1/bin/python" -W error -c 'from preloader.ring import BACKEND; assert BACKEND == "c"' &&
        "$work/venv-$1/bin/python" -m pytest -q -p no:cacheprovider -W error --timeout 120 tests
    if [ $? -eq 0 ]; then passed="$passed $1"; else failed="$failed $1"; fi
}

for version in 3.11 3.12 3.13; do check "$version" "$(find_python $version)"; done
free=$(command -v python3.13t || build_free_threaded)
check 3.13t "$free"
echo "passed:${passed:- none}; failed:${failed:- none}; absent:${absent:- none}"
[ -z "$failed" ] && [ -n "$passed" ]
