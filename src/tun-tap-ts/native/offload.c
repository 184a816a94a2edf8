#include "offload.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { TCP_FIN = 1, TCP_PSH = 8, TCP_ACK = 16, TCP_CWR = 128 };
enum { IP_ID = 4, IP_FRAG = 6, IP_PROTO = 9, IP_CSUM = 10, IP_ADDR = 12 };
enum { IP6_LEN = 4, IP6_NEXT = 6, IP6_HOPS = 7, IP6_ADDR = 8 };
enum { TCP_SEQ = 4, TCP_ACKNO = 8, TCP_OFF = 12, TCP_FLAGS = 13, TCP_WINDOW = 14, TCP_CSUM = 16, TCP_URGENT = 18 };
enum { UDP_LEN = 4, UDP_CSUM = 6 };
/* The kernel's own limits of UDP GRO (UDP_GRO_CNT_MAX) and of what it cuts again (UDP_MAX_SEGMENTS). */
#define DATAGRAMS_MAX 64

static uint16_t get16(const uint8_t *p) {
  return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return ntohl(v);
}

static void put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v) {
  v = htonl(v);
  memcpy(p, &v, 4);
}

/* 32 bytes as four pairs of 32-bit words; the compiler makes of it what the processor has. */
typedef uint64_t lanes __attribute__((vector_size(32)));
#define LOW_WORDS 0xffffffffull

#if defined(__x86_64__) && defined(__GLIBC__)
#define EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define EACH_PROCESSOR
#endif

/*
 * One's complement sum over host-order words (RFC 1071 section 2B: byte order does not matter until it is stored).
 * `sum` has room: it grows by less than 2^32 for each four bytes.
 */
EACH_PROCESSOR static uint64_t csum_add(const uint8_t *p, size_t n, uint64_t sum) {
  lanes a = {0}, b = {0}, c = {0}, d = {0}, x, y;
  for (; n >= 64; n -= 64, p += 64) {
    memcpy(&x, p, 32);
    memcpy(&y, p + 32, 32);
    a += x & LOW_WORDS;
    b += x >> 32;
    c += y & LOW_WORDS;
    d += y >> 32;
  }
  a += b + c + d;
  sum += a[0] + a[1] + a[2] + a[3];
  uint32_t w = 0;
  for (; n >= 4; n -= 4, p += 4) {
    memcpy(&w, p, 4);
    sum += w;
  }
  w = 0;
  memcpy(&w, p, n);
  return sum + w;
}

/* The same, and copies the bytes on the way. */
EACH_PROCESSOR static uint64_t csum_copy(uint8_t *to, const uint8_t *p, size_t n, uint64_t sum) {
  lanes a = {0}, b = {0}, c = {0}, d = {0}, x, y;
  for (; n >= 64; n -= 64, p += 64, to += 64) {
    memcpy(&x, p, 32);
    memcpy(&y, p + 32, 32);
    memcpy(to, &x, 32);
    memcpy(to + 32, &y, 32);
    a += x & LOW_WORDS;
    b += x >> 32;
    c += y & LOW_WORDS;
    d += y >> 32;
  }
  a += b + c + d;
  memcpy(to, p, n);
  return csum_add(p, n, sum + a[0] + a[1] + a[2] + a[3]);
}

static uint16_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

static void store(uint8_t *p, uint16_t host_order_sum) {
  memcpy(p, &host_order_sum, 2);
}

/* RFC 793 section 3.1, RFC 8200 section 8.1. `length` is that of the transport header and its payload. */
static uint64_t pseudo(const uint8_t *ip, bool v6, uint8_t protocol, uint32_t length) {
  uint64_t sum = v6 ? csum_add(ip + IP6_ADDR, 32, 0) : csum_add(ip + IP_ADDR, 8, 0);
  return sum + htons(protocol) + htons((uint16_t)length);
}

static void ip_header(uint8_t *ip, uint32_t header, uint32_t total) {
  put16(ip + 2, total);
  store(ip + IP_CSUM, 0);
  store(ip + IP_CSUM, (uint16_t)~fold(csum_add(ip, header, 0)));
}

bool csum_complete(uint8_t *frame, uint32_t length, const struct vnet_hdr *h) {
  uint32_t at = (uint32_t)h->csum_start + h->csum_offset;
  if (h->csum_start >= length || at + 2 > length) return false;
  uint16_t sum = (uint16_t)~fold(csum_add(frame + h->csum_start, length - h->csum_start, 0));
  /* RFC 768: a computed zero is sent as all ones; for TCP the two are the same number. */
  store(frame + at, sum ? sum : 0xffff);
  return true;
}

