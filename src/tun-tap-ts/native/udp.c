#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* What every kernel with UDP_SEGMENT takes. */
#define SEGMENTS_PER_SEND 64
#define DATAGRAM_MAX 65507
#define RECEIVE_MESSAGES 16
#define SEND_MESSAGES 64
#define SEND_PIECES 1024
/* What is cut is put together here; small enough to stay in the cache until the kernel reads it. */
#define STAGE_BYTES (256 << 10)

int udp_open(const char *address, uint16_t *port, bool reuse, bool gro, int sndbuf, int rcvbuf, const char **step) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(*port)};
  *step = "address";
  if (inet_pton(AF_INET, address, &sa.sin_addr) != 1) return -EINVAL;
  *step = "socket";
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) return -errno;
  if (reuse) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  /* The FORCE variants pass net.core.[rw]mem_max and need CAP_NET_ADMIN. */
  if (sndbuf && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof sndbuf) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
  if (rcvbuf && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof rcvbuf) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
  /* A kernel before 5.0 has no UDP_GRO: datagrams then come one by one, which is the same but slower. */
  if (gro) setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one);
  *step = "bind";
  socklen_t length = sizeof sa;
  if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || getsockname(fd, (struct sockaddr *)&sa, &length) < 0) {
    int err = errno;
    close(fd);
    return -err;
  }
  *port = ntohs(sa.sin_port);
  return fd;
}

bool udp_can_segment(int fd) {
  int size;
  socklen_t length = sizeof size;
  return getsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, &length) == 0;
}

uint32_t udp_kernel_drops(int fd) {
  uint32_t info[SK_MEMINFO_VARS] = {0};
  socklen_t length = sizeof info;
  return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) == 0 ? info[SK_MEMINFO_DROPS] : 0;
}

/* ---- receive ---- */

struct udp_rx {
  struct mmsghdr message[RECEIVE_MESSAGES];
  struct sockaddr_in from[RECEIVE_MESSAGES];
  struct iovec iov[RECEIVE_MESSAGES];
  _Alignas(struct cmsghdr) char control[RECEIVE_MESSAGES][CMSG_SPACE(sizeof(int))];
  /* Odd stride: buffers 64 KiB apart would share their cache sets. */
  uint8_t data[RECEIVE_MESSAGES][65536 + 192];
};

struct udp_rx *udp_rx_new(void) {
  return calloc(1, sizeof(struct udp_rx));
}

static void arm(struct udp_rx *rx, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    rx->iov[i] = (struct iovec){rx->data[i], 65536};
    rx->message[i].msg_hdr = (struct msghdr){
        .msg_name = &rx->from[i],
        .msg_namelen = sizeof rx->from[i],
        .msg_iov = &rx->iov[i],
        .msg_iovlen = 1,
        .msg_control = rx->control[i],
        .msg_controllen = sizeof rx->control[i],
    };
  }
}

/* Size of the datagrams that the kernel has put together in this message (UDP_GRO); the last may be shorter. */
static uint32_t segment_bytes(struct msghdr *h, uint32_t length) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
    if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO) continue;
    int size;
    memcpy(&size, CMSG_DATA(c), sizeof size);
    if (size > 0) return (uint32_t)size;
  }
  return length;
}

/* Places one datagram in the arena: behind the packet that it continues, or as a frame of its own. */
static void place(struct io *io, uint32_t id, struct merge *m, const uint8_t *p, uint32_t n, const struct sockaddr_in *from) {
  struct port *port = &io->port[id];
  uint32_t peer = ntohl(from->sin_addr.s_addr);
  uint16_t peer_port = ntohs(from->sin_port);
  uint32_t header = port->merge ? merge_candidate(p, n, io->uso) : 0;
  if (header && m->head && m->peer == peer && m->peer_port == peer_port && merge_append(m, p, n, header)) {
    io_grow(io, m->length);
    return;
  }
  merge_finish(m);
  if (!io_room(io, 1, n)) {
    port->count[RX_ERRORS]++;
    return;
  }
  uint8_t *frame = io_next_frame(io);
  memcpy(frame, p, n);
  memset(frame - VNET_BYTES, 0, VNET_BYTES);
  io_push(io, id, n, peer, peer_port);
  if (!header) return;
  merge_begin(m, frame, n, header);
  m->peer = peer;
  m->peer_port = peer_port;
}

static void split(struct io *io, uint32_t id, struct merge *m, unsigned index) {
  struct udp_rx *rx = io->udp_rx;
  struct msghdr *h = &rx->message[index].msg_hdr;
  uint32_t length = rx->message[index].msg_len;
  if (!length || h->msg_flags & MSG_TRUNC || h->msg_namelen != sizeof(struct sockaddr_in)) {
    io->port[id].count[RX_ERRORS]++;
    return;
  }
  uint32_t size = segment_bytes(h, length);
  for (uint32_t at = 0; at < length; at += size)
    place(io, id, m, rx->data[index] + at, length - at < size ? length - at : size, &rx->from[index]);
}

