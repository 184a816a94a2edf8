import { describe, expect, it } from "vitest";
import { State, TCP_STATE_NAMES } from "../../src/datapath/conntrack/state.js";
import { STEP_IGNORED, STEP_INVALID, segmentOf, stepTcp } from "../../src/datapath/conntrack/tcp-states.js";
import { ServiceAction } from "../../src/datapath/index.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const { syn, ack, fin, rst, psh, urg, ece, cwr } = TcpFlag;
const SPECIAL: Readonly<Record<number, string>> = { [STEP_INVALID]: "invalid", [STEP_IGNORED]: "same" };

function step(state: number, direction: ">" | "<", flags: number): number {
  return stepTcp(state, direction === ">" ? 0 : 1, segmentOf(flags));
}

function name(state: number): string {
  return SPECIAL[state] ?? TCP_STATE_NAMES[state] ?? "?";
}

/** Runs segments (`>` original, `<` reply) from no connection; gives the state after each. */
function walk(...segments: [">" | "<", number][]): string[] {
  let state: number = State.none;
  return segments.map(([direction, flags]) => {
    const next = step(state, direction, flags);
    if (next < STEP_IGNORED) state = next;
    return name(next);
  });
}

describe("TCP states", () => {
  it("follow a connection from SYN to TIME_WAIT", () => {
    const life = walk(
      [">", syn],
      ["<", syn | ack],
      [">", ack],
      [">", psh | ack],
      ["<", ack],
      [">", fin | ack],
      ["<", ack],
      ["<", fin | ack],
      [">", ack],
    );
    expect(life).toEqual([
      "SYN_SENT",
      "SYN_RECV",
      "ESTABLISHED",
      "ESTABLISHED",
      "ESTABLISHED",
      "FIN_WAIT",
      "CLOSE_WAIT",
      "LAST_ACK",
      "TIME_WAIT",
    ]);
    expect(
      walk([">", syn], ["<", syn | ack], [">", ack], ["<", fin | ack], [">", fin | ack], ["<", ack]),
    ).toEqual(["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "LAST_ACK", "TIME_WAIT"]);
  });

  it("end with a reset and open again with a SYN", () => {
    expect(walk([">", syn], ["<", rst | ack], [">", syn])).toEqual(["SYN_SENT", "CLOSE", "SYN_SENT"]);
    const closed: [">" | "<", number][] = [
      [">", syn],
      ["<", syn | ack],
      [">", ack],
      [">", fin | ack],
      ["<", fin | ack],
      [">", ack],
    ];
    expect(walk(...closed, [">", syn]).at(-1)).toBe("SYN_SENT");
    expect(walk(...closed, ["<", syn]).at(-1)).toBe("SYN_SENT");
  });

  it("know a simultaneous open", () => {
    expect(walk([">", syn], ["<", syn], [">", syn | ack])).toEqual(["SYN_SENT", "SYN_SENT2", "SYN_RECV"]);
  });

  it("pick up connections in the middle, but only by a plain segment", () => {
    expect(walk([">", ack])).toEqual(["ESTABLISHED"]);
    for (const flags of [syn | ack, fin | ack, rst, 0]) expect(walk([">", flags])).toEqual(["invalid"]);
  });

  it("let late duplicates pass without a change", () => {
    expect(walk([">", syn], ["<", syn | ack], [">", ack], [">", syn]).at(-1)).toBe("same");
    expect(walk([">", syn], ["<", syn | ack], [">", ack], ["<", syn | ack]).at(-1)).toBe("same");
  });

  it("refuse flags that no TCP sends, and ignore PSH, ECE and CWR", () => {
    for (const flags of [0, fin, syn | fin, syn | rst, fin | rst | ack, 0x3f]) {
      expect(name(step(State.established, ">", flags))).toBe("invalid");
    }
    expect(name(step(State.established, ">", ack | psh | ece | cwr | urg))).toBe("ESTABLISHED");
  });
});

const ENDS = { src: h.POD_A, dst: h.REMOTE_POD, sport: 4000, dport: 80 };
const BACK = { src: h.REMOTE_POD, dst: h.POD_A, sport: 80, dport: 4000 };

/** A node with shorthand for segments of one connection, out of pod A and back. */
class Flow {
  readonly node: h.Harness;
  /** Next sequence numbers of both directions. */
  private readonly next = [1000, 5000];

  constructor(options: h.HarnessOptions = {}) {
    this.node = new h.Harness(options);
  }

  out(flags: number, payload = 0): this {
    this.node.inject(h.Id.podA, this.segment(0, flags, payload));
    return this;
  }

  back(flags: number, payload = 0): this {
    this.node.inject(h.Id.overlay, this.segment(1, flags, payload), { peer: h.PEER_2 });
    return this;
  }

  /** The next segment of a direction, as a TCP that got everything would send it. */
  private segment(direction: 0 | 1, flags: number, payload: number): Uint8Array {
    const [seq, acked] = [this.next[direction], this.next[1 - direction]];
    this.next[direction] = seq + payload + ((flags & syn) >> 1) + (flags & fin);
    const ends = direction === 0 ? ENDS : BACK;
    const fields = { flags, seq, ack: (flags & ack) === 0 ? 0 : acked, payload: new Uint8Array(payload) };
    return h.tcp({ ...ends, ...fields });
  }

  open(): this {
    return this.out(syn)
      .back(syn | ack)
      .out(ack);
  }

  get record() {
    const records = this.node.datapath.conntrackRecords();
    expect(records.length).toBeLessThan(2);
    return records[0];
  }
}

describe("entries", () => {
  it("count packets and bytes of both directions and know their state", () => {
    const { record } = new Flow()
      .open()
      .out(ack | psh, 100)
      .back(ack, 1000)
      .out(ack);
    expect(record).toMatchObject({
      protocol: 6,
      state: "ESTABLISHED",
      assured: true,
      unreplied: false,
      timeoutSeconds: 432_000,
      originalPackets: 4,
      originalBytes: 260,
      replyPackets: 2,
      replyBytes: 1080,
      original: { src: h.POD_A, dst: h.REMOTE_POD, sport: 4000, dport: 80 },
      reply: { src: h.REMOTE_POD, dst: h.POD_A, sport: 80, dport: 4000 },
    });
  });

  it.each([
    ["SYN_SENT", 120, (f: Flow) => f.out(syn)],
    ["SYN_RECV", 60, (f: Flow) => f.out(syn).back(syn | ack)],
    ["ESTABLISHED", 432_000, (f: Flow) => f.open()],
    ["FIN_WAIT", 120, (f: Flow) => f.open().out(fin | ack)],
    [
      "CLOSE_WAIT",
      60,
      (f: Flow) =>
        f
          .open()
          .out(fin | ack)
          .back(ack),
    ],
    [
      "LAST_ACK",
      30,
      (f: Flow) =>
        f
          .open()
          .out(fin | ack)
          .back(fin | ack),
    ],
    [
      "TIME_WAIT",
      120,
      (f: Flow) =>
        f
          .open()
          .out(fin | ack)
          .back(fin | ack)
          .out(ack),
    ],
    ["CLOSE", 10, (f: Flow) => f.open().back(rst)],
  ])("in %s live for %i s", (state, seconds, reach) => {
    const flow = reach(new Flow());
    expect(flow.record).toMatchObject({ state, timeoutSeconds: seconds });
    flow.node.tick(seconds * 1000 - 200);
    expect(flow.record.timeoutSeconds).toBe(1);
    flow.node.tick(200);
    expect(flow.record).toBeUndefined();
    expect(flow.node.datapath.conntrack.count).toBe(0);
  });

  it("picked up in the middle live for 300 s until the other side is heard", () => {
    const flow = new Flow().out(ack).out(ack);
    expect(flow.record).toMatchObject({
      state: "ESTABLISHED",
      timeoutSeconds: 300,
      assured: false,
      unreplied: true,
    });
    expect(flow.back(ack).record).toMatchObject({ timeoutSeconds: 300, assured: false, unreplied: false });
    expect(flow.out(ack).record).toMatchObject({ timeoutSeconds: 432_000, assured: true });
  });

  it("of UDP live for 30 s, and for 120 s once both sides still talk after two seconds", () => {
    const node = new h.Harness();
    const out = () => node.inject(h.Id.podA, h.udp(ENDS));
    out();
    expect(node.datapath.conntrackRecords()[0]).toMatchObject({ timeoutSeconds: 30, unreplied: true });
    node.inject(h.Id.overlay, h.udp(BACK), { peer: h.PEER_2 });
    expect(node.datapath.conntrackRecords()[0]).toMatchObject({
      timeoutSeconds: 30,
      unreplied: false,
      assured: false,
    });
    out();
    expect(node.datapath.conntrackRecords()[0]).toMatchObject({ timeoutSeconds: 30, assured: false });
    node.nowMs += 2100;
    out();
    expect(node.datapath.conntrackRecords()[0]).toMatchObject({ timeoutSeconds: 120, assured: true });
  });

  it("of ICMP live for 30 s, of other protocols for 600 s; time-outs can be set", () => {
    const node = new h.Harness({ conntrackTimeouts: { icmp: 5 } });
    node.inject(h.Id.podA, h.echo({ src: h.POD_A, dst: h.REMOTE_POD, icmpId: 1, icmpSeq: 1 }));
    const gre = h.udp(ENDS);
    gre[9] = 47;
    gre[11] -= 30;
    node.inject(h.Id.podA, gre);
    expect(node.datapath.conntrackRecords()).toMatchObject([
      { protocol: 1, timeoutSeconds: 5, original: { sport: 1, dport: 0x800 }, reply: { sport: 1, dport: 0 } },
      { protocol: 47, timeoutSeconds: 600, original: { sport: 0, dport: 0 } },
    ]);
  });

  it("that expired are not found even before the sweep", () => {
    const services = new h.TableServices().put(17, h.VIP, 53, { ip: h.REMOTE_POD, port: 53 });
    const node = new h.Harness({}, services);
    const ask = () => node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.VIP, sport: 1, dport: 53 }));
    ask();
    node.nowMs += 31_000;
    ask();
    expect(services.queries).toBe(2);
    expect(node.datapath.conntrack.count).toBe(1);
  });

  it("make way for a new connection with the tuple of an ended one", () => {
    const services = new h.TableServices().put(6, h.VIP, 80, { ip: h.REMOTE_POD, port: 80 });
    const node = new h.Harness({}, services);
    const out = (flags: number) =>
      h.only(node.inject(h.Id.podA, h.tcp({ src: h.POD_A, dst: h.VIP, sport: 9, dport: 80, flags })));
    out(syn);
    node.inject(h.Id.overlay, h.tcp({ ...BACK, dport: 9, flags: rst | ack }), { peer: h.PEER_2 });
    services.put(6, h.VIP, 80, { ip: h.POD_B, port: 80 });
    expect(out(syn).packet.dst).toBe("172.16.1.3");
    expect(services.queries).toBe(2);
  });

  it("are not made by invalid packets", () => {
    const flow = new Flow()
      .out(fin | ack)
      .out(rst)
      .back(syn | ack);
    const reply = h.echo({ src: h.POD_A, dst: h.REMOTE_POD, icmpId: 1, icmpSeq: 1, reply: true });
    flow.node.inject(h.Id.podA, reply);
    expect(flow.node.datapath.counters.export()).toEqual({ "drop:ct-invalid": 4 });
    expect(flow.node.datapath.conntrack.count).toBe(0);
  });

  it("carry the Service and endpoint that were chosen", () => {
    const chosen = { ip: h.REMOTE_POD, port: 8080, service: "default/web:http", endpoint: "default/web-1" };
    const node = new h.Harness({}, new h.TableServices().put(6, h.VIP, 80, chosen));
    node.inject(h.Id.podA, h.tcp({ src: h.POD_A, dst: h.VIP, sport: 9, dport: 80, flags: syn }));
    expect(node.datapath.conntrackRecords()[0]).toMatchObject({
      service: "default/web:http",
      endpoint: "default/web-1",
    });
  });
});

