/**
 * Connections by tuple. Entries are records of 32-bit words in one typed array; an open-addressed index with linear
 * probing holds two slots for each, one per direction. A slot is 0 or a reference with some bits of the tuple's hash
 * above it, so that a probe rarely touches an entry that does not match. Deletion shifts slots back: no tombstones.
 * 52 bytes an entry and 10.7 to 11.3 bytes of index at the capacity.
 */

/** Words of an entry. Tuples are (src, dst, sport << 16 | dport); the reply's starts where the original's ends. */
export const Word = {
  src: 0,
  dst: 1,
  ports: 2,
  /** Protocol, state, flags and label: see {@link Meta}. */
  meta: 6,
  /** When the entry expires, in ticks. */
  deadline: 7,
  /** Two counters each: original direction, reply direction. */
  packets: 8,
  bytes: 10,
  /** Bits 32–47 of the byte counters: original low half, reply high half. */
  bytesHigh: 12,
} as const;
export const WORDS_PER_ENTRY = 13;
/** From a word of the original tuple to the same of the reply's. */
export const REPLY_TUPLE = 3;

/** Bits of the meta word: protocol 0–7, state 8–11, flags, label 18–31. */
export const Meta = {
  protocolMask: 0xff,
  stateShift: 8,
  stateMask: 0xf00,
  seenReply: 1 << 12,
  assured: 1 << 13,
  srcNat: 1 << 14,
  dstNat: 1 << 15,
  live: 1 << 16,
  /** UDP: still used two seconds after it began. */
  lasting: 1 << 17,
  labelShift: 18,
} as const;

// V8 compiles a module's own constants into the code.
const { dst: DST, ports: PORTS, meta: META } = Word;
const PROTOCOL = Meta.protocolMask;
const ENTRY_WORDS = WORDS_PER_ENTRY;
const TUPLE = REPLY_TUPLE;

/** Most slots that may be taken, of the whole index. */
const MAX_LOAD = 0.75;
/** There are 16 to 32 blocks of slots, so that the index is hardly larger than it has to be. */
const BLOCKS_BITS = 5;
/** Spreads a hash over the bits that a slot has left. */
export const TAG_FACTOR = 0x165667b1;
/** Leaves at least 7 bits of hash in a slot. */
export const MAX_CAPACITY = (1 << 24) - 2;

type Hash = (protocol: number, src: number, dst: number, ports: number) => number;
/** Looks a tuple up. */
type Find = (protocol: number, src: number, dst: number, ports: number) => number;

/** A direction of an entry: entry << 1 | direction. Entries count from 1, so 0 is none. */
export class FlowTable {
  readonly words: Int32Array;
  /** Entries in use. */
  count = 0;
  /** No entry at or above this one was ever used. */
  end = 1;
  /** The reference whose tuple this is, or 0. */
  readonly find: Find;
  /** The index: 0, or a reference and bits of its tuple's hash times {@link TAG_FACTOR} above it. */
  readonly slots: Int32Array;
  readonly hash: Hash;
  /** The slot that a hash belongs in. */
  readonly home: (hash: number) => number;
  readonly referenceMask: number;
  private freeHead = 0;

