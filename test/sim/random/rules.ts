/** What must hold in a random cluster at any time. Frames themselves are checked as they leave (invariants.ts). */
import { hostPort } from "../address.js";
import type { Cluster } from "../cluster.js";
import { asText } from "../packet.js";
import type { Station } from "../station.js";
import type { TcpEnd } from "../tcp.js";

/** A UDP entry that nothing renews may be gone after this (nf_conntrack_udp_timeout). */
const UDP_ENTRY_MS = 30_000;
/** A reply may be this long under way. */
const UNDER_WAY_MS = 3000;
/** Of a node's book: some 30 of pods and Services, and what was sprayed over the overlay while its UDP entries live. */
const MAX_ADDRESSES = 512;
export const CLIENT_PORTS = 40_000;

export interface Asked {
  readonly client: Station;
  readonly end: TcpEnd;
}

/** Who answered a UDP flow last. */
interface Answered {
  readonly pod: string;
  readonly request: number;
  readonly atMs: number;
}

export class Rules {
  /** When a pod's part in a Service, or the whole flow's ground, last changed. */
  readonly #changedAtMs = new Map<string, number>();
  /** Requests by client and source port: where each was sent, and when. */
  readonly #asked = new Map<string, Map<number, { readonly dst: string; readonly atMs: number }>>();
  readonly #flows = new Map<string, Answered>();
  /** Clients' connections whose NAT went with a node's process, by name and port: their servers' data may come bare. */
  readonly #forgotten = new Set<string>();
  readonly #pinged = new Map<string, Set<string>>();
  /** Replies that were checked. */
  replies = 0;
  /** Most connections that a node remembered. */
  fullest = 0;

  /** `stable`: tables are large enough to remember all connections. */
  constructor(
    private readonly cluster: Cluster,
    private readonly stable: boolean,
    private readonly isEndpoint: (pod: string, dst: string) => boolean,
  ) {}

  onDatagram(client: Station, sport: number, request: number, dst: string): void {
    const key = `${client.name} ${sport}`;
    this.#asked.set(
      key,
      (this.#asked.get(key) ?? new Map()).set(request, { dst, atMs: this.cluster.clock.nowMs }),
    );
  }

  onPing(client: Station, dst: string): void {
    this.#pinged.set(client.name, (this.#pinged.get(client.name) ?? new Set()).add(dst));
  }

  /** A node's process ends, and with it all NAT that it did. */
  onForget(): void {
    this.onChange("*");
    for (const station of [this.cluster.host, ...this.cluster.pods.values()])
      for (const { options } of station.tcp.values()) this.#forgotten.add(`${station.name} ${options.port}`);
  }

  isForgotten({ client, end }: Asked): boolean {
    return this.#forgotten.has(`${client.name} ${end.options.port}`);
  }

  /** A pod came to a Service, left it or changed its conditions there; `*` for everything. */
  onChange(pod: string): void {
    this.#changedAtMs.set(pod, this.cluster.clock.nowMs);
  }

  /** @throws Error that says what does not hold */
  check(open: readonly Asked[]): void {
    for (const { client, end } of open) this.#checkConnection(client, end);
    for (const station of [this.cluster.host, ...this.cluster.pods.values()]) this.#checkStation(station);
    for (const { config, datapath } of this.cluster.nodes) {
      const { conntrack, ipv6 } = datapath.status();
      const { count, max } = conntrack;
      this.fullest = Math.max(this.fullest, count);
      if (count > max) throw new Error(`${config.name} remembers ${count} connections of at most ${max}`);
      if ((ipv6?.addresses ?? 0) > MAX_ADDRESSES)
        throw new Error(`${config.name} keeps ${ipv6?.addresses} IPv6 addresses`);
    }
  }

