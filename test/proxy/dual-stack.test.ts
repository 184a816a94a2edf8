import type { Service } from "kubernetes-types/core/v1.d.ts";
import { describe, expect, it } from "vitest";
import { PortKind, ServiceAction, type ServiceDecision } from "../../src/datapath/index.js";
import { DualStackProxier, type HandleBook, ipv6Family, Proxier } from "../../src/proxy/index.js";
import { parseIpv6, parseIpv6Cidr, parsePrefix } from "../../src/wire/index.js";
import { endpoint, ip, service, slice, TCP } from "./objects.js";

/** Handles as the datapath gives them out: numbers from 240.0.0.0/8, counted pins. */
class Book implements HandleBook {
  readonly pins = new Map<number, number>();
  readonly #addresses: bigint[] = [];

  /** `firstIndex` makes two nodes' books number alike addresses differently. */
  constructor(private readonly firstIndex = 1) {}

  handle(address: bigint): number {
    let index = this.#addresses.indexOf(address);
    if (index < 0) index = this.#addresses.push(address) - 1;
    return (0xf0000000 | (index + this.firstIndex)) >>> 0;
  }

  pin(address: bigint): number {
    const handle = this.handle(address);
    this.pins.set(handle, (this.pins.get(handle) ?? 0) + 1);
    return handle;
  }

  unpin(handle: number): void {
    this.pins.set(handle, (this.pins.get(handle) ?? 0) - 1);
  }

  address(handle: number): bigint {
    return this.#addresses[(handle & 0xffffff) - this.firstIndex] ?? 0n;
  }

  digest(handle: number): number {
    return Number(this.address(handle) % 0x7fffffffn);
  }
}

const address6 = (text: string) => parseIpv6(text) ?? 0n;
const prefix6 = (text: string) => parseIpv6Cidr(text) ?? { address: 0n, length: 0 };
const conntrack = { deleteByOriginalDst: () => 0, deleteByNat: () => 0 };

/** A node's two proxies. */
function dual(book = new Book()): { proxier: DualStackProxier; ipv6: Proxier; book: Book } {
  const prefix = (text: string) => parsePrefix(text) ?? { address: 0, length: 0 };
  const common = { nodeName: "node-1", conntrack };
  const ipv4 = new Proxier({
    ...common,
    podNetwork: prefix("172.16.0.0/16"),
    serviceNetwork: prefix("10.254.0.0/16"),
    nodeIp: ip("10.0.0.11"),
  });
  const ipv6 = new Proxier({
    ...common,
    family: ipv6Family(book),
    podNetwork: prefix6("fd00:244::/56"),
    serviceNetwork: prefix6("fd00:96::/112"),
    nodeIp: book.pin(address6("fd00:177::b")),
  });
  const proxier = new DualStackProxier(ipv4, ipv6, (address) => address >>> 24 === 0xf0);
  return { proxier, ipv6, book };
}

const both = (name: string, spec: object = {}): Service =>
  service(name, { clusterIPs: ["10.254.0.10", "fd00:96::a"], ...spec } as Service["spec"] & object);
const slice6 = (name: string, addresses: string[], nodeName = "node-2") => ({
  ...slice(
    name,
    addresses.map((address) => endpoint(address, {}, nodeName)),
    undefined,
    `${name}-6`,
  ),
  addressType: "IPv6",
});

/** Where a connection goes: `address:port`, `!` in front when it is masqueraded, or why it goes nowhere. */
function ask({ proxier, book }: ReturnType<typeof dual>, dst: string, src: string, sport = 1000): string {
  const number = (text: string) => (text.includes(":") ? book.handle(address6(text)) : ip(text));
  const out: ServiceDecision = {
    action: ServiceAction.drop,
    ip: 0,
    port: 0,
    masquerade: false,
    service: "",
    endpoint: "",
    reason: "",
  };
  const query = {
    ...{ protocol: TCP, src: number(src), dst: number(dst), sport, dport: 80, inKind: PortKind.pod },
    ...{ dstIsLocal: false, nowMs: 0 },
  };
  if (!proxier.resolve(query, out)) return "no Service";
  if (out.action !== ServiceAction.dnat) return out.reason;
  return `${out.masquerade ? "!" : ""}${out.endpoint}`;
}

function synced(node: ReturnType<typeof dual>, services: Service[], slices: object[]): typeof node {
  const { proxier } = node;
  for (const each of services) proxier.onServiceUpsert(each);
  for (const each of slices) proxier.onEndpointSliceUpsert(each as never);
  proxier.onServicesSynced();
  proxier.onEndpointSlicesSynced();
  proxier.sync(1);
  return node;
}

const POD4 = "172.16.1.9";
const POD6 = "fd00:244:0:1::9";

