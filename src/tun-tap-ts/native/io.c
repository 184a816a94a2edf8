#include "io.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_MAX 64
/* In place of a port. */
#define TIMER PORTS_MAX
/* How long the thread stays awake for more after the last frame, and at most before the rest of its event loop has its turn. */
#define LINGER_NS 50000
#define TURN_NS 1000000

void io_push(struct io *io, uint32_t port, uint32_t length, uint32_t peer, uint16_t peer_port) {
  int32_t *e = io->rx + (size_t)STRIDE * io->rx_count++;
  e[0] = (int32_t)port;
  e[1] = (int32_t)(io->rx_at + HEADROOM);
  e[2] = (int32_t)length;
  e[3] = (int32_t)peer;
  e[4] = peer_port;
  io->rx_at = (io->rx_at + HEADROOM + length + 63) & ~63ull;
  io->port[port].count[RX_FRAMES]++;
  io->port[port].count[RX_BYTES] += length;
}

void io_grow(struct io *io, uint32_t length) {
  int32_t *e = io->rx + (size_t)STRIDE * (io->rx_count - 1);
  struct port *p = &io->port[e[0]];
  p->count[RX_BYTES] += length - (uint32_t)e[2];
  p->count[RX_MERGED]++;
  e[2] = (int32_t)length;
  io->rx_at = ((uint64_t)e[1] + length + 63) & ~63ull;
}

/* Hands the batch up, sends what comes back, and empties the arena. */
static void deliver(struct io *io) {
  if (!io->rx_count) return;
  turns_batch(&io->turns, io->rx_count, io->rx_at, io->peer_bytes, uv_hrtime());
  io->peer_bytes = 0;
  uint32_t count = io->on_batch(io, io->rx_count);
  if (io->closed) return;
  io_flush(io, count);
  io->rx_count = 0;
  io->rx_at = 0;
}

/*
 * Removes a port whose descriptor is dead, so that a level-triggered epoll does not report it for ever. Its last
 * frames are handed up first: no frame comes from a port after its error.
 */
static void port_failed(struct io *io, uint32_t id, int err) {
  io->port[id].count[RX_ERRORS]++;
  deliver(io);
  if (io->closed || io->port[id].state != PORT_LIVE) return;
  io_remove(io, id);
  io->on_port_error(io, id, err);
}

static void tap_receive(struct io *io, uint32_t id) {
  struct port *p = &io->port[id];
  uint32_t left = io->budget_frames;
  uint64_t stop = io->rx_at + io->budget_bytes;
  while (left-- && io->rx_at < stop && io_room(io, 1, FRAME_MAX)) {
    uint8_t *frame = io_next_frame(io);
    uint32_t extra = p->vnet ? VNET_BYTES : 0;
    ssize_t n = read(p->fd, frame - extra, FRAME_MAX + extra);
    if (n < 0) {
      /* Once its device is gone a TAP answers EFAULT while it goes and EBADFD after; no error here heals. */
      if (errno != EAGAIN && errno != EINTR) port_failed(io, id, errno);
      return;
    }
    if (n <= (ssize_t)extra) {
      p->count[RX_ERRORS]++;
      continue;
    }
    if (!extra) memset(frame - VNET_BYTES, 0, VNET_BYTES);
    io_push(io, id, (uint32_t)n - extra, 0, 0);
  }
}

/* Handles what is there; returns whether there was anything. */
static bool work(struct io *io) {
  struct epoll_event ready[EVENTS_MAX];
  int n = epoll_wait(io->epfd, ready, EVENTS_MAX, 0);
  for (int i = 0; i < n && !io->closed; i++) {
    uint32_t id = ready[i].data.u32;
    if (id == TIMER) {
      turns_due(&io->turns, uv_hrtime());
      continue;
    }
    struct port *p = &io->port[id];
    if (!io_room(io, SEGMENTS_PER_RECEIVE, 2 * FRAME_MAX)) {
      deliver(io);
      if (io->closed) break;
    }
    /* JavaScript may have removed it while it held the last batch. */
    if (p->state != PORT_LIVE) continue;
    if (p->kind == KIND_UDP) {
      uint64_t before = io->rx_at;
      udp_receive(io, id);
      io->peer_bytes += io->rx_at - before;
    } else {
      tap_receive(io, id);
    }
  }
  if (!io->closed) deliver(io);
  return n > 0;
}

