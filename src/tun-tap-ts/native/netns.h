/* Work in another network namespace, and the TCP sockets that need it. */
#ifndef TUN_TAP_NETNS_H
#define TUN_TAP_NETNS_H

#include <stdbool.h>
#include <stdint.h>

/* A failure: the errno and the step that failed, which the TypeScript side turns into a sentence. */
struct failure {
  int err;
  const char *step;
};

/* Runs `work` in the namespace at `path`, and waits for it. */
struct failure netns_run(const char *path, struct failure (*work)(void *), void *arg);

struct tcp_request {
  const char *address; /* to bind to, IPv4 or IPv6; empty: an IPv4 socket that is not bound */
  uint16_t port;
  bool ipv6_only; /* IPv6 without IPv4-mapped: another socket may have the port over IPv4 */
  int fd; /* out: non-blocking */
};

/* Opens a TCP socket in the namespace at `path`. */
struct failure tcp_open(const char *path, struct tcp_request *request);

#endif
