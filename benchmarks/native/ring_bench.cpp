// The ring beside its peers, paired in one process; ../bench_ring_native.py builds and runs this, and makes a table.
//
// usage: ring_bench [ROUNDS [ROW]]. Prints a line for each measurement: row, queue, nanoseconds per record.
#include <cstring>

#include "queues.hpp"

namespace {

struct Side {
    const char *queue;
    double (*measure)(uint32_t items);
};

struct Row {
    const char *name;
    std::vector<Side> sides;
};

// Any number of producers and consumers is allowed, whether or not there are more than one.
template <template <class, unsigned> class Measure, unsigned N, bool GROWS = false> std::vector<Side> mpmc() {
    return {
        {"ours", Measure<Ours<false, false>, N>::run},
#ifdef HAVE_DPDK
        {"dpdk", Measure<Dpdk<false, false>, N>::run},
#endif
#ifdef HAVE_MOODYCAMEL
        {"moodycamel", Measure<Moodycamel<false, GROWS>, N>::run},
        {"moodycamel tokens", Measure<Moodycamel<true, GROWS>, N>::run},
#endif
#ifdef HAVE_ATOMIC_QUEUE
        {"atomic_queue", Measure<AtomicQueue<false>, N>::run},
#endif
#ifdef HAVE_BOOST
        {"boost", Measure<BoostQueue, N>::run},
#endif
    };
}

// Any number of producers, one consumer: the preloader's traffic. From C only: its Python ring takes by the MPMC functions.
template <template <class, unsigned> class Measure, unsigned N> std::vector<Side> mpsc() {
    return {
        {"ours", Measure<Ours<false, true>, N>::run},
#ifdef HAVE_DPDK
        {"dpdk", Measure<Dpdk<false, true>, N>::run},
#endif
#ifdef HAVE_MOODYCAMEL
        {"moodycamel", Measure<Moodycamel<false, false>, N>::run},
        {"moodycamel tokens", Measure<Moodycamel<true, false>, N>::run},
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
    std::vector<Row> all = {
        {"one thread", mpmc<Alone, 1>()},
        {"one thread, MPSC", mpsc<Alone, 1>()},
        {"one thread, SPSC", spsc<Alone, 1>()},
        {"one thread, batches of 16", mpmc<Alone, 16>()},
        {"one thread, batches of 16, SPSC", spsc<Alone, 16>()},
        {"1P1C", mpmc<OneToOne, 1>()},
        {"1P1C, MPSC", mpsc<OneToOne, 1>()},
        {"1P1C, SPSC", spsc<OneToOne, 1>()},
        {"1P1C, batches of 16", mpmc<OneToOne, 16>()},
        {"1P1C, batches of 16, SPSC", spsc<OneToOne, 16>()},
    };
    if (std::thread::hardware_concurrency() >= 4) { // on fewer cores they would measure the scheduler
        all.push_back({"2P2C", mpmc<TwoToTwo, 1, true>()});
        all.push_back({"2P2C, batches of 16", mpmc<TwoToTwo, 16, true>()});
    }
    all[0].sides.push_back({"two exchanges", two_exchanges});
    return all;
}

// So many records that a measurement takes about as long for every queue, however fast it is.
uint32_t items_for(const Side &side) {
    constexpr double MEASURED_NS = 40e6;
    constexpr uint32_t FEW = 64 * PREPARED;
    double items = MEASURED_NS / side.measure(FEW);
    return items < FEW ? FEW : uint32_t(items) / PREPARED * PREPARED;
}

} // namespace

int main(int count, char **words) {
    int rounds = count > 1 ? std::atoi(words[1]) : 7;
    pin(0);
    for (const Row &row : rows()) {
        if (count > 2 && std::strcmp(words[2], row.name) != 0) continue;
        std::vector<uint32_t> items;
        for (const Side &side : row.sides) items.push_back(items_for(side));
        for (int round = 0; round < rounds; round++) {
            for (size_t at = 0; at < row.sides.size(); at++) {
                double took = row.sides[at].measure(items[at]);
                std::printf("%s\t%s\t%.4f\n", row.name, row.sides[at].queue, took);
                std::fflush(stdout);
            }
        }
    }
}
