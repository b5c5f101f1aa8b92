// The ring and its peers, each behind the same two classes, used as its own documentation recommends for a bounded
// queue: memory reserved beforehand, no blocking, tokens and bulk calls where there are any.
#pragma once

#include <cstdlib>
#include <new>

#include "ring.h"
#include "timing.hpp"

// ONE_IN, ONE_OUT: the queue is told that there is one producer, one consumer.
template <bool ONE_IN, bool ONE_OUT> struct Ours {
    preloader_ring ring;
    void *memory;
    Ours() {
        size_t bytes = (preloader_ring_bytes(CAPACITY) + 127) / 128 * 128;
        memory = std::aligned_alloc(128, bytes);
        if (preloader_ring_init(&ring, memory, bytes, CAPACITY) != PRELOADER_RING_OK) std::abort();
    }
    ~Ours() { std::free(memory); }
    struct Putter {
        preloader_ring ring;
        explicit Putter(Ours &queue) : ring(queue.ring) {}
        template <unsigned N> unsigned put(const preloader_record *records, unsigned count) {
            if constexpr (N == 1) {
                return ONE_IN ? preloader_ring_try_put_single(&ring, records) : preloader_ring_try_put(&ring, records);
            } else {
                return ONE_IN ? preloader_ring_put_many_single(&ring, records, count)
                              : preloader_ring_put_many(&ring, records, count);
            }
        }
    };
    struct Getter {
        preloader_ring ring;
        explicit Getter(Ours &queue) : ring(queue.ring) {}
        template <unsigned N> unsigned get(preloader_record *records) {
            if constexpr (N == 1) {
                return ONE_OUT ? preloader_ring_try_get_single(&ring, records) : preloader_ring_try_get(&ring, records);
            } else {
                return ONE_OUT ? preloader_ring_get_many_single(&ring, records, N)
                               : preloader_ring_get_many(&ring, records, N);
            }
        }
    };
};

#if __has_include(<concurrentqueue/concurrentqueue.h>)
#define HAVE_MOODYCAMEL
#include <concurrentqueue/concurrentqueue.h>

// Its queue has no bound of its own: try_enqueue never takes more memory than was reserved. But what one producer took
// of it stays with that one, and another may never get any; so with several producers it GROWS.
template <bool TOKENS, bool GROWS> struct Moodycamel {
    moodycamel::ConcurrentQueue<preloader_record> queue{CAPACITY, TOKENS ? 2u : 0u, TOKENS ? 0u : 2u};
    struct Putter {
        moodycamel::ConcurrentQueue<preloader_record> &queue;
        moodycamel::ProducerToken token;
        explicit Putter(Moodycamel &of) : queue(of.queue), token(of.queue) {}
        template <unsigned N> unsigned put(const preloader_record *records, unsigned count) {
            if constexpr (N == 1) {
                if (GROWS) return TOKENS ? queue.enqueue(token, *records) : queue.enqueue(*records);
                return TOKENS ? queue.try_enqueue(token, *records) : queue.try_enqueue(*records);
            } else {
                bool all = GROWS ? (TOKENS ? queue.enqueue_bulk(token, records, count)
                                           : queue.enqueue_bulk(records, count))
                                 : (TOKENS ? queue.try_enqueue_bulk(token, records, count)
                                           : queue.try_enqueue_bulk(records, count));
                return all ? count : 0;
            }
        }
    };
    struct Getter {
        moodycamel::ConcurrentQueue<preloader_record> &queue;
        moodycamel::ConsumerToken token;
        explicit Getter(Moodycamel &of) : queue(of.queue), token(of.queue) {}
        template <unsigned N> unsigned get(preloader_record *records) {
            if constexpr (N == 1) {
                return TOKENS ? queue.try_dequeue(token, *records) : queue.try_dequeue(*records);
            } else {
                return unsigned(TOKENS ? queue.try_dequeue_bulk(token, records, N)
                                       : queue.try_dequeue_bulk(records, N));
            }
        }
    };
};
#endif

#if __has_include(<atomic_queue/atomic_queue.h>)
#define HAVE_ATOMIC_QUEUE
#include <atomic_queue/atomic_queue.h>

