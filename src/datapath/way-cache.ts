/**
 * Where packets may come from and where they go, as the pipeline last decided: two small direct-mapped caches. A miss, or an
 * entry overwritten by another, costs one trip through the pipeline.
 */
import type { Port } from "./ports.js";

const SLOTS = 4096;
/** Words of an entry: port + 1 (0: empty), address, peer or next hop. */
const STRIDE_BITS = 2;
const STRIDE = 1 << STRIDE_BITS;
const PORT = 0;
const ADDRESS = 1;
const HOP = 2;

const slotOf = (port: number, address: number): number =>
  (Math.imul(address ^ (port << 20), 0x9e3779b1) >>> 20) << STRIDE_BITS;

export class WayCache {
  private readonly admitted = new Int32Array(SLOTS * STRIDE);
  private readonly ways = new Int32Array(SLOTS * STRIDE);
  private readonly outPorts: (Port | undefined)[] = new Array<Port | undefined>(SLOTS).fill(undefined);

  clear(): void {
    this.admitted.fill(0);
    this.ways.fill(0);
    this.outPorts.fill(undefined);
  }

  /** Packets from the address may come in by the port, from this peer. Addresses are signed here. */
  admit(port: number, src: number, peer: number): void {
    write(this.admitted, slotOf(port, src), port, src, peer);
  }

  isAdmitted(port: number, src: number, peer: number): boolean {
    const { admitted } = this;
    const at = slotOf(port, src);
    return admitted[at + PORT] === port + 1 && admitted[at + ADDRESS] === src && admitted[at + HOP] === peer;
  }

  /** Packets from the port to the address leave by `out`. */
  put(port: number, dst: number, out: Port, nextHop: number): void {
    const at = slotOf(port, dst);
    write(this.ways, at, port, dst, nextHop);
    this.outPorts[at >> STRIDE_BITS] = out;
  }

  /** The way of packets from the port to the address, or -1. */
  find(port: number, dst: number): number {
    const { ways } = this;
    const at = slotOf(port, dst);
    return ways[at + PORT] === port + 1 && ways[at + ADDRESS] === dst ? at : -1;
  }

  port(way: number): Port {
    return this.outPorts[way >> STRIDE_BITS] as Port;
  }

  nextHop(way: number): number {
    return this.ways[way + HOP];
  }
}

function write(table: Int32Array, at: number, port: number, address: number, hop: number): void {
  table[at + PORT] = port + 1;
  table[at + ADDRESS] = address;
  table[at + HOP] = hop;
}
