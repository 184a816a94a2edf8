/**
 * Host ports: addresses of the node that lead to one pod, as CNI's portmap plugin makes them (plugins/meta/portmap), those
 * of each family to the pod's address of that family. They are asked after the Services, whose rules stand before portmap's in PREROUTING and OUTPUT.
 */
import {
  type AddressBook,
  AddressClass,
  type ConntrackCleaner,
  isIpv6Handle,
  type Prefix,
  ServiceAction,
  type ServiceDecision,
  type ServiceQuery,
  type ServiceResolver,
} from "../../datapath/index.js";
import type { Pod } from "../../kube/index.js";
import { IpProtocol, isLoopbackIpv4, parseIpv4, parseIpv6, prefixContains } from "../../wire/index.js";

/** One port of a pod that its node's addresses lead to. */
export interface HostPort {
  /** `TCP`, `UDP` or `SCTP`. */
  readonly protocol: string;
  readonly hostPort: number;
  /** The only address of the node that has it; all have it when missing, all of one family when unspecified. */
  readonly hostIp?: string;
  readonly containerPort: number;
}

interface Mapping {
  readonly owner: string;
  readonly protocol: number;
  readonly hostPort: number;
  /** 0: any of the pod's family. */
  readonly hostIp: number;
  /** As the datapath has it: the handle of an IPv6 address. */
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
    /** Of a node with IPv6: the datapath's. */
    private readonly book?: AddressBook,
  ) {}

  /** Leads ports of the node to a pod with these addresses. `owner` is the pod's uid, `target` its `namespace/name`. */
  put(owner: string, target: string, podIps: readonly string[], ports: readonly HostPort[]): void {
    for (const { protocol, hostPort, hostIp, containerPort } of ports) {
      const number = PROTOCOLS[protocol];
      if (number === undefined) continue;
      for (const podIp of podIps) {
        // Of an address of another family there is nothing to lead to this one.
        if (hostIp !== undefined && hostIp.includes(":") !== podIp.includes(":")) continue;
        const only = hostIp === undefined ? 0 : this.#number(hostIp);
        const ip = only === undefined ? undefined : this.#number(podIp);
        if (ip === undefined || only === undefined) continue;
        const mapping = { owner, protocol: number, hostPort, hostIp: only, ip, port: containerPort, target };
        const key = keyOf(number, hostPort);
        this.#mappings.set(key, [mapping, ...(this.#mappings.get(key) ?? [])]);
        this.#forgetFlows(mapping);
      }
    }
  }

  /** An address as the datapath has it, pinned there until it is let go; 0 for the unspecified one. */
  #number(text: string): number | undefined {
    if (!text.includes(":")) return parseIpv4(text);
    const address = parseIpv6(text);
    if (address === undefined) return undefined;
    return address === 0n ? 0 : this.book?.pin(address);
  }

  #letGo(address: number): void {
    if (isIpv6Handle(address)) this.book?.unpin(address);
  }

  /** The pod is gone. */
  delete(owner: string): void {
    for (const [key, mappings] of this.#mappings) {
      const left = mappings.filter((mapping) => mapping.owner !== owner);
      if (left.length === mappings.length) continue;
      if (left.length > 0) this.#mappings.set(key, left);
      else this.#mappings.delete(key);
      for (const mapping of mappings) {
        if (mapping.owner !== owner) continue;
        this.#forgetFlows(mapping);
        this.#letGo(mapping.ip);
        this.#letGo(mapping.hostIp);
      }
    }
  }

  /** Protocol and port of those that the node's IPv4 loopback addresses have; `::1` has none, as Linux leads nothing from there. */
  onLoopback(): { readonly protocol: string; readonly port: number }[] {
    return [...this.#mappings.values()].flatMap((mappings) => {
      const { protocol, hostPort } = mappings[0]!;
      const name = Object.keys(PROTOCOLS).find((key) => PROTOCOLS[key] === protocol) ?? "";
      const has = mappings.some(
        ({ ip, hostIp }) => !isIpv6Handle(ip) && (hostIp === 0 || isLoopbackIpv4(hostIp)),
      );
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
    out.masquerade = isIpv6Handle(query.src)
      ? this.book?.has(query.src, AddressClass.podSubnet) === true
      : prefixContains(this.podSubnet, query.src | 0) || isLoopbackIpv4(query.src);
    out.service = "";
    out.endpoint = mapping.target;
    out.reason = "";
    return true;
  }

  #find({ protocol, dst, dport }: ServiceQuery): Mapping | undefined {
    const mappings = this.#mappings.get(keyOf(protocol, dport));
    if (mappings === undefined) return undefined;
    for (const mapping of mappings) {
      if (isIpv6Handle(mapping.ip) !== isIpv6Handle(dst)) continue;
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
