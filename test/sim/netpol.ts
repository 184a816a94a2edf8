/**
 * Kubernetes' way of testing NetworkPolicy (test/e2e/network/netpol): pods a, b, c in namespaces x, y, z, each serving
 * ports 80 and 81, and a table of who reaches whom. Every question is asked twice, by the pod's address and by the cluster
 * IP of a Service in front of it, and the slow reading of the policies must give the same table.
 */
import type { NetworkPolicySpec } from "kubernetes-types/networking/v1.d.ts";
import { expect, it } from "vitest";
import { Cluster } from "./cluster.js";
import { serveEcho } from "./echo.js";
import { text } from "./packet.js";
import { askSctp } from "./sctp.js";
import type { Station } from "./station.js";

export type NetpolProtocol = "TCP" | "UDP" | "SCTP";
/** `deny FROM > TO` or `allow FROM > TO`, either end `x/a`, `x/*` or `*`; later words overrule earlier ones. */
type Words = `${"allow" | "deny"} ${string} > ${string}`;

const PODS = ["x", "y", "z"].flatMap((namespace) => ["a", "b", "c"].map((name) => `${namespace}/${name}`));
const PORTS = [80, 81];
const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;
/** Long enough for a SYN to be sent again. */
const PATIENCE_MS = 300;

/** Labels of the pods of a case: `pod: NAME`. */
const podLabels = (key: string) => ({ pod: key.slice(2) });

export class Netpol {
  readonly cluster = new Cluster({ nodes: 2 });
  readonly pods = new Map<string, Station>();
  readonly #clusterIps = new Map<string, string>();

  constructor() {
    for (const [index, key] of PODS.entries()) {
      const ports = PORTS.flatMap((port) =>
        PROTOCOLS.map((protocol) => ({
          name: `serve-${port}-${protocol.toLowerCase()}`,
          containerPort: port,
          protocol,
        })),
      );
      const pod = this.cluster.addPod(key, 1 + (index % 2), { labels: podLabels(key), ports });
      for (const port of PORTS) serveEcho(pod, port);
      this.pods.set(key, pod);
      this.#expose(key, pod, `10.254.0.${10 + index}`);
    }
  }

  /** Creates or replaces a policy: `namespace/name`, and its spec; all pods of the namespace when it selects none. */
  apply(key: string, spec: Partial<NetworkPolicySpec>): void {
    this.cluster.applyPolicy(key, spec);
  }

  delete(key: string): void {
    this.cluster.deletePolicy(key);
  }

  labelPod(key: string, labels: Record<string, string>): void {
    this.cluster.labelPod(this.pod(key), { ...podLabels(key), ...labels });
  }

  pod(key: string): Station {
    return this.pods.get(key)!;
  }

  /** The table of one port must be: all allowed but what the words say. */
  check(port: number, protocol: NetpolProtocol, ...words: Words[]): void {
    const expected = (from: string, to: string) =>
      words.reduce((allowed, word) => {
        const [, verb, source = "", target = ""] = /^(\w+) (\S+) > (\S+)$/.exec(word) ?? [];
        return fits(source, from) && fits(target, to) ? verb === "allow" : allowed;
      }, true);
    const wanted = table((from, to) => expected(from, to));
    const title = `${port}/${protocol}`;
    expect(
      table((from, to) => this.#shouldAllow(from, to, port, protocol)),
      `${title} as objects say`,
    ).toBe(wanted);
    const seen = this.#probe(port, protocol);
    expect(
      table((from, to) => seen.has(`${from} > ${to} direct`)),
      `${title} by pod address`,
    ).toBe(wanted);
    expect(
      table((from, to) => seen.has(`${from} > ${to} service`)),
      `${title} by Service`,
    ).toBe(wanted);
  }

  #shouldAllow(from: string, to: string, dport: number, protocol: NetpolProtocol): boolean {
    const [src, dst] = [this.pod(from).ip, this.pod(to).ip];
    return this.cluster.oracle.allows({ protocol, src, dst, dport });
  }

  /** Everybody asks everybody at once; gives `FROM > TO direct` and `FROM > TO service` of those that were answered. */
  #probe(port: number, protocol: NetpolProtocol): Set<string> {
    const asked: { readonly name: string; readonly answered: () => boolean }[] = [];
    for (const [from, client] of this.pods) {
      for (const [to, server] of this.pods) {
        const targets = { direct: server.ip, service: this.#clusterIps.get(to)! };
        for (const [way, address] of Object.entries(targets))
          asked.push({ name: `${from} > ${to} ${way}`, answered: ask(client, address, port, protocol) });
      }
    }
    this.cluster.run(PATIENCE_MS);
    const seen = new Set(asked.filter(({ answered }) => answered()).map(({ name }) => name));
    for (const client of this.pods.values()) {
      for (const end of client.tcp.values()) if (!end.ended) end.abort();
      client.tcp.clear();
    }
    // A pod always reaches itself: within its namespace, and through a Service.
    for (const key of this.pods.keys())
      for (const way of ["direct", "service"]) expect(seen).toContain(`${key} > ${key} ${way}`);
    return seen;
  }

  #expose(key: string, pod: Station, clusterIP: string): void {
    this.#clusterIps.set(key, clusterIP);
    const name = `${key.slice(0, 2)}s-${key.slice(2)}`;
    const ports = PORTS.flatMap((port) =>
      PROTOCOLS.map((protocol) => ({ name: `p${port}-${protocol.toLowerCase()}`, port, protocol })),
    );
    this.cluster.applyService(name, { type: "ClusterIP", clusterIP, ports });
    this.cluster.applyEndpoints(name, [pod], ports);
    this.cluster.sync();
  }
}

function ask(client: Station, address: string, port: number, protocol: NetpolProtocol): () => boolean {
  if (protocol === "TCP") {
    const end = client.connect(address, port);
    end.write("hello");
    return () => end.input !== "";
  }
  if (protocol === "SCTP") {
    const end = askSctp(client, address, port, nextSctpPort++);
    return () => end.input !== "";
  }
  const before = client.datagrams.length;
  const sport = client.sendUdp(address, port, text("hello"));
  return () => client.datagrams.slice(before).some(({ dport }) => dport === sport);
}

let nextSctpPort = 20_000;

function fits(pattern: string, key: string): boolean {
  return (
    pattern === "*" || pattern === key || (pattern.endsWith("/*") && key.startsWith(pattern.slice(0, 2)))
  );
}

/** Rows are clients, columns servers; `.` reached, `X` not, `-` itself. */
function table(reaches: (from: string, to: string) => boolean): string {
  const row = (from: string) =>
    PODS.map((to) => (from === to ? "-" : reaches(from, to) ? "." : "X").padEnd(4)).join("");
  return [
    `    ${PODS.map((to) => to.padEnd(4)).join("")}`,
    ...PODS.map((from) => `${from} ${row(from)}`),
  ].join("\n");
}

/** A case with its full upstream name. */
export function netpol(context: string, name: string, run: (t: Netpol) => void): void {
  it(`[sig-network] Netpol ${context} ${name}`, () => run(new Netpol()));
}