describe("one proxy per family (NewDualStackProxier)", () => {
  const web = [slice("web", [endpoint("172.16.2.2")]), slice6("web", ["fd00:244:0:2::2"])];

  it("gives each family the Service's addresses and endpoints of its own", () => {
    const node = synced(dual(), [both("web")], web);
    expect(ask(node, "10.254.0.10", POD4)).toBe("172.16.2.2:8080");
    expect(ask(node, "fd00:96::a", POD6)).toBe("[fd00:244:0:2::2]:8080");
  });

  it("counts ready endpoints of this node for each family, under the one health check node port", () => {
    const local = { type: "LoadBalancer", externalTrafficPolicy: "Local", healthCheckNodePort: 32_000 };
    const node = synced(
      dual(),
      [both("web", local), service("only4", { ...local, healthCheckNodePort: 32_001 })],
      [
        slice("web", [endpoint("172.16.1.2"), endpoint("172.16.1.3")]),
        slice6("web", ["fd00:244:0:1::2"], "node-1"),
      ],
    );
    expect(node.proxier.healthChecks()).toEqual([
      { port: 32_001, family: "IPv4", service: "default/only4", localReady: 0 },
      { port: 32_000, family: "IPv4", service: "default/web", localReady: 2 },
      { port: 32_000, family: "IPv6", service: "default/web", localReady: 1 },
    ]);
  });

  it("masquerades IPv6 as it does IPv4: not from pods, but from elsewhere", () => {
    const node = synced(dual(), [both("web")], web);
    expect(ask(node, "fd00:96::a", "2001:db8::1")).toBe("![fd00:244:0:2::2]:8080");
  });

  it("refuses a Service without endpoints of that family, and addresses that no Service has", () => {
    const node = synced(dual(), [both("web")], web.slice(0, 1));
    expect(ask(node, "fd00:96::a", POD6)).toBe("no-endpoints");
    expect(ask(node, "fd00:96::b", POD6)).toBe("no-service");
    expect(ask(node, "fd00:88::b", POD6)).toBe("no Service");
    node.proxier.onServiceCidrs(["10.88.0.0/24", "fd00:88::/112"]);
    expect(ask(node, "fd00:88::b", POD6)).toBe("no-service");
    expect(ask(node, "2001:db8::1", POD6)).toBe("no Service");
  });

  it("admits by the source ranges of the family", () => {
    const spec = { type: "LoadBalancer", loadBalancerSourceRanges: ["10.0.0.0/8", "2001:db8::/32"] };
    const status = { loadBalancer: { ingress: [{ ip: "2001:db8:9::1" }] } };
    const node = synced(dual(), [{ ...both("web", spec), status }], web);
    expect(ask(node, "2001:db8:9::1", "2001:db8::7")).toBe("![fd00:244:0:2::2]:8080");
    expect(ask(node, "2001:db8:9::1", "2001:db9::7")).toBe("denied-by-lb-src-range-check");
  });

  it("keeps single-stack Services to their family without a complaint", () => {
    const complaints: string[] = [];
    const onInvalid = (message: string) => void complaints.push(message);
    const proxier = new Proxier({
      ...{ nodeName: "n", conntrack, onInvalid, family: ipv6Family(new Book()) },
      ...{ podNetwork: prefix6("fd00:244::/56"), serviceNetwork: prefix6("fd00:96::/112") },
    });
    proxier.onServiceUpsert(service("only4", { externalIPs: ["203.0.113.1"] }));
    expect(complaints).toEqual([]);
  });

  it("hashes clients to the same endpoint on every node, whatever their books call the addresses", () => {
    const addresses = ["fd00:244:0:2::2", "fd00:244:0:2::3", "fd00:244:0:2::4"];
    const hashed = {
      ...both("web"),
      metadata: { name: "web", namespace: "default", annotations: { "podwire.dev/scheduler": "sh" } },
    };
    const nodes = [1, 500].map((first) =>
      synced(dual(new Book(first)), [hashed], [slice6("web", addresses)]),
    );
    const clients = Array.from({ length: 20 }, (_, i) => `fd00:244:0:1::${(i + 1).toString(16)}`);
    const [one, two] = nodes.map((node) => clients.map((client) => ask(node, "fd00:96::a", client)));
    expect(one).toEqual(two);
    expect(new Set(one).size).toBeGreaterThan(1);
  });

  it("pins addresses only until they are in the rules, which it then marks itself", () => {
    const node = synced(dual(), [both("web", { sessionAffinity: "ClientIP" })], web);
    const pinned = () => [...node.book.pins].filter(([, count]) => count > 0).map(([handle]) => handle);
    const nodeIp = node.book.handle(address6("fd00:177::b"));
    expect(pinned()).toEqual([nodeIp]);
    ask(node, "fd00:96::a", POD6);
    const marked = new Set<number>();
    node.ipv6.markAddresses((address) => marked.add(address));
    const kept = ["fd00:96::a", "fd00:244:0:2::2", POD6].map((text) => node.book.handle(address6(text)));
    expect(marked).toEqual(new Set(kept));
  });
});
