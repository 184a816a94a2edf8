/** One random cluster: does what actions say, and knows what is there. */
import { SCHEDULER_NAMES } from "../../../src/proxy/index.js";
import { hostPort, isIpv6 } from "../address.js";
import { ask } from "../ask.js";
import { Cluster, sixOf } from "../cluster.js";
import { text } from "../packet.js";
import type { EndpointSpec } from "../service-spec.js";
import type { Station } from "../station.js";
import { type Action, Hand, type Kind } from "./actions.js";
import {
  addressOf,
  BLOCK,
  BLOCK6,
  conditions,
  DRAINED_MS,
  type Families,
  FIRST_PODS,
  MAX_PODS,
  MUCH_BYTES,
  NODES,
  networks,
  POLICIES,
  SERVICES,
  type ServiceName,
  SPRAYED,
  TARGET_PORT,
  TIMEOUTS,
  team,
  UDP_PORTS,
  type WorldOptions,
} from "./parts.js";
import { type Asked, Rules } from "./rules.js";

export type { Families, WorldOptions } from "./parts.js";

interface Exposed {
  /** All that are listed, usable or not. */
  readonly listed: readonly string[];
  readonly endpoints: readonly EndpointSpec[];
  readonly isLocal: boolean;
}

export class World {
  readonly cluster: Cluster;
  readonly rules: Rules;
  readonly #open: Asked[] = [];
  readonly #exposed = new Map<string, Exposed>();
  readonly #downNodes = new Set<number>();
  /** What mends what was broken, and the step when it does. */
  #repairs: { readonly step: number; readonly mend: () => void }[] = [];
  #podNumber = 0;
  #request = 0;
  #sprayed = 0;
  #step = 0;
  /** Connections that were answered. */
  answered = 0;

  readonly #families: Families;

  /** A `conntrackMax` that is too small for all connections is there to see what is forgotten, and that no more is. */
  constructor(seed: number, { families = "IPv4", conntrackMax }: WorldOptions = {}) {
    this.#families = families;
    const conntrack = {
      conntrackTimeouts: TIMEOUTS,
      ...(conntrackMax === undefined ? {} : { conntrackMax }),
    };
    this.cluster = new Cluster({ nodes: NODES, seed, datapath: conntrack, dualStack: families !== "IPv4" });
    this.cluster.host.offloads = true;
    this.rules = new Rules(this.cluster, conntrackMax === undefined, (pod, dst) =>
      this.#isEndpoint(pod, dst),
    );
    const hand = new Hand([0.1, 0.4, 0.7, 0.2, 0.9, 0.5, 0.3]);
    for (let i = 0; i < FIRST_PODS; i++) this.#addPod(hand);
    for (const service of SERVICES) this.#expose(hand, service);
  }

