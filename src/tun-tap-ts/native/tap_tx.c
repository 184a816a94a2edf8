#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"

/* So many frames are a flood, which goes through the ring; and the most that go at once. */
#define RING_LEAST 8
#define RING_FRAMES 64

/* An io_uring that only serves to write many frames in one system call: nothing is under way in it between calls. */
struct ring {
  int fd;
  uint8_t *rings;
  size_t rings_bytes, sqes_bytes;
  struct io_uring_sqe *sqes;
  struct io_uring_cqe *cqes;
  unsigned *sq_head, *sq_tail, sq_mask, *cq_head, *cq_tail, cq_mask;
};

struct tap_tx {
  struct ring ring;
  unsigned count;
  struct {
    struct port *port;
    uint8_t *frame;
    uint32_t length;
  } queue[RING_FRAMES];
};

static void ring_close(struct ring *r) {
  if (r->fd < 0) return;
  munmap(r->rings, r->rings_bytes);
  munmap(r->sqes, r->sqes_bytes);
  close(r->fd);
  r->fd = -1;
}

static void *map(int fd, size_t bytes, off_t what) {
  void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
  return m == MAP_FAILED ? NULL : m;
}

/* Leaves fd negative when the kernel has no io_uring, or none for us. */
static void ring_open(struct ring *r) {
  struct io_uring_params p = {0};
  r->fd = (int)syscall(SYS_io_uring_setup, RING_FRAMES, &p);
  if (r->fd < 0) return;
  size_t sq = p.sq_off.array + p.sq_entries * sizeof(unsigned), cq = p.cq_off.cqes + p.cq_entries * sizeof *r->cqes;
  r->rings_bytes = sq > cq ? sq : cq;
  r->sqes_bytes = p.sq_entries * sizeof *r->sqes;
  /* Before 5.4 the rings were two mappings; TAPs can be written this way only since 6.4 (below). */
  if (p.features & IORING_FEAT_SINGLE_MMAP) r->rings = map(r->fd, r->rings_bytes, IORING_OFF_SQ_RING);
  if (r->rings) r->sqes = map(r->fd, r->sqes_bytes, IORING_OFF_SQES);
  if (!r->sqes) {
    if (r->rings) munmap(r->rings, r->rings_bytes);
    close(r->fd);
    r->fd = -1;
    return;
  }
  r->sq_head = (unsigned *)(r->rings + p.sq_off.head);
  r->sq_tail = (unsigned *)(r->rings + p.sq_off.tail);
  r->sq_mask = p.sq_entries - 1;
  r->cq_head = (unsigned *)(r->rings + p.cq_off.head);
  r->cq_tail = (unsigned *)(r->rings + p.cq_off.tail);
  r->cq_mask = p.cq_entries - 1;
  r->cqes = (struct io_uring_cqe *)(r->rings + p.cq_off.cqes);
  unsigned *array = (unsigned *)(r->rings + p.sq_off.array);
  for (unsigned i = 0; i < p.sq_entries; i++) array[i] = i;
}

struct tap_tx *tap_tx_new(void) {
  struct tap_tx *tx = calloc(1, sizeof *tx);
  if (tx) ring_open(&tx->ring);
  return tx;
}

void tap_tx_free(struct tap_tx *tx) {
  if (tx) ring_close(&tx->ring);
  free(tx);
}

