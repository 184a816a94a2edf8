/**
 * The fast path against the pipeline: the same frames go through two nodes, one of which is traced and so takes the pipeline
 * for every packet. What leaves, what is counted and what the connection table holds must be the same.
 */
import { afterEach, describe, expect, it, vi } from "vitest";
import { FastPath } from "../../src/datapath/fast-path.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";
import { offload } from "./offload.js";

const STEPS = 3000;
const LOCAL_VIP = h.ip("10.254.0.11");
const NODE_PORT = 30_001;
const TCP = 6;
const UDP = 17;

/** Where a packet of a connection comes in, and its tuple there. */
interface Side {
  readonly port: number;
  readonly peer: number;
  readonly src: number;
  readonly dst: number;
  readonly sport: number;
  readonly dport: number;
  /** Frames go straight to the other pod's MAC. */
  readonly to?: Uint8Array;
}

interface Connection {
  readonly protocol: number;
  readonly client: Side;
  /** Known once the first packet has left. */
  server?: Side;
}

const OPENERS: readonly ((sport: number) => Omit<Side, "sport">)[] = [
  () => ({ port: h.Id.podA, peer: 0, src: h.POD_A, dst: h.VIP, dport: 80 }),
  () => ({ port: h.Id.podA, peer: 0, src: h.POD_A, dst: LOCAL_VIP, dport: 80 }),
  () => ({ port: h.Id.podA, peer: 0, src: h.POD_A, dst: h.POD_B, dport: 9000, to: h.MAC_B }),
  () => ({ port: h.Id.podA, peer: 0, src: h.POD_A, dst: h.REMOTE_POD, dport: 9000 }),
  () => ({ port: h.Id.podB, peer: 0, src: h.POD_B, dst: h.ip("198.51.100.7"), dport: 443 }),
  () => ({ port: h.Id.host, peer: 0, src: h.HOST, dst: h.NODE, dport: NODE_PORT }),
  () => ({ port: h.Id.host, peer: 0, src: h.HOST, dst: h.POD_A, dport: 9000 }),
  () => ({ port: h.Id.overlay, peer: h.PEER_2, src: h.REMOTE_POD, dst: h.POD_B, dport: 9000 }),
  () => ({ port: h.Id.nodenet, peer: h.PEER_2, src: h.NODE_2, dst: h.NODE, dport: NODE_PORT }),
];

function node(traced: boolean, bridgeNetfilter = true): h.Harness {
  const services = new h.TableServices();
  for (const protocol of [TCP, UDP]) {
    services.put(protocol, h.VIP, 80, { ip: h.REMOTE_POD, port: 8080 });
    services.put(protocol, LOCAL_VIP, 80, { ip: h.POD_B, port: 8080 });
    services.put(protocol, h.NODE, NODE_PORT, { ip: h.REMOTE_POD, port: 8080, masquerade: true });
  }
  const made = new h.Harness({ bridgeNetfilter }, services);
  made.trace.enabled = traced;
  made.lenient = true;
  made.learnHost();
  return made;
}

/** Two nodes that must not differ. */
class Twins {
  readonly random: () => number;
  private readonly fast: h.Harness;
  private readonly slow: h.Harness;
  private readonly connections: Connection[] = [];
  private steps = 0;
  private disturbed = false;

  constructor(seed: number, bridgeNetfilter: boolean) {
    this.random = h.seededRandom(seed);
    this.fast = node(false, bridgeNetfilter);
    this.slow = node(true, bridgeNetfilter);
  }

  step(): void {
    const { random } = this;
    this.steps++;
    if (random() < 0.01 && !this.disturbed) this.disturb();
    if (this.connections.length === 0 || random() < 0.02) {
      this.open();
      return;
    }
    const connection = this.pick(this.connections);
    const side = random() < 0.5 || connection.server === undefined ? connection.client : connection.server;
    const damage = random() < 0.15;
    const { packet, vnet } = this.segment(connection.protocol, side, damage);
    const sent = this.put(side, packet, vnet);
    if (connection.server === undefined && sent.length === 1) connection.server = answering(sent[0], side);
  }

  compare(): void {
    expect(this.fast.datapath.status().counters).toEqual(this.slow.datapath.status().counters);
    expect(this.fast.datapath.conntrackRecords()).toEqual(this.slow.datapath.conntrackRecords());
  }

  private open(): void {
    const sport = 10_000 + this.steps;
    const client = { ...this.pick(OPENERS)(sport), sport };
    const connection: Connection = { protocol: this.random() < 0.6 ? TCP : UDP, client };
    this.connections.push(connection);
    if (this.connections.length > 40) this.connections.shift();
    const first = this.put(client, build(connection.protocol, client, TcpFlag.syn, 0));
    if (first.length !== 1) return;
    connection.server = answering(first[0], client);
    const { server } = connection;
    if (server === undefined) return;
    this.put(server, build(connection.protocol, server, TcpFlag.syn | TcpFlag.ack, 3));
    this.put(client, build(connection.protocol, client, TcpFlag.ack, 5));
  }

