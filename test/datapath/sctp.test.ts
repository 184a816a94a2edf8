import { describe, expect, it } from "vitest";
import { SctpChunk, type SctpChunkFields, setU16, setU32 } from "../../src/wire/index.js";
import * as h from "./harness.js";

const SCTP = 132;
const ENDS = { src: h.POD_A, dst: h.REMOTE_POD, sport: 4000, dport: 36412 };
const BACK = { src: h.REMOTE_POD, dst: h.POD_A, sport: 36412, dport: 4000 };
/** Tags that packets to the client, and to the server, must carry. */
const CLIENT_TAG = 0xc11e0001;
const SERVER_TAG = 0x5e70e202;

/** INIT and INIT ACK announce the sender's own tag. */
function init(type: number, tag: number): SctpChunkFields {
  const value = new Uint8Array(16);
  setU32(value, 0, tag);
  setU32(value, 4, 65536);
  setU16(value, 8, 10);
  setU16(value, 10, 10);
  return { type, value };
}

const INIT = init(SctpChunk.init, CLIENT_TAG);
const INIT_ACK = init(SctpChunk.initAck, SERVER_TAG);
const chunk = (type: number, flags = 0): SctpChunkFields => ({ type, flags, value: new Uint8Array(4) });
const bare = (type: number, flags = 0): SctpChunkFields => ({ type, flags });

/** One association out of pod A to a pod on another node; `""` while the table has no entry. */
class Association {
  readonly node: h.Harness;

  constructor(options: h.HarnessOptions = {}, services = new h.TableServices()) {
    this.node = new h.Harness(options, services);
  }

  out(tag: number, ...chunks: SctpChunkFields[]): this {
    this.node.inject(h.Id.podA, h.sctp({ ...ENDS, tag, chunks }));
    return this;
  }

  back(tag: number, ...chunks: SctpChunkFields[]): this {
    this.node.inject(h.Id.overlay, h.sctp({ ...BACK, tag, chunks }), { peer: h.PEER_2 });
    return this;
  }

  handshake(): this {
    return this.out(0, INIT)
      .back(CLIENT_TAG, INIT_ACK)
      .out(SERVER_TAG, chunk(SctpChunk.cookieEcho))
      .back(CLIENT_TAG, bare(SctpChunk.cookieAck));
  }

  get record() {
    const records = this.node.datapath.conntrackRecords();
    expect(records.length).toBeLessThan(2);
    return records[0];
  }

  get state(): string {
    return this.record?.state ?? "";
  }
}

