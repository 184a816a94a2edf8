/** What the journal's frames hold: batches of records, each one change of the store or a piece of a snapshot. */
import type { Change, Engine } from "./engine.js";
import { EVENT_TYPES, keyValue } from "./messages.js";
import { binary, bytes, id, int, list, type MessageOf, message, sub } from "./protobuf.js";
import type { KeyValue, StoreEvent } from "./types.js";

const FORMAT = 1;
/** Records in one frame of a snapshot. */
const SNAPSHOT_BATCH = 500;

/** Who this store is: ids of etcd's response headers. The upper bits of its lease ids come from the cluster id. */
export interface Identity {
  readonly clusterId: string;
  readonly memberId: string;
}

const recordEvent = message({ type: int(1), key: binary(2), value: bytes(3), lease: id(4) });
const record = message({
  identity: sub(1, message({ format: int(1), clusterId: id(2), memberId: id(3) })),
  base: sub(2, message({ compactRevision: int(1), kvs: list(2, keyValue) })),
  write: sub(3, message({ revision: int(1), events: list(2, recordEvent) })),
  grant: sub(4, message({ id: id(1), ttlSeconds: int(2) })),
  revoke: sub(5, message({ id: id(1) })),
  compact: sub(6, message({ revision: int(1) })),
});
const batch = message({ records: list(1, record) });

export type JournalRecord = MessageOf<typeof record>;

export function encodeBatch(records: readonly JournalRecord[]): Buffer {
  return batch.encode({ records });
}

/** @throws Error for bytes that are no batch */
export function decodeBatch(payload: Uint8Array): readonly JournalRecord[] {
  return batch.decode(payload).records;
}

export function toRecord(change: Change): JournalRecord {
  switch (change.type) {
    case "write":
      return record.make({ write: { revision: change.revision, events: change.events.map(toRecordEvent) } });
    case "grant":
      return record.make({ grant: change });
    case "revoke":
      return record.make({ revoke: change });
    case "compact":
      return record.make({ compact: change });
  }
}

/** The first record of a journal says whose it is. @throws Error for another format */
export function readIdentity(first: JournalRecord | undefined): Identity {
  if (first?.identity === undefined) throw new Error("it does not begin with the identity of a store");
  const { format, clusterId, memberId } = first.identity;
  if (format !== FORMAT) throw new Error(`its format is ${format}, this version reads ${FORMAT}`);
  return { clusterId, memberId };
}

/** Brings one record back into the engine. @throws Error when it does not follow from those before it */
export function replayRecord(engine: Engine, { base, write, grant, revoke, compact }: JournalRecord): void {
  if (base !== undefined) engine.replayBase(base.compactRevision, base.kvs);
  if (write !== undefined) {
    engine.replay({ type: "write", revision: write.revision, events: write.events.map(toEvent) });
    const { revision } = engine.mvcc;
    if (revision !== write.revision) throw new Error(`revision ${write.revision} follows ${revision - 1}`);
  }
  if (grant !== undefined) engine.replay({ type: "grant", ...grant });
  if (revoke !== undefined) engine.replay({ type: "revoke", ...revoke });
  if (compact !== undefined) engine.replay({ type: "compact", ...compact });
}

/** The whole store as batches of records; the state is taken at once, the encoding happens as they are read. */
export function snapshot(identity: Identity, engine: Engine): Iterable<Buffer> {
  const { compactRevision, base, log } = engine.mvcc.state();
  const firstRevision = engine.mvcc.revision - log.length + 1;
  const leases = engine.leases.all();
  return encodeSnapshot(function* () {
    yield record.make({ identity: { format: FORMAT, ...identity } });
    // Leases come first: keys find theirs when they come.
    for (const grant of leases) yield record.make({ grant });
    if (compactRevision > 0) yield record.make({ base: { compactRevision, kvs: base } });
    for (const [index, events] of log.entries()) {
      yield toRecord({ type: "write", revision: firstRevision + index, events });
    }
  });
}

function* encodeSnapshot(records: () => Iterable<JournalRecord>): Generator<Buffer, void, undefined> {
  let chunk: JournalRecord[] = [];
  for (const next of records()) {
    chunk.push(next);
    if (chunk.length < SNAPSHOT_BATCH) continue;
    yield encodeBatch(chunk);
    chunk = [];
  }
  if (chunk.length > 0) yield encodeBatch(chunk);
}

function toRecordEvent({ type, kv }: StoreEvent): MessageOf<typeof recordEvent> {
  return { type: EVENT_TYPES.indexOf(type), key: kv.key, value: kv.value, lease: kv.lease };
}

/** Revisions and versions follow from the order in which events are replayed. */
function toEvent({ type, key, value, lease }: MessageOf<typeof recordEvent>): StoreEvent {
  const kv: KeyValue = { key, value, lease, createRevision: 0, modRevision: 0, version: 0 };
  return { type: EVENT_TYPES[type] === "delete" ? "delete" : "put", kv };
}
