/* What the compiler calls under -fsanitize=thread, mapped to steps of the machine. */
#include <string.h>

#include "steps.h"

static uint64_t apply(operation_kind kind, uint64_t old, uint64_t operand) {
    switch (kind) {
    case ADD: return old + operand;
    case SUB: return old - operand;
    case AND: return old & operand;
    case OR: return old | operand;
    case XOR: return old ^ operand;
    default: return operand;
    }
}

static uint64_t read_modify(operation_kind kind, void *address, int size, uint64_t operand, int order) {
    if (running_thread() >= 0)
        return take_step(&(operation){.kind = kind, .order = order, .size = size, .address = address,
                                      .operand = operand}).value;
    uint64_t old = memory_read(address, size);
    memory_write(address, size, apply(kind, old, operand));
    return old;
}

static uint64_t load(const void *address, int size, int order) {
    if (running_thread() < 0) return memory_read(address, size);
    return take_step(&(operation){.kind = LOAD, .order = order, .size = size, .address = (void *)(uintptr_t)address})
        .value;
}

static void store(void *address, int size, uint64_t value, int order) {
    if (running_thread() < 0)
        memory_write(address, size, value);
    else
        take_step(&(operation){.kind = STORE, .order = order, .size = size, .address = address, .operand = value});
}

static outcome compare(operation next) {
    if (running_thread() >= 0) return take_step(&next);
    outcome result = {memory_read(next.address, next.size), false};
    result.stored = result.value == next.expected;
    if (result.stored) memory_write(next.address, next.size, next.operand);
    return result;
}

static void plain(const void *address, size_t size, bool write) {
    if (running_thread() < 0) return;
    machine_plain(running_thread(), address, size, write);
    for (size_t done = 0; !write && done < size; done += 8) {
        uint64_t value = 0;
        memcpy(&value, (const char *)address + done, size - done < 8 ? size - done : 8);
        note_plain_read(value);
    }
}

#define ATOMIC(bits, type)                                                                                            \
    type __tsan_atomic##bits##_load(const volatile type *at, int order) {                                             \
        return (type)load((const void *)at, bits / 8, order);                                                         \
    }                                                                                                                 \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order) {                                      \
        store((void *)at, bits / 8, value, order);                                                                    \
    }                                                                                                                 \
    READ_MODIFY(bits, type, exchange, EXCHANGE)                                                                       \
    READ_MODIFY(bits, type, fetch_add, ADD)                                                                           \
    READ_MODIFY(bits, type, fetch_sub, SUB)                                                                           \
    READ_MODIFY(bits, type, fetch_and, AND)                                                                           \
    READ_MODIFY(bits, type, fetch_or, OR)                                                                             \
    READ_MODIFY(bits, type, fetch_xor, XOR)                                                                           \
    COMPARE(bits, type, weak, true)                                                                                   \
    COMPARE(bits, type, strong, false)                                                                                \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected, type desired, int order,        \
                                                    int failure) {                                                    \
        return (type)compare((operation){CAS, order, failure, false, bits / 8, (void *)at, desired, expected}).value; \
    }

#define READ_MODIFY(bits, type, name, kind)                                                       \
    type __tsan_atomic##bits##_##name(volatile type *at, type operand, int order) {               \
        return (type)read_modify(kind, (void *)at, bits / 8, operand, order);                     \
    }

#define COMPARE(bits, type, strength, weak)                                                                         \
    int __tsan_atomic##bits##_compare_exchange_##strength(volatile type *at, type *expected, type desired, int order, \
                                                          int failure) {                                            \
        outcome got =                                                                                               \
            compare((operation){CAS, order, failure, weak, bits / 8, (void *)at, desired, *expected});              \
        if (!got.stored) *expected = (type)got.value;                                                               \
        return got.stored;                                                                                          \
    }

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

#define PLAIN(size)                                                             \
    void __tsan_read##size(void *at) { plain(at, size, false); }                \
    void __tsan_write##size(void *at) { plain(at, size, true); }                \
    void __tsan_unaligned_read##size(void *at) { plain(at, size, false); }      \
    void __tsan_unaligned_write##size(void *at) { plain(at, size, true); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *at, size_t size) { plain(at, size, false); }
void __tsan_write_range(void *at, size_t size) { plain(at, size, true); }

/* The code under test is compiled with -Dmemcpy=explorer_memcpy and so on: the real runtime intercepts the functions. */
void *explorer_memcpy(void *to, const void *from, size_t size) {
    plain(from, size, false);
    plain(to, size, true);
    return memcpy(to, from, size);
}

void *explorer_memset(void *to, int byte, size_t size) {
    plain(to, size, true);
    return memset(to, byte, size);
}

void __tsan_atomic_thread_fence(int order) {
    if (running_thread() >= 0) take_step(&(operation){.kind = FENCE, .order = order});
}
void __tsan_atomic_signal_fence(int order) { (void)order; }
void __tsan_init(void) {}
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void) {}
