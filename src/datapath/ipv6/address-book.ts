/**
 * IPv6 addresses as 32-bit numbers. Everything behind parsing works on numbers, so each address that is in use gets one,
 * its handle, from 240.0.0.0/8, which no IPv4 packet may carry (class E, RFC 1112 §4): the tables for connections, NAT,
 * Services, affinity and fragments hold both families side by side, as Linux' conntrack does.
 *
 * Nobody counts how often a handle is used. When the book is full, everyone who keeps handles is asked to mark them, and
 * the rest is free again; if that does not help, the book grows, up to a limit. What is configured is pinned.
 */
import {
  foldSum,
  formatIpv6,
  getU32,
  type Ipv6Prefix,
  ipv6Network,
  isLinkLocalIpv6,
  isMulticastIpv6,
  isUnicastHostIpv6,
  readIpv6Address,
  setU32,
  writeIpv6Address,
} from "../../wire/index.js";

const HANDLE_BASE = 0xf0000000;
const HANDLE_INDEX = 0x00ffffff;
const WORDS = 4;
/** Addresses that there is room for at the start, and at most: two for each of Linux' 262,144 connections. */
const INITIAL_CAPACITY = 1024;
const MAX_CAPACITY = 1 << 19;
/** No handle: the book is full, or has no such address. */
export const NO_HANDLE = 0;
/** Of an address that no route was looked up for yet. */
export const UNKNOWN_ROUTE = -1;

/** What an address is to this node; bits. */
export const AddressClass = {
  own: 1,
  podSubnet: 2,
  podNetwork: 4,
  serviceNetwork: 8,
  group: 16,
  linkLocal: 32,
  /** May be the source of a packet from one host. */
  host: 64,
} as const;

/** The node's networks, which addresses are sorted by. */
export interface BookNetworks {
  readonly own: readonly bigint[];
  readonly podSubnet: Ipv6Prefix;
  readonly podNetwork: Ipv6Prefix;
  readonly serviceNetwork: Ipv6Prefix;
}

/** Calls `mark` with every address it keeps, of either family. */
export type AddressRoot = (mark: (address: number) => void) => void;

/** Whether an address is an IPv6 address' handle. */
export function isIpv6Handle(address: number): boolean {
  return address >>> 24 === HANDLE_BASE >>> 24;
}

export class AddressBook {
  /** Per address: the route last found for it; see {@link forgetRoutes}. */
  routeHints: Int32Array;
  private words: Int32Array;
  /** Ones' complement sums of the addresses, for checksums. */
  private sums: Uint16Array;
  private classes: Uint8Array;
  private pins: Uint32Array;
  private marks: Uint8Array;
  private isUsed: Uint8Array;
  /** Open-addressed index, half full at most; 0 is free. */
  private slots: Int32Array;
  private free: Int32Array;
  private freeCount = 0;
  /** No address at or above this one was ever used; they count from 1. */
  private end = 1;
  private mayCollect = true;
  private readonly roots: AddressRoot[] = [];
  private networks: { readonly bit: number; readonly masked: Int32Array; readonly mask: Int32Array }[] = [];
  private readonly scratch = new Uint8Array(16);
  private readonly seed: number;

  /** @param random uniform in [0, 1); its seed keeps strangers from choosing addresses that collide */
  constructor(
    random: () => number,
    private capacity = INITIAL_CAPACITY,
    private readonly maxCapacity = MAX_CAPACITY,
  ) {
    this.seed = (random() * 2 ** 32) | 0;
    this.words = new Int32Array((capacity + 1) * WORDS);
    this.sums = new Uint16Array(capacity + 1);
    this.classes = new Uint8Array(capacity + 1);
    this.pins = new Uint32Array(capacity + 1);
    this.marks = new Uint8Array(capacity + 1);
    this.isUsed = new Uint8Array(capacity + 1);
    this.routeHints = new Int32Array(capacity + 1);
    this.free = new Int32Array(capacity + 1);
    this.slots = new Int32Array(capacity * 2);
  }

  /** Addresses in the book. */
  get count(): number {
    return this.end - 1 - this.freeCount;
  }

  /** Has `root` asked for the addresses that it keeps before any are freed. */
  addRoot(root: AddressRoot): void {
    this.roots.push(root);
  }

