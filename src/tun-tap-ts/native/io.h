/* The engine: ports behind one epoll descriptor, one arena, one call-out per batch. Knows nothing of N-API. */
#ifndef TUN_TAP_IO_H
#define TUN_TAP_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "offload.h"
#include "turns.h"

#define HEADROOM 128
/* An IP packet of 65,535 bytes behind a VLAN Ethernet header, rounded up. */
#define FRAME_MAX 65600
#define PORTS_MAX 1024
#define PEERS_MAX 1024
/* Datagrams in one message with UDP_GRO: the kernel joins up to 64, or 128 since 6.11. */
#define SEGMENTS_PER_RECEIVE 128
/* Ints per frame in the rx and tx tables: port, offset, length, peer address, peer port. */
#define STRIDE 5

enum { PORT_FREE, PORT_LIVE, PORT_RETIRED };
enum { KIND_TAP, KIND_TUN, KIND_UDP };
/* Order shared with src/packet-io.ts. */
enum { RX_FRAMES, RX_BYTES, RX_ERRORS, RX_MERGED, TX_FRAMES, TX_BYTES, TX_DROPPED, TX_ERRORS, TX_SEGMENTS, RX_DROPPED, COUNTERS };

struct port {
  int fd;
  uint8_t state, kind;
  /* whole: the last message of a socket was a super-packet. */
  bool vnet, gro, merge, gso, whole;
  /* Length of the last message of a socket. */
  uint32_t message_bytes;
  uint64_t count[COUNTERS];
};

struct udp_tx;
struct udp_rx;
struct tap_tx;

struct io {
  uv_poll_t poll;
  int epfd;
  /* uso: the kernel's TAPs take UDP super-packets (Linux 6.2), so UDP may be merged. */
  bool closed, uso;
  uint8_t *arena;
  uint64_t arena_bytes, rx_end, rx_at;
  /* Of the batch, what peers sent. */
  uint64_t peer_bytes;
  int32_t *rx, *tx;
  uint32_t rx_frames, tx_frames, rx_count;
  uint32_t budget_frames, budget_bytes;
  struct turns turns;
  struct udp_tx *udp_tx;
  struct udp_rx *udp_rx;
  struct tap_tx *tap_tx;
  /* Peers on this machine that take super-packets whole. */
  uint32_t whole_peers, whole_peer[PEERS_MAX];
  /* Returns how many frames of the tx table to send. */
  uint32_t (*on_batch)(struct io *io, uint32_t count);
  void (*on_port_error)(struct io *io, uint32_t port, int err);
  struct port port[PORTS_MAX];
};

/* All return 0 (io_add: the port) or a negative errno. */
int io_start(struct io *io, uv_loop_t *loop);
/* Frames stay in the kernel's queues until then. */
int io_receive(struct io *io);
/* uso: a TAP whose kernel was found to cut UDP super-packets. */
int io_add(struct io *io, int fd, uint8_t kind, bool vnet, bool gro, bool merge, bool uso);
void io_remove(struct io *io, uint32_t port);
void io_flush(struct io *io, uint32_t count);
/* Stops and frees what the engine holds; `closed` is called when the struct itself may go. Descriptors stay open. */
void io_close(struct io *io, uv_close_cb closed);

/* Room in the arena and the table for `frames` more frames of together `bytes` bytes. */
static inline bool io_room(const struct io *io, uint32_t frames, uint64_t bytes) {
  return io->rx_count + frames <= io->rx_frames && io->rx_at + frames * (uint64_t)(HEADROOM + 64) + bytes <= io->rx_end;
}

static inline uint8_t *io_next_frame(const struct io *io) {
  return io->arena + io->rx_at + HEADROOM;
}

/* The frame at io_next_frame is `length` bytes long: enter it in the table. */
void io_push(struct io *io, uint32_t port, uint32_t length, uint32_t peer, uint16_t peer_port);
/* The newest frame has grown to `length` bytes. */
void io_grow(struct io *io, uint32_t length);

/* udp.c: returns a descriptor or a negative errno, with the step that failed; *port is the local port. */
int udp_open(const char *address, uint16_t *port, bool reuse, bool gro, int sndbuf, int rcvbuf, const char **step);
/* Whether the kernel knows UDP_SEGMENT (4.18). */
bool udp_can_segment(int fd);
/* Datagrams that the kernel has dropped because the socket's buffer was full. */
uint32_t udp_kernel_drops(int fd);

/* udp_rx.c: reads until the socket is empty or the budget or the arena is used up. */
struct udp_rx *udp_rx_new(void);
void udp_receive(struct io *io, uint32_t port);

/* udp_tx.c */
struct udp_tx *udp_tx_new(void);
/* Whether the peer is sent super-packets whole from now on: it must take them, and be on this machine. */
bool udp_take_whole(struct io *io, uint32_t peer, bool takes);
void udp_send(struct io *io, struct port *port, uint8_t *frame, uint32_t length, uint32_t peer, uint16_t peer_port);
/* Writes what udp_send has gathered. */
void udp_push(struct udp_tx *tx);

/* tap_tx.c */
struct tap_tx *tap_tx_new(void);
void tap_tx_free(struct tap_tx *tx);
/* The frame must stay where it is until tap_push. */
void tap_send(struct tap_tx *tx, struct port *port, uint8_t *frame, uint32_t length);
/* Writes what tap_send has gathered. */
void tap_push(struct tap_tx *tx);

#endif
