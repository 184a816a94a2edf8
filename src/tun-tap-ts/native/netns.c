#include "netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct failure fail(const char *step) {
  return (struct failure){errno, step};
}

struct job {
  const char *path;
  struct failure (*work)(void *);
  void *arg;
  struct failure result;
};

/* setns changes only the calling thread, which ends here: no other thread of the process ever leaves its namespace. */
static void *run_in_netns(void *arg) {
  struct job *job = arg;
  int ns = open(job->path, O_RDONLY | O_CLOEXEC);
  if (ns < 0) {
    job->result = fail("open netns");
    return NULL;
  }
  job->result = setns(ns, CLONE_NEWNET) < 0 ? fail("setns") : job->work(job->arg);
  close(ns);
  return NULL;
}

struct failure netns_run(const char *path, struct failure (*work)(void *), void *arg) {
  struct job job = {.path = path, .work = work, .arg = arg};
  pthread_t thread;
  int err = pthread_create(&thread, NULL, run_in_netns, &job);
  if (err) return (struct failure){err, "pthread_create"};
  pthread_join(thread, NULL);
  return job.result;
}

static struct failure open_tcp(void *arg) {
  struct tcp_request *r = arg;
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(r->port)};
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(r->port)};
  bool is_v6 = inet_pton(AF_INET6, r->address, &v6.sin6_addr) == 1;
  if (*r->address && !is_v6 && inet_pton(AF_INET, r->address, &v4.sin_addr) != 1)
    return (struct failure){EINVAL, "address"};
  int one = 1, fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail("socket");
  const struct sockaddr *address = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
  /* As libuv binds: connections that are still in TIME_WAIT do not keep the port. */
  if (*r->address && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
                      (is_v6 && r->ipv6_only && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) < 0) ||
                      bind(fd, address, is_v6 ? sizeof v6 : sizeof v4) < 0)) {
    struct failure f = fail("bind");
    close(fd);
    return f;
  }
  r->fd = fd;
  return (struct failure){0, NULL};
}

struct failure tcp_open(const char *path, struct tcp_request *request) {
  return netns_run(path, open_tcp, request);
}