/* As many messages as keep to the budget when they are as large as the last one was; with UDP_GRO that may be 64 KiB. */
static unsigned messages_within(const struct port *port, uint64_t bytes) {
  uint64_t count = port->message_bytes ? bytes / port->message_bytes : RECEIVE_MESSAGES;
  return count < 1 ? 1 : count < RECEIVE_MESSAGES ? (unsigned)count : RECEIVE_MESSAGES;
}

void udp_receive(struct io *io, uint32_t id) {
  struct port *port = &io->port[id];
  uint32_t frames = port->gro ? SEGMENTS_PER_RECEIVE : 1;
  uint32_t first = io->rx_count;
  uint64_t stop = io->rx_at + io->budget_bytes;
  struct merge m = {0};
  bool empty = false;
  while (!empty && io->rx_count - first < io->budget_frames && io->rx_at < stop) {
    unsigned want = 0, most = messages_within(port, stop - io->rx_at);
    while (want < most && io_room(io, (want + 1) * frames, (want + 1) * 65536ull)) want++;
    if (!want) break;
    arm(io->udp_rx, want);
    int got = recvmmsg(port->fd, io->udp_rx->message, want, MSG_DONTWAIT, NULL);
    if (got < 0) {
      /* What else comes is an ICMP error of an earlier send; reading it has cleared it. */
      if (errno != EAGAIN && errno != EINTR) port->count[RX_ERRORS]++;
      break;
    }
    for (int i = 0; i < got; i++) split(io, id, &m, (unsigned)i);
    if (got) port->message_bytes = io->udp_rx->message[got - 1].msg_len;
    empty = (unsigned)got < want;
  }
  merge_finish(&m);
}

/* ---- send ---- */

/* One sendmmsg entry: `segments` datagrams of `size` bytes (the last may be shorter) to one peer. */
struct outgoing {
  struct sockaddr_in to;
  uint32_t size, total, frames, bytes;
  uint16_t segments;
  bool open;
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))];
};

struct udp_tx {
  struct port *port;
  unsigned messages, pieces;
  uint32_t staged;
  struct mmsghdr message[SEND_MESSAGES];
  struct outgoing out[SEND_MESSAGES];
  struct iovec piece[SEND_PIECES];
  uint8_t stage[STAGE_BYTES];
};

struct udp_tx *udp_tx_new(void) {
  return calloc(1, sizeof(struct udp_tx));
}

/* Sends the datagrams of one message one by one: the way out when the route or device refuses UDP_SEGMENT. */
static void send_singly(struct udp_tx *tx, struct msghdr *h, const struct outgoing *o) {
  struct msghdr one = *h;
  one.msg_control = NULL;
  one.msg_controllen = 0;
  bool sent = true;
  for (size_t i = 0; sent && i < h->msg_iovlen; i++) {
    const struct iovec *piece = &h->msg_iov[i];
    for (size_t at = 0; sent && at < piece->iov_len; at += o->size) {
      size_t left = piece->iov_len - at;
      struct iovec datagram = {(uint8_t *)piece->iov_base + at, left < o->size ? left : o->size};
      one.msg_iov = &datagram;
      one.msg_iovlen = 1;
      sent = sendmsg(tx->port->fd, &one, MSG_DONTWAIT) >= 0;
    }
  }
  bool full = !sent && (errno == EAGAIN || errno == ENOBUFS);
  tx->port->count[sent ? TX_FRAMES : full ? TX_DROPPED : TX_ERRORS] += o->frames;
  if (sent) tx->port->count[TX_BYTES] += o->bytes;
}

/* Deals with the message that the kernel refused; returns how many messages are settled by that. */
static unsigned refused(struct udp_tx *tx, unsigned at, int err) {
  struct port *p = tx->port;
  if (err == EAGAIN || err == ENOBUFS) {
    for (unsigned i = at; i < tx->messages; i++) p->count[TX_DROPPED] += tx->out[i].frames;
    return tx->messages - at;
  }
  if (tx->out[at].segments > 1 && (err == EINVAL || err == EMSGSIZE || err == EIO)) {
    /* EIO: the way out has no checksum offload, which holds for every send; the others depend on size and route. */
    if (err == EIO) p->gso = false;
    send_singly(tx, &tx->message[at].msg_hdr, &tx->out[at]);
  } else {
    p->count[TX_ERRORS] += tx->out[at].frames;
  }
  return 1;
}