template <bool SINGLE> struct AtomicQueue {
    using Queue = atomic_queue::AtomicQueue2<preloader_record, CAPACITY, true, true, false, SINGLE>;
    Queue queue;
    struct Putter {
        Queue &queue;
        explicit Putter(AtomicQueue &of) : queue(of.queue) {}
        template <unsigned N> unsigned put(const preloader_record *records, unsigned count) {
            unsigned done = 0;
            while (done < count && queue.try_push(records[done])) done++;
            return done;
        }
    };
    struct Getter {
        Queue &queue;
        explicit Getter(AtomicQueue &of) : queue(of.queue) {}
        template <unsigned N> unsigned get(preloader_record *records) {
            unsigned done = 0;
            while (done < N && queue.try_pop(records[done])) done++;
            return done;
        }
    };
};
#endif

#if __has_include(<rte_ring_elem.h>)
#define HAVE_DPDK
#include <rte_ring_elem.h>

template <bool ONE_IN, bool ONE_OUT> struct Dpdk {
    static constexpr unsigned SIZE = sizeof(preloader_record);
    rte_ring *ring;
    Dpdk() {
        size_t bytes = size_t(rte_ring_get_memsize_elem(SIZE, CAPACITY));
        ring = static_cast<rte_ring *>(std::aligned_alloc(128, (bytes + 127) / 128 * 128));
        unsigned flags = (ONE_IN ? RING_F_SP_ENQ : 0) | (ONE_OUT ? RING_F_SC_DEQ : 0);
        if (rte_ring_init(ring, "bench", CAPACITY, flags) != 0) std::abort();
    }
    ~Dpdk() { std::free(ring); }
    struct Putter {
        rte_ring *ring;
        explicit Putter(Dpdk &of) : ring(of.ring) {}
        template <unsigned N> unsigned put(const preloader_record *records, unsigned count) {
            if constexpr (N == 1) {
                void *one = const_cast<preloader_record *>(records); // it is only read
                return !(ONE_IN ? rte_ring_sp_enqueue_elem(ring, one, SIZE)
                                : rte_ring_mp_enqueue_elem(ring, one, SIZE));
            } else {
                return ONE_IN ? rte_ring_sp_enqueue_burst_elem(ring, records, SIZE, count, nullptr)
                              : rte_ring_mp_enqueue_burst_elem(ring, records, SIZE, count, nullptr);
            }
        }
    };
    struct Getter {
        rte_ring *ring;
        explicit Getter(Dpdk &of) : ring(of.ring) {}
        template <unsigned N> unsigned get(preloader_record *records) {
            if constexpr (N == 1) {
                return !(ONE_OUT ? rte_ring_sc_dequeue_elem(ring, records, SIZE)
                                 : rte_ring_mc_dequeue_elem(ring, records, SIZE));
            } else {
                return ONE_OUT ? rte_ring_sc_dequeue_burst_elem(ring, records, SIZE, N, nullptr)
                               : rte_ring_mc_dequeue_burst_elem(ring, records, SIZE, N, nullptr);
            }
        }
    };
};
#endif

#if __has_include(<boost/lockfree/queue.hpp>)
#define HAVE_BOOST
#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

struct BoostQueue {
    using Queue = boost::lockfree::queue<preloader_record, boost::lockfree::capacity<CAPACITY>>;
    Queue queue;
    struct Putter {
        Queue &queue;
        explicit Putter(BoostQueue &of) : queue(of.queue) {}
        template <unsigned N> unsigned put(const preloader_record *records, unsigned count) {
            unsigned done = 0;
            while (done < count && queue.bounded_push(records[done])) done++;
            return done;
        }
    };
    struct Getter {
        Queue &queue;
        explicit Getter(BoostQueue &of) : queue(of.queue) {}
        template <unsigned N> unsigned get(preloader_record *records) {
            unsigned done = 0;
            while (done < N && queue.pop(records[done])) done++;
            return done;
        }
    };
};

struct BoostSpsc {
    using Queue = boost::lockfree::spsc_queue<preloader_record, boost::lockfree::capacity<CAPACITY>>;
    Queue queue;
    struct Putter {
        Queue &queue;
        explicit Putter(BoostSpsc &of) : queue(of.queue) {}
        template <unsigned N> unsigned put(const preloader_record *records, unsigned count) {
            if constexpr (N == 1) return queue.push(*records);
            else return unsigned(queue.push(records, count));
        }
    };
    struct Getter {
        Queue &queue;
        explicit Getter(BoostSpsc &of) : queue(of.queue) {}
        template <unsigned N> unsigned get(preloader_record *records) {
            if constexpr (N == 1) return queue.pop(*records);
            else return unsigned(queue.pop(records, N));
        }
    };
};
#endif
