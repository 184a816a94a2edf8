/*
 * Traffic for the bench, in C because a generator in Node.js would be the bottleneck on every kernel path.
 *
 *   load serve RR_PORT CONNECT_PORT COUNT        echoes bytes on RR_PORT; on the COUNT ports from CONNECT_PORT on it
 *                                                accepts and closes at once
 *   load rr ADDRESS PORT SECONDS                 one byte there and back, one after the other, on one connection
 *   load connects ADDRESS PORT SECONDS PARALLEL  opens connections and reads until the server has closed them
 *   load udpsend ADDRESS PORT BYTES SECONDS      one send() after another
 *   load udprecv PORT SECONDS                    counts datagrams for SECONDS from the first one on
 *   load awake SECONDS                           keeps every processor from sleeping, with work that gives way to any other
 *
 * Results are one line of JSON. The server closes first, so TIME_WAIT stays there and the client's ports are free.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 256, MAX_FD = 65536, BATCH = 64, MAX_SAMPLES = 1 << 22 };
enum { UDP_BUFFER_BYTES = 16 << 20, ECHO = 1, ACCEPT_ECHO = 2, ACCEPT_CLOSE = 3 };

static uint8_t role[MAX_FD];

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *ip, const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, ip, &a.sin_addr) != 1) {
    fprintf(stderr, "load: %s is not an IPv4 address\n", ip);
    exit(1);
  }
  return a;
}

static void watch(int poll, int fd, uint32_t events) {
  struct epoll_event e = {.events = events, .data.fd = fd};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0) fail("epoll_ctl");
}

static int listener(int poll, int port, int kind) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (fd < 0 || fd >= MAX_FD) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, BACKLOG) < 0) fail("listen");
  role[fd] = kind;
  watch(poll, fd, EPOLLIN);
  return fd;
}

static void take(int poll, int fd) {
  int one = 1;
  for (;;) {
    int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0) return;
    if (role[fd] == ACCEPT_CLOSE || peer >= MAX_FD) {
      close(peer);
      continue;
    }
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    role[peer] = ECHO;
    watch(poll, peer, EPOLLIN);
  }
}

static void echo(int fd) {
  char bytes[4096];
  ssize_t got = read(fd, bytes, sizeof bytes);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0 || write(fd, bytes, got) != got) close(fd);
}

static void serve(int rr_port, int connect_port, int count) {
  struct epoll_event events[EVENTS];
  int poll = epoll_create1(EPOLL_CLOEXEC);
  listener(poll, rr_port, ACCEPT_ECHO);
  for (int i = 0; i < count; i++) listener(poll, connect_port + i, ACCEPT_CLOSE);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    int n = epoll_wait(poll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (role[fd] == ECHO) echo(fd);
      else take(poll, fd);
    }
  }
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void request_response(const char *ip, const char *port, double seconds) {
  struct sockaddr_in to = address(ip, port);
  struct timeval patience = {.tv_sec = 5};
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  float *took = malloc(MAX_SAMPLES * sizeof *took);
  char byte = 'x';
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  double begin = now(), last = begin;
  int count = 0;
  while (last - begin < seconds && count < MAX_SAMPLES) {
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) fail("exchange");
    double t = now();
    took[count++] = (t - last) * 1e6;
    last = t;
  }
  qsort(took, count, sizeof *took, by_value);
  printf("{\"count\":%d,\"seconds\":%f,\"p50Us\":%.1f,\"p99Us\":%.1f}\n", count, last - begin, took[count / 2],
         took[(int)(count * 0.99)]);
}

static void open_one(int poll, const struct sockaddr_in *to) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, (struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS) fail("connect");
  watch(poll, fd, EPOLLIN | EPOLLRDHUP);
}

static void connects(const char *ip, const char *port, double seconds, int parallel) {
  struct sockaddr_in to = address(ip, port);
  struct epoll_event events[EVENTS];
  int poll = epoll_create1(EPOLL_CLOEXEC);
  long count = 0, failed = 0;
  char byte;
  for (int i = 0; i < parallel; i++) open_one(poll, &to);
  double begin = now(), t = begin;
  while ((t = now()) - begin < seconds) {
    int n = epoll_wait(poll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) {
      if (read(events[i].data.fd, &byte, 1) == 0) count++;
      else failed++;
      close(events[i].data.fd);
      open_one(poll, &to);
    }
  }
  printf("{\"count\":%ld,\"failed\":%ld,\"seconds\":%f}\n", count, failed, t - begin);
}

static void udp_send(const char *ip, const char *port, int size, double seconds) {
  struct sockaddr_in to = address(ip, port);
  static char bytes[65536];
  int fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = UDP_BUFFER_BYTES;
  long sent = 0, failed = 0;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
  double begin = now();
  for (;;) {
    if (send(fd, bytes, size, 0) == size) sent++;
    else failed++;
    if (((sent + failed) & 63) == 0 && now() - begin >= seconds) break;
  }
  printf("{\"sent\":%ld,\"failed\":%ld,\"seconds\":%f}\n", sent, failed, now() - begin);
}

static void udp_receive(const char *port, double seconds) {
  static char bytes[BATCH][2048];
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  struct timeval patience = {.tv_sec = 5}, poll = {.tv_usec = 50000};
  int fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = UDP_BUFFER_BYTES;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) fail("bind");
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){bytes[i], sizeof bytes[i]};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  printf("ready\n");
  fflush(stdout);
  if (recv(fd, bytes[0], sizeof bytes[0], 0) < 0) fail("no datagram came");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &poll, sizeof poll);
  double begin = now(), t;
  long received = 0;
  while ((t = now()) - begin < seconds) {
    int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    if (n > 0) received += n;
  }
  printf("{\"received\":%ld,\"seconds\":%f}\n", received, t - begin);
}

static void stay_awake(int cpu, double end) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (sched_setaffinity(0, sizeof set, &set) < 0) fail("sched_setaffinity");
  if (sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}) < 0) fail("sched_setscheduler");
  while (now() < end) {}
  exit(0);
}

static void awake(double seconds) {
  cpu_set_t set;
  double end = now() + seconds;
  if (sched_getaffinity(0, sizeof set, &set) < 0) fail("sched_getaffinity");
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (!child) stay_awake(cpu, end);
  }
  puts("ready");
  fflush(stdout);
  int status, failed = 0;
  while (wait(&status) > 0) failed |= status;
  if (failed) exit(1);
}

int main(int argc, char **argv) {
  struct rlimit files = {MAX_FD, MAX_FD};
  const char *mode = argc > 1 ? argv[1] : "";
  setrlimit(RLIMIT_NOFILE, &files);
  if (!strcmp(mode, "serve") && argc == 5) serve(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
  else if (!strcmp(mode, "rr") && argc == 5) request_response(argv[2], argv[3], atof(argv[4]));
  else if (!strcmp(mode, "connects") && argc == 6) connects(argv[2], argv[3], atof(argv[4]), atoi(argv[5]));
  else if (!strcmp(mode, "udpsend") && argc == 6) udp_send(argv[2], argv[3], atoi(argv[4]), atof(argv[5]));
  else if (!strcmp(mode, "awake") && argc == 3) awake(atof(argv[2]));
  else if (!strcmp(mode, "udprecv") && argc == 4) udp_receive(argv[2], atof(argv[3]));
  else return fprintf(stderr, "load: serve, rr, connects, udpsend, udprecv or awake with their arguments\n"), 2;
  return 0;
}
