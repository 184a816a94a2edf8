/* TUN/TAP devices: open or re-attach inside a network namespace, and move by rtnetlink. */
#ifndef TUN_TAP_TAP_H
#define TUN_TAP_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "netns.h"

struct tap_request {
  char name[IFNAMSIZ]; /* in: wanted name or empty; out: the name that the kernel gave */
  const char *netns;   /* path of the namespace, or NULL for the caller's own */
  bool tun, vnet, persist, offloads;
  int fd;           /* out */
  uint32_t granted; /* out: TUN_F_* flags that the kernel accepted */
};

struct failure tap_open(struct tap_request *request);
struct failure tap_set_persist(int fd, bool persist);
struct failure tap_move(const char *name, const char *netns);

#endif
