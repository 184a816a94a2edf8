/**
 * The store: etcd v3's data model and protocol.
 *
 * Theory of operation. One engine holds the key space with all versions since the last compaction (`mvcc.ts`), the
 * leases (`lease-table.ts`) and the place of every watch in the history (`cursor.ts`). `MemoryStore` is that engine
 * behind the `Store` interface. The embedded server is the same engine behind etcd's gRPC services, with a journal: a
 * change is answered, and seen by watches, once it is on disk, and all changes of one turn of the event loop share one
 * fsync. A history of about 10,000 revisions is kept, and the journal is written anew when a compaction makes it worth it.
 *
 * The client, `connectStore`, speaks to the server and to a real etcd alike: it waits out restarts, goes through its
 * endpoints in turn, and resumes watches after the last revision that it delivered. Only a compaction of what was missed
 * reaches the caller, who lists again; `follow` does that.
 */
export { type ConnectOptions, connectStore } from "./client.js";
export type { Clock } from "./clock.js";
export { StoreRequestError } from "./errors.js";
export { type FollowHandlers, follow } from "./follow.js";
export { createIfAbsent, deleteKey, getKey, putKey } from "./helpers.js";
export { prefixEnd } from "./keys.js";
export { MemoryStore, type MemoryStoreOptions } from "./memory-store.js";
export { type StoreLog, type StoreServer, type StoreServerOptions, startStoreServer } from "./server.js";
export * from "./types.js";