describe("a full table", () => {
  const fill = (node: h.Harness, from: number, count: number) => {
    for (let i = 0; i < count; i++) node.inject(h.Id.podA, h.udp({ ...ENDS, sport: from + i }));
  };

  it("drops early what nobody assured", () => {
    const node = new h.Harness({ conntrackMax: 20 });
    fill(node, 1000, 60);
    expect(node.count("forward")).toBe(60);
    expect(node.datapath.status().conntrack).toMatchObject({ count: 20, max: 20, earlyDrops: 40 });
  });

  it("refuses new connections when all are assured, and takes them again when one expires", () => {
    const node = new h.Harness({ conntrackMax: 20 });
    fill(node, 1000, 20);
    for (let i = 0; i < 20; i++)
      node.inject(h.Id.overlay, h.udp({ ...BACK, sport: 80, dport: 1000 + i }), { peer: h.PEER_2 });
    node.nowMs += 2100;
    fill(node, 1000, 20);
    fill(node, 2000, 5);
    expect(node.count("drop:ct-full")).toBe(5);
    node.nowMs += 121_000;
    fill(node, 2000, 5);
    expect(node.count("drop:ct-full")).toBe(5);
  });
});

describe("a table full of assured connections", () => {
  it("gives up what is closing for a new one, but nothing that is open", () => {
    const flow = new Flow({ conntrackMax: 1 }).open();
    const other = () => flow.node.inject(h.Id.podA, h.udp({ ...ENDS, sport: 7 }));
    expect(other()).toHaveLength(0);
    flow.out(fin | ack);
    expect(other()).toHaveLength(1);
    expect(flow.record).toMatchObject({ protocol: 17 });
  });
});

