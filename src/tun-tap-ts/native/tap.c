#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns.h"
#include "offload.h"

/* Linux 6.2; an older kernel answers EINVAL, so they are tried and given up. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#endif
#ifndef TUN_F_USO6
#define TUN_F_USO6 0x40
#endif

static const struct failure OK = {0, NULL};

static struct failure fail(const char *step) {
  return (struct failure){errno, step};
}

/* Asks for the richest set of offloads first; TUN_F_CSUM alone still saves a pass over every packet. */
static uint32_t grant_offloads(int fd, bool wanted) {
  static const uint32_t sets[] = {
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6,
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
      TUN_F_CSUM,
  };
  for (unsigned i = 0; wanted && i < sizeof sets / sizeof *sets; i++)
    if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)sets[i]) == 0) return sets[i];
  /* A persistent device may remember the offloads of its last owner. */
  ioctl(fd, TUNSETOFFLOAD, 0UL);
  return 0;
}

static struct failure configure(struct tap_request *r, int fd) {
  struct ifreq ifr = {0};
  memcpy(ifr.ifr_name, r->name, IFNAMSIZ);
  ifr.ifr_flags = (short)((r->tun ? IFF_TUN : IFF_TAP) | IFF_NO_PI | (r->vnet ? IFF_VNET_HDR : 0));
  if (ioctl(fd, TUNSETIFF, &ifr) < 0) return fail("TUNSETIFF");
  memcpy(r->name, ifr.ifr_name, IFNAMSIZ);
  if (r->vnet) {
    int size = VNET_BYTES;
    if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) return fail("TUNSETVNETHDRSZ");
  }
  r->granted = grant_offloads(fd, r->vnet && r->offloads);
  if (r->persist && ioctl(fd, TUNSETPERSIST, 1UL) < 0) return fail("TUNSETPERSIST");
  return OK;
}

static struct failure open_here(void *request) {
  struct tap_request *r = request;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return fail("open /dev/net/tun");
  struct failure f = configure(r, fd);
  if (f.err)
    close(fd);
  else
    r->fd = fd;
  return f;
}

struct failure tap_open(struct tap_request *r) {
  return r->netns ? netns_run(r->netns, open_here, r) : open_here(r);
}

struct failure tap_set_persist(int fd, bool persist) {
  return ioctl(fd, TUNSETPERSIST, persist ? 1UL : 0UL) < 0 ? fail("TUNSETPERSIST") : OK;
}

struct move_message {
  struct nlmsghdr nl;
  struct ifinfomsg link;
  struct rtattr attr;
  int32_t ns;
};

static struct failure exchange(struct move_message *message) {
  int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (sock < 0) return fail("rtnetlink");
  struct {
    struct nlmsghdr nl;
    struct nlmsgerr err;
    char rest[512];
  } reply;
  struct failure f = OK;
  ssize_t n = -1;
  if (send(sock, message, sizeof *message, 0) < 0 || (n = recv(sock, &reply, sizeof reply, 0)) < 0)
    f = fail("rtnetlink");
  else if (n < (ssize_t)(sizeof reply.nl + sizeof reply.err.error) || reply.nl.nlmsg_type != NLMSG_ERROR)
    f = (struct failure){EPROTO, "rtnetlink"};
  else if (reply.err.error)
    f = (struct failure){-reply.err.error, "rtnetlink move"};
  close(sock);
  return f;
}

struct failure tap_move(const char *name, const char *netns) {
  unsigned index = if_nametoindex(name);
  if (!index) return fail("if_nametoindex");
  int ns = open(netns, O_RDONLY | O_CLOEXEC);
  if (ns < 0) return fail("open netns");
  struct move_message message = {
      .nl = {.nlmsg_len = sizeof message, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index},
      .attr = {.rta_len = RTA_LENGTH(sizeof(int32_t)), .rta_type = IFLA_NET_NS_FD},
      .ns = ns,
  };
  struct failure f = exchange(&message);
  close(ns);
  return f;
}