bool gso_begin(struct gso *g, const uint8_t *frame, uint32_t length, uint32_t l3, const struct vnet_hdr *h) {
  uint8_t type = h->gso_type & (uint8_t)~VNET_GSO_ECN;
  uint32_t l4 = h->csum_start;
  if (l4 < l3 + 20 || l4 + 8 > length || !h->gso_size) return false;
  const uint8_t *ip = frame + l3;
  bool v6 = ip[0] >> 4 == 6, udp = type == VNET_GSO_UDP_L4;
  if (v6 ? l4 - l3 != 40 : ip[0] >> 4 != 4 || l4 - l3 != (ip[0] & 15u) * 4) return false;
  if (!udp && type != (v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4)) return false;
  if ((v6 ? ip[IP6_NEXT] : ip[IP_PROTO]) != (udp ? IPPROTO_UDP : IPPROTO_TCP)) return false;
  uint32_t transport = 8;
  if (!udp) {
    if (l4 + 20 > length) return false;
    transport = (frame[l4 + TCP_OFF] >> 4) * 4u;
    if (transport < 20) return false;
  }
  uint32_t header = l4 + transport;
  if (header >= length || header > GSO_HEADER_MAX) return false;
  *g = (struct gso){.frame = frame, .l3 = l3, .l4 = l4, .header = header, .mss = h->gso_size, .at = header, .end = length, .v6 = v6, .udp = udp};
  g->id = v6 ? 0 : get16(ip + IP_ID);
  g->seq = udp ? 0 : get32(frame + l4 + TCP_SEQ);
  return true;
}

