/** Events and statistics of connection tracking; what is told is held against what is listed. */
import { describe, expect, it } from "vitest";
import type { ConntrackEvent } from "../../src/datapath/index.js";
import { formatConntrackEvent } from "../../src/observe/index.js";
import { SctpChunk, TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const { syn, ack, fin, rst } = TcpFlag;
const OUT = { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 };
const BACK = { src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 4000 };
const CHOSEN = { ip: h.REMOTE_POD, port: 8080, service: "default/web:http", endpoint: "default/web-1" };

function heard(node: h.Harness): string[] {
  const lines: string[] = [];
  node.datapath.conntrack.events.follow((event) => lines.push(formatConntrackEvent(event)));
  return lines;
}

function listening(options: h.HarnessOptions = {}): { node: h.Harness; lines: string[] } {
  const node = new h.Harness(options, new h.TableServices().put(6, h.VIP, 80, CHOSEN));
  return { node, lines: heard(node) };
}

const reply = (node: h.Harness, packet: Uint8Array) => node.inject(h.Id.overlay, packet, { peer: h.PEER_2 });

describe("events", () => {
  it("tell of a TCP connection through a Service as conntrack -E does", () => {
    const { node, lines } = listening();
    node.inject(h.Id.podA, h.tcp({ ...OUT, flags: syn, seq: 100 }));
    reply(node, h.tcp({ ...BACK, flags: syn | ack, seq: 500, ack: 101 }));
    node.inject(h.Id.podA, h.tcp({ ...OUT, flags: ack, seq: 101, ack: 501 }));
    node.inject(h.Id.podA, h.tcp({ ...OUT, flags: ack, seq: 101, ack: 501, payload: new Uint8Array(9) }));
    reply(node, h.tcp({ ...BACK, flags: ack, seq: 501, ack: 110 }));
    node.inject(h.Id.podA, h.tcp({ ...OUT, flags: fin | ack, seq: 110, ack: 501 }));
    reply(node, h.tcp({ ...BACK, flags: fin | ack, seq: 501, ack: 111 }));
    node.inject(h.Id.podA, h.tcp({ ...OUT, flags: ack, seq: 111, ack: 502 }));
    node.tick(121_000);
    const original = "src=172.16.1.2 dst=10.254.0.10 sport=4000 dport=80";
    const answer = "src=172.16.2.9 dst=172.16.1.2 sport=8080 dport=4000";
    expect(lines).toEqual([
      `    [NEW] tcp      6 120 SYN_SENT ${original} [UNREPLIED] ${answer}`,
      ` [UPDATE] tcp      6 60 SYN_RECV ${original} ${answer}`,
      ` [UPDATE] tcp      6 432000 ESTABLISHED ${original} ${answer} [ASSURED]`,
      ` [UPDATE] tcp      6 120 FIN_WAIT ${original} ${answer} [ASSURED]`,
      ` [UPDATE] tcp      6 30 LAST_ACK ${original} ${answer} [ASSURED]`,
      ` [UPDATE] tcp      6 120 TIME_WAIT ${original} ${answer} [ASSURED]`,
      `[DESTROY] tcp      6 TIME_WAIT ${original} packets=5 bytes=209 ${answer} packets=3 bytes=120 [ASSURED]`,
    ]);
  });

  it("tell of a UDP connection that becomes a stream, and of its deletion", () => {
    const { node, lines } = listening();
    const ends = { src: h.POD_A, dst: h.REMOTE_POD, sport: 7, dport: 53 };
    const back = { src: h.REMOTE_POD, dst: h.POD_A, sport: 53, dport: 7 };
    node.inject(h.Id.podA, h.udp(ends));
    reply(node, h.udp(back));
    node.nowMs += 3000;
    node.inject(h.Id.podA, h.udp(ends));
    node.inject(h.Id.podA, h.udp(ends));
    node.datapath.deleteConntrack({ protocol: 17 });
    const told = lines.map((line) => line.replace(/src=.*?dport=\d+/g, "…"));
    expect(told).toEqual([
      "    [NEW] udp      17 30 … [UNREPLIED] …",
      " [UPDATE] udp      17 30 … …",
      " [UPDATE] udp      17 120 … … [ASSURED]",
      "[DESTROY] udp      17 120 … packets=3 bytes=84 … packets=1 bytes=28 [ASSURED]",
    ]);
  });

  it("tell that a connection ended when another takes its tuple, or its place", () => {
    const { node, lines } = listening({ conntrackMax: 1 });
    node.inject(h.Id.podA, h.tcp({ ...OUT, flags: syn, seq: 1 }));
    reply(node, h.tcp({ ...BACK, flags: rst | ack, ack: 2 }));
    node.inject(h.Id.podA, h.tcp({ ...OUT, flags: syn, seq: 9 }));
    node.inject(h.Id.podA, h.udp({ ...OUT, dst: h.REMOTE_POD }));
    expect(lines.map((line) => line.slice(0, 24).trim())).toEqual([
      "[NEW] tcp      6 120",
      "[DESTROY] tcp      6 CLO",
      "[NEW] tcp      6 120",
      "[DESTROY] tcp      6 120",
      "[NEW] udp      17 30",
    ]);
  });

  it("are told to everybody who follows, until they stop; silence without followers", () => {
    const node = new h.Harness();
    const { events } = node.datapath.conntrack;
    const seen: ConntrackEvent[][] = [[], []];
    const stops = seen.map((list) => events.follow((event) => list.push(event)));
    const send = (sport: number) => node.inject(h.Id.podA, h.udp({ ...OUT, dst: h.REMOTE_POD, sport }));
    send(1);
    stops[0]();
    send(2);
    stops[1]();
    expect(events.isHeard).toBe(false);
    send(3);
    expect(seen.map((list) => list.map(({ record }) => record.original.sport))).toEqual([[1], [1, 2]]);
  });

  it("rebuild the table: what began and did not end is what is listed", () => {
    const node = new h.Harness({ conntrackMax: 30 });
    const live = new Map<string, string>();
    node.datapath.conntrack.events.follow(({ type, record: { original, state, protocol } }) => {
      const key = `${protocol} ${original.src} ${original.dst} ${original.sport} ${original.dport}`;
      expect(live.has(key)).toBe(type !== "NEW");
      if (type === "DESTROY") live.delete(key);
      else live.set(key, String(state));
    });
    const random = h.seededRandom(7);
    const below = (n: number) => Math.floor(random() * n);
    for (let i = 0; i < 6000; i++) {
      const [sport, seq] = [1 + below(40), below(3)];
      const flags = [syn, syn | ack, ack, fin | ack, rst, rst | ack][below(6)];
      const there = { src: h.POD_A, dst: h.REMOTE_POD, sport, dport: 80 };
      const back = { src: h.REMOTE_POD, dst: h.POD_A, sport: 80, dport: sport };
      const type = [SctpChunk.init, SctpChunk.initAck, SctpChunk.cookieEcho, SctpChunk.abort][below(4)];
      const chunks = [{ type, flags: 0, value: new Uint8Array(16).fill(1) }];
      const tag = type === SctpChunk.init ? 0 : 0x01010101;
      const make = [
        (ends: typeof there) => h.tcp({ ...ends, flags, seq, ack: below(3) }),
        (ends: typeof there) => h.udp(ends),
        (ends: typeof there) => h.sctp({ ...ends, tag, chunks }),
      ][below(3)];
      if (random() < 0.5) node.inject(h.Id.podA, make(there));
      else reply(node, make(back));
      if (random() < 0.02) node.tick(below(40_000));
      if (random() < 0.005) node.datapath.deleteConntrack({ sport });
    }
    node.tick(1000);
    const listed = node.datapath.conntrackRecords().map(({ original, state, protocol }) => {
      const { src, dst, sport, dport } = original;
      return [`${protocol} ${src} ${dst} ${sport} ${dport}`, String(state)] as const;
    });
    expect(listed.length).toBeGreaterThan(5);
    expect(live).toEqual(new Map(listed));
  });
});

describe("statistics", () => {
  it("count what the kernel's columns mean", () => {
    const node = new h.Harness({ conntrackMax: 2 });
    const { stats } = node.datapath.conntrack;
    const there = { src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 80 };
    node.inject(h.Id.podA, h.udp(there));
    node.inject(h.Id.podA, h.udp({ ...there, sport: 2 }));
    node.inject(h.Id.podA, h.udp({ ...there, sport: 3 }));
    expect(stats).toEqual({ found: 0, invalid: 0, insert: 3, drop: 0, earlyDrop: 1, error: 0 });
    node.inject(h.Id.podA, h.tcp({ ...there, flags: rst }));
    const wrong = h.udp({ ...there, sport: 5 });
    wrong[26] ^= 1;
    node.lenient = true;
    node.inject(h.Id.podA, wrong);
    expect(stats).toMatchObject({ invalid: 2, insert: 3 });
  });

  it("count tuples that NAT found taken, and connections that found no room", () => {
    const services = new h.TableServices().put(17, h.VIP, 80, { ip: h.REMOTE_POD, port: 80 });
    const node = new h.Harness({ conntrackMax: 2 }, services);
    const { stats } = node.datapath.conntrack;
    const there = { src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 80 };
    node.inject(h.Id.podA, h.udp(there));
    node.inject(h.Id.podA, h.udp({ ...there, dst: h.VIP }));
    expect(stats.found).toBe(1);
    expect(node.datapath.conntrackRecords()).toHaveLength(2);
    for (const { reply: tuple } of node.datapath.conntrackRecords())
      reply(node, h.udp({ src: h.REMOTE_POD, dst: h.POD_A, sport: 80, dport: tuple.dport }));
    node.nowMs += 2100;
    for (const dst of [h.REMOTE_POD, h.VIP]) node.inject(h.Id.podA, h.udp({ ...there, dst }));
    node.inject(h.Id.podA, h.udp({ ...there, sport: 9 }));
    expect(stats).toMatchObject({ insert: 2, drop: 1, earlyDrop: 0 });
  });
});
