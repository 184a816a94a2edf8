/* Checksums, software segmentation (GSO) and merging of TCP segments (GRO). Pure: bytes in, bytes out. */
#ifndef TUN_TAP_OFFLOAD_H
#define TUN_TAP_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VNET_BYTES 10
#define VNET_NEEDS_CSUM 1
#define VNET_GSO_TCPV4 1
#define VNET_GSO_TCPV6 4
#define VNET_GSO_UDP_L4 5 /* Linux 6.2 */
#define VNET_GSO_ECN 0x80

/* struct virtio_net_hdr (linux/virtio_net.h) in the host's byte order, as a TAP without TUNSETVNETLE has it. */
struct vnet_hdr {
  uint8_t flags, gso_type;
  uint16_t hdr_len, gso_size, csum_start, csum_offset;
};
_Static_assert(sizeof(struct vnet_hdr) == VNET_BYTES, "virtio_net_hdr is 10 bytes");

/* Completes a NEEDS_CSUM checksum in place. False when the header points outside the frame. */
bool csum_complete(uint8_t *frame, uint32_t length, const struct vnet_hdr *h);

/* VLAN Ethernet (18) + IPv4 with options (60) + TCP with options (60), rounded up. */
#define GSO_HEADER_MAX 144

/* A super-packet on its way to being cut; filled by gso_begin. */
struct gso {
  const uint8_t *frame;
  uint32_t l3, l4, header, mss, at, end;
  uint32_t seq, index;
  uint16_t id;
  bool v6, udp;
};

/* l3: where the IP header starts. False when the frame is not what its header says. */
bool gso_begin(struct gso *g, const uint8_t *frame, uint32_t length, uint32_t l3, const struct vnet_hdr *h);
/* Writes the next segment with all checksums; returns its length, 0 at the end. `segment` has room for header + mss. */
uint32_t gso_next(struct gso *g, uint8_t *segment);

/* A super-packet that came whole: its virtio_net_hdr follows the IP packet. */
struct super {
  uint32_t length;
  struct vnet_hdr vnet;
};

/* Reads a datagram of IP packet and virtio_net_hdr; false when it is anything else. flannel's are the packet alone. */
bool super_read(struct super *s, const uint8_t *datagram, uint32_t length);

/* A super-packet that grows in place: `head` is the last frame in the arena. */
struct merge {
  uint8_t *head; /* NULL: nothing to append to */
  uint32_t length, l3, header, mss, seq;
  uint32_t peer;
  uint16_t peer_port, segments, id;
  bool udp, checked, fixed_id, closed;
};

/* Bytes of IP and transport header when the packet may be merged (kernel GRO rules): TCP segment or, if asked for, UDP datagram; else 0. */
uint32_t merge_candidate(const uint8_t *packet, uint32_t length, bool udp);
void merge_begin(struct merge *m, uint8_t *head, uint32_t length, uint32_t header);
/* Appends the payload behind the head when the segment or datagram continues it and both checksums hold. */
bool merge_append(struct merge *m, const uint8_t *packet, uint32_t length, uint32_t header);
/* Writes the super-packet's lengths, checksums and virtio_net_hdr; forgets the head. */
void merge_finish(struct merge *m);

#endif