/* Submits what the ring holds; what the kernel would not take is withdrawn. */
static void ring_submit(struct ring *r, unsigned count) {
  while (count) {
    int n = (int)syscall(SYS_io_uring_enter, r->fd, count, 0, 0, NULL, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    count -= (unsigned)n;
  }
  if (count) __atomic_store_n(r->sq_tail, __atomic_load_n(r->sq_head, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}

/* Writes the queue, in its order; result[i] stays as it is where the kernel has not written. */
static void ring_write(struct tap_tx *tx, int32_t *result) {
  struct ring *r = &tx->ring;
  unsigned tail = *r->sq_tail;
  for (unsigned i = 0; i < tx->count; i++, tail++) {
    /* NOWAIT: done or refused by the end of the system call, never put off. */
    r->sqes[tail & r->sq_mask] = (struct io_uring_sqe){
        .opcode = IORING_OP_WRITE,
        .fd = tx->queue[i].port->fd,
        .addr = (uint64_t)(uintptr_t)(tx->queue[i].frame - VNET_BYTES),
        .len = tx->queue[i].length + VNET_BYTES,
        .rw_flags = RWF_NOWAIT,
        .user_data = i,
    };
  }
  __atomic_store_n(r->sq_tail, tail, __ATOMIC_RELEASE);
  ring_submit(r, tx->count);
  unsigned head = *r->cq_head, end = __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE);
  for (; head != end; head++) {
    const struct io_uring_cqe *c = &r->cqes[head & r->cq_mask];
    result[c->user_data] = c->res;
  }
  __atomic_store_n(r->cq_head, head, __ATOMIC_RELEASE);
}

static void count_write(struct port *p, int err, uint32_t length) {
  if (!err) {
    p->count[TX_FRAMES]++;
    p->count[TX_BYTES] += length;
  } else if (err == EAGAIN || err == ENOBUFS || err == ENOMEM) {
    p->count[TX_DROPPED]++;
  } else {
    p->count[TX_ERRORS]++;
  }
}

static int write_frame(const struct port *p, const uint8_t *data, uint32_t bytes) {
  return write(p->fd, data, bytes) < 0 ? errno : 0;
}

/*
 * A kernel looks for a more urgent thread when a system call returns. One per frame, and the receiver of a flood runs after
 * each frame, to sleep again at once.
 */
void tap_push(struct tap_tx *tx) {
  if (!tx->count) return;
  int32_t result[RING_FRAMES];
  /* Not written; also what a kernel before 6.4 answers. */
  for (unsigned i = 0; i < tx->count; i++) result[i] = -EOPNOTSUPP;
  bool ring = tx->ring.fd >= 0 && tx->count >= RING_LEAST;
  if (ring) ring_write(tx, result);
  for (unsigned i = 0; i < tx->count; i++) {
    struct port *p = tx->queue[i].port;
    uint32_t length = tx->queue[i].length;
    int err = result[i] < 0 ? -result[i] : 0;
    if (err == EOPNOTSUPP) {
      if (ring) ring_close(&tx->ring);
      err = write_frame(p, tx->queue[i].frame - VNET_BYTES, length + VNET_BYTES);
    }
    count_write(p, err, length);
  }
  tx->count = 0;
}

/* Software segmentation towards a TAP that takes no virtio_net_hdr. */
static void tap_segment(struct port *p, const uint8_t *frame, uint32_t length, const struct vnet_hdr *h) {
  uint32_t l3 = p->kind == KIND_TUN ? 0 : length > 14 && frame[12] == 0x81 && frame[13] == 0 ? 18 : 14;
  struct gso g;
  if (!gso_begin(&g, frame, length, l3, h)) {
    p->count[TX_ERRORS]++;
    return;
  }
  uint8_t segment[GSO_HEADER_MAX + FRAME_MAX];
  uint32_t n;
  int err = 0;
  while (!err && (n = gso_next(&g, segment))) {
    err = write_frame(p, segment, n);
    if (!err) p->count[TX_SEGMENTS]++;
  }
  count_write(p, err, length);
}

void tap_send(struct tap_tx *tx, struct port *p, uint8_t *frame, uint32_t length) {
  if (p->vnet) {
    if (tx->count == RING_FRAMES) tap_push(tx);
    tx->queue[tx->count].port = p;
    tx->queue[tx->count].frame = frame;
    tx->queue[tx->count++].length = length;
    return;
  }
  struct vnet_hdr h;
  memcpy(&h, frame - VNET_BYTES, sizeof h);
  if (h.gso_type) {
    tap_segment(p, frame, length, &h);
    return;
  }
  if (h.flags & VNET_NEEDS_CSUM) {
    if (!csum_complete(frame, length, &h)) {
      p->count[TX_ERRORS]++;
      return;
    }
    /* The same frame may go to further ports, which must not complete it again. */
    memset(frame - VNET_BYTES, 0, VNET_BYTES);
  }
  count_write(p, write_frame(p, frame, length), length);
}
