/** The connections of a node and their upkeep: expiry, listing, deletion. */
import type { AddressBook } from "../ipv6/address-book.js";
import type { ConntrackCleaner } from "../types.js";
import { ConntrackEvents } from "./events.js";
import { FlowTable, Meta, REPLY_TUPLE, WORDS_PER_ENTRY, Word } from "./flow-table.js";
import { Labels, NO_LABEL } from "./labels.js";
import { OpenConnections } from "./open-connections.js";
import { PROTO_WORDS } from "./proto-words.js";
import { type ConntrackFilter, type ConntrackRecord, matchesFilter, readRecord } from "./records.js";
import {
  type ConntrackOptions,
  type ConntrackSettings,
  conntrackSettings,
  tcpSettingBits,
} from "./settings.js";
import { type ConntrackSnapshot, restoreSnapshot, type SnapshotTables, takeSnapshot } from "./snapshot.js";
import { RETRANS_TIMEOUT, State, TICK_MS, timeoutTicks, UNACKNOWLEDGED_TIMEOUT } from "./state.js";
import { noStats } from "./stats.js";
import { TCP_STATE_MASK, TCP_TIMEOUT_MASK, TcpTimeout } from "./tcp.js";

/** Labels have 14 bits. */
const MAX_LABEL = 0x3fff;
/** Entries looked at in one expiry slice. */
const EXPIRY_SLICE = 16_384;

export class Flows implements ConntrackCleaner {
  readonly events = new ConntrackEvents();
  readonly stats = noStats();
  protected readonly table: FlowTable;
  /** Records of TCP and SCTP by entry: see proto-words.ts. */
  protected readonly protoWords: Int32Array;
  protected readonly labels = new Labels(MAX_LABEL);
  /** From the first question on. */
  protected open: OpenConnections | undefined;
  /** In ticks since the first packet. */
  now = 0;
  /** Where IPv6 addresses have their handles, if the node has any. */
  addressBook: AddressBook | undefined;
  /** Ticks by state: see timeoutIndex. */
  protected readonly timeouts: Int32Array;
  /** As trackTcp wants them. */
  tcpSettings: number;
  private current: ConntrackSettings;
  private epochMs = Number.NaN;
  private expiryCursor = 1;

  constructor(random: () => number, options: ConntrackOptions = {}) {
    this.current = conntrackSettings(options);
    const { max } = this.current;
    this.timeouts = timeoutTicks(this.current.timeouts);
    this.tcpSettings = tcpSettingBits(this.current);
    this.table = new FlowTable(max, (random() * 2 ** 32) | 0, (random() * 2 ** 32) | 0);
    this.protoWords = new Int32Array((max + 1) * PROTO_WORDS);
  }

  /** Entries, expired ones included until they are swept. */
  get count(): number {
    return this.table.count;
  }

  /** Most entries that there is room for; see `settings.max` for how many may be. */
  get max(): number {
    return this.table.capacity;
  }

  /** Bytes that the table takes at its capacity. */
  get byteSize(): number {
    return this.table.byteSize;
  }

  get settings(): ConntrackSettings {
    return this.current;
  }

  /**
   * Changes settings; a time-out counts from each connection's next packet. The table stays as large as it was made, and
   * `max` may be no more. @throws RangeError on a setting that is out of range; then nothing has changed
   */
  configure(options: ConntrackOptions): void {
    const { capacity } = this.table;
    if (options.max !== undefined && !(options.max >= 1 && options.max <= capacity))
      throw new RangeError(`the table was made for ${capacity} connections: give 1 to ${capacity}`);
    this.current = conntrackSettings(options, this.current);
    this.timeouts.set(timeoutTicks(this.current.timeouts));
    this.tcpSettings = tcpSettingBits(this.current);
  }

  /** All connections in slices, to {@link restore} in another process; each step takes less than a millisecond. */
  snapshots(): Generator<ConntrackSnapshot, void> {
    return takeSnapshot(this.snapshotTables());
  }

  /** Takes up connections that were saved `elapsedMs` ago; returns how many still live. */
  restore(slice: ConntrackSnapshot, elapsedMs: number): number {
    return restoreSnapshot(slice, this.snapshotTables(), Math.max(0, Math.floor(elapsedMs / TICK_MS)));
  }

  setTime(nowMs: number): void {
    if (Number.isNaN(this.epochMs)) this.epochMs = nowMs;
    this.now = ((nowMs - this.epochMs) / TICK_MS) | 0;
  }

  /** Marks the addresses of all connections in the address book. */
  markAddresses(mark: (address: number) => void): void {
    const { table } = this;
    for (let entry = 1; entry < table.end; entry++) {
      if (!table.isLive(entry)) continue;
      const at = entry * WORDS_PER_ENTRY;
      for (const word of [Word.src, Word.dst, REPLY_TUPLE + Word.src, REPLY_TUPLE + Word.dst])
        mark(table.words[at + word]);
    }
  }