describe("SCTP associations", () => {
  it.each([
    ["CLOSED", 10, (a: Association) => a.out(0, INIT)],
    ["COOKIE_WAIT", 3, (a: Association) => a.out(0, INIT).back(CLIENT_TAG, INIT_ACK)],
    [
      "COOKIE_ECHOED",
      3,
      (a: Association) =>
        a.out(0, INIT).back(CLIENT_TAG, INIT_ACK).out(SERVER_TAG, chunk(SctpChunk.cookieEcho)),
    ],
    ["ESTABLISHED", 210, (a: Association) => a.handshake()],
    ["SHUTDOWN_SENT", 3, (a: Association) => a.handshake().out(SERVER_TAG, chunk(SctpChunk.shutdown))],
    ["SHUTDOWN_RECD", 3, (a: Association) => a.handshake().back(CLIENT_TAG, chunk(SctpChunk.shutdown))],
    [
      "SHUTDOWN_ACK_SENT",
      3,
      (a: Association) =>
        a
          .handshake()
          .out(SERVER_TAG, chunk(SctpChunk.shutdown))
          .back(CLIENT_TAG, bare(SctpChunk.shutdownAck)),
    ],
    [
      "CLOSED",
      10,
      (a: Association) =>
        a
          .handshake()
          .out(SERVER_TAG, chunk(SctpChunk.shutdown))
          .back(CLIENT_TAG, bare(SctpChunk.shutdownAck))
          .out(SERVER_TAG, bare(SctpChunk.shutdownComplete)),
    ],
    ["CLOSED", 10, (a: Association) => a.handshake().back(CLIENT_TAG, bare(SctpChunk.abort))],
    ["HEARTBEAT_SENT", 30, (a: Association) => a.out(SERVER_TAG, chunk(SctpChunk.heartbeat))],
    [
      "ESTABLISHED",
      210,
      (a: Association) =>
        a.out(SERVER_TAG, chunk(SctpChunk.heartbeat)).back(CLIENT_TAG, chunk(SctpChunk.heartbeatAck)),
    ],
  ])("in %s live for %i s", (state, seconds, reach) => {
    const association = reach(new Association());
    expect(association.record).toMatchObject({ protocol: SCTP, state, timeoutSeconds: seconds });
    expect(association.node.count("drop:ct-invalid")).toBe(0);
    association.node.tick(seconds * 1000);
    expect(association.record).toBeUndefined();
  });

  it("are assured once established, and count both directions", () => {
    const association = new Association().handshake().out(SERVER_TAG, chunk(SctpChunk.data));
    expect(association.record).toMatchObject({
      assured: true,
      unreplied: false,
      originalPackets: 3,
      replyPackets: 2,
      original: { sport: 4000, dport: 36412 },
    });
  });

  it("begin with INIT, or on a further path with HEARTBEAT; nothing else begins one", () => {
    for (const type of [SctpChunk.data, SctpChunk.sack, SctpChunk.abort, SctpChunk.cookieAck]) {
      expect(new Association().out(SERVER_TAG, chunk(type)).state).toBe("");
    }
    expect(new Association().out(1, INIT).state).toBe("");
    expect(new Association().out(0, INIT, chunk(SctpChunk.data)).state).toBe("");
    expect(new Association().out(0, { type: SctpChunk.init, value: new Uint8Array(12) }).state).toBe("");
  });

  it.each<[string, (a: Association) => Association]>([
    ["DATA with another tag", (a) => a.out(CLIENT_TAG, chunk(SctpChunk.data))],
    ["DATA of the server with the tag of the other side", (a) => a.back(SERVER_TAG, chunk(SctpChunk.data))],
    ["ABORT with another tag", (a) => a.out(1, bare(SctpChunk.abort))],
    [
      "ABORT whose tag is not reflected though it says so",
      (a) => a.out(SERVER_TAG, bare(SctpChunk.abort, 1)),
    ],
    ["SHUTDOWN COMPLETE with another tag", (a) => a.out(1, bare(SctpChunk.shutdownComplete))],
    ["INIT with a tag", (a) => a.out(SERVER_TAG, INIT)],
    ["COOKIE ECHO with another tag", (a) => a.out(1, chunk(SctpChunk.cookieEcho))],
    ["COOKIE ECHO behind another chunk", (a) => a.out(SERVER_TAG, chunk(0), chunk(SctpChunk.cookieEcho))],
    ["DATA beside a HEARTBEAT with another tag", (a) => a.out(1, chunk(SctpChunk.heartbeat), chunk(0))],
    ["no chunk at all", (a) => a.out(SERVER_TAG)],
  ])("do not take %s", (_, send) => {
    const association = new Association().handshake();
    const before = association.record;
    expect(send(association).record).toEqual(before);
    expect(association.node.count("drop:ct-invalid")).toBe(1);
  });

  it("take an ABORT that reflects the receiver's tag", () => {
    expect(new Association().handshake().out(CLIENT_TAG, bare(SctpChunk.abort, 1)).state).toBe("CLOSED");
  });

  it("made anew by a rebooted peer are found by HEARTBEAT and its ACK", () => {
    const association = new Association().handshake().out(0xbeef, chunk(SctpChunk.heartbeat));
    expect(association.node.count("forward")).toBe(5);
    association.back(0xfeed, chunk(SctpChunk.heartbeatAck)).back(0xfeed, chunk(SctpChunk.data));
    expect(association.node.count("forward")).toBe(7);
    expect(association.back(CLIENT_TAG, chunk(SctpChunk.data)).node.count("drop:ct-invalid")).toBe(1);
  });

  it("that only repeat their INIT expire", () => {
    const association = new Association();
    for (let second = 0; second < 10; second += 2) {
      association.out(0, INIT);
      association.node.tick(2000);
    }
    expect(association.record).toBeUndefined();
  });

  it("with a wrong checksum are dropped in every state", () => {
    const association = new Association();
    association.node.lenient = true;
    const send = (tag: number, ...chunks: SctpChunkFields[]) => {
      const packet = h.sctp({ ...ENDS, tag, chunks });
      packet[28] ^= 1;
      association.node.inject(h.Id.podA, packet);
    };
    send(0, INIT);
    expect(association.state).toBe("");
    association.handshake();
    send(SERVER_TAG, chunk(SctpChunk.data));
    expect(association.node.count("drop:invalid-checksum")).toBe(2);
  });
});

