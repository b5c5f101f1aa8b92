// How a queue is driven and timed: the same loops for every one of them.
#pragma once

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "record.h"

constexpr unsigned CAPACITY = 1024;

inline double seconds(clockid_t clock) {
    timespec now;
    clock_gettime(clock, &now);
    return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

// On a core of its own, as far as there are cores; macOS has no such call, its scheduler decides.
inline void pin(unsigned number) {
#ifdef __linux__
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(number % std::thread::hardware_concurrency(), &cores);
    pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
#else
    (void)number;
#endif
}

// What a thread does that finds the queue full or empty: it waits a little, and now and then gives its core away.
class Patience {
    unsigned spins = 0;

  public:
    void wait() {
        if (++spins % 128 == 0) {
            sched_yield();
        } else {
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#elif defined(__aarch64__)
            asm volatile("yield");
#endif
        }
    }
};

// The records that are put, made beforehand; the sum of what was taken is compared with the sum of what was put.
constexpr uint32_t PREPARED = 64;

struct Prepared {
    alignas(128) preloader_record records[PREPARED];
    Prepared() {
        for (uint32_t at = 0; at < PREPARED; at++) records[at] = {at, uint16_t(at), 1, 0, at, 7};
    }
};
inline const Prepared prepared;

inline const preloader_record *records_from(uint32_t number) {
    return &prepared.records[number % PREPARED];
}

template <unsigned N, class Putter> void produce(Putter &putter, uint32_t items) {
    Patience patience;
    for (uint32_t sent = 0; sent < items;) {
        unsigned count = N - sent % N; // what was refused goes first
        unsigned taken = putter.template put<N>(records_from(sent), count);
        if (!taken) patience.wait();
        sent += taken;
    }
}

template <unsigned N, class Getter> uint64_t consume(Getter &getter, std::atomic<int64_t> *left, uint32_t items) {
    Patience patience;
    preloader_record batch[N];
    uint64_t sum = 0;
    for (uint32_t got = 0; left ? left->load(std::memory_order_relaxed) > 0 : got < items;) {
        unsigned taken = getter.template get<N>(batch);
        for (unsigned at = 0; at < taken; at++) sum += batch[at].resource;
        if (!taken) patience.wait();
        else if (left) left->fetch_sub(taken, std::memory_order_relaxed);
        got += taken;
    }
    return sum;
}

inline void expect(uint64_t sum, uint64_t producers, uint64_t items) {
    if (sum == producers * (items / PREPARED * (PREPARED * (PREPARED - 1) / 2))) return;
    std::fputs("a queue lost or doubled records\n", stderr);
    std::exit(1);
}

// One thread puts N and takes N; nanoseconds of its processor time per record.
template <class Queue, unsigned N> double alone(uint32_t items) {
    Queue queue;
    typename Queue::Putter putter(queue);
    typename Queue::Getter getter(queue);
    preloader_record batch[N];
    uint64_t sum = 0;
    double begin = seconds(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t sent = 0; sent < items;) {
        sent += putter.template put<N>(records_from(sent), N);
        unsigned taken = getter.template get<N>(batch);
        for (unsigned at = 0; at < taken; at++) sum += batch[at].resource;
    }
    double took = seconds(CLOCK_THREAD_CPUTIME_ID) - begin;
    expect(sum, 1, items);
    return 1e9 * took / items;
}

// What no queue that moves two shared cursors with one instruction each can stay below.
inline double two_exchanges(uint32_t items) {
    alignas(128) static std::atomic<uint64_t> one{0};
    alignas(128) static std::atomic<uint64_t> other{0};
    double begin = seconds(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t done = 0; done < items; done++) {
        for (std::atomic<uint64_t> *cursor : {&one, &other}) {
            uint64_t at = cursor->load(std::memory_order_relaxed);
            cursor->compare_exchange_weak(at, at + 1, std::memory_order_relaxed);
        }
    }
    return 1e9 * (seconds(CLOCK_THREAD_CPUTIME_ID) - begin) / items;
}

// So many producers and consumers, batches of N; nanoseconds of wall time per record.
template <class Queue, unsigned N, unsigned SIDE> double between(uint32_t items) {
    Queue queue;
    std::atomic<unsigned> waiting{2 * SIDE};
    std::atomic<int64_t> left{int64_t(SIDE) * items};
    std::atomic<uint64_t> sum{0};
    double begins[2 * SIDE];
    std::vector<std::thread> threads;
    auto start = [&](unsigned number) {
        pin(number);
        waiting--;
        while (waiting) sched_yield();
        begins[number] = seconds(CLOCK_MONOTONIC);
    };
    for (unsigned number = 0; number < 2 * SIDE; number++) {
        threads.emplace_back([&, number] {
            if (number % 2) {
                typename Queue::Getter getter(queue);
                start(number);
                sum += consume<N>(getter, SIDE > 1 ? &left : nullptr, items);
            } else {
                typename Queue::Putter putter(queue);
                start(number);
                produce<N>(putter, items);
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    double end = seconds(CLOCK_MONOTONIC), begin = begins[0];
    for (double other : begins) begin = other < begin ? other : begin;
    expect(sum, SIDE, items);
    return 1e9 * (end - begin) / (double(SIDE) * items);
}