  /** Sorts all addresses by the node's networks, now and from now on. */
  setNetworks({ own, podSubnet, podNetwork, serviceNetwork }: BookNetworks): void {
    const network = (bit: number, { address, length }: Ipv6Prefix) => ({
      bit,
      masked: wordsOf(address),
      mask: wordsOf(ipv6Network((1n << 128n) - 1n, length)),
    });
    this.networks = [
      ...own.map((address) => network(AddressClass.own, { address, length: 128 })),
      network(AddressClass.podSubnet, podSubnet),
      network(AddressClass.podNetwork, podNetwork),
      network(AddressClass.serviceNetwork, serviceNetwork),
    ];
    for (let index = 1; index < this.end; index++) this.classes[index] = this.classify(index);
  }

  /** The handle of the address at `offset`, new if need be; {@link NO_HANDLE} when there is no room. */
  intern(bytes: Uint8Array, offset: number): number {
    const found = this.find(bytes, offset);
    return found === NO_HANDLE ? this.add(bytes, offset) : found;
  }

  /** The handle of the address at `offset`, or {@link NO_HANDLE}. */
  find(bytes: Uint8Array, offset: number): number {
    const a = getU32(bytes, offset) | 0;
    const b = getU32(bytes, offset + 4) | 0;
    const c = getU32(bytes, offset + 8) | 0;
    const d = getU32(bytes, offset + 12) | 0;
    const { slots, words } = this;
    const mask = slots.length - 1;
    for (let slot = this.hash(a, b, c, d) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const at = slots[slot] * WORDS;
      if (words[at + 3] === d && words[at + 2] === c && words[at + 1] === b && words[at] === a)
        return handleOf(slots[slot]);
    }
    return NO_HANDLE;
  }

  /** The handle of an address that is configured; it stays until {@link unpin}. @throws RangeError when there is no room */
  pin(address: bigint): number {
    writeIpv6Address(this.scratch, 0, address);
    const handle = this.intern(this.scratch, 0);
    if (handle === NO_HANDLE)
      throw new RangeError(`no room for IPv6 address ${formatIpv6(address)}: ${this.maxCapacity} are in use`);
    this.pins[handle & HANDLE_INDEX]++;
    return handle;
  }

  /** Undoes one {@link pin}. Any other number is ignored, so that an IPv4 address may be given. */
  unpin(handle: number): void {
    if (isIpv6Handle(handle) && this.pins[handle & HANDLE_INDEX] > 0) this.pins[handle & HANDLE_INDEX]--;
  }

  /** Whether a handle's address is of one of these classes. */
  has(handle: number, classes: number): boolean {
    return (this.classes[handle & HANDLE_INDEX] & classes) !== 0;
  }

  /** Whether a handle's address is the one at `offset`. */
  equals(handle: number, bytes: Uint8Array, offset: number): boolean {
    const at = (handle & HANDLE_INDEX) * WORDS;
    const { words } = this;
    for (let i = 0; i < WORDS; i++) if (words[at + i] !== (getU32(bytes, offset + 4 * i) | 0)) return false;
    return handle !== NO_HANDLE;
  }

  write(handle: number, bytes: Uint8Array, offset: number): void {
    const at = (handle & HANDLE_INDEX) * WORDS;
    for (let i = 0; i < WORDS; i++) setU32(bytes, offset + 4 * i, this.words[at + i]);
  }

  /** What to add to a ones' complement sum when one address takes another's place. */
  replaced(from: number, to: number): number {
    return (this.sums[from & HANDLE_INDEX] ^ 0xffff) + this.sums[to & HANDLE_INDEX];
  }

  /** A number that is the same for the address wherever and whenever it is computed; for hashing by source. */
  digest(handle: number): number {
    const at = (handle & HANDLE_INDEX) * WORDS;
    const { words } = this;
    return mix(words[at], words[at + 1], words[at + 2], words[at + 3], 0);
  }

  address(handle: number): bigint {
    this.write(handle, this.scratch, 0);
    return readIpv6Address(this.scratch, 0);
  }

  /** An IPv4 address as it is; the text of an IPv6 one. */
  name(address: number): number | string {
    return isIpv6Handle(address) ? formatIpv6(this.address(address)) : address;
  }

  /** Has every address' route looked up anew. */
  forgetRoutes(): void {
    this.routeHints.fill(UNKNOWN_ROUTE);
  }

  /** Allows another collection of a book that is full for good. Call about once a second. */
  tick(): void {
    this.mayCollect = true;
  }

