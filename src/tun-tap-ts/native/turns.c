#include "turns.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* So many frames in a batch are a flood of small ones, so many bytes a millisecond (2 Gbit/s) are bulk; both are over after so long without. */
#define FLOOD_FRAMES 32
#define BULK_BYTES_PER_MS 250000
#define WINDOW_NS 4000000
#define CALM_NS 50000000
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

/* The last of two processors, so that the threads of all nodes of a machine meet there. */
static void keep_together(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (sched_getaffinity(0, sizeof before, &before) < 0 || CPU_COUNT(&before) != SCARCE_PROCESSORS) return;
  pthread_once(&once, watch_forks);
  CPU_ZERO(&last);
  for (int i = CPU_SETSIZE - 1; !CPU_COUNT(&last); i--)
    if (CPU_ISSET(i, &before)) CPU_SET(i, &last);
  kept = sched_setaffinity(0, sizeof last, &last) == 0;
}

/*
 * A stream that crosses two nodes of one machine is carried by both their threads, and its two ends want processors, too. On two of them
 * the threads share one while they carry bulk: what one has written the other reads from the cache, they wake each other
 * without an interrupt, and the ends have the other processor.
 */
static void follow_bulk(struct turns *t, uint64_t bytes, uint64_t peer_bytes, uint64_t now_ns) {
  t->bytes += bytes;
  t->peer_bytes += peer_bytes;
  uint64_t window = now_ns - t->since_ns;
  if (window < WINDOW_NS) return;
  uint64_t least = BULK_BYTES_PER_MS / 1000 * (window / 1000);
  bool bulk = t->bytes >= least;
  /* Streams both ways are more than one processor can carry. */
  bool both = t->peer_bytes >= least && t->bytes - t->peer_bytes >= least;
  t->since_ns = now_ns;
  t->bytes = t->peer_bytes = 0;
  if (both) let_go();
  if (!bulk || both) return;
  bulk_ns = now_ns;
  if (!kept) keep_together();
}

void turns_woken(uint64_t now_ns) {
  if (now_ns - bulk_ns >= CALM_NS) let_go();
}

void turns_batch(struct turns *t, uint32_t frames, uint64_t bytes, uint64_t peer_bytes, uint64_t now_ns) {
  follow_flood(t, frames, now_ns);
  follow_bulk(t, bytes, peer_bytes, now_ns);
}

void turns_end(struct turns *t) {
  if (t->niceness) be_nice(t, t->nice_base);
  let_go();
}