  /** Whether no connection uses this tuple in either direction. */
  isFree(protocol: number, src: number, dst: number, ports: number): boolean {
    const isFree = this.lookup(protocol, src, dst, ports) === 0;
    if (!isFree) this.stats.found++;
    return isFree;
  }

  /** Sweeps a bounded number of entries for expired ones; returns how many went. */
  sweep(): number {
    const { table } = this;
    const { count } = table;
    for (let budget = Math.min(table.end - 1, EXPIRY_SLICE); budget > 0; budget--) {
      if (this.expiryCursor >= table.end) this.expiryCursor = 1;
      const entry = this.expiryCursor++;
      if (table.isLive(entry) && this.isExpired(entry)) this.remove(entry);
    }
    return count - table.count;
  }

  /** All connections that have not expired. */
  *records(): Generator<ConntrackRecord> {
    for (let entry = 1; entry < this.table.end; entry++) {
      if (this.table.isLive(entry) && !this.isExpired(entry)) yield this.record(entry);
    }
  }

  /** Deletes the connections that match; returns how many. */
  delete(filter: ConntrackFilter): number {
    return this.removeWhere((entry) => matchesFilter(this.record(entry), filter));
  }

  deleteByOriginalDst(protocol: number, ip: number, port: number): number {
    return this.removeWhere((entry) => this.goesTo(entry, protocol, ip, port));
  }

  deleteByNat(
    protocol: number,
    originalIp: number,
    originalPort: number,
    endpointIp: number,
    endpointPort: number,
  ): number {
    const { words } = this.table;
    return this.removeWhere((entry) => {
      const reply = entry * WORDS_PER_ENTRY + REPLY_TUPLE;
      return (
        this.goesTo(entry, protocol, originalIp, originalPort) &&
        words[reply + Word.src] === (endpointIp | 0) &&
        words[reply + Word.ports] >>> 16 === endpointPort
      );
    });
  }

  /** Connections that lead to this address and port, and that neither side has begun to close. */
  openConnections(protocol: number, ip: number, port: number): number {
    if (this.open === undefined) {
      this.open = new OpenConnections();
      for (let entry = 1; entry < this.table.end; entry++)
        if (this.table.isLive(entry)) this.open.add(this.table.words, entry * WORDS_PER_ENTRY);
    }
    return this.open.count(protocol, ip, port);
  }

  /** The reference of a live connection with this tuple in one direction, or 0. Signed numbers cost no memory. */
  protected lookup(protocol: number, src: number, dst: number, ports: number): number {
    const reference = this.table.find(protocol, src, dst, ports);
    if (reference === 0 || !this.isExpired(reference >>> 1)) return reference;
    this.remove(reference >>> 1);
    return 0;
  }

  protected isExpired(entry: number): boolean {
    return this.table.words[entry * WORDS_PER_ENTRY + Word.deadline] <= this.now;
  }

  protected remove(entry: number): void {
    if (this.events.isHeard) this.events.tell("DESTROY", this.record(entry));
    const label = this.table.words[entry * WORDS_PER_ENTRY + Word.meta] >>> Meta.labelShift;
    if (label !== NO_LABEL) this.labels.release(label);
    this.open?.remove(this.table.words, entry * WORDS_PER_ENTRY);
    this.table.remove(entry);
  }

  /** How long a TCP connection lives after an outcome of trackTcp. */
  protected tcpTicks(outcome: number): number {
    const { timeouts } = this;
    const own = timeouts[outcome & TCP_STATE_MASK];
    switch (outcome & TCP_TIMEOUT_MASK) {
      case TcpTimeout.retrans:
        return Math.min(own, timeouts[RETRANS_TIMEOUT]);
      case TcpTimeout.unacknowledged:
        return Math.min(own, timeouts[UNACKNOWLEDGED_TIMEOUT]);
      case TcpTimeout.close:
        return timeouts[State.close];
      default:
        return own;
    }
  }

  private snapshotTables(): SnapshotTables {
    const { table, protoWords, labels, addressBook: book, now } = this;
    return { table, protoWords, labels, book, now };
  }

  private removeWhere(matches: (entry: number) => boolean): number {
    const { count } = this.table;
    for (let entry = 1; entry < this.table.end; entry++) {
      if (this.table.isLive(entry) && matches(entry)) this.remove(entry);
    }
    return count - this.table.count;
  }

  /** Whether the original direction leads to this address (0: any) and port (0: any). */
  private goesTo(entry: number, protocol: number, ip: number, port: number): boolean {
    const { words } = this.table;
    const at = entry * WORDS_PER_ENTRY;
    return (
      (words[at + Word.meta] & Meta.protocolMask) === protocol &&
      (ip === 0 || words[at + Word.dst] === (ip | 0)) &&
      (port === 0 || (words[at + Word.ports] & 0xffff) === port)
    );
  }

  protected record(entry: number): ConntrackRecord {
    return readRecord(this.table.words, entry * WORDS_PER_ENTRY, this.now, this.labels, this.addressBook);
  }
}