  private add(bytes: Uint8Array, offset: number): number {
    if (this.freeCount === 0 && this.end > this.capacity) this.makeRoom();
    let index = 0;
    if (this.freeCount > 0) index = this.free[--this.freeCount];
    else if (this.end <= this.capacity) index = this.end++;
    else return NO_HANDLE;
    const at = index * WORDS;
    let sum = 0;
    for (let i = 0; i < WORDS; i++) {
      const word = getU32(bytes, offset + 4 * i);
      this.words[at + i] = word;
      sum += (word >>> 16) + (word & 0xffff);
    }
    this.sums[index] = foldSum(sum);
    this.isUsed[index] = 1;
    this.pins[index] = 0;
    this.routeHints[index] = UNKNOWN_ROUTE;
    this.classes[index] = this.classify(index);
    this.link(index);
    return handleOf(index);
  }

  private classify(index: number): number {
    const { words, scratch } = this;
    this.write(index, scratch, 0);
    let bits = isUnicastHostIpv6(scratch, 0) ? AddressClass.host : 0;
    if (isMulticastIpv6(scratch, 0)) bits |= AddressClass.group;
    if (isLinkLocalIpv6(scratch, 0)) bits |= AddressClass.linkLocal;
    const at = index * WORDS;
    for (const { bit, masked, mask } of this.networks) {
      let differs = 0;
      for (let i = 0; i < WORDS; i++) differs |= (words[at + i] & mask[i]) ^ masked[i];
      if (differs === 0) bits |= bit;
    }
    return bits;
  }

  /** Frees what nobody marks; a book that stays three quarters full grows. */
  private makeRoom(): void {
    if (!this.mayCollect) return;
    this.collect();
    if (this.count <= this.capacity * 0.75) return;
    if (this.capacity < this.maxCapacity) this.grow(Math.min(this.capacity * 2, this.maxCapacity));
    // A collection costs more than the packet that wants it: of a full book that cannot grow, one a second.
    else this.mayCollect = false;
  }

  private collect(): void {
    const { marks, pins } = this;
    marks.fill(0);
    const mark = (address: number) => {
      if (isIpv6Handle(address)) marks[address & HANDLE_INDEX] = 1;
    };
    for (const root of this.roots) root(mark);
    for (let index = 1; index < this.end; index++) {
      if (this.isUsed[index] === 0 || marks[index] !== 0 || pins[index] > 0) continue;
      this.isUsed[index] = 0;
      this.free[this.freeCount++] = index;
    }
    this.relink();
  }

  private grow(capacity: number): void {
    this.capacity = capacity;
    this.words = enlarged(this.words, new Int32Array((capacity + 1) * WORDS));
    this.sums = enlarged(this.sums, new Uint16Array(capacity + 1));
    this.classes = enlarged(this.classes, new Uint8Array(capacity + 1));
    this.pins = enlarged(this.pins, new Uint32Array(capacity + 1));
    this.isUsed = enlarged(this.isUsed, new Uint8Array(capacity + 1));
    this.routeHints = enlarged(this.routeHints, new Int32Array(capacity + 1));
    this.free = enlarged(this.free, new Int32Array(capacity + 1));
    this.marks = new Uint8Array(capacity + 1);
    this.slots = new Int32Array(capacity * 2);
    this.relink();
  }

  private relink(): void {
    this.slots.fill(0);
    for (let index = 1; index < this.end; index++) if (this.isUsed[index] !== 0) this.link(index);
  }

  private link(index: number): void {
    const { slots, words } = this;
    const at = index * WORDS;
    const mask = slots.length - 1;
    let slot = this.hash(words[at], words[at + 1], words[at + 2], words[at + 3]) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = index;
  }

  private hash(a: number, b: number, c: number, d: number): number {
    return mix(a, b, c, d, this.seed);
  }
}

function handleOf(index: number): number {
  return (HANDLE_BASE | index) >>> 0;
}

function wordsOf(address: bigint): Int32Array {
  return Int32Array.from([96n, 64n, 32n, 0n], (shift) => Number((address >> shift) & 0xffffffffn));
}

function enlarged<Numbers extends Int32Array | Uint32Array | Uint16Array | Uint8Array>(
  from: Numbers,
  to: Numbers,
): Numbers {
  to.set(from);
  return to;
}

/** Multiplication and shifts spread each word over all bits. */
function mix(a: number, b: number, c: number, d: number, seed: number): number {
  let h = Math.imul(a ^ seed, 0x9e3779b1);
  h = Math.imul((h ^ (h >>> 15)) + b, 0x85ebca6b);
  h = Math.imul((h ^ (h >>> 13)) + c, 0xc2b2ae35);
  h = Math.imul((h ^ (h >>> 16)) + d, 0x27d4eb2f);
  h = Math.imul(h ^ (h >>> 15) ^ seed, 0x165667b1);
  return h ^ (h >>> 13);
}
