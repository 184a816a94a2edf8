import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressBook, type ConntrackSnapshot, SNAPSHOT_WORDS } from "../../src/datapath/index.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";
import * as v6 from "./ipv6/harness6.js";

const { syn, ack, rst } = TcpFlag;
const CHOSEN = { ip: h.REMOTE_POD, port: 8080, service: "default/web:http", endpoint: "default/web-1" };

function services(): h.TableServices {
  return new h.TableServices().put(6, h.VIP, 80, CHOSEN).put(17, h.VIP, 53, { ip: h.POD_B, port: 53 });
}

const OUT = { src: h.POD_A, dst: h.VIP, sport: 9, dport: 80 };
const BACK = { src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 9 };

/** A node with one open TCP connection and one UDP question. */
function busy(): h.Harness {
  const node = new h.Harness({}, services());
  node.inject(h.Id.podA, h.tcp({ ...OUT, flags: syn, seq: 100 }));
  node.inject(h.Id.overlay, h.tcp({ ...BACK, flags: syn | ack, seq: 500, ack: 101 }), { peer: h.PEER_2 });
  node.inject(h.Id.podA, h.tcp({ ...OUT, flags: ack, seq: 101, ack: 501 }));
  node.inject(h.Id.podA, h.udp({ ...OUT, dport: 53 }));
  return node;
}

/** The next process: without any Service, so that only what was restored is translated. */
function next(slices: Iterable<ConntrackSnapshot>, elapsedMs = 0): h.Harness {
  const node = new h.Harness();
  node.datapath.conntrack.setTime(node.nowMs);
  for (const slice of slices) node.datapath.conntrack.restore(slice, elapsedMs);
  return node;
}

describe("connections of another process", () => {
  it("go on: translation, state, counters, Service", () => {
    const before = busy();
    const node = next(before.datapath.conntrack.snapshots());
    expect(node.datapath.conntrackRecords()).toEqual(before.datapath.conntrackRecords());
    // Much has passed since the snapshot was taken.
    const far = h.tcp({ ...OUT, flags: ack, seq: 900_000_101, ack: 700_000_501, payload: new Uint8Array(9) });
    expect(h.only(node.inject(h.Id.podA, far)).packet).toMatchObject({ dst: "172.16.2.9", dport: 8080 });
    const reply = h.tcp({ ...BACK, flags: ack, seq: 700_000_501, ack: 900_000_110 });
    expect(h.only(node.inject(h.Id.overlay, reply, { peer: h.PEER_2 })).packet).toMatchObject({
      src: "10.254.0.10",
      sport: 80,
    });
    expect(node.datapath.conntrackRecords({ protocol: 6 })).toMatchObject([
      { state: "ESTABLISHED", assured: true, service: "default/web:http", timeoutSeconds: 432_000 },
    ]);
    node.inject(h.Id.overlay, h.tcp({ ...BACK, flags: rst, seq: 700_000_501 }), { peer: h.PEER_2 });
    expect(node.datapath.conntrackRecords({ protocol: 6 })).toMatchObject([{ timeoutSeconds: 10 }]);
  });

  it("have aged meanwhile", () => {
    const snapshot = [...busy().datapath.conntrack.snapshots()];
    expect(next(snapshot, 29_000).datapath.conntrack.count).toBe(2);
    expect(next(snapshot, 31_000).datapath.conntrackRecords()).toMatchObject([
      { protocol: 6, timeoutSeconds: 431_969 },
    ]);
    expect(next(snapshot, 10 * 86_400_000).datapath.conntrack.count).toBe(0);
  });

  it("do not take the place of one that is there, and stop where the table is full", () => {
    const snapshot = [...busy().datapath.conntrack.snapshots()];
    const node = next(snapshot);
    expect(node.datapath.conntrack.restore(snapshot[0], 0)).toBe(0);
    const small = new h.Harness({ conntrackMax: 1 });
    small.datapath.conntrack.setTime(small.nowMs);
    expect(small.datapath.conntrack.restore(snapshot[0], 0)).toBe(1);
  });

  it("in a snapshot of any words do no harm", () => {
    const anything = fc.int32Array({ minLength: 0, maxLength: SNAPSHOT_WORDS * 4 });
    const any = fc.uint8Array({ minLength: 0, maxLength: 300 });
    fc.assert(
      fc.property(anything, any, (words, addresses) => {
        const node = next([{ words, addresses, labels: [["a", "b"]] }]);
        const dual = new v6.Harness6();
        dual.datapath.conntrack.setTime(dual.nowMs);
        dual.datapath.conntrack.restore({ words, addresses, labels: [] }, 0);
        for (const { protocol } of dual.datapath.conntrackRecords())
          expect(dual.datapath.deleteConntrack({ protocol })).toBeGreaterThan(0);
        for (const record of node.datapath.conntrackRecords()) {
          expect(node.datapath.deleteConntrack({ protocol: record.protocol })).toBeGreaterThan(0);
        }
        node.tick(1000);
        node.inject(h.Id.podA, h.tcp({ ...OUT, dst: h.REMOTE_POD, flags: syn }));
        expect(node.count("forward")).toBe(1);
      }),
    );
  });
});

