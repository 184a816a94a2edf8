#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "udp.h"

#ifndef IP_MTU
#define IP_MTU 14
#endif

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

bool udp_is_here(uint32_t address) {
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(address)};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu = 0;
  if (fd < 0) return false;
  socklen_t length = sizeof mtu;
  bool known = connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0 && getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &length) == 0;
  close(fd);
  return known && mtu >= DATAGRAM_MAX + 28;
}
