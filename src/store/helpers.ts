/** The few operations that most callers want, over any store. */
import type { KeyValue, Store } from "./types.js";

/** The key's latest version; undefined when it is not there. */
export async function getKey(store: Store, key: string): Promise<KeyValue | undefined> {
  return (await store.range(key)).kvs[0];
}

/** Writes the key, whatever was there; returns the revision. `lease`: the key goes when the lease ends. */
export async function putKey(store: Store, key: string, value: Uint8Array, lease = "0"): Promise<number> {
  return (await store.txn([], [{ type: "put", key, value, lease }])).revision;
}

/** Deletes the key; true when it was there. */
export async function deleteKey(store: Store, key: string): Promise<boolean> {
  const { results } = await store.txn([], [{ type: "delete", key }]);
  return results.some((result) => result.type === "delete" && result.deleted > 0);
}

/** Writes the key unless it is there; true when this call made it. */
export async function createIfAbsent(
  store: Store,
  key: string,
  value: Uint8Array,
  lease = "0",
): Promise<boolean> {
  const absent = { key, target: "createRevision", result: "=", value: 0 } as const;
  return (await store.txn([absent], [{ type: "put", key, value, lease }])).succeeded;
}
