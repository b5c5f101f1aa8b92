// The ring beside its peers, paired in one process; ../bench_ring_native.py builds and runs this, and makes a table.
//
// usage: ring_bench [ROUNDS [ROW [QUEUES]]]. Prints a line for each measurement: row, queue, nanoseconds per record.
#include <cstring>

#include "queues.hpp"

namespace {

struct Side {
    const char *queue;
    double (*measure)(uint32_t items);
};

struct Row {
    const char *name;
    uint32_t items;
    std::vector<Side> sides;
};

// Any number of producers and consumers is allowed, whether or not there are more than one.
template <template <class, unsigned> class Measure, unsigned N> std::vector<Side> mpmc() {
    return {
        {"ours", Measure<Ours<false, false>, N>::run},
#ifdef HAVE_DPDK
        {"dpdk", Measure<Dpdk<false, false>, N>::run},
#endif
#ifdef HAVE_MOODYCAMEL
        {"moodycamel", Measure<Moodycamel<false>, N>::run},
        {"moodycamel tokens", Measure<Moodycamel<true>, N>::run},
#endif
#ifdef HAVE_ATOMIC_QUEUE
        {"atomic_queue", Measure<AtomicQueue<false>, N>::run},
#endif
#ifdef HAVE_BOOST
        {"boost", Measure<BoostQueue, N>::run},
#endif
    };
}

// Any number of producers, one consumer: how the preloader uses it.
template <template <class, unsigned> class Measure, unsigned N> std::vector<Side> mpsc() {
    return {
        {"ours", Measure<Ours<false, true>, N>::run},
#ifdef HAVE_DPDK
        {"dpdk", Measure<Dpdk<false, true>, N>::run},
#endif
#ifdef HAVE_MOODYCAMEL
        {"moodycamel", Measure<Moodycamel<false>, N>::run},
        {"moodycamel tokens", Measure<Moodycamel<true>, N>::run},
#endif
    };
}

// One producer, one consumer, and the queue is told so.
template <template <class, unsigned> class Measure, unsigned N> std::vector<Side> spsc() {
    return {
        {"ours", Measure<Ours<true, true>, N>::run},
#ifdef HAVE_DPDK
        {"dpdk", Measure<Dpdk<true, true>, N>::run},
#endif
#ifdef HAVE_ATOMIC_QUEUE
        {"atomic_queue", Measure<AtomicQueue<true>, N>::run},
#endif
#ifdef HAVE_BOOST
        {"boost", Measure<BoostSpsc, N>::run},
#endif
    };
}

template <class Queue, unsigned N> struct Alone {
    static double run(uint32_t items) { return alone<Queue, N>(items); }
};
template <class Queue, unsigned N> struct OneToOne {
    static double run(uint32_t items) { return between<Queue, N, 1>(items); }
};
template <class Queue, unsigned N> struct TwoToTwo {
    static double run(uint32_t items) { return between<Queue, N, 2>(items); }
};

std::vector<Row> rows() {
    constexpr uint32_t K = 1u << 10;
    std::vector<Row> all = {
        {"one thread", 2048 * K, mpmc<Alone, 1>()},
        {"one thread, MPSC", 2048 * K, mpsc<Alone, 1>()},
        {"one thread, SPSC", 2048 * K, spsc<Alone, 1>()},
        {"one thread, batches of 16", 4096 * K, mpmc<Alone, 16>()},
        {"one thread, batches of 16, SPSC", 4096 * K, spsc<Alone, 16>()},
        {"1P1C", 384 * K, mpmc<OneToOne, 1>()},
        {"1P1C, MPSC", 384 * K, mpsc<OneToOne, 1>()},
        {"1P1C, SPSC", 384 * K, spsc<OneToOne, 1>()},
        {"1P1C, batches of 16", 1024 * K, mpmc<OneToOne, 16>()},
        {"1P1C, batches of 16, SPSC", 1024 * K, spsc<OneToOne, 16>()},
        {"2P2C", 96 * K, mpmc<TwoToTwo, 1>()},
        {"2P2C, batches of 16", 256 * K, mpmc<TwoToTwo, 16>()},
    };
    all[0].sides.push_back({"two exchanges", two_exchanges});
    return all;
}

} // namespace

int main(int count, char **words) {
    int rounds = count > 1 ? std::atoi(words[1]) : 7;
    pin(0);
    for (const Row &row : rows()) {
        if (count > 2 && std::strcmp(words[2], row.name) != 0) continue;
        for (int round = -1; round < rounds; round++) {
            for (const Side &side : row.sides) {
                if (count > 3 && !std::strstr(words[3], side.queue)) continue;
                double took = side.measure(round < 0 ? row.items / 8 : row.items);
                if (round >= 0) std::printf("%s\t%s\t%.4f\n", row.name, side.queue, took);
                std::fflush(stdout);
            }
        }
    }
}
