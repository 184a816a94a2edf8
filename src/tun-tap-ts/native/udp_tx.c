/* Sending on UDP ports: datagrams to one peer leave in one message (UDP_SEGMENT), messages in one system call. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "udp.h"

#define SEND_MESSAGES 64
#define SEND_PIECES 1024
/* What is cut is put together here; small enough to stay in the cache until the kernel reads it. */
#define STAGE_BYTES (256 << 10)

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

static struct outgoing *begin_message(struct udp_tx *tx, uint32_t length, uint32_t peer, uint16_t peer_port) {
  struct outgoing *o = &tx->out[tx->messages];
  o->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(peer_port), .sin_addr.s_addr = htonl(peer)};
  o->size = length;
  o->total = o->frames = o->bytes = o->segments = 0;
  o->open = true;
  tx->message[tx->messages++].msg_hdr = (struct msghdr){.msg_name = &o->to, .msg_namelen = sizeof o->to, .msg_iov = tx->piece + tx->pieces};
  return o;
}

static void add_piece(struct udp_tx *tx, uint8_t *data, uint32_t length) {
  tx->piece[tx->pieces++] = (struct iovec){data, length};
  tx->message[tx->messages - 1].msg_hdr.msg_iovlen++;
}

/* Queues one datagram; returns its message for the accounts. A piece holds whole datagrams, several when they lie together. */
static struct outgoing *queue(struct udp_tx *tx, uint8_t *data, uint32_t length, uint32_t peer, uint16_t peer_port) {
  bool join = tx->messages && tx->port->gso && joins(&tx->out[tx->messages - 1], length, peer, peer_port);
  if (!join) begin_message(tx, length, peer, peer_port);
  struct outgoing *o = &tx->out[tx->messages - 1];
  struct iovec *last = tx->piece + tx->pieces - 1;
  if (join && (uint8_t *)last->iov_base + last->iov_len == data) {
    last->iov_len += length;
  } else {
    add_piece(tx, data, length);
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

/* The peer's place among those that take super-packets whole, or their number. */
static uint32_t whole_at(const struct io *io, uint32_t peer) {
  uint32_t i = 0;
  while (i < io->whole_peers && io->whole_peer[i] != peer) i++;
  return i;
}

bool udp_take_whole(struct io *io, uint32_t peer, bool takes) {
  uint32_t i = whole_at(io, peer);
  takes = takes && i < PEERS_MAX && udp_is_here(peer);
  if (takes && i == io->whole_peers) io->whole_peer[io->whole_peers++] = peer;
  if (!takes && i < io->whole_peers) io->whole_peer[i] = io->whole_peer[--io->whole_peers];
  return takes;
}

/* A super-packet to a peer on this machine, as the kernel's own tunnels hand it over: uncut, its header behind it. */
static bool goes_whole(const struct io *io, uint32_t peer, uint32_t length) {
  return whole_at(io, peer) < io->whole_peers && length + VNET_BYTES <= DATAGRAM_MAX;
}

static void send_whole(struct udp_tx *tx, uint8_t *frame, uint32_t length, uint32_t peer, uint16_t peer_port) {
  if (tx->pieces + 2 > SEND_PIECES) udp_push(tx);
  struct outgoing *o = begin_message(tx, length + VNET_BYTES, peer, peer_port);
  add_piece(tx, frame, length);
  add_piece(tx, frame - VNET_BYTES, VNET_BYTES);
  o->open = false;
  o->segments = 1;
  o->frames = 1;
  o->bytes = length;
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
  if (segment && goes_whole(io, peer, length)) {
    send_whole(tx, frame, length, peer, peer_port);
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
