/* Receiving on UDP ports: messages of one or many datagrams become frames in the arena, merged where they continue each other. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "udp.h"

#define RECEIVE_MESSAGES 16

/* Addresses that datagrams were found to come from without a network between; each has one place (Fibonacci hashing). */
#define HERE 64
#define HERE_AT(peer) ((peer) * 2654435769u >> 26)

struct udp_rx {
  uint32_t here[HERE];
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

static bool comes_from_here(struct udp_rx *rx, uint32_t peer) {
  uint32_t *seen = &rx->here[HERE_AT(peer)];
  if (*seen == peer) return true;
  if (!udp_is_here(peer)) return false;
  *seen = peer;
  return true;
}

/* Enters a super-packet that came whole. Its checksum is partial, so only memory may lie between its sender and us. */
static void enter_whole(struct io *io, uint32_t id, const struct super *s, const uint8_t *p, const struct sockaddr_in *from) {
  struct port *port = &io->port[id];
  uint32_t peer = ntohl(from->sin_addr.s_addr);
  port->whole = comes_from_here(io->udp_rx, peer);
  if (!port->whole || !io_room(io, 1, s->length)) {
    port->count[RX_ERRORS]++;
    return;
  }
  uint8_t *frame = io_next_frame(io);
  if (frame != p) memcpy(frame, p, s->length);
  memcpy(frame - VNET_BYTES, &s->vnet, VNET_BYTES);
  io_push(io, id, s->length, peer, ntohs(from->sin_port));
}

static bool is_sound(const struct mmsghdr *m) {
  return m->msg_len && !(m->msg_hdr.msg_flags & MSG_TRUNC) && m->msg_hdr.msg_namelen == sizeof(struct sockaddr_in);
}

static void split(struct io *io, uint32_t id, struct merge *m, unsigned index) {
  struct udp_rx *rx = io->udp_rx;
  uint32_t length = rx->message[index].msg_len;
  if (!is_sound(&rx->message[index])) {
    io->port[id].count[RX_ERRORS]++;
    return;
  }
  struct super whole;
  if (io->port[id].merge && super_read(&whole, rx->data[index], length)) {
    merge_finish(m);
    enter_whole(io, id, &whole, rx->data[index], &rx->from[index]);
    return;
  }
  uint32_t size = segment_bytes(&rx->message[index].msg_hdr, length);
  for (uint32_t at = 0; at < length; at += size)
    place(io, id, m, rx->data[index] + at, length - at < size ? length - at : size, &rx->from[index]);
}

/* As many messages as keep to the budget when they are as large as the last one was; with UDP_GRO that may be 64 KiB. */
static unsigned messages_within(const struct port *port, uint64_t bytes) {
  uint64_t count = port->message_bytes ? bytes / port->message_bytes : RECEIVE_MESSAGES;
  return count < 1 ? 1 : count < RECEIVE_MESSAGES ? (unsigned)count : RECEIVE_MESSAGES;
}

/* Super-packets seldom come alone: the next one is read to where its frame will be. Returns whether there was a message. */
static bool receive_in_place(struct io *io, uint32_t id, struct merge *m) {
  struct udp_rx *rx = io->udp_rx;
  struct port *port = &io->port[id];
  merge_finish(m);
  arm(rx, 1);
  uint8_t *frame = io_next_frame(io);
  rx->iov[0].iov_base = frame;
  if (recvmmsg(port->fd, rx->message, 1, MSG_DONTWAIT, NULL) != 1) {
    if (errno != EAGAIN && errno != EINTR) port->count[RX_ERRORS]++;
    return false;
  }
  struct super whole;
  uint32_t length = rx->message[0].msg_len;
  if (is_sound(&rx->message[0]) && super_read(&whole, frame, length)) {
    enter_whole(io, id, &whole, frame, &rx->from[0]);
    return true;
  }
  port->whole = false;
  memcpy(rx->data[0], frame, length);
  split(io, id, m, 0);
  return true;
}

void udp_receive(struct io *io, uint32_t id) {
  struct port *port = &io->port[id];
  uint32_t frames = port->gro ? SEGMENTS_PER_RECEIVE : 1;
  uint32_t first = io->rx_count;
  uint64_t stop = io->rx_at + io->budget_bytes;
  struct merge m = {0};
  bool empty = false;
  while (!empty && io->rx_count - first < io->budget_frames && io->rx_at < stop) {
    if (port->whole && io_room(io, frames, 65536)) {
      empty = !receive_in_place(io, id, &m);
      continue;
    }
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