void udp_push(struct udp_tx *tx) {
  for (unsigned i = 0; i < tx->messages; i++) {
    struct msghdr *h = &tx->message[i].msg_hdr;
    struct outgoing *o = &tx->out[i];
    if (o->segments < 2) continue;
    h->msg_control = o->control;
    h->msg_controllen = sizeof o->control;
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(uint16_t)), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
    uint16_t size = (uint16_t)o->size;
    memcpy(CMSG_DATA(c), &size, sizeof size);
  }
  for (unsigned at = 0; at < tx->messages;) {
    int n = sendmmsg(tx->port->fd, tx->message + at, tx->messages - at, MSG_DONTWAIT);
    for (int i = 0; i < n; i++) {
      tx->port->count[TX_FRAMES] += tx->out[at + (unsigned)i].frames;
      tx->port->count[TX_BYTES] += tx->out[at + (unsigned)i].bytes;
    }
    at += n > 0 ? (unsigned)n : refused(tx, at, n < 0 ? errno : EINVAL);
  }
  tx->messages = tx->pieces = 0;
  tx->staged = 0;
}

static bool joins(const struct outgoing *o, uint32_t length, uint32_t peer, uint16_t peer_port) {
  return o->open && length <= o->size && o->segments < SEGMENTS_PER_SEND && o->total + length <= DATAGRAM_MAX &&
         o->to.sin_addr.s_addr == htonl(peer) && o->to.sin_port == htons(peer_port);
}

/* Queues one datagram; returns its message for the accounts. A piece holds whole datagrams, several when they lie together. */
static struct outgoing *queue(struct udp_tx *tx, uint8_t *data, uint32_t length, uint32_t peer, uint16_t peer_port) {
  bool join = tx->messages && tx->port->gso && joins(&tx->out[tx->messages - 1], length, peer, peer_port);
  if (!join) {
    struct outgoing *o = &tx->out[tx->messages];
    o->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(peer_port), .sin_addr.s_addr = htonl(peer)};
    o->size = length;
    o->total = o->frames = o->bytes = o->segments = 0;
    o->open = true;
    tx->message[tx->messages++].msg_hdr = (struct msghdr){.msg_name = &o->to, .msg_namelen = sizeof o->to, .msg_iov = tx->piece + tx->pieces};
  }
  struct outgoing *o = &tx->out[tx->messages - 1];
  struct iovec *last = tx->piece + tx->pieces - 1;
  if (join && (uint8_t *)last->iov_base + last->iov_len == data) {
    last->iov_len += length;
  } else {
    tx->piece[tx->pieces++] = (struct iovec){data, length};
    tx->message[tx->messages - 1].msg_hdr.msg_iovlen++;
  }
  o->total += length;
  o->segments++;
  if (length < o->size) o->open = false;
  return o;
}

/* No room for one more datagram of `staged` bytes on the stage. */
static bool full(const struct udp_tx *tx, uint32_t staged) {
  return tx->messages == SEND_MESSAGES || tx->pieces == SEND_PIECES || tx->staged + staged > STAGE_BYTES;
}

static void send_segments(struct udp_tx *tx, struct gso *g, uint32_t length, uint32_t peer, uint16_t peer_port) {
  for (;;) {
    if (full(tx, g->header + g->mss)) udp_push(tx);
    uint8_t *segment = tx->stage + tx->staged;
    uint32_t n = gso_next(g, segment);
    if (!n) break;
    tx->staged += n;
    struct outgoing *o = queue(tx, segment, n, peer, peer_port);
    tx->port->count[TX_SEGMENTS]++;
    /* A frame counts with its last segment. */
    if (g->at == g->end) {
      o->frames++;
      o->bytes += length;
    }
  }
}

void udp_send(struct io *io, struct port *port, uint8_t *frame, uint32_t length, uint32_t peer, uint16_t peer_port) {
  struct udp_tx *tx = io->udp_tx;
  if (tx->port != port || full(tx, 0)) udp_push(tx);
  tx->port = port;
  struct vnet_hdr h;
  memcpy(&h, frame - VNET_BYTES, sizeof h);
  struct gso g;
  bool segment = h.gso_type != 0;
  bool sound = peer && peer_port && (segment || length <= DATAGRAM_MAX);
  if (sound && segment) sound = gso_begin(&g, frame, length, 0, &h);
  if (sound && !segment && h.flags & VNET_NEEDS_CSUM) {
    sound = csum_complete(frame, length, &h);
    memset(frame - VNET_BYTES, 0, VNET_BYTES);
  }
  if (!sound) {
    port->count[TX_ERRORS]++;
    return;
  }
  if (segment) {
    send_segments(tx, &g, length, peer, peer_port);
    return;
  }
  struct outgoing *o = queue(tx, frame, length, peer, peer_port);
  o->frames++;
  o->bytes += length;
}
