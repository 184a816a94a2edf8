#include "turns.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* So many frames in a batch are a flood of small ones; so many bytes a millisecond (2 Gbit/s) are bulk, so many frames keep a processor busy. */
#define FLOOD_FRAMES 32
#define BULK_BYTES_PER_MS 250000
#define BUSY_FRAMES_PER_MS 5
#define WINDOW_NS 4000000
/* A flood and bulk are over after so long without, all traffic after the other. */
#define CALM_NS 50000000
#define QUIET_MS 1000
/* On so many processors the ends of a stream need one of their own. */
#define SCARCE_PROCESSORS 2

/* struct sched_attr of sched_setattr(2), which the C library does not know. */
struct sched_attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

/* SCHED_RESET_ON_FORK: pods' processes and other children begin with niceness 0. */
static int be_nice(struct turns *t, int nice) {
  if (t->nice_now == nice) return 0;
  struct sched_attributes a = {.size = sizeof a, .policy = SCHED_OTHER, .flags = 1, .nice = nice};
  if (syscall(SYS_sched_setattr, 0, &a, 0) < 0) return -errno;
  t->nice_now = nice;
  return 0;
}

int turns_set_niceness(struct turns *t, int niceness) {
  t->nice_base = t->nice_now = getpriority(PRIO_PROCESS, 0);
  int err = be_nice(t, niceness);
  if (!err) t->niceness = niceness;
  return err;
}

/*
 * As the kernel does with softirqs: what comes in is dealt with at once, ahead of other work, until it is so much that
 * it has to compete for the processor as everything else (there as ksoftirqd). A flood is cheaper so, too: preempting
 * its sender for each packet makes small batches.
 */
static void follow_flood(struct turns *t, uint32_t frames, uint64_t now_ns) {
  if (!t->niceness) return;
  if (frames >= FLOOD_FRAMES) {
    t->flood_ns = now_ns;
    be_nice(t, t->nice_base);
  } else if (t->nice_now != t->niceness && now_ns - t->flood_ns >= CALM_NS) {
    be_nice(t, t->niceness);
  }
}

/* Whether the thread keeps to one processor; to which, and which ones it had before. */
static _Thread_local bool kept;
static _Thread_local cpu_set_t last, before;
/* When any engine of the thread last carried bulk. */
static _Thread_local uint64_t bulk_ns;

/* What somebody else has chosen for the thread meanwhile stays. */
static void let_go(void) {
  cpu_set_t now;
  if (!kept) return;
  kept = false;
  if (sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &last)) sched_setaffinity(0, sizeof before, &before);
}

/* Pods' processes and other children may run anywhere. */
static void watch_forks(void) {
  pthread_atfork(NULL, NULL, let_go);
}

static void wake_when_quiet(const struct turns *t) {
  struct itimerspec in = {.it_value = {.tv_sec = QUIET_MS / 1000, .tv_nsec = QUIET_MS % 1000 * 1000000}};
  timerfd_settime(t->timer, 0, &in, NULL);
}

/* The last of two processors, so that the threads of all nodes of a machine meet there. */
static void keep_together(const struct turns *t) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (kept || sched_getaffinity(0, sizeof before, &before) < 0 || CPU_COUNT(&before) != SCARCE_PROCESSORS) return;
  pthread_once(&once, watch_forks);
  CPU_ZERO(&last);
  for (int i = CPU_SETSIZE - 1; !CPU_COUNT(&last); i--)
    if (CPU_ISSET(i, &before)) CPU_SET(i, &last);
  kept = sched_setaffinity(0, sizeof last, &last) == 0;
  wake_when_quiet(t);
}

/*
 * What crosses two nodes of one machine is carried by both their threads, and its two ends want processors, too. On two of them
 * the threads share one for bulk: what one has written the other reads from the cache, they wake each other
 * without an interrupt, and the ends have the other processor. They also do for a packet now and then, which waits for
 * nothing but those interrupts. Only what keeps a processor busy with small packets, or with bulk both ways, is faster on two.
 */
static void follow_load(struct turns *t, uint32_t frames, uint64_t bytes, uint64_t peer_bytes, uint64_t now_ns) {
  t->frames += frames;
  t->bytes += bytes;
  t->peer_bytes += peer_bytes;
  uint64_t window = now_ns - t->since_ns;
  if (window < WINDOW_NS) return;
  uint64_t us = window / 1000, least = BULK_BYTES_PER_MS / 1000 * us;
  bool bulk = t->bytes >= least;
  bool both = t->peer_bytes >= least && t->bytes - t->peer_bytes >= least;
  bool busy = t->frames * 1000 >= BUSY_FRAMES_PER_MS * us;
  t->since_ns = now_ns;
  t->frames = t->bytes = t->peer_bytes = 0;
  if (bulk) bulk_ns = now_ns;
  if (both || (busy && now_ns - bulk_ns >= CALM_NS))
    let_go();
  else if (bulk || !busy)
    keep_together(t);
}

void turns_due(struct turns *t, uint64_t now_ns) {
  uint64_t times;
  if (read(t->timer, &times, sizeof times) < 0 || !kept) return;
  if (now_ns - t->since_ns >= QUIET_MS * 1000000ull)
    let_go();
  else
    wake_when_quiet(t);
}

void turns_batch(struct turns *t, uint32_t frames, uint64_t bytes, uint64_t peer_bytes, uint64_t now_ns) {
  follow_flood(t, frames, now_ns);
  follow_load(t, frames, bytes, peer_bytes, now_ns);
}

int turns_start(struct turns *t) {
  t->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  return t->timer < 0 ? -errno : 0;
}

void turns_end(struct turns *t) {
  if (t->niceness) be_nice(t, t->nice_base);
  let_go();
  close(t->timer);
}
