import type { Observation, Tuple } from "../../src/datapath/index.js";
import { IcmpType, IpProtocol, parseIpv4 } from "../../src/wire/index.js";

export const ip = (text: string): number => parseIpv4(text)!;

export function tuple(protocol: number, src: string, sport: number, dst: string, dport: number): Tuple {
  return { protocol, src: ip(src), dst: ip(dst), sport, dport };
}

const noon = Date.UTC(2026, 0, 2, 12);
const client = tuple(IpProtocol.tcp, "10.0.0.1", 51234, "10.0.0.12", 30001);
const masqueraded = tuple(IpProtocol.tcp, "172.16.2.0", 51234, "172.16.3.2", 8080);
const answered = tuple(IpProtocol.tcp, "172.16.3.2", 8080, "172.16.2.0", 51234);
const returned = tuple(IpProtocol.tcp, "10.0.0.12", 30001, "10.0.0.1", 51234);
const outer = { src: ip("127.0.0.2"), dst: ip("127.0.0.3"), sport: 8285, dport: 8285 };
const service = { service: "default/myweb:http", endpoint: "default/myweb-x2" };

/** A SYN from the host to a node port, DNATed and masqueraded. */
export const synAtFirstNode: Observation = {
  ...{ timeMs: noon + 0.25, node: "k8s-node-1", packetId: "1a2b3c4d", inPort: "host", outPort: "overlay" },
  ...{
    verdict: "forward",
    before: client,
    after: masqueraded,
    ...service,
    outer,
    ctState: "NEW",
    reply: false,
  },
  ...{ lengthBytes: 60, ttl: 63, info: "S" },
  stages: [
    { hook: "ingress", verdict: "accept" },
    { hook: "conntrack", verdict: "new", before: client, after: client },
    {
      ...{ hook: "prerouting", verdict: "dnat", reason: "node-port", before: client },
      after: { ...client, dst: ip("172.16.3.2"), dport: 8080 },
    },
    {
      hook: "postrouting",
      verdict: "masquerade",
      before: { ...client, dst: ip("172.16.3.2"), dport: 8080 },
      after: masqueraded,
    },
  ],
};

/** The same packet where the endpoint is: no Service is known there. */
export const synAtSecondNode: Observation = {
  ...{
    timeMs: noon + 0.5,
    node: "k8s-node-2",
    packetId: "1a2b3c4d",
    inPort: "overlay",
    outPort: "default/myweb-x2",
  },
  ...{ verdict: "forward", before: masqueraded, after: masqueraded, outer, ctState: "NEW", reply: false },
  ...{ lengthBytes: 60, ttl: 62, info: "S", stages: [] },
};

export const synAckAtSecondNode: Observation = {
  ...{
    timeMs: noon + 1.75,
    node: "k8s-node-2",
    packetId: "5e6f7081",
    inPort: "default/myweb-x2",
    outPort: "overlay",
  },
  ...{ verdict: "forward", before: answered, after: answered, ctState: "ESTABLISHED", reply: true },
  outer: { ...outer, src: outer.dst, dst: outer.src },
  ...{ lengthBytes: 60, ttl: 63, info: "S.", stages: [] },
};

export const synAckAtFirstNode: Observation = {
  ...{ timeMs: noon + 2, node: "k8s-node-1", packetId: "5e6f7081", inPort: "overlay", outPort: "host" },
  ...{
    verdict: "forward",
    before: answered,
    after: returned,
    ...service,
    ctState: "ESTABLISHED",
    reply: true,
  },
  ...{ lengthBytes: 60, ttl: 62, info: "S.", stages: [] },
};

const dns = tuple(IpProtocol.udp, "172.16.2.5", 40000, "10.254.0.10", 53);
/** A datagram to a Service without endpoints. */
export const rejected: Observation = {
  ...{
    timeMs: noon + 1000,
    node: "k8s-node-1",
    packetId: "00000007",
    inPort: "default/client",
    verdict: "reject",
  },
  ...{
    reason: "no-endpoints",
    before: dns,
    after: dns,
    service: "kube-system/dns:",
    ctState: "NEW",
    reply: false,
  },
  ...{
    lengthBytes: 61,
    ttl: 64,
    info: "",
    stages: [{ hook: "prerouting", verdict: "reject", reason: "no-endpoints" }],
  },
};

const echo = tuple(IpProtocol.icmp, "172.16.2.5", 77, "10.0.0.1", IcmpType.echoRequest << 8);
/** An echo request whose identifier is rewritten as well. */
export const ping: Observation = {
  ...{
    timeMs: noon + 2000,
    node: "k8s-master",
    packetId: "ffffffff",
    inPort: "default/client",
    outPort: "host",
  },
  ...{
    verdict: "forward",
    before: echo,
    after: { ...echo, src: ip("10.0.0.11"), sport: 1024 },
    ctState: "NEW",
  },
  ...{ reply: false, lengthBytes: 84, ttl: 63, info: "echo request seq 3", stages: [] },
};

const unreachable = tuple(
  IpProtocol.icmp,
  "10.0.0.12",
  0,
  "172.16.2.5",
  (IcmpType.destinationUnreachable << 8) | 3,
);
const esp = tuple(50, "172.16.2.5", 0, "172.16.3.4", 0);
/** An ICMP error from the node itself, and a packet of a protocol without ports that is dropped. */
export const icmpError: Observation = {
  ...{
    timeMs: noon + 3000,
    node: "k8s-node-1",
    packetId: "00000008",
    inPort: "local",
    outPort: "default/client",
  },
  ...{ verdict: "forward", before: unreachable, after: unreachable, ctState: "RELATED", reply: true },
  ...{ lengthBytes: 88, ttl: 64, info: "port unreachable", stages: [] },
};
export const dropped: Observation = {
  ...{
    timeMs: noon + 4000,
    node: "k8s-node-1",
    packetId: "00000009",
    inPort: "default/client",
    verdict: "drop",
  },
  ...{
    reason: "ttl-exceeded",
    before: esp,
    after: esp,
    ctState: "NEW",
    reply: false,
    lengthBytes: 120,
    ttl: 0,
  },
  ...{ info: "", stages: [] },
};

export const all: readonly Observation[] = [
  ...[synAtFirstNode, synAtSecondNode, synAckAtSecondNode, synAckAtFirstNode],
  ...[rejected, ping, icmpError, dropped],
];

/** Who has an address, as a lab's pods and Services would say. */
export function nameOf(address: Tuple["src"]): string | undefined {
  const names: Record<Tuple["src"], string> = {
    [ip("172.16.3.2")]: "default/myweb-x2",
    [ip("172.16.2.5")]: "default/client",
    [ip("10.254.0.10")]: "kube-system/dns",
  };
  return names[address];
}
