/** Seeded random clusters: Services, endpoints, pods, links and connections come and go; the invariants hold throughout. */
import { describe, expect, it } from "vitest";
import type { ConntrackRecord } from "../../src/datapath/index.js";
import { SCHEDULER_NAMES } from "../../src/proxy/index.js";
import { seededRandom } from "./clock.js";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { ip } from "./node.js";
import { text } from "./packet.js";
import type { Station } from "./station.js";
import type { TcpEnd } from "./tcp.js";

const STEPS = 1500;
const NODES = 3;
const SERVICES = [
  { name: "a", ip: "10.254.0.1", port: 80, nodePort: 30080, protocol: "TCP" },
  { name: "b", ip: "10.254.0.2", port: 80, nodePort: 30081, protocol: "TCP" },
  { name: "c", ip: "10.254.0.3", port: 53, nodePort: 30053, protocol: "UDP" },
] as const;
const FIXED_SPORT = 50_000;

interface Asked {
  readonly client: Station;
  readonly end: TcpEnd;
}

/** Everything that happens in one run, and the checks after each step. */
class Run {
  readonly cluster: Cluster;
  readonly #random: () => number;
  readonly #open: Asked[] = [];
  /** Every connection ever opened. */
  readonly #all: Asked[] = [];
  /** Destinations of datagrams, by client and source port. */
  readonly #udpAsked = new Map<string, Set<string>>();
  #podNumber = 0;
  answered = 0;
  replies = 0;

  constructor(seed: number) {
    this.cluster = new Cluster({ nodes: NODES, seed });
    this.#random = seededRandom(seed + 1000);
    for (let i = 0; i < 6; i++) this.addPod();
    for (const service of SERVICES) this.changeEndpoints(service);
  }