  /** @param seed two 32-bit secrets that keep strangers from choosing colliding tuples */
  constructor(
    readonly capacity: number,
    seed: number,
    seed2: number,
  ) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_CAPACITY) {
      throw new RangeError(`conntrack size ${capacity} is not between 1 and ${MAX_CAPACITY}`);
    }
    this.words = new Int32Array((capacity + 1) * WORDS_PER_ENTRY);
    const least = Math.ceil((capacity * 2) / MAX_LOAD) + 1;
    const blockBits = Math.max(0, 32 - Math.clz32(least) - BLOCKS_BITS);
    const blocks = Math.ceil(least / 2 ** blockBits);
    this.slots = new Int32Array(blocks * 2 ** blockBits);
    this.hash = makeHash(seed, seed2);
    this.home = makeHome(blocks, blockBits);
    this.referenceMask = 2 ** (32 - Math.clz32(capacity * 2 + 1)) - 1;
    this.find = makeFind(this.words, this.slots, this.hash, this.home, this.referenceMask);
  }

  get byteSize(): number {
    return this.words.byteLength + this.slots.byteLength;
  }

  /** Takes an entry off the free list; 0 when the table is full. Fill its tuples and meta, then {@link link} it. */
  allocate(): number {
    let entry = this.freeHead;
    if (entry !== 0) this.freeHead = this.words[entry * WORDS_PER_ENTRY];
    else if (this.end <= this.capacity) entry = this.end++;
    else return 0;
    this.count++;
    this.words.fill(0, entry * WORDS_PER_ENTRY, (entry + 1) * WORDS_PER_ENTRY);
    return entry;
  }

  /** Makes a filled entry findable by both tuples. */
  link(entry: number): void {
    this.words[entry * WORDS_PER_ENTRY + Word.meta] |= Meta.live;
    for (let reference = entry << 1; reference <= ((entry << 1) | 1); reference++) {
      const hash = this.hashOf(reference);
      let slot = this.home(hash);
      while (this.slots[slot] !== 0) slot = this.next(slot);
      this.slots[slot] = (Math.imul(hash, TAG_FACTOR) & ~this.referenceMask) | reference;
    }
  }

  remove(entry: number): void {
    this.unlink(entry << 1);
    this.unlink((entry << 1) | 1);
    const at = entry * WORDS_PER_ENTRY;
    this.words[at + Word.meta] = 0;
    this.words[at] = this.freeHead;
    this.freeHead = entry;
    this.count--;
  }

  isLive(entry: number): boolean {
    return (this.words[entry * WORDS_PER_ENTRY + Word.meta] & Meta.live) !== 0;
  }

  /** Some entry near where a tuple's hash lands, `distance` slots on; 0 for an empty slot. For choosing a victim. */
  near(protocol: number, src: number, dst: number, ports: number, distance: number): number {
    const home = this.home(this.hash(protocol, src | 0, dst | 0, ports | 0));
    const slot = (home + distance) % this.slots.length;
    return (this.slots[slot] & this.referenceMask) >>> 1;
  }

  /** Index of the first word of the reference's tuple. */
  private tupleAt(reference: number): number {
    return (reference >>> 1) * WORDS_PER_ENTRY + (reference & 1) * REPLY_TUPLE;
  }

  private unlink(reference: number): void {
    let slot = this.home(this.hashOf(reference));
    while ((this.slots[slot] & this.referenceMask) !== reference) slot = this.next(slot);
    this.closeGap(slot);
  }

  /** Moves back every slot that was pushed past the gap by a collision (Knuth, TAOCP 6.4, algorithm R). */
  private closeGap(gap: number): void {
    const { slots } = this;
    for (let slot = this.next(gap); slots[slot] !== 0; slot = this.next(slot)) {
      const home = this.home(this.hashOf(slots[slot] & this.referenceMask));
      const stays = gap <= slot ? gap < home && home <= slot : gap < home || home <= slot;
      if (stays) continue;
      slots[gap] = slots[slot];
      gap = slot;
    }
    slots[gap] = 0;
  }

  private next(slot: number): number {
    return slot + 1 === this.slots.length ? 0 : slot + 1;
  }

  private hashOf(reference: number): number {
    const at = this.tupleAt(reference);
    const meta = this.words[(reference >>> 1) * WORDS_PER_ENTRY + Word.meta];
    const { words } = this;
    return this.hash(meta & Meta.protocolMask, words[at], words[at + Word.dst], words[at + Word.ports]);
  }
}

/** The look-up, made once for a table: V8 then compiles the arrays' addresses and lengths into the code. */
function makeFind(
  words: Int32Array,
  slots: Int32Array,
  hash: Hash,
  home: (hash: number) => number,
  referenceMask: number,
): Find {
  const slotCount = slots.length;
  return (protocol, src, dst, ports) => {
    const h = hash(protocol, src | 0, dst | 0, ports | 0);
    const tag = Math.imul(h, TAG_FACTOR);
    for (let slot = home(h); ; slot = slot + 1 === slotCount ? 0 : slot + 1) {
      const word = slots[slot];
      if (word === 0) return 0;
      if (((word ^ tag) & ~referenceMask) !== 0) continue;
      const reference = word & referenceMask;
      const entry = (reference >>> 1) * ENTRY_WORDS;
      const at = entry + (reference & 1) * TUPLE;
      const differs =
        (words[at] ^ src) |
        (words[at + DST] ^ dst) |
        (words[at + PORTS] ^ ports) |
        ((words[entry + META] & PROTOCOL) ^ protocol);
      if (differs === 0) return reference;
    }
  };
}

/** Multiply-and-shift mixing. */
function makeHash(seed: number, seed2: number): Hash {
  return (protocol, src, dst, ports) => {
    const h = (Math.imul(src ^ seed, 0x9e3779b1) + Math.imul(ports ^ seed2, 0x85ebca6b)) | 0;
    const both = Math.imul((h ^ (h >>> 15)) + dst + protocol, 0xc2b2ae35);
    const all = Math.imul(both ^ (both >>> 13), 0x27d4eb2f);
    return all ^ (all >>> 15);
  };
}

/** Where in so many blocks of `1 << blockBits` slots a hash belongs: its highest bits choose the block, those below the slot. */
function makeHome(blocks: number, blockBits: number): (hash: number) => number {
  const slotMask = (1 << blockBits) - 1;
  const slotShift = Math.max(0, 20 - blockBits);
  return (hash) => ((Math.imul(hash >>> 20, blocks) >>> 12) << blockBits) | ((hash >>> slotShift) & slotMask);
}
