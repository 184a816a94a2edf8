/** A stranger who sends from half a million addresses: neither the tables nor the heap grow, and everybody else goes on. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { AddressBook } from "../../../src/datapath/index.js";
import * as h from "../harness.js";
import * as v6 from "./harness6.js";
import { syn } from "./packets6.js";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

const { Id } = h;
const PACKETS = 500_000;
const CONNECTIONS = 1000;
/** Two for each connection, and the node's own. */
const ADDRESSES = 4096;
const AT = 256;
/** Where the address is that changes, in a bare packet: the source's last four bytes. */
const SOURCE = AT + 8 + 12;
const PAYLOAD = AT + 48;
const FORGOTTEN_MS = 6 * 24 * 3600 * 1000;

function usedBytes(): number {
  gc();
  gc();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

/** A node whose frames are only counted. */
class Counting extends v6.Harness6 {
  sent = 0;

  constructor() {
    const book = new AddressBook(h.seededRandom(6), 1024, ADDRESSES);
    super({ sink: { send: () => void this.sent++ }, addressBook: book, conntrackMax: CONNECTIONS });
  }

  /** The packet that is in the arena already, from the overlay. */
  again(length: number): void {
    this.arena.fill(0, AT - h.VNET, AT);
    this.datapath.beginBatch(this.nowMs);
    this.datapath.receive(Id.overlay, AT, length, h.PEER_2);
  }
}

it("half a million sources leave no handle, no connection and no garbage that stays", () => {
  const node = new Counting();
  const answers = (sport: number) => {
    const sent = node.sent;
    node.inject(Id.podA, syn(v6.POD_A, v6.POD_B, sport));
    return node.sent - sent;
  };
  expect(answers(1)).toBe(1);
  // The payload is the complement of what changes in the address: the checksum is the same for all.
  const payload = Uint8Array.of(0xff, 0xff, 0xff, 0xf6);
  const packet = v6.udp6({ ...v6.ends(v6.REMOTE_POD, v6.POD_A), sport: 4000, dport: 53, payload });
  const flood = (from: number, count: number) => {
    for (let i = from; i < from + count; i++) {
      node.arena.set(packet, AT);
      const word = Math.imul(i, 0x9e3779b1) >>> 0;
      for (let at = 0; at < 4; at++) {
        node.arena[SOURCE + at] = (word >>> (8 * at)) & 255;
        node.arena[PAYLOAD + at] = node.arena[SOURCE + at] ^ 255;
      }
      if (i % 1000 === 0) {
        node.nowMs += 100;
        node.datapath.beginBatch(node.nowMs);
        node.datapath.tick();
      }
      node.again(packet.length);
    }
  };
  flood(0, PACKETS / 10);
  const before = usedBytes();
  flood(PACKETS / 10, PACKETS);
  expect(usedBytes() - before).toBeLessThan(1_000_000);
  // They did come in, each as a connection of its own.
  expect(node.count("forward")).toBeGreaterThan(PACKETS);
  expect(node.book.count).toBeLessThanOrEqual(ADDRESSES);
  expect(node.datapath.conntrack.count).toBeLessThanOrEqual(CONNECTIONS);
  node.nowMs += FORGOTTEN_MS;
  node.datapath.beginBatch(node.nowMs);
  for (let i = 0; i < 100; i++) node.datapath.tick();
  expect(node.datapath.conntrack.count).toBe(0);
  expect(answers(2)).toBe(1);
  // Every handle but those that are configured is free again: as many new addresses find room.
  const bytes = new Uint8Array(16).fill(0x20);
  for (let i = 0; i < ADDRESSES - 64; i++) {
    bytes[14] = i >> 8;
    bytes[15] = i & 255;
    if (node.book.intern(bytes, 0) === 0) throw new Error(`no room for address ${i}`);
  }
}, 120_000);