  step(): void {
    const actions = [
      ...Array(6).fill(() => this.connect()),
      ...Array(8).fill(() => this.write()),
      ...Array(3).fill(() => this.finish()),
      ...Array(4).fill(() => this.datagram()),
      () => this.changeEndpoints(this.pick(SERVICES)),
      () => this.changeLink(),
      () => (this.cluster.pods.size < 8 ? this.addPod() : this.removePod()),
    ] as (() => void)[];
    this.pick(actions)();
    this.cluster.run(this.#random() * 400);
    this.check();
  }

  /** Lossless links and time for all that is under way. */
  settle(): void {
    for (let from = 1; from <= NODES; from++) {
      for (let to = 1; to <= NODES; to++)
        if (from !== to) Object.assign(this.cluster.link(from, to), { loss: 0, jitterMs: 0 });
    }
    this.cluster.run(60_000);
    this.check();
    for (const { client, end } of this.#open) {
      // Whatever happened to Services and links, a connection of two parties that live goes on.
      if (this.#lives(client) && this.#serverLives(end) && end.state !== "timed-out") {
        expect([end.state, end.idle], `${client.name} to ${end.options.peer}`).toEqual(["established", true]);
      }
    }
  }

  /**
   * Ends all connections and lets all time-outs of ended ones pass. Gives the connections between parties that live which
   * the client's node still knows. (Those of pods that are gone were never closed; Linux keeps them for five days as well.)
   */
  leftInConntrack(): ConntrackRecord[] {
    for (const { end } of this.#open) end.close();
    this.cluster.run(400_000);
    const records = this.cluster.nodes.flatMap((node) => node.datapath.conntrackRecords());
    const known = new Map(records.map((record) => [tupleText(record), record]));
    const left = this.#all
      .filter(({ client, end }) => this.#lives(client) && this.#serverLives(end) && end.state !== "timed-out")
      .map(({ end: { options } }) =>
        known.get(`6 ${ip(options.ip)}:${options.port} ${ip(options.peer)}:${options.peerPort}`),
      );
    return left.filter((record) => record !== undefined);
  }

  check(): void {
    for (const { client, end } of this.#open) {
      const asked = `${client.name} to ${end.options.peer}:${end.options.peerPort}`;
      expect(
        new Set(end.input.match(/pod=\S+ client=\S+/g) ?? []).size,
        `servers and sources seen by ${asked}`,
      ).toBeLessThan(2);
    }
    for (const station of [this.cluster.host, ...this.cluster.pods.values()]) {
      expect(station.strays, `replies to ${station.name} from addresses that it did not ask`).toEqual([]);
      for (const { from, sport, dport } of station.datagrams.splice(0)) {
        if (dport < FIXED_SPORT) continue;
        this.replies++;
        expect(this.#udpAsked.get(`${station.name} ${dport}`)).toContain(`${from}:${sport}`);
      }
    }
  }

  connect(): void {
    const client = this.client();
    const [dst, port] = this.destination("TCP");
    const end = client.connect(dst, port);
    end.write("hello");
    this.#open.push({ client, end });
    this.#all.push({ client, end });
  }

  write(): void {
    if (this.#open.length > 0) this.pick(this.#open).end.write("more");
  }

  finish(): void {
    if (this.#open.length === 0) return;
    const [{ end }] = this.#open.splice(Math.floor(this.#random() * this.#open.length), 1);
    if (end.input !== "") this.answered++;
    if (this.#random() < 0.8) end.close();
    else end.abort();
  }

  datagram(): void {
    const client = this.client();
    const [dst, port] = this.destination("UDP");
    const sport = FIXED_SPORT + Math.floor(this.#random() * 3);
    const key = `${client.name} ${sport}`;
    this.#udpAsked.set(key, (this.#udpAsked.get(key) ?? new Set()).add(`${dst}:${port}`));
    client.sendUdp(dst, port, text("x".repeat(1 + Math.floor(this.#random() * 3000))), { sport });
  }

  changeEndpoints(service: (typeof SERVICES)[number]): void {
    this.expose(
      service,
      [...this.cluster.pods.values()].filter(() => this.#random() < 0.6),
    );
  }

  changeLink(): void {
    const from = 1 + Math.floor(this.#random() * NODES);
    const to = 1 + (from % NODES);
    Object.assign(this.cluster.link(from, to), { loss: this.#random() * 0.2, jitterMs: this.#random() * 30 });
  }

  addPod(): void {
    serveEcho(this.cluster.addPod(`pod-${++this.#podNumber}`, 1 + Math.floor(this.#random() * NODES)));
  }

  /** The endpoints are changed first, as they are when a pod is deleted. */
  removePod(): void {
    const pod = this.pick([...this.cluster.pods.values()]);
    for (const service of SERVICES) {
      const rest = [...this.cluster.pods.values()].filter((other) => other !== pod && this.#random() < 0.6);
      this.expose(service, rest);
    }
    this.cluster.removePod(pod);
  }

  /** With the endpoints, the scheduler and the policy for outside traffic change: no open connection may notice. */
  expose(
    { name, ip: clusterIp, port, nodePort, protocol }: (typeof SERVICES)[number],
    pods: Station[],
  ): void {
    const annotations = { "podwire.dev/scheduler": this.pick(SCHEDULER_NAMES) };
    const spec = { externalTrafficPolicy: this.#random() < 0.3 ? "Local" : "Cluster" };
    const exposed = { port, nodePort, protocol, targetPort: 8080, annotations, spec };
    this.cluster.expose(name, clusterIp, pods, exposed);
  }

  #lives(client: Station): boolean {
    return client === this.cluster.host || this.cluster.pods.get(client.name) === client;
  }

  #serverLives(end: TcpEnd): boolean {
    return this.cluster.pods.has(/pod=(\S+)/.exec(end.input)?.[1] ?? "");
  }

  private client(): Station {
    return this.#random() < 0.3 ? this.cluster.host : this.pick([...this.cluster.pods.values()]);
  }

  private destination(protocol: "TCP" | "UDP"): [string, number] {
    const service = this.pick(SERVICES.filter((candidate) => candidate.protocol === protocol));
    const kind = this.#random();
    if (kind < 0.4) return [service.ip, service.port];
    if (kind < 0.8) return [this.pick(this.cluster.nodes).config.nodeIp, service.nodePort];
    return [this.pick([...this.cluster.pods.values()]).ip, 8080];
  }

  private pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random() * values.length)];
  }
}

function tupleText({ original }: ConntrackRecord): string {
  const { protocol, src, sport, dst, dport } = original;
  return `${protocol} ${src}:${sport} ${dst}:${dport}`;
}

describe("random clusters", () => {
  it.each([1, 2, 3])(
    "seed %i: every reply from whom was asked, no connection changes its endpoint, all frames are right",
    (seed) => {
      const run = new Run(seed);
      for (let step = 0; step < STEPS; step++) run.step();
      run.settle();
      expect(run.leftInConntrack()).toEqual([]);
      // Most of it worked: the checks above were about something.
      expect(run.answered).toBeGreaterThan(STEPS / 20);
      expect(run.replies).toBeGreaterThan(STEPS / 20);
      const frames = run.cluster.nodes.reduce((sum, node) => sum + node.framesSent, 0);
      // Policy Local drops what finds no endpoint on the node, so that fewer frames than asked for make their way.
      expect(frames).toBeGreaterThan(STEPS * 4);
      const dropped = run.cluster.nodes.map(
        (node) => node.datapath.counters.export()["drop:no-local-endpoints"],
      );
      expect(dropped.some((count) => count > 0)).toBe(true);
    },
  );
});
