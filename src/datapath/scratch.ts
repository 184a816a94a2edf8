/** Room in the arena for packets that the node makes itself; taken in order, all given back when a batch begins. */
import { HEADROOM_BYTES, VNET_HDR_BYTES } from "./types.js";

/** Frames begin at multiples of this. */
const ALIGNMENT = 64;
/** No room. */
export const NO_ROOM = -1;

export class Scratch {
  private next: number;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly start: number,
    private readonly end: number,
  ) {
    if (!(start >= 0 && end >= start && end <= bytes.length)) {
      throw new RangeError(`scratch space ${start}–${end} is not inside the arena of ${bytes.length} bytes`);
    }
    this.next = start;
  }

  reset(): void {
    this.next = this.start;
  }

  /**
   * Offset of `length` bytes with headroom and an all-zero virtio_net_hdr in front, or {@link NO_ROOM}.
   * The bytes hold whatever was there before.
   */
  take(length: number): number {
    const offset = (this.next + HEADROOM_BYTES + ALIGNMENT - 1) & -ALIGNMENT;
    if (offset + length > this.end) return NO_ROOM;
    this.next = offset + length;
    this.bytes.fill(0, offset - VNET_HDR_BYTES, offset);
    return offset;
  }
}