/*
 * Waking a thread that sleeps, on a processor that sleeps, costs more than a packet does, above all on a virtual
 * machine: so it stays awake for the answer or the next packet of the stream, and lets other threads run meanwhile.
 */
static void on_ready(uv_poll_t *handle, int status, int events) {
  (void)status;
  (void)events;
  struct io *io = handle->data;
  uint64_t now = uv_hrtime(), start = now, busy = now;
  do {
    bool worked = work(io);
    if (io->closed) return;
    now = uv_hrtime();
    if (worked)
      busy = now;
    else
      sched_yield();
  } while (now - busy < LINGER_NS && now - start < TURN_NS);
}

int io_start(struct io *io, uv_loop_t *loop) {
  io->epfd = epoll_create1(EPOLL_CLOEXEC);
  if (io->epfd < 0) return -errno;
  io->udp_tx = udp_tx_new();
  io->udp_rx = udp_rx_new();
  io->tap_tx = tap_tx_new();
  if (!io->udp_tx || !io->udp_rx || !io->tap_tx) return -ENOMEM;
  int err = turns_start(&io->turns);
  if (err) return err;
  struct epoll_event due = {.events = EPOLLIN, .data.u32 = TIMER};
  if (epoll_ctl(io->epfd, EPOLL_CTL_ADD, io->turns.timer, &due) < 0) return -errno;
  err = uv_poll_init(loop, &io->poll, io->epfd);
  if (err) return err;
  io->poll.data = io;
  return 0;
}

int io_receive(struct io *io) {
  return uv_poll_start(&io->poll, UV_READABLE, on_ready);
}

int io_add(struct io *io, int fd, uint8_t kind, bool vnet, bool gro, bool merge, bool uso) {
  uint32_t id = 0;
  while (id < PORTS_MAX && io->port[id].state != PORT_FREE) id++;
  if (id == PORTS_MAX) return -ENOSPC;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = id};
  if (epoll_ctl(io->epfd, EPOLL_CTL_ADD, fd, &event) < 0) return -errno;
  io->port[id] = (struct port){.fd = fd, .state = PORT_LIVE, .kind = kind, .vnet = vnet, .gro = gro, .merge = merge};
  io->port[id].gso = kind == KIND_UDP && udp_can_segment(fd);
  io->uso |= uso;
  return (int)id;
}

void io_remove(struct io *io, uint32_t id) {
  struct port *p = &io->port[id];
  if (p->state != PORT_LIVE) return;
  epoll_ctl(io->epfd, EPOLL_CTL_DEL, p->fd, NULL);
  p->state = PORT_RETIRED;
}

void io_flush(struct io *io, uint32_t count) {
  if (count > io->tx_frames) count = io->tx_frames;
  const int32_t *e = io->tx;
  for (uint32_t i = 0; i < count; i++, e += STRIDE) {
    uint32_t id = (uint32_t)e[0], offset = (uint32_t)e[1], length = (uint32_t)e[2];
    if (id >= PORTS_MAX || io->port[id].state != PORT_LIVE) continue;
    struct port *p = &io->port[id];
    if (offset < VNET_BYTES || !length || length > FRAME_MAX || (uint64_t)offset + length > io->arena_bytes) {
      p->count[TX_ERRORS]++;
    } else if (p->kind == KIND_UDP) {
      /* What came first does not wait until this is cut and sent. */
      tap_push(io->tap_tx);
      udp_send(io, p, io->arena + offset, length, (uint32_t)e[3], (uint16_t)e[4]);
    } else {
      tap_send(io->tap_tx, p, io->arena + offset, length);
    }
  }
  tap_push(io->tap_tx);
  udp_push(io->udp_tx);
}

void io_close(struct io *io, uv_close_cb closed) {
  if (io->closed) return;
  io->closed = true;
  turns_end(&io->turns);
  uv_poll_stop(&io->poll);
  close(io->epfd);
  free(io->udp_tx);
  free(io->udp_rx);
  tap_tx_free(io->tap_tx);
  uv_close((uv_handle_t *)&io->poll, closed);
}
