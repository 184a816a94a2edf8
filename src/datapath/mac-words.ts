/** An Ethernet address as two numbers, to compare and to write in two steps each. */
export class MacWords {
  /** Its first four bytes, signed, and its last two. */
  head = 0;
  tail = 0;

  static of(mac: Uint8Array): MacWords {
    const words = new MacWords();
    words.set(mac);
    return words;
  }

  set(mac: Uint8Array): void {
    this.head = (mac[0] << 24) | (mac[1] << 16) | (mac[2] << 8) | mac[3];
    this.tail = (mac[4] << 8) | mac[5];
  }

  isAt(view: DataView, offset: number): boolean {
    return view.getInt32(offset) === this.head && view.getUint16(offset + 4) === this.tail;
  }
}
