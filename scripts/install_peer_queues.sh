#!/usr/bin/env bash
# The C and C++ queues that benchmarks/bench_ring_native.py measures beside the ring, as Debian and Ubuntu package them.
set -euo pipefail
packages=(g++ pkg-config libatomic-queue-dev libboost-dev libconcurrentqueue-dev libdpdk-dev)
if [ "$(id -u)" = 0 ]; then sudo=(); else sudo=(sudo); fi
"${sudo[@]}" apt-get install --yes --no-install-recommends "${packages[@]}"