uint32_t gso_next(struct gso *g, uint8_t *segment) {
  uint32_t n = g->end - g->at;
  if (!n) return 0;
  bool last = n <= g->mss;
  if (!last) n = g->mss;
  memcpy(segment, g->frame, g->header);
  uint8_t *ip = segment + g->l3, *l4 = segment + g->l4;
  uint32_t transport = g->header - g->l4 + n;
  if (g->v6) {
    put16(ip + IP6_LEN, transport);
  } else {
    put16(ip + IP_ID, g->id++);
    ip_header(ip, g->l4 - g->l3, g->l4 - g->l3 + transport);
  }
  uint8_t *sum_at = l4 + (g->udp ? UDP_CSUM : TCP_CSUM);
  if (g->udp) {
    put16(l4 + UDP_LEN, transport);
  } else {
    put32(l4 + TCP_SEQ, g->seq);
    /* CWR announces one congestion event (RFC 3168 section 6.1.2); FIN and PSH belong to the last byte. */
    if (g->index) l4[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    if (!last) l4[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
  }
  store(sum_at, 0);
  uint64_t sum = pseudo(ip, g->v6, g->udp ? IPPROTO_UDP : IPPROTO_TCP, transport);
  sum = csum_add(l4, g->header - g->l4, sum);
  uint16_t folded = (uint16_t)~fold(csum_copy(segment + g->header, g->frame + g->at, n, sum));
  store(sum_at, folded ? folded : 0xffff);
  g->at += n;
  g->seq += n;
  g->index++;
  return g->header + n;
}

bool super_read(struct super *s, const uint8_t *p, uint32_t n) {
  if (n < 40 + VNET_BYTES) return false;
  s->length = p[0] >> 4 == 6 ? 40u + get16(p + IP6_LEN) : get16(p + 2);
  if (s->length + VNET_BYTES != n) return false;
  memcpy(&s->vnet, p + s->length, VNET_BYTES);
  struct gso g;
  if (s->vnet.flags != VNET_NEEDS_CSUM || !gso_begin(&g, p, s->length, 0, &s->vnet)) return false;
  s->vnet.hdr_len = (uint16_t)g.header;
  return s->vnet.csum_offset == (g.udp ? UDP_CSUM : TCP_CSUM);
}

static uint32_t l3_bytes(const uint8_t *p) {
  return p[0] >> 4 == 6 ? 40 : 20;
}

uint32_t merge_candidate(const uint8_t *p, uint32_t n, bool udp) {
  if (n < 29) return 0;
  bool v6 = p[0] >> 4 == 6;
  uint32_t l3 = l3_bytes(p);
  uint8_t protocol = v6 ? p[IP6_NEXT] : p[IP_PROTO];
  if (v6) {
    if (n < 49 || get16(p + IP6_LEN) != n - 40) return 0;
  } else {
    /* Only DF may be set: no fragments, no reserved bit. */
    if (p[0] != 0x45 || get16(p + 2) != n || get16(p + IP_FRAG) & 0xbfff) return 0;
  }
  if (protocol == IPPROTO_UDP) return udp && get16(p + l3 + UDP_LEN) == n - l3 && get16(p + l3 + UDP_CSUM) ? l3 + 8 : 0;
  if (protocol != IPPROTO_TCP || n < l3 + 21) return 0;
  uint32_t transport = (p[l3 + TCP_OFF] >> 4) * 4u;
  if (transport < 20 || l3 + transport >= n || (p[l3 + TCP_FLAGS] & (uint8_t)~TCP_PSH) != TCP_ACK) return 0;
  return l3 + transport;
}

static bool ip_checksum_holds(const uint8_t *p) {
  return p[0] >> 4 == 6 || fold(csum_add(p, 20, 0)) == 0xffff;
}

static uint8_t protocol_of(const struct merge *m) {
  return m->udp ? IPPROTO_UDP : IPPROTO_TCP;
}

static bool head_is_sound(const struct merge *m) {
  uint32_t n = m->length - m->l3;
  uint64_t sum = pseudo(m->head, m->l3 == 40, protocol_of(m), n);
  return ip_checksum_holds(m->head) && fold(csum_add(m->head + m->l3, n, sum)) == 0xffff;
}

void merge_begin(struct merge *m, uint8_t *head, uint32_t length, uint32_t header) {
  *m = (struct merge){0};
  uint32_t l3 = l3_bytes(head);
  bool udp = header == l3 + 8;
  /* PSH ends a super-packet, so it cannot begin one. */
  if (!udp && head[l3 + TCP_FLAGS] & TCP_PSH) return;
  m->head = head;
  m->udp = udp;
  m->length = length;
  m->header = header;
  m->l3 = l3;
  m->mss = length - header;
  m->seq = udp ? 0 : get32(head + l3 + TCP_SEQ) + m->mss;
  m->id = get16(head + IP_ID);
  m->segments = 1;
}

/* RFC 6864 section 4.1: with DF the identification means nothing and may stand still; else it must count up. */
static bool id_follows(const struct merge *m, const uint8_t *p) {
  if (m->l3 == 40) return true;
  uint16_t id = get16(p + IP_ID);
  bool counts = id == (uint16_t)(m->id + m->segments);
  bool stands = id == m->id && (p[IP_FRAG] & 0x40);
  if (m->segments == 1) return counts || stands;
  return m->fixed_id ? stands : counts;
}

/* Version, TOS or traffic class and flow label, fragment bits, TTL, addresses and ports. */
static bool same_ip(const struct merge *m, const uint8_t *p) {
  const uint8_t *h = m->head;
  if (m->l3 == 40) return memcmp(h, p, 4) == 0 && h[IP6_HOPS] == p[IP6_HOPS] && memcmp(h + IP6_ADDR, p + IP6_ADDR, 36) == 0;
  return h[0] == p[0] && h[1] == p[1] && memcmp(h + IP_FRAG, p + IP_FRAG, 4) == 0 && memcmp(h + IP_ADDR, p + IP_ADDR, 12) == 0;
}

static bool continues(const struct merge *m, const uint8_t *p, uint32_t header) {
  const uint8_t *t = p + m->l3, *u = m->head + m->l3;
  if (header != m->header || !same_ip(m, p) || !id_follows(m, p)) return false;
  if (m->udp) return m->segments < DATAGRAMS_MAX;
  return get32(t + TCP_SEQ) == m->seq && memcmp(u + TCP_ACKNO, t + TCP_ACKNO, 5) == 0 &&
         memcmp(u + TCP_WINDOW, t + TCP_WINDOW, 2) == 0 && memcmp(u + TCP_URGENT, t + TCP_URGENT, header - m->l3 - 18) == 0;
}

bool merge_append(struct merge *m, const uint8_t *p, uint32_t n, uint32_t header) {
  uint32_t payload = n - header;
  if (!m->head || m->closed || payload > m->mss || m->length + payload > 65535 || !continues(m, p, header)) return false;
  if (!m->checked && !head_is_sound(m)) return false;
  m->checked = true;
  /* Copied before it is known to be sound: what lies behind the head belongs to nobody yet. */
  uint64_t sum = csum_add(p + m->l3, header - m->l3, pseudo(p, m->l3 == 40, protocol_of(m), n - m->l3));
  sum = csum_copy(m->head + m->length, p + header, payload, sum);
  if (fold(sum) != 0xffff || !ip_checksum_holds(p)) return false;
  if (m->segments == 1) m->fixed_id = get16(p + IP_ID) == m->id;
  m->length += payload;
  m->seq += payload;
  m->segments++;
  bool push = !m->udp && p[m->l3 + TCP_FLAGS] & TCP_PSH;
  if (push) m->head[m->l3 + TCP_FLAGS] |= TCP_PSH;
  /* A short segment or PSH is the last one of a super-packet. */
  m->closed = push || payload < m->mss;
  return true;
}

void merge_finish(struct merge *m) {
  uint8_t *p = m->head;
  m->head = NULL;
  if (!p || m->segments < 2) return;
  bool v6 = m->l3 == 40;
  uint32_t transport = m->length - m->l3;
  if (v6)
    put16(p + IP6_LEN, transport);
  else
    ip_header(p, 20, m->length);
  if (m->udp) put16(p + m->l3 + UDP_LEN, transport);
  uint32_t at = m->udp ? UDP_CSUM : TCP_CSUM;
  store(p + m->l3 + at, fold(pseudo(p, v6, protocol_of(m), transport)));
  uint8_t type = m->udp ? VNET_GSO_UDP_L4 : v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4;
  struct vnet_hdr h = {VNET_NEEDS_CSUM, type, (uint16_t)m->header, (uint16_t)m->mss, (uint16_t)m->l3, (uint16_t)at};
  memcpy(p - VNET_BYTES, &h, sizeof h);
}