describe("deletion", () => {
  function busy(): h.Harness {
    const udp = 17;
    const services = new h.TableServices()
      .put(udp, h.VIP, 53, { ip: h.REMOTE_POD, port: 5353 })
      .put(udp, h.NODE, 30_053, { ip: h.POD_B, port: 5353, masquerade: true })
      .put(udp, h.VIP, 99, { action: ServiceAction.drop, reason: "x" });
    const node = new h.Harness({}, services);
    for (const sport of [1, 2, 3]) {
      node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.VIP, sport, dport: 53 }));
      node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.NODE, sport, dport: 30_053 }));
      node.inject(h.Id.podA, h.tcp({ src: h.POD_A, dst: h.REMOTE_POD, sport, dport: 53, flags: syn }));
    }
    return node;
  }

  it("by original destination", () => {
    const { datapath } = busy();
    expect(datapath.conntrack.deleteByOriginalDst(17, h.VIP, 54)).toBe(0);
    expect(datapath.conntrack.deleteByOriginalDst(17, h.VIP, 53)).toBe(3);
    expect(datapath.conntrack.deleteByOriginalDst(17, 0, 30_053)).toBe(3);
    expect(datapath.conntrack.deleteByOriginalDst(6, h.REMOTE_POD, 0)).toBe(3);
    expect(datapath.conntrack.count).toBe(0);
  });

  it("by endpoint", () => {
    const { datapath } = busy();
    expect(datapath.conntrack.deleteByNat(17, h.VIP, 53, h.POD_B, 5353)).toBe(0);
    expect(datapath.conntrack.deleteByNat(17, h.VIP, 53, h.REMOTE_POD, 5353)).toBe(3);
    expect(datapath.conntrack.deleteByNat(17, 0, 30_053, h.POD_B, 5353)).toBe(3);
    expect(datapath.conntrackRecords()).toHaveLength(3);
  });

  it("by filter", () => {
    const { datapath } = busy();
    expect(datapath.deleteConntrack({ protocol: 17, dst: h.VIP, sport: 2 })).toBe(1);
    expect(datapath.deleteConntrack({ src: h.POD_B })).toBe(0);
    expect(datapath.conntrackRecords({ state: "SYN_SENT", dport: 53 })).toHaveLength(3);
    expect(datapath.conntrackRecords({ state: "ESTABLISHED" })).toEqual([]);
    expect(datapath.deleteConntrack({})).toBe(8);
    expect(datapath.conntrackRecords()).toEqual([]);
  });
});
