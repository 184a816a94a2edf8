import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

const PACKETS = 1_000_000;
const FLOWS = 1000;
const AT = 256;

function usedBytes(): number {
  gc();
  gc();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

/** A datapath whose sink only counts. */
class Counting extends h.Harness {
  sent = 0;

  constructor() {
    const services = new h.TableServices();
    super({ sink: { send: () => void this.sent++ } }, services);
    services.put(6, h.VIP, 80, {
      ip: h.REMOTE_POD,
      port: 8080,
      service: "default/web",
      endpoint: "default/web-1",
    });
  }

  /** One plain frame, written over the last. */
  put(port: number, frame: Uint8Array, peer: number): void {
    this.arena.fill(0, AT - h.VNET, AT);
    this.arena.set(frame, AT);
    this.datapath.beginBatch(this.nowMs);
    this.datapath.receive(port, AT, frame.length, peer);
  }
}

it("a million packets leave no garbage that stays", () => {
  const node = new Counting();
  const frame = (sport: number, flags: number) => {
    const packet = h.tcp({ src: h.POD_A, dst: h.VIP, sport, dport: 80, flags, payload: new Uint8Array(64) });
    return Uint8Array.from([...h.BRIDGE_MAC, ...h.MAC_A, 8, 0, ...packet]);
  };
  const back = (dport: number, flags: number) =>
    h.tcp({ src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport, flags, payload: new Uint8Array(64) });
  const first = Array.from({ length: FLOWS }, (_, i) => frame(1000 + i, TcpFlag.syn));
  const out = Array.from({ length: FLOWS }, (_, i) => frame(1000 + i, TcpFlag.ack));
  const replies = Array.from({ length: FLOWS }, (_, i) => back(1000 + i, TcpFlag.ack));
  const answers = Array.from({ length: FLOWS }, (_, i) => back(1000 + i, TcpFlag.syn | TcpFlag.ack));
  const unreachable = frame(1, TcpFlag.fin | TcpFlag.ack);
  for (let i = 0; i < FLOWS; i++) {
    node.put(h.Id.podA, first[i], 0);
    node.put(h.Id.overlay, answers[i], h.PEER_2);
  }
  const run = (packets: number) => {
    for (let i = 0; i < packets; i += 2) {
      node.put(h.Id.podA, out[(i / 2) % FLOWS], 0);
      node.put(h.Id.overlay, replies[(i / 2) % FLOWS], h.PEER_2);
      if (i % 1000 === 0) {
        node.put(h.Id.podA, unreachable, 0);
        node.nowMs += 100;
        node.datapath.beginBatch(node.nowMs);
        node.datapath.tick();
      }
    }
  };
  run(PACKETS / 10);
  const sentBefore = node.sent;
  const before = usedBytes();
  run(PACKETS);
  expect(usedBytes() - before).toBeLessThan(1_000_000);
  expect(node.sent - sentBefore).toBe(PACKETS);
  expect(node.datapath.conntrack.count).toBe(FLOWS);
}, 60_000);