describe("connections over IPv6 of another process", () => {
  const HEAD = { sport: 40_000, dport: 80 };
  const syn6 = v6.tcp6({ ...v6.ends(v6.POD_A, v6.VIP), ...HEAD, flags: syn });
  const answer = v6.tcp6({
    ...v6.ends(v6.REMOTE_POD, v6.POD_A),
    sport: 8080,
    dport: HEAD.sport,
    flags: syn | ack,
    ack: 1,
  });

  /** An open connection through a Service, and one over IPv4. */
  function busy6(): v6.Harness6 {
    const node = new v6.Harness6();
    node.service(6, v6.VIP, 80, v6.REMOTE_POD, { port: 8080, service: "default/six:http" });
    node.inject(h.Id.podA, syn6);
    node.inject(h.Id.overlay, answer, { peer: h.PEER_2 });
    node.inject(h.Id.podA, v6.udp6({ ...v6.ends(v6.POD_A, v6.OUTSIDE), sport: 5, dport: 6 }));
    return node;
  }

  /** A process whose address book numbers addresses otherwise. */
  function taken6(slices: Iterable<ConntrackSnapshot>, book?: AddressBook): v6.Harness6 {
    const node = new v6.Harness6(book === undefined ? {} : { addressBook: book });
    for (const text of ["fd00::1", "fd00::2", "fd00::3"]) node.book.pin(v6.ip6(text));
    node.datapath.conntrack.setTime(node.nowMs);
    for (const slice of slices) node.datapath.conntrack.restore(slice, 0);
    return node;
  }

  it("go on, translated both ways, whatever numbers their addresses have there", () => {
    const old = busy6();
    const node = taken6(old.datapath.conntrack.snapshots());
    expect(node.datapath.conntrackRecords({ protocol: 6 })).toEqual(
      old.datapath.conntrackRecords({ protocol: 6 }),
    );
    expect(node.datapath.conntrackRecords()).toHaveLength(2);
    const data = v6.tcp6({ ...v6.ends(v6.POD_A, v6.VIP), ...HEAD, flags: ack, seq: 1, ack: 1 });
    expect(v6.only6(node.inject(h.Id.podA, data)).packet).toMatchObject({
      dst: "fd00:10:244:2::9",
      dport: 8080,
    });
    const back = v6.tcp6({
      ...v6.ends(v6.REMOTE_POD, v6.POD_A),
      sport: 8080,
      dport: HEAD.sport,
      flags: ack,
      seq: 1,
      ack: 1,
    });
    expect(v6.only6(node.inject(h.Id.overlay, back, { peer: h.PEER_2 })).packet).toMatchObject({
      src: "fd00:10:96::a",
      sport: 80,
    });
  });

  it("keep their addresses in a book that fills up while they are taken up", () => {
    const node = busy6();
    // Strangers' packets, each with an address of its own.
    for (let i = 1; i <= 300; i++) {
      const ends = v6.ends(v6.POD_A, v6.ip6(`2001:db8:1::${i.toString(16)}`));
      node.inject(h.Id.podA, v6.udp6({ ...ends, sport: i, dport: 53 }));
    }
    const listed = (one: v6.Harness6) =>
      one.datapath
        .conntrackRecords()
        .map(({ original, reply }) => JSON.stringify([original, reply]))
        .sort();
    const next6 = taken6(node.datapath.conntrack.snapshots(), new AddressBook(h.seededRandom(9), 16));
    expect(listed(next6)).toEqual(listed(node));
    expect(listed(next6).length).toBe(302);
  });

  it("are left out by a node without IPv6", () => {
    const node = next(busy6().datapath.conntrack.snapshots());
    expect(node.datapath.conntrack.count).toBe(0);
  });
});

describe("a snapshot of a large table", () => {
  it("comes in slices, between which connections may begin and end", () => {
    const node = new h.Harness({ conntrackMax: 30_000 });
    for (let sport = 1; sport <= 20_000; sport++)
      node.inject(h.Id.podA, h.udp({ ...OUT, dst: h.POD_B, sport }));
    const slices: ConntrackSnapshot[] = [];
    let last = 20_000;
    for (const slice of node.datapath.conntrack.snapshots()) {
      slices.push(slice);
      node.inject(h.Id.podA, h.udp({ ...OUT, dst: h.POD_B, sport: ++last }));
      node.datapath.deleteConntrack({ sport: last - 20_000 });
    }
    expect(slices.length).toBeGreaterThan(4);
    expect(Math.max(...slices.map(({ words }) => words.length / SNAPSHOT_WORDS))).toBeLessThan(5000);
    const restored = new h.Harness({ conntrackMax: 30_000 });
    restored.datapath.conntrack.setTime(restored.nowMs);
    for (const slice of slices) restored.datapath.conntrack.restore(slice, 0);
    const ports = new Set(restored.datapath.conntrackRecords().map(({ original }) => original.sport));
    for (let sport = 10; sport <= 20_000; sport++) expect(ports.has(sport)).toBe(true);
  });
});
