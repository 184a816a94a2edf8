/**
 * Host ports: addresses of the node that lead to one pod, as CNI's portmap plugin makes them (plugins/meta/portmap). They
 * are asked after the Services, whose rules stand before portmap's in PREROUTING and OUTPUT.
 */
import {
  type ConntrackCleaner,
  type Prefix,
  ServiceAction,
  type ServiceDecision,
  type ServiceQuery,
  type ServiceResolver,
} from "../../datapath/index.js";
import type { Pod } from "../../kube/index.js";
import { IpProtocol, isLoopbackIpv4, parseIpv4, prefixContains } from "../../wire/index.js";

/** One port of a pod that its node's addresses lead to. */
export interface HostPort {
  /** `TCP`, `UDP` or `SCTP`. */
  readonly protocol: string;
  readonly hostPort: number;
  /** The only address of the node that has it; all have it when missing. */
  readonly hostIp?: string;
  readonly containerPort: number;
}

interface Mapping {
  readonly owner: string;
  readonly protocol: number;
  readonly hostPort: number;
  /** 0: any. */
  readonly hostIp: number;
  readonly ip: number;
  readonly port: number;
  readonly target: string;
}

const PROTOCOLS: Readonly<Record<string, number>> = {
  TCP: IpProtocol.tcp,
  UDP: IpProtocol.udp,
  SCTP: IpProtocol.sctp,
};

/** The host ports that a pod asks for; none in its node's network, where its ports are the node's already. */
export function hostPortsOf({ spec }: Pod): HostPort[] {
  if (!spec || spec.hostNetwork) return [];
  const sidecars = (spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always");
  return [...sidecars, ...spec.containers].flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort, hostIP, containerPort, protocol = "TCP" }) =>
      hostPort ? [{ protocol, hostPort, containerPort, ...(hostIP ? { hostIp: hostIP } : {}) }] : [],
    ),
  );
}

/** Where the node's host ports lead, in front of nothing else: what is no host port is the Services' matter. */
export class HostPorts implements ServiceResolver {
  /** By protocol and port; the newest first, which wins. */
  readonly #mappings = new Map<number, Mapping[]>();

  constructor(
    private readonly services: ServiceResolver,
    private readonly podSubnet: Prefix,
    private readonly conntrack: Pick<ConntrackCleaner, "deleteByOriginalDst">,
  ) {}

  /** Leads ports of the node to a pod. `owner` is the pod's uid, `target` its `namespace/name`. */
  put(owner: string, target: string, podIp: string, ports: readonly HostPort[]): void {
    for (const { protocol, hostPort, hostIp = "0.0.0.0", containerPort } of ports) {
      const [number, any, ip] = [PROTOCOLS[protocol], parseIpv4(hostIp), parseIpv4(podIp)];
      // Of an address of another family there is nothing to lead to this one.
      if (number === undefined || any === undefined || ip === undefined) continue;
      const mapping = { owner, protocol: number, hostPort, hostIp: any, ip, port: containerPort, target };
      const key = keyOf(number, hostPort);
      this.#mappings.set(key, [mapping, ...(this.#mappings.get(key) ?? [])]);
      this.#forgetFlows(mapping);
    }
  }

  /** The pod is gone. */
  delete(owner: string): void {
    for (const [key, mappings] of this.#mappings) {
      const left = mappings.filter((mapping) => mapping.owner !== owner);
      if (left.length === mappings.length) continue;
      if (left.length > 0) this.#mappings.set(key, left);
      else this.#mappings.delete(key);
      for (const mapping of mappings) if (mapping.owner === owner) this.#forgetFlows(mapping);
    }
  }

  /** Protocol and port of those that the node's loopback address has. */
  onLoopback(): { readonly protocol: string; readonly port: number }[] {
    return [...this.#mappings.values()].flatMap((mappings) => {
      const { protocol, hostPort } = mappings[0]!;
      const name = Object.keys(PROTOCOLS).find((key) => PROTOCOLS[key] === protocol) ?? "";
      const has = mappings.some(({ hostIp }) => hostIp === 0 || isLoopbackIpv4(hostIp));
      return has ? [{ protocol: name.toLowerCase(), port: hostPort }] : [];
    });
  }

  resolve(query: ServiceQuery, out: ServiceDecision): boolean {
    if (this.services.resolve(query, out)) return true;
    if (!query.dstIsLocal) return false;
    const mapping = this.#find(query);
    if (mapping === undefined) return false;
    out.action = ServiceAction.dnat;
    out.ip = mapping.ip;
    out.port = mapping.port;
    // Pods of this node, the target among them, would be answered directly; nobody answers to loopback's address.
    out.masquerade = prefixContains(this.podSubnet, query.src | 0) || isLoopbackIpv4(query.src);
    out.service = "";
    out.endpoint = mapping.target;
    out.reason = "";
    return true;
  }

  #find({ protocol, dst, dport }: ServiceQuery): Mapping | undefined {
    const mappings = this.#mappings.get(keyOf(protocol, dport));
    if (mappings === undefined) return undefined;
    for (const mapping of mappings) {
      if (mapping.hostIp === 0 || mapping.hostIp === dst) return mapping;
    }
    return undefined;
  }

  /** A UDP client that sends on and on would stay with the pod that was, or with nothing. */
  #forgetFlows({ protocol, hostPort }: Mapping): void {
    if (protocol === IpProtocol.udp) this.conntrack.deleteByOriginalDst(protocol, 0, hostPort);
  }
}

function keyOf(protocol: number, port: number): number {
  return (protocol << 16) | port;
}
