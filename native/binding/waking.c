/* Consumers that sleep and what wakes them: a descriptor of each one's own, or one that the caller shares. */
#include "binding.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

static void strike(int fd) {
    static const uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) continue; /* one that is full is rung already */
}

void wake(ring_object *self, uint32_t bits) {
    if (self->shared_fd >= 0) {
        strike(self->shared_fd);
        return;
    }
    for (int bit = 0; bits; bit++, bits >>= 1) {
        if (!(bits & 1)) continue;
        int fd = atomic_load_explicit(&self->wakeups[bit].write_fd, memory_order_acquire);
        if (fd >= 0) strike(fd);
    }
}

static int open_descriptors(int fds[2]) {
#ifdef __linux__
    fds[0] = fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fds[0] < 0 ? -1 : 0;
#else
    if (pipe(fds) < 0) return -1;
    for (int end = 0; end < 2; end++) {
        fcntl(fds[end], F_SETFD, FD_CLOEXEC);
        fcntl(fds[end], F_SETFL, fcntl(fds[end], F_GETFL) | O_NONBLOCK);
    }
    return 0;
#endif
}

void close_descriptors(ring_object *self) {
    for (int bit = 0; bit < MAX_CONSUMERS; bit++) {
        int read_fd = atomic_load(&self->wakeups[bit].read_fd), write_fd = atomic_load(&self->wakeups[bit].write_fd);
        if (read_fd >= 0) close(read_fd);
        if (write_fd >= 0 && write_fd != read_fd) close(write_fd);
    }
    if (self->shared_fd >= 0) close(self->shared_fd);
}

/* Return the bit of one more consumer, whose bit nobody else has; -1 where there are too many. */
static int take_bit(ring_object *self) {
    uint32_t taken = atomic_load_explicit(&self->consumers, memory_order_relaxed);
    for (;;) {
        int bit = 0;
        while (bit < MAX_CONSUMERS && taken >> bit & 1) bit++;
        if (bit == MAX_CONSUMERS || (self->shared_fd >= 0 && bit)) return -1;
        if (atomic_compare_exchange_weak_explicit(&self->consumers, &taken, taken | 1u << bit, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return bit;
    }
}

PyObject *ring_open_consumer(ring_object *self, PyObject *Py_UNUSED(ignored)) {
    int bit = take_bit(self);
    if (bit < 0)
        return PyErr_Format(PyExc_ValueError, "%s", self->shared_fd >= 0 ? "one consumer may wait at a wake_fd, and there is one"
                                                                         : "32 consumers may wait at a ring, and there are 32");
    wakeup *mine = &self->wakeups[bit];
    if (self->shared_fd < 0 && atomic_load_explicit(&mine->write_fd, memory_order_acquire) < 0) {
        int fds[2];
        if (open_descriptors(fds) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            atomic_fetch_and_explicit(&self->consumers, ~(1u << bit), memory_order_release);
            return NULL;
        }
        atomic_store_explicit(&mine->read_fd, fds[0], memory_order_release);
        atomic_store_explicit(&mine->write_fd, fds[1], memory_order_release);
    }
    return PyLong_FromLong(bit);
}

/* Return the bit that `argument` names; -1 with an error set where no consumer has it. */
static int bit_of(ring_object *self, PyObject *argument) {
    long bit = PyLong_AsLong(argument);
    if (bit == -1 && PyErr_Occurred()) return -1;
    if (bit >= 0 && bit < MAX_CONSUMERS && atomic_load_explicit(&self->consumers, memory_order_relaxed) >> bit & 1) return (int)bit;
    PyErr_Format(PyExc_ValueError, "the ring has no consumer %ld", bit);
    return -1;
}

PyObject *ring_close_consumer(ring_object *self, PyObject *argument) {
    int bit = bit_of(self, argument);
    if (bit < 0) return NULL;
    preloader_ring_disarm(&self->ring, 1u << bit);
    atomic_fetch_and_explicit(&self->consumers, ~(1u << bit), memory_order_release);
    Py_RETURN_NONE;
}

static int read_end(ring_object *self, int bit) {
    return self->shared_fd >= 0 ? self->shared_fd : atomic_load_explicit(&self->wakeups[bit].read_fd, memory_order_acquire);
}

PyObject *ring_fileno(ring_object *self, PyObject *argument) {
    int bit = bit_of(self, argument);
    return bit < 0 ? NULL : PyLong_FromLong(read_end(self, bit));
}

PyObject *ring_arm(ring_object *self, PyObject *argument) {
    int bit = bit_of(self, argument);
    if (bit < 0) return NULL;
    bool may_sleep = preloader_ring_arm(&self->ring, 1u << bit);
    return PyBool_FromLong(may_sleep && !atomic_load_explicit(&self->closed, memory_order_acquire));
}

PyObject *ring_clear(ring_object *self, PyObject *argument) {
    char rung[256];
    int bit = bit_of(self, argument);
    if (bit < 0) return NULL;
    while (read(read_end(self, bit), rung, sizeof rung) < 0 && errno == EINTR) continue;
    Py_RETURN_NONE;
}

PyObject *ring_close(ring_object *self, PyObject *Py_UNUSED(ignored)) {
    atomic_store_explicit(&self->closed, true, memory_order_release);
    /* As a read-modify-write it comes before or after that of a new consumer, who then sees that the ring is closed. */
    uint32_t consumers = atomic_fetch_or_explicit(&self->consumers, 0, memory_order_acq_rel);
    if (consumers) wake(self, consumers);
    Py_RETURN_NONE;
}