describe("SCTP behind a Service", () => {
  const services = () =>
    new h.TableServices()
      .put(SCTP, h.VIP, 80, {
        ip: h.REMOTE_POD,
        port: 36412,
        service: "default/s:a",
        endpoint: "default/s-1",
      })
      .put(SCTP, h.NODE, 30080, { ip: h.POD_B, port: 36412, masquerade: true });
  const first = { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80, tag: 0, chunks: [INIT] };

  it("has its ports and checksum rewritten both ways", () => {
    const node = new h.Harness({}, services());
    expect(h.only(node.inject(h.Id.podA, h.sctp(first))).packet).toMatchObject({
      src: "172.16.1.2",
      dst: "172.16.2.9",
      sport: 4000,
      dport: 36412,
    });
    const reply = h.sctp({ ...BACK, tag: CLIENT_TAG, chunks: [INIT_ACK] });
    expect(h.only(node.inject(h.Id.overlay, reply, { peer: h.PEER_2 })).packet).toMatchObject({
      src: "10.254.0.10",
      sport: 80,
      dport: 4000,
    });
  });

  it("shares its port number with TCP and UDP", () => {
    const table = services()
      .put(6, h.VIP, 80, { ip: h.POD_B, port: 1 })
      .put(17, h.VIP, 80, { ip: h.POD_B, port: 2 });
    const node = new h.Harness({}, table);
    const ends = { src: h.POD_A, dst: h.VIP, sport: 4000, dport: 80 };
    const ports = [h.sctp(first), h.tcp({ ...ends, flags: 2 }), h.udp(ends)].map(
      (packet) => h.only(node.inject(h.Id.podA, packet)).packet.dport,
    );
    expect(ports).toEqual([36412, 1, 2]);
    expect(node.datapath.conntrack.count).toBe(3);
  });

  it("gets another source port when two clients would look the same behind the masquerade", () => {
    const node = new h.Harness({}, services());
    node.learnHost();
    const from = (src: number) => {
      const packet = h.sctp({ ...first, src, dst: h.NODE, dport: 30080 });
      return h.only(node.inject(h.Id.host, packet)).packet;
    };
    const [a, b] = [from(h.ip("192.168.0.1")), from(h.ip("192.168.0.2"))];
    expect([a.src, b.src, a.sport]).toEqual(["172.16.1.1", "172.16.1.1", 4000]);
    expect(b.sport).toBeGreaterThan(1023);
    expect(b.sport).not.toBe(4000);
  });

  it("with its checksum left to the device is completed, not summed up", () => {
    const node = new h.Harness({}, services());
    const packet = h.sctp(first);
    packet.fill(0, 28, 32);
    const vnet = Uint8Array.from([1, 0, 0, 0, 0, 0, h.ETHERNET + 20, 0, 8, 0]);
    const sent = h.only(node.inject(h.Id.podA, packet, { vnet }));
    expect([...sent.vnet]).toEqual(new Array(h.VNET).fill(0));
    expect(sent.packet.dport).toBe(36412);
  });

  it("in fragments passes when its ports stay, and is dropped when they would change", () => {
    const node = new h.Harness({}, services().put(SCTP, h.VIP, 36412, { ip: h.REMOTE_POD, port: 36412 }));
    const send = (dport: number) => {
      const packet = h.sctp({ ...first, dport });
      packet[6] |= 0x20;
      packet[10] -= 0x20;
      return node.inject(h.Id.podA, packet).length;
    };
    expect([send(36412), send(80)]).toEqual([1, 0]);
    expect(node.count("drop:sctp-fragment-nat")).toBe(1);
  });

  it("is told of ICMP errors about it in its own terms", () => {
    const node = new h.Harness({}, services());
    const sent = h.only(node.inject(h.Id.podA, h.sctp(first))).frame;
    // Port unreachable from the pod, quoting header and 8 bytes; then the whole packet.
    for (const quoted of [28, sent.length]) {
      const error = new Uint8Array(28 + quoted);
      error.set(
        h.echo({ src: h.REMOTE_POD, dst: h.POD_A, icmpId: 0, icmpSeq: 0, payload: sent.slice(0, quoted) }),
      );
      error[20] = 3;
      error[21] = 3;
      // The type went from 8 to 3 and the code from 0 to 3.
      const sum = (error[22] << 8) + error[23] + 0x0800 - 0x0303;
      setU16(error, 22, sum > 0xffff ? sum - 0xffff : sum);
      const told = h.only(node.inject(h.Id.overlay, error, { peer: h.PEER_2 })).packet;
      expect(told).toMatchObject({
        src: "10.254.0.10",
        quoted: { dst: "10.254.0.10", sport: 4000, dport: 80 },
      });
    }
  });

  it("shows its chunks in the trace", () => {
    const node = new h.Harness({}, services());
    node.trace.enabled = true;
    node.inject(h.Id.podA, h.sctp(first));
    expect(node.trace.seen[0]).toMatchObject({ info: "INIT", service: "default/s:a", ctState: "NEW" });
  });
});
