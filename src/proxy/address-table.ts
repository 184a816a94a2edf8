const INITIAL_SLOTS = 64;

/*
 * Addresses are signed words in here: V8 keeps those apart from the heap, where an unsigned one above 2^31 would be an
 * object as soon as it is passed to a function.
 */

/**
 * Values by protocol, IPv4 address and port: an open-addressed table over typed arrays with linear probing, at most
 * half full. A lookup is one hash and a short walk whatever the number of entries, and allocates nothing.
 * The address may be given as an unsigned or as a signed word.
 */
export class AddressTable<Value> {
  #addresses = new Int32Array(INITIAL_SLOTS);
  /** protocol << 16 | port. */
  #ports = new Int32Array(INITIAL_SLOTS);
  /** A slot is free when it has no value. */
  #values: (Value | undefined)[] = new Array<Value | undefined>(INITIAL_SLOTS).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(protocol: number, ip: number, port: number): Value | undefined {
    return this.#values[this.#slot(ip | 0, (protocol << 16) | port)];
  }

  set(protocol: number, ip: number, port: number, value: Value): void {
    if ((this.#size + 1) * 2 > this.#values.length) this.#grow();
    this.#put(ip | 0, (protocol << 16) | port, value);
  }

  /** Removes the entry; those behind it move up, so that no walk is cut short (Knuth, TAOCP 6.4, algorithm R). */
  delete(protocol: number, ip: number, port: number): void {
    const mask = this.#values.length - 1;
    let hole = this.#slot(ip | 0, (protocol << 16) | port);
    if (this.#values[hole] === undefined) return;
    this.#size--;
    for (let slot = (hole + 1) & mask; this.#values[slot] !== undefined; slot = (slot + 1) & mask) {
      const home = hash(this.#addresses[slot], this.#ports[slot]) & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      this.#addresses[hole] = this.#addresses[slot];
      this.#ports[hole] = this.#ports[slot];
      this.#values[hole] = this.#values[slot];
      hole = slot;
    }
    this.#values[hole] = undefined;
  }

  /** The slot of the key, or the free slot where it would go. */
  #slot(ip: number, port: number): number {
    const mask = this.#values.length - 1;
    let slot = hash(ip, port) & mask;
    while (this.#values[slot] !== undefined && (this.#addresses[slot] !== ip || this.#ports[slot] !== port)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #put(ip: number, port: number, value: Value): void {
    const slot = this.#slot(ip, port);
    if (this.#values[slot] === undefined) this.#size++;
    this.#addresses[slot] = ip;
    this.#ports[slot] = port;
    this.#values[slot] = value;
  }

  #grow(): void {
    const [addresses, ports, values] = [this.#addresses, this.#ports, this.#values];
    const slots = values.length * 2;
    this.#addresses = new Int32Array(slots);
    this.#ports = new Int32Array(slots);
    this.#values = new Array<Value | undefined>(slots).fill(undefined);
    this.#size = 0;
    for (const [slot, value] of values.entries()) {
      if (value !== undefined) this.#put(addresses[slot], ports[slot], value);
    }
  }
}

/** Mixes two words into a signed one; the constants are the finaliser of MurmurHash3. */
export function hash(a: number, b: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
