/**
 * Fetches what the packets of a batch will need of the connection table before the first of them is handled. With many
 * connections each packet misses the caches at its slot, its entry and its record, one after the other; read for many
 * packets at once, these wait side by side. What is found so is a hint and nothing more.
 */
import { type FlowTable, TAG_FACTOR, WORDS_PER_ENTRY } from "./flow-table.js";
import { PROTO_WORDS } from "./proto-words.js";

/** Most frames to look ahead at a time: what is fetched must still be in the first cache when its packet comes. */
export const LOOK_AHEAD_FRAMES = 32;

/** Places in the entry of a frame in a table of received frames; what an entry has behind these is not looked at. */
export const FrameField = { port: 0, offset: 1, length: 2, peer: 3 } as const;

/**
 * From an IPv4 header without options. Frames on Ethernet and bare packets are told by their first byte, for no MAC address
 * of a single station begins so. Others are read as if they were such frames: no connection, or a wrong one, is found.
 */
const PLAIN_HEADER = 0x45;
const ETHERNET_BYTES = 14;
const PROTOCOL = 9;
const SRC = 12;
const DST = 16;
const PORTS = 20;
/** What is read of a packet. */
const READ_BYTES = 24;
const TCP = 6;
/** Offsets in the arena. */
const OFFSET = 0x3fffffff;
const { offset: FRAME_OFFSET, length: FRAME_LENGTH } = FrameField;
// V8 compiles a module's own constants into the code, but looks up imported ones each time.
const ENTRY_WORDS = WORDS_PER_ENTRY;
const LAST_ENTRY_WORD = WORDS_PER_ENTRY - 1;
const RECORD_WORDS = PROTO_WORDS;
const LAST_RECORD_WORD = PROTO_WORDS - 1;
const FACTOR = TAG_FACTOR;

export interface LookAhead {
  /**
   * Looks at `count` frames, {@link LOOK_AHEAD_FRAMES} at most; the first one's entry in the table begins at `first`, and
   * `stride` words on the next one's. Sets as many hints.
   */
  look(frames: Int32Array, first: number, stride: number, count: number): void;
  /** References of the connections that the frames look like, or 0: to be held against the packet's tuple before use. */
  readonly hints: Int32Array;
}

/** Made once for a table: V8 then compiles the addresses and lengths of its arrays into the code. */
export function makeLookAhead(arena: Uint8Array, table: FlowTable, records: Int32Array): LookAhead {
  const { words, slots, hash, home, referenceMask } = table;
  const view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength);
  const hints = new Int32Array(LOOK_AHEAD_FRAMES);
  const hashes = new Int32Array(LOOK_AHEAD_FRAMES);
  const homes = new Int32Array(LOOK_AHEAD_FRAMES);
  /** Where all that was read goes, so that V8 cannot leave reading out. */
  const sink = new Int32Array(1);
  const slotCount = slots.length;

  return {
    hints,
    // Several short loops: the processor has as many reads under way as there are in some hundred instructions.
    look: (frames, first, stride, count) => {
      for (let i = 0, at = first; i < count; i++, at += stride) {
        const frame = frames[at + FRAME_OFFSET] & OFFSET;
        const length = frames[at + FRAME_LENGTH];
        const isBare = length >= READ_BYTES && view.getUint8(frame) === PLAIN_HEADER;
        if (!isBare && length < ETHERNET_BYTES + READ_BYTES) {
          homes[i] = 0;
          hashes[i] = 0;
          hints[i] = 0;
          continue;
        }
        const ip = isBare ? frame : frame + ETHERNET_BYTES;
        const protocol = view.getUint8(ip + PROTOCOL);
        const h = hash(protocol, view.getInt32(ip + SRC), view.getInt32(ip + DST), view.getInt32(ip + PORTS));
        homes[i] = home(h);
        hashes[i] = h;
        hints[i] = protocol;
      }

      let read = 0;
      for (let i = 0; i < count; i++) read ^= slots[homes[i]];

      for (let i = 0; i < count; i++) {
        const tag = Math.imul(hashes[i], FACTOR);
        const isTcp = hints[i] === TCP;
        let reference = 0;
        for (let slot = homes[i]; ; slot = slot + 1 === slotCount ? 0 : slot + 1) {
          const word = slots[slot];
          if (word === 0) break;
          if (((word ^ tag) & ~referenceMask) !== 0) continue;
          reference = word & referenceMask;
          const entry = reference >>> 1;
          const at = entry * ENTRY_WORDS;
          // The memory of records that were never written is not there yet, and shall not be fetched.
          const record = isTcp ? entry * RECORD_WORDS : 0;
          read ^= words[at] ^ words[at + LAST_ENTRY_WORD];
          read ^= records[record] ^ records[record + LAST_RECORD_WORD];
          break;
        }
        hints[i] = reference;
      }
      sink[0] = read;
    },
  };
}