  /** @throws Error when something does not hold afterwards */
  play({ kind, dice }: Action): void {
    this.#step++;
    this.#mend(this.#step);
    const hand = new Hand(dice);
    this.#does[kind](hand);
    this.cluster.run(hand.number() * 400);
    this.rules.check(this.#open);
  }

  /** Everything works again, and has time. Then connections of parties that live go on, and Services answer. */
  settle(): void {
    this.#mend(Number.POSITIVE_INFINITY);
    for (const name of POLICIES) this.cluster.deletePolicy(name);
    for (let from = 1; from <= NODES; from++) {
      for (let to = 1; to <= NODES; to++)
        if (from !== to) Object.assign(this.cluster.link(from, to), { loss: 0, jitterMs: 0 });
    }
    this.cluster.run(60_000);
    this.rules.check(this.#open);
    for (const asked of this.#open) this.#expectAlive(asked);
    for (const service of SERVICES) this.#expectService(service);
    this.rules.check(this.#open);
  }

  /** Ends all connections and lets all time-outs pass: no node may remember anything. */
  drain(): void {
    for (const station of [this.cluster.host, ...this.cluster.pods.values()])
      for (const end of station.tcp.values()) if (!end.ended) end.abort();
    this.cluster.run(DRAINED_MS);
    for (const { config, datapath } of this.cluster.nodes) {
      const [left] = datapath.conntrackRecords();
      const { count } = datapath.status().conntrack;
      if (count > 0) throw new Error(`${config.name} still remembers ${count}: ${JSON.stringify(left)}`);
    }
  }

  readonly #does: Record<Kind, (hand: Hand) => void> = {
    connect: (hand) => this.#connect(hand),
    write: (hand) => this.#write(hand, "more"),
    writeMuch: (hand) => this.#write(hand, "x".repeat(MUCH_BYTES)),
    finish: (hand) => this.#finish(hand),
    datagram: (hand) => this.#datagram(hand),
    ping: (hand) => this.#ping(hand),
    spray: (hand) => this.#spray(hand),
    changeEndpoints: (hand) => this.#expose(hand, hand.pick(SERVICES)),
    deleteService: (hand) => this.#deleteService(hand.pick(SERVICES)),
    changePolicy: (hand) => this.#changePolicy(hand),
    labelPod: (hand) => this.cluster.labelPod(hand.pick([...this.cluster.pods.values()]), team(hand)),
    changeLink: (hand) =>
      void Object.assign(this.#link(hand), { loss: hand.number() * 0.2, jitterMs: hand.number() * 30 }),
    cutLink: (hand) => {
      const link = this.#link(hand);
      link.up = false;
      this.#later(hand, () => Object.assign(link, { up: true }));
    },
    addPod: (hand) => void (this.cluster.pods.size < MAX_PODS && this.#addPod(hand)),
    removePod: (hand) => void (this.cluster.pods.size > 3 && this.#removePod(hand)),
    killNode: (hand) => this.#killNode(hand, 1 + Math.floor(hand.number() * NODES)),
    loseLease: (hand) => {
      const number = 1 + Math.floor(hand.number() * NODES);
      this.cluster.leaseGone(number);
      this.#later(hand, () => this.cluster.leaseBack(number));
    },
  };

  #later(hand: Hand, mend: () => void): void {
    this.#repairs.push({ step: this.#step + 1 + Math.floor(hand.number() * 10), mend });
  }

  #mend(step: number): void {
    for (const repair of this.#repairs) if (repair.step <= step) repair.mend();
    this.#repairs = this.#repairs.filter((repair) => repair.step > step);
  }

  #connect(hand: Hand): void {
    const client = this.#client(hand);
    const end = client.connect(...this.#destination(hand, client, "TCP"));
    end.write("hello");
    this.#open.push({ client, end });
  }

  #write(hand: Hand, data: string): void {
    if (this.#open.length > 0) hand.pick(this.#open).end.write(data);
  }

  #finish(hand: Hand): void {
    if (this.#open.length === 0) return;
    const [{ end }] = this.#open.splice(Math.floor(hand.number() * this.#open.length), 1);
    if (end.input !== "") this.answered++;
    if (hand.chance(0.8)) end.close();
    else end.abort();
  }

  #datagram(hand: Hand): void {
    const client = this.#client(hand);
    const [dst, port] = this.#destination(hand, client, "UDP");
    const sport = UDP_PORTS + Math.floor(hand.number() * 3);
    const request = ++this.#request;
    this.rules.onDatagram(client, sport, request, hostPort(dst, port));
    const size = Math.floor(hand.number() * (hand.chance(0.3) ? 3000 : 100));
    const isOdd = hand.chance(0.2);
    const odd = isIpv6(dst) ? { optionUnits: isOdd ? 1 : 0 } : { plain: isOdd };
    client.sendUdp(dst, port, text(`${request} ${"x".repeat(size)}`), { sport, ...odd });
  }

  #ping(hand: Hand): void {
    const client = this.#client(hand);
    const is6 = this.#asks6(hand);
    const nodes = this.cluster.nodes.map(({ config }) => networks(config, is6));
    const dst = hand.chance(0.6)
      ? addressOf(hand.pick([...this.cluster.pods.values()]), is6)
      : hand.pick(nodes.flatMap(({ nodeIp, bridgeIp }) => [nodeIp, bridgeIp]));
    this.rules.onPing(client, dst);
    if (!client.addresses.includes(dst))
      client.ping(dst, this.#step & 0xffff, Math.floor(hand.number() * 2500));
  }

  /** Sends to addresses of the pod network that nobody has: no table may keep them. */
  #spray(hand: Hand): void {
    const client = this.#client(hand);
    const is6 = this.#asks6(hand);
    for (let i = 0; i < SPRAYED; i++) {
      const number = 100 + this.#sprayed++;
      // Of a node, or of a subnet that nobody leases and the host has no way to.
      const subnet = client === this.cluster.host || hand.chance(0.5) ? 1 : 9;
      const dst = is6
        ? `fd00:10:244:${subnet}::5:${(number % 0xffff).toString(16)}`
        : `172.16.${subnet}.${100 + (number % 100)}`;
      client.sendUdp(dst, TARGET_PORT, text("anybody there?"), { sport: 9 });
    }
  }

  /** With the endpoints and their conditions, everything else about the Service changes: no open connection may notice. */
  #expose(hand: Hand, service: ServiceName, without?: Station): void {
    const { name, ip: clusterIp, port, nodePort, protocol } = service;
    const endpoints = [...this.cluster.pods.values()]
      .filter((pod) => pod !== without && hand.chance(0.6))
      .map((pod) => ({ pod, conditions: conditions(hand.number()) }));
    const [external, internal] = [hand.chance(0.3), hand.chance(0.15)];
    const spec = {
      externalTrafficPolicy: external ? "Local" : "Cluster",
      internalTrafficPolicy: internal ? "Local" : "Cluster",
      sessionAffinity: hand.chance(0.2) ? "ClientIP" : "None",
    };
    const annotations = { "podwire.dev/scheduler": hand.pick(SCHEDULER_NAMES) };
    const usable = ({ conditions: { ready, serving, terminating } }: (typeof endpoints)[number]) =>
      ready || (serving && terminating);
    this.#noteChanges(name, endpoints);
    this.cluster.expose(name, this.#families === "IPv6" ? sixOf(clusterIp) : clusterIp, endpoints, {
      clusterIp6: this.#families === "both" ? sixOf(clusterIp) : undefined,
      port,
      nodePort,
      protocol,
      targetPort: TARGET_PORT,
      annotations,
      spec,
    });
    const listed = endpoints.map(({ pod }) => pod.name);
    this.#exposed.set(name, { listed, endpoints: endpoints.filter(usable), isLocal: external || internal });
  }

  #isEndpoint(pod: string, dst: string): boolean {
    const service = SERVICES.find(
      ({ ip, port, nodePort }) =>
        [hostPort(ip, port), hostPort(sixOf(ip), port)].includes(dst) || dst.endsWith(`:${nodePort}`),
    );
    return service !== undefined && (this.#exposed.get(service.name)?.listed.includes(pod) ?? false);
  }

  /** Which endpoints came, went or changed: their UDP flows may move. */
  #noteChanges(name: string, endpoints: readonly EndpointSpec[]): void {
    const before = this.#exposed.get(name)?.endpoints ?? [];
    const key = ({ pod, conditions: stated }: EndpointSpec) => `${pod.name} ${JSON.stringify(stated)}`;
    const stays = new Set(endpoints.map(key));
    for (const one of before) if (!stays.has(key(one))) this.rules.onChange(one.pod.name);
  }