  /** All data of a connection comes from one server, which sees one client. */
  #checkConnection(client: Station, end: TcpEnd): void {
    const seen = new Set(end.input.match(/pod=\S+ client=\S+/g) ?? []);
    if (seen.size < 2) return;
    const { peer, peerPort } = end.options;
    throw new Error(
      `connection of ${client.name} to ${peer}:${peerPort} changed: ${[...seen].join(", then ")}`,
    );
  }

  #checkStation(station: Station): void {
    const { name, strays } = station;
    for (const stray of strays.splice(0)) {
      if (this.#forgotten.has(`${name} ${stray.split(" ").at(-1)}`)) continue;
      throw new Error(`${name} got TCP from whom it did not ask: ${stray}`);
    }
    for (const datagram of station.datagrams.splice(0))
      if (datagram.dport >= CLIENT_PORTS) this.#checkReply(station, datagram);
    for (const { from } of station.echoReplies.splice(0)) {
      if (!this.#pinged.get(name)?.has(from))
        throw new Error(`${name} got an echo reply from ${from}, unasked`);
    }
    for (const { from, quoted } of station.errors.splice(0)) this.#checkError(station, from, quoted);
    station.received.length = 0;
  }

  #checkReply(client: Station, datagram: Station["datagrams"][number]): void {
    const { from, sport, dport, payload } = datagram;
    const text = asText(payload);
    const [, pod, id] = /^pod=(\S+) .* request=(\d+)$/.exec(text) ?? [];
    if (pod === undefined) throw new Error(`${client.name} got ${text} from ${from}:${sport}`);
    const request = Number(id);
    const here = hostPort(from, sport);
    const { dst, atMs } = this.#asked.get(`${client.name} ${dport}`)?.get(request) ?? {
      dst: "nobody",
      atMs: 0,
    };
    // What is under way when its entry goes, with a node's process or a stale endpoint, arrives as it was sent.
    if (dst !== here && this.#hasChanged(pod, atMs)) return;
    if (dst !== here)
      throw new Error(`${client.name} asked ${dst} from port ${dport}; ${here} (${pod}) answers`);
    this.replies++;
    if (!this.#serves(pod, dst) && !this.#hasChanged(pod, atMs))
      throw new Error(
        `${client.name} asked ${dst}, and ${pod} answers, which is none of its endpoints any more`,
      );
    if (this.stable) this.#checkFlow(`${client.name}:${dport} to ${dst}`, pod, request);
  }

  /** A flow stays with its endpoint while that endpoint is there and the flow does not rest. */
  #checkFlow(flow: string, pod: string, request: number): void {
    const { nowMs } = this.cluster.clock;
    const before = this.#flows.get(flow);
    if (before !== undefined && before.request > request) return;
    this.#flows.set(flow, { pod, request, atMs: nowMs });
    if (before === undefined || before.pod === pod || nowMs - before.atMs > UDP_ENTRY_MS) return;
    if (!this.#hasChanged(before.pod, before.atMs - UNDER_WAY_MS))
      throw new Error(`UDP flow ${flow} went from ${before.pod} to ${pod}, and ${before.pod} is there`);
  }

  /** Whether the pod is the destination itself, or listed as an endpoint of the Service there. */
  #serves(pod: string, dst: string): boolean {
    const address = dst.slice(0, dst.lastIndexOf(":")).replaceAll(/[[\]]/g, "");
    return this.cluster.pods.get(pod)?.addresses.includes(address) || this.isEndpoint(pod, dst);
  }

  #hasChanged(pod: string, sinceMs: number): boolean {
    return [pod, "*"].some((key) => (this.#changedAtMs.get(key) ?? Number.NEGATIVE_INFINITY) >= sinceMs);
  }

  /** An ICMP error quotes what this station sent, with the addresses it used. */
  #checkError(station: Station, from: string, quoted: Station["errors"][number]["quoted"]): void {
    const { src, sport, dst, dport, protocol } = quoted;
    const what = `${station.name} got an ICMP error from ${from} about ${src}:${sport} to ${dst}:${dport}`;
    if (!station.addresses.includes(src)) throw new Error(what);
    if (sport < CLIENT_PORTS || protocol !== 17) return;
    const sent = [...(this.#asked.get(`${station.name} ${sport}`)?.values() ?? [])];
    if (!sent.some((one) => one.dst === hostPort(dst, dport)))
      throw new Error(`${what}, where it sent nothing`);
  }
}
