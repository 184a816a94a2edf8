/* When and where the engine's thread has its turn: niceness, the processor that it keeps to, how long it stays awake. */
#ifndef TUN_TAP_TURNS_H
#define TUN_TAP_TURNS_H

#include <stdbool.h>
#include <stdint.h>

struct turns {
  /* Niceness while batches have few frames (0: left alone), before it was set, and now. */
  int niceness, nice_base, nice_now;
  uint64_t flood_ns;
  /* What came in since when, and how much of it peers sent. */
  uint64_t since_ns, frames, bytes, peer_bytes;
  /* Readable when turns_due is due. */
  int timer;
};

/* Returns 0 or a negative errno. */
int turns_start(struct turns *t);

/* Returns 0 or a negative errno. */
int turns_set_niceness(struct turns *t, int niceness);
/* Keeping to one processor ends when nothing comes any more. */
void turns_due(struct turns *t, uint64_t now_ns);
/* A batch has come in and will be handed up. */
void turns_batch(struct turns *t, uint32_t frames, uint64_t bytes, uint64_t peer_bytes, uint64_t now_ns);
/* Everything is as it was before. */
void turns_end(struct turns *t);

#endif
