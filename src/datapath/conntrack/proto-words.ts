/**
 * What TCP and SCTP know of a connection beyond its state: a record of words beside the flow table's entry of the same
 * number, in an array of its own (Linux: `union nf_conntrack_proto`). The array is as large as the table, but the
 * kernel backs its pages with memory only once they are written to, so that entries of other protocols cost none.
 * Record 0 belongs to the first packet in hand, whose connection is not in the table yet.
 */

/** Words of a record. */
export const PROTO_WORDS = 13;
/** The record of a connection that is about to begin. */
export const NEW_RECORD = 0;

/** Fills the record of a confirmed entry from {@link NEW_RECORD}. */
export function adoptNewRecord(records: Int32Array, entry: number): void {
  records.copyWithin(entry * PROTO_WORDS, NEW_RECORD, PROTO_WORDS);
}

/** Begins {@link NEW_RECORD} anew. */
export function clearNewRecord(records: Int32Array): void {
  records.fill(0, NEW_RECORD, PROTO_WORDS);
}
