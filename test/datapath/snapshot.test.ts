import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ConntrackSnapshot, SNAPSHOT_WORDS } from "../../src/datapath/index.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

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
function next(snapshot: ConntrackSnapshot, elapsedMs = 0): h.Harness {
  const node = new h.Harness();
  node.datapath.conntrack.setTime(node.nowMs);
  node.datapath.conntrack.restore(snapshot, elapsedMs);
  return node;
}

describe("connections of another process", () => {
  it("go on: translation, state, counters, Service", () => {
    const before = busy();
    const node = next(before.datapath.conntrack.snapshot());
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
    const snapshot = busy().datapath.conntrack.snapshot();
    expect(next(snapshot, 29_000).datapath.conntrack.count).toBe(2);
    expect(next(snapshot, 31_000).datapath.conntrackRecords()).toMatchObject([
      { protocol: 6, timeoutSeconds: 431_969 },
    ]);
    expect(next(snapshot, 10 * 86_400_000).datapath.conntrack.count).toBe(0);
  });

  it("do not take the place of one that is there, and stop where the table is full", () => {
    const snapshot = busy().datapath.conntrack.snapshot();
    const node = next(snapshot);
    expect(node.datapath.conntrack.restore(snapshot, 0)).toBe(0);
    const small = new h.Harness({ conntrackMax: 1 });
    small.datapath.conntrack.setTime(small.nowMs);
    expect(small.datapath.conntrack.restore(snapshot, 0)).toBe(1);
  });

  it("in a snapshot of any words do no harm", () => {
    const words = fc.int32Array({ minLength: 0, maxLength: SNAPSHOT_WORDS * 4 });
    fc.assert(
      fc.property(words, (anything) => {
        const node = next({ words: anything, labels: [["a", "b"]] });
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