  #deleteService({ name }: ServiceName): void {
    this.rules.onChange("*");
    this.cluster.deleteService(name);
    this.cluster.deleteEndpoints(name);
    this.cluster.sync();
    this.#exposed.delete(name);
  }

  /** What leaves a node is held against a slow reading of the policies (policy-invariant.ts). */
  #changePolicy(hand: Hand): void {
    const name = hand.pick(POLICIES);
    if (hand.chance(0.5)) {
      this.cluster.deletePolicy(name);
      return;
    }
    const peer = hand.chance(0.5)
      ? { podSelector: { matchLabels: team(hand) } }
      : { ipBlock: this.#asks6(hand) ? BLOCK6 : BLOCK };
    const ports = hand.chance(0.5) ? [{ protocol: hand.pick(["TCP", "UDP"]), port: TARGET_PORT }] : undefined;
    const podSelector = hand.chance(0.3) ? {} : { matchLabels: team(hand) };
    this.cluster.applyPolicy(
      name,
      hand.chance(0.5)
        ? {
            podSelector,
            policyTypes: ["Ingress"],
            ingress: hand.chance(0.2) ? [] : [{ from: [peer], ports }],
          }
        : { podSelector, policyTypes: ["Egress"], egress: hand.chance(0.2) ? [] : [{ to: [peer], ports }] },
    );
  }

  #addPod(hand: Hand): void {
    const node = 1 + Math.floor(hand.number() * NODES);
    const pod = this.cluster.addPod(`pod-${++this.#podNumber}`, node, { labels: team(hand) });
    pod.offloads = hand.chance(0.5);
    pod.serveTcp(TARGET_PORT, (end) => {
      end.onData = (data) =>
        end.write(`pod=${pod.name} client=${end.options.peer}:${end.options.peerPort} ${data.length}\n`);
      end.onPeerClosed = () => end.close();
    });
    pod.serveUdp(TARGET_PORT, ({ from, sport, payload }) => {
      const request = new TextDecoder().decode(payload.slice(0, 12)).split(" ")[0];
      return text(`pod=${pod.name} client=${from}:${sport} request=${request}`);
    });
  }

  /** Its endpoints go first, as they do when a pod is deleted. */
  #removePod(hand: Hand): void {
    const pod = hand.pick([...this.cluster.pods.values()]);
    for (const service of SERVICES) if (this.#exposed.has(service.name)) this.#expose(hand, service, pod);
    this.cluster.removePod(pod);
  }

  /** Its process ends; the supervisor starts it again some steps later. */
  #killNode(hand: Hand, number: number): void {
    if (this.#downNodes.has(number)) return;
    this.#downNodes.add(number);
    this.cluster.killNode(number);
    this.rules.onForget();
    this.#later(hand, () => {
      this.#downNodes.delete(number);
      this.cluster.startNode(number);
    });
  }

  /** Unless NAT was forgotten that it needs. */
  #expectAlive(asked: Asked): void {
    const { client, end } = asked;
    if (end.options.peerPort !== TARGET_PORT && this.rules.isForgotten(asked)) return;
    const server = /pod=(\S+)/.exec(end.input)?.[1] ?? "";
    if (!this.#lives(client) || !this.cluster.pods.has(server) || end.state === "timed-out") return;
    if (end.state === "established" && end.idle) return;
    throw new Error(
      `${client.name} to ${end.options.peer}:${end.options.peerPort} (${server}) is ${end.state}`,
    );
  }

  /** With nothing in its way a Service answers from one of its endpoints, or refuses when it has none. */
  #expectService({ name, ip, port, nodePort, protocol }: ServiceName): void {
    const exposed = this.#exposed.get(name);
    if (exposed === undefined || exposed.isLocal) return;
    const names = exposed.endpoints.map(({ pod }) => pod.name);
    const { config } = this.cluster.node(2);
    const asked = [false, true].filter((is6) => this.#families === "both" || is6 === this.#asks6());
    const targets = asked.flatMap((is6): [string, number][] => [
      [is6 ? sixOf(ip) : ip, port],
      [networks(config, is6).nodeIp, nodePort],
    ]);
    for (const [dst, dport] of targets) {
      const answer = ask(this.cluster, this.cluster.host, dst, dport, protocol);
      const wanted = names.length === 0 ? "refused" : "answered";
      if (answer.outcome !== wanted || (names.length > 0 && !names.includes(answer.pod)))
        throw new Error(`${dst}:${dport} is ${answer.outcome} ${answer.pod}, with endpoints ${names}`);
    }
    // Not of a flow that the rules know.
    this.cluster.host.datagrams.length = 0;
    this.cluster.host.errors.length = 0;
  }

  #lives(client: Station): boolean {
    return client === this.cluster.host || this.cluster.pods.get(client.name) === client;
  }

  /** Whether IPv6 is asked; a die falls only where there is a choice. */
  #asks6(hand?: Hand): boolean {
    return this.#families === "both" && hand !== undefined ? hand.chance(0.5) : this.#families === "IPv6";
  }

  #link(hand: Hand) {
    const from = 1 + Math.floor(hand.number() * NODES);
    const to = 1 + ((from + Math.floor(hand.number() * (NODES - 1))) % NODES);
    return this.cluster.link(from, to);
  }

  #client(hand: Hand): Station {
    return hand.chance(0.3) ? this.cluster.host : hand.pick([...this.cluster.pods.values()]);
  }

  #destination(hand: Hand, client: Station, protocol: "TCP" | "UDP"): [string, number] {
    const service = hand.pick(SERVICES.filter((candidate) => candidate.protocol === protocol));
    const kind = hand.number();
    const is6 = this.#asks6(hand);
    if (kind < 0.4) return [is6 ? sixOf(service.ip) : service.ip, service.port];
    if (kind < 0.8) return [networks(hand.pick(this.cluster.nodes).config, is6).nodeIp, service.nodePort];
    const pod = hand.pick([...this.cluster.pods.values()]);
    const isNear = client !== this.cluster.host && this.cluster.nodeOf(client) === this.cluster.nodeOf(pod);
    return [is6 && isNear && hand.chance(0.5) ? pod.linkLocal : addressOf(pod, is6), TARGET_PORT];
  }
}