  /** A packet in the middle of a connection; damaged, it is one that the fast path must leave to the pipeline, or drop alike. */
  private segment(protocol: number, side: Side, damage: boolean): { packet: Uint8Array; vnet?: Uint8Array } {
    const { random } = this;
    const flags = damage
      ? Math.floor(random() * 64)
      : random() < 0.5
        ? TcpFlag.ack
        : TcpFlag.ack | TcpFlag.psh;
    const length = random() < 0.1 ? 1300 + Math.floor(random() * 200) : Math.floor(random() * 100);
    const ttl = random() < 0.05 ? 1 + Math.floor(random() * 2) : 64;
    const packet = build(protocol, side, flags, length, ttl, random() < 0.5);
    const form = random();
    const link = side.port === h.Id.overlay || side.port === h.Id.nodenet ? 0 : h.ETHERNET;
    let vnet: Uint8Array | undefined;
    let whole: Uint8Array = packet;
    if (form < 0.4) {
      const large = form < 0.2 ? build(protocol, side, flags & 0x18, 3000, ttl, false) : packet;
      const segmentBytes = form < 0.2 ? 1200 + Math.floor(random() * 400) : undefined;
      ({ packet: whole, vnet } = offload(large, { link, segmentBytes }));
    } else if (protocol === UDP && form < 0.5) whole.set([0, 0], 26);
    if (damage && random() < 0.7) {
      const at = Math.floor(random() * 60);
      if (at < whole.length) whole[at] = Math.floor(random() * 256);
      if (random() < 0.8) mendHeader(whole);
      if (vnet !== undefined && random() < 0.3) vnet[Math.floor(random() * 10)] = Math.floor(random() * 256);
    }
    return { packet: whole, vnet };
  }

  /** Puts the same in at both, and compares what leaves. */
  private put(side: Side, packet: Uint8Array, vnet: Uint8Array = new Uint8Array(h.VNET)): h.Sent[] {
    const { peer, to } = side;
    const padding = this.random() < 0.03 ? 6 : 0;
    const whole = Uint8Array.from([...packet, ...new Uint8Array(padding)]);
    const from = this.random() < 0.01 ? h.mac("02:00:00:00:00:77") : undefined;
    const sender = this.random() < 0.01 ? h.ip("192.0.2.9") : peer;
    const [fast, slow] = [this.fast, this.slow].map((twin) =>
      twin.inject(side.port, whole.slice(), { peer: sender, vnet: vnet.slice(), to, from }),
    );
    if (!isSame(fast, slow)) expect(fast, `step ${this.steps}`).toEqual(slow);
    return slow;
  }

  /** Something that what was learned must not outlive. */
  private disturb(): void {
    const way = Math.floor(this.random() * 5);
    const route = { prefix: h.prefix("172.16.2.0/24"), port: h.Id.overlay };
    for (const { datapath } of [this.fast, this.slow]) {
      if (way === 0) datapath.routes.delete(route.prefix);
      if (way === 1) datapath.routes.put({ ...route, nextHop: h.PEER_2 });
      if (way === 2) datapath.removePort(h.Id.podB);
      if (way === 3) datapath.deleteConntrack({ protocol: UDP });
    }
    if (way === 4) for (const twin of [this.fast, this.slow]) twin.tick(20_000);
    else if (way !== 0 && way !== 2) return;
    this.disturbed = true;
    for (let i = 0; i < 20; i++) this.step();
    this.disturbed = false;
    for (const { datapath } of [this.fast, this.slow]) {
      if (way === 0) datapath.routes.put({ ...route, nextHop: h.PEER_2 });
      if (way === 2) datapath.addPort(POD_B);
    }
  }

  private pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)];
  }
}

const POD_B = {
  id: h.Id.podB,
  name: "default/b",
  kind: 0,
  mtuBytes: h.MTU,
  ip: h.POD_B,
  mac: h.MAC_B,
} as const;

/** As `toEqual` would say, but at once. */
function isSame(some: readonly h.Sent[], others: readonly h.Sent[]): boolean {
  const text = (sent: readonly h.Sent[]) =>
    sent
      .map(
        ({ port, peer, vnet, frame }) =>
          `${port} ${peer} ${vnet.join()} ${Buffer.from(frame).toString("hex")}`,
      )
      .join();
  return text(some) === text(others);
}

/** How the peer of a forwarded first packet answers. */
function answering({ port, peer, frame, packet }: h.Sent, asked: Side): Side | undefined {
  if (packet === undefined) return undefined;
  const at = port === h.Id.overlay || port === h.Id.nodenet ? 0 : h.ETHERNET;
  const word = (offset: number) => new DataView(frame.buffer, frame.byteOffset).getUint32(at + offset);
  const ports = word(20);
  const to = port === h.Id.podB && asked.port === h.Id.podA ? h.MAC_A : undefined;
  return { port, peer, src: word(16), dst: word(12), sport: ports & 0xffff, dport: ports >>> 16, to };
}

function build(
  protocol: number,
  side: Side,
  flags: number,
  length: number,
  ttl = 64,
  options = false,
): Uint8Array {
  const payload = new Uint8Array(length).fill(length);
  const { src, dst, sport, dport } = side;
  if (protocol === UDP) return h.udp({ src, dst, sport, dport, ttl, payload });
  const timestamps = options ? Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) : undefined;
  return h.tcp({ src, dst, sport, dport, ttl, flags, payload, options: timestamps });
}

/** Makes the IP header's checksum right again. */
function mendHeader(packet: Uint8Array): void {
  packet.set([0, 0], 10);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += packet[i] * 256 + packet[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet.set([(sum ^ 0xffff) >> 8, (sum ^ 0xffff) & 255], 10);
}

describe("the fast path does what the pipeline does", () => {
  afterEach(() => void vi.restoreAllMocks());

  it.each([1, 2, 3, 4])("over thousands of packets of all kinds, seed %i", (seed) => {
    const forward = vi.spyOn(FastPath.prototype, "forward");
    const twins = new Twins(seed, seed !== 4);
    for (let i = 0; i < STEPS; i++) {
      twins.step();
      if (i % 100 === 0) twins.compare();
    }
    twins.compare();
    const taken = forward.mock.results.filter(({ value }) => value === true).length;
    expect(taken).toBeGreaterThan(STEPS / 4);
  });
});
