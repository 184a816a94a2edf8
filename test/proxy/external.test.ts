/** External IPs, load balancers' addresses and their source ranges, and which of the node's addresses have node ports. */
import type { Service } from "kubernetes-types/core/v1.d.ts";
import { describe, expect, it } from "vitest";
import { PortKind, type Prefix, ServiceAction } from "../../src/datapath/index.js";
import { ServiceTracker } from "../../src/proxy/service-tracker.js";
import { formatIpv4, formatPrefix } from "../../src/wire/index.js";
import {
  type Asked,
  balanced,
  decide,
  endpoint,
  type Flow,
  FlowList,
  ip,
  pick,
  service,
  slice,
  synced,
  UDP,
} from "./objects.js";

const ENDPOINT = "172.16.1.2:8080";
const SLICE = slice("web", [endpoint("172.16.1.2")]);
const NODE_IP = ip("10.0.0.11");
const CLIENT = { src: "198.51.100.4", inKind: PortKind.host };
const at = (dst: string, more: Partial<Asked> = {}): Asked => ({ dst, dport: 80, ...CLIENT, ...more });

describe("external IPs", () => {
  it("[sig-network] Services should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node", () => {
    const from = synced([service("web", { externalIPs: ["192.0.2.7", "192.0.2.8"] })], [SLICE]);
    expect([pick(from, at("192.0.2.7")), pick(from, at("192.0.2.8"))]).toEqual([ENDPOINT, ENDPOINT]);
    expect(decide(from, at("192.0.2.7"))?.masquerade).toBe(true);
  });

  it("may be an address of the node", () => {
    const from = synced([service("web", { externalIPs: ["10.0.0.11"] })], [SLICE]);
    expect(pick(from, at("10.0.0.11", { local: true }))).toBe(ENDPOINT);
    expect(pick(from, at("172.16.1.1", { local: true }))).toBe("not a service");
  });

  it("an unused port of one is none of the proxy's business", () => {
    const from = synced([service("web", { externalIPs: ["192.0.2.7"] })], [SLICE]);
    expect(pick(from, at("192.0.2.7", { dport: 81 }))).toBe("not a service");
  });

  it("come and go with the Service", () => {
    const from = synced([service("web", { externalIPs: ["192.0.2.7"] })], [SLICE]);
    from.onServiceUpsert(service("web", { externalIPs: ["192.0.2.8"] }));
    from.sync(1);
    expect([pick(from, at("192.0.2.7")), pick(from, at("192.0.2.8"))]).toEqual(["not a service", ENDPOINT]);
    from.onServiceDelete(service("web"));
    from.sync(2);
    expect(pick(from, at("192.0.2.8"))).toBe("not a service");
  });

  it("that two Services want stay with the first until it lets go", () => {
    const one = service("web", { externalIPs: ["192.0.2.7"] });
    const two = service("two", { clusterIP: "10.254.0.11", externalIPs: ["192.0.2.7"] });
    const from = synced([one, two], [SLICE, slice("two", [endpoint("172.16.1.9")])]);
    expect(pick(from, at("192.0.2.7"))).toBe(ENDPOINT);
    from.onServiceUpsert({ ...one, spec: { ...one.spec, sessionAffinity: "ClientIP" } });
    from.sync(1);
    expect(pick(from, at("192.0.2.7"))).toBe(ENDPOINT);
    from.onServiceDelete(one);
    from.sync(2);
    expect(pick(from, at("192.0.2.7"))).toBe("172.16.1.9:8080");
    from.onServiceUpsert(one);
    from.sync(3);
    expect(pick(from, at("192.0.2.7"))).toBe("172.16.1.9:8080");
    from.onServiceDelete(one);
    from.onServiceDelete(two);
    from.sync(4);
    expect(pick(from, at("192.0.2.7"))).toBe("not a service");
  });

  it("do not bring a cluster IP to Services that are ignored", () => {
    const from = synced([service("web", { clusterIP: "None", externalIPs: ["192.0.2.7"] })], [SLICE]);
    expect(pick(from, at("192.0.2.7"))).toBe("not a service");
  });
});

describe("load balancer addresses", () => {
  it.each([
    ["no ipMode", undefined, ENDPOINT],
    ["ipMode VIP", "VIP", ENDPOINT],
    ["ipMode Proxy", "Proxy", "not a service"],
  ])("%s", (_name, ipMode, expected) => {
    const from = synced([balanced("web", {}, ["203.0.113.9"], ipMode)], [SLICE]);
    expect(pick(from, at("203.0.113.9"))).toBe(expected);
  });

  it("come with the status, after the Service", () => {
    const from = synced([service("web", { type: "LoadBalancer" })], [SLICE]);
    expect(pick(from, at("203.0.113.9"))).toBe("not a service");
    from.onServiceUpsert(balanced("web", {}, ["203.0.113.9"]));
    from.sync(1);
    expect(pick(from, at("203.0.113.9"))).toBe(ENDPOINT);
  });

  it("[sig-network] Services should serve endpoints on same port and different protocol for internal traffic on Type LoadBalancer", () => {
    const ports = [
      { name: "tcp", port: 80 },
      { name: "udp", port: 80, protocol: "UDP" },
    ];
    const targets = [
      { name: "tcp", port: 8080 },
      { name: "udp", port: 8081, protocol: "UDP" },
    ];
    const from = synced(
      [balanced("web", { ports }, ["203.0.113.9"])],
      [slice("web", [endpoint("172.16.1.2")], targets)],
    );
    for (const dst of ["203.0.113.9", "10.254.0.10"]) {
      expect(pick(from, at(dst))).toBe("172.16.1.2:8080");
      expect(pick(from, at(dst, { protocol: UDP }))).toBe("172.16.1.2:8081");
    }
  });
});

describe("loadBalancerSourceRanges", () => {
  const ranged = (ranges: string[], spec: Partial<NonNullable<Service["spec"]>> = {}) =>
    balanced(
      "web",
      {
        loadBalancerSourceRanges: ranges,
        externalIPs: ["192.0.2.7"],
        ports: [{ name: "p", port: 80, nodePort: 30080 }],
        ...spec,
      },
      ["203.0.113.9"],
    );
  const VIP = "203.0.113.9";
  const made = (ranges: string[], spec = {}) => synced([ranged(ranges, spec)], [SLICE], { nodeIp: NODE_IP });

  const rows: [name: string, ranges: string[], src: string, expected: string][] = [
    ["client in a range", ["10.9.0.0/16", "198.51.100.0/24"], "198.51.100.4", ENDPOINT],
    ["client in none", ["10.9.0.0/16"], "198.51.100.4", "denied-by-lb-src-range-check"],
    ["range with host bits and spaces", [" 198.51.100.77/24 "], "198.51.100.4", ENDPOINT],
    ["0.0.0.0/0 holds everybody", ["0.0.0.0/0"], "198.51.100.4", ENDPOINT],
    ["a single address", ["198.51.100.4/32"], "198.51.100.4", ENDPOINT],
    ["pods are clients like others", ["10.9.0.0/16"], "172.16.1.5", "denied-by-lb-src-range-check"],
    ["the VIP itself, a range holds the node", ["10.0.0.0/24"], VIP, ENDPOINT],
    ["the VIP itself, no range holds the node", ["10.9.0.0/16"], VIP, "denied-by-lb-src-range-check"],
    ["ranges of the other family only", ["2001:db8::/32"], "198.51.100.4", ENDPOINT],
  ];
  it.each(rows)(
    "[sig-network] LoadBalancers should only allow access from service loadbalancer source ranges: %s",
    (_name, ranges, src, expected) => {
      expect(pick(made(ranges), at(VIP, { src }))).toBe(expected);
    },
  );

  it("drop, not reject; but without endpoints everybody is rejected", () => {
    expect(decide(made(["10.9.0.0/16"]), at(VIP))?.action).toBe(ServiceAction.drop);
    const empty = synced([ranged(["10.9.0.0/16"])], []);
    expect(decide(empty, at(VIP))).toMatchObject({ action: ServiceAction.reject, reason: "no-endpoints" });
  });

  it.each([
    ["node port", at("10.0.0.11", { dport: 30080, local: true })],
    ["external IP", at("192.0.2.7")],
    ["cluster IP", at("10.254.0.10")],
  ])("do not count for the %s", (_name, asked) => {
    expect(pick(made(["10.9.0.0/16"]), asked)).toBe(ENDPOINT);
  });

  it("an external IP that is the load balancer's as well is not subject to them", () => {
    expect(pick(made(["10.9.0.0/16"], { externalIPs: [VIP] }), at(VIP))).toBe(ENDPOINT);
  });

  it("combine with policy Local: what is let in still needs a local endpoint", () => {
    const local = ranged(["198.51.100.0/24"], { externalTrafficPolicy: "Local" });
    const from = synced([local], [slice("web", [endpoint("172.16.2.2", {}, "node-2")])]);
    expect(pick(from, at(VIP))).toBe("no-local-endpoints");
    expect(pick(from, at(VIP, { src: "192.0.2.99" }))).toBe("denied-by-lb-src-range-check");
  });
});

describe("reading external addresses", () => {
  function read(object: unknown) {
    const complaints: string[] = [];
    const tracker = new ServiceTracker((message) => complaints.push(message));
    tracker.upsert(object as Service);
    const port = tracker.checkout().get("default/s")?.current[0];
    return {
      complaints,
      externalIps: port?.externalIps.map(formatIpv4),
      loadBalancerIps: port?.loadBalancerIps.map(formatIpv4),
      ranges: port?.sourceRanges.map((range) => formatPrefix(range as Prefix)),
    };
  }
  const object = (spec: object, status: unknown = {}) => ({
    metadata: { name: "s", namespace: "default" },
    spec: { type: "LoadBalancer", clusterIP: "10.254.0.1", ports: [{ port: 80 }], ...spec },
    status,
  });

  it("passes over the other family without a word, and over repetitions", () => {
    const ingress = [
      { ip: "fd00::9" },
      { ip: "203.0.113.9" },
      { ip: "203.0.113.9" },
      { hostname: "lb.example" },
    ];
    expect(
      read(object({ externalIPs: ["fd00::7", "192.0.2.7", "192.0.2.7"] }, { loadBalancer: { ingress } })),
    ).toEqual({ complaints: [], externalIps: ["192.0.2.7"], loadBalancerIps: ["203.0.113.9"], ranges: [] });
  });

  it("reports what is no address; a range that nobody can read admits nobody", () => {
    const spec = { externalIPs: ["x", 7], loadBalancerSourceRanges: ["10.0.0.0", "10.0.0.0/33", null] };
    expect(read(object(spec, { loadBalancer: { ingress: [{ ip: "300.1.1.1" }, null] } }))).toEqual({
      complaints: [
        "Service default/s: spec.externalIPs[0] is not an IP address and is ignored.",
        "Service default/s: spec.externalIPs[1] is not an IP address and is ignored.",
        "Service default/s: status.loadBalancer.ingress[0].ip is not an IP address and is ignored.",
        "Service default/s: spec.loadBalancerSourceRanges[0] is not a range such as 10.0.0.0/8 and admits nobody.",
        "Service default/s: spec.loadBalancerSourceRanges[1] is not a range such as 10.0.0.0/8 and admits nobody.",
        "Service default/s: spec.loadBalancerSourceRanges[2] is not a range such as 10.0.0.0/8 and admits nobody.",
      ],
      externalIps: [],
      loadBalancerIps: [],
      ranges: ["0.0.0.0/32", "0.0.0.0/32", "0.0.0.0/32"],
    });
  });

  it.each([undefined, null, 7, "x", [], { loadBalancer: null }, { loadBalancer: { ingress: {} } }])(
    "status %j has no addresses",
    (status) => {
      expect(read(object({}, status))).toMatchObject({ complaints: [], loadBalancerIps: [] });
    },
  );
});

describe("NodePort addresses", () => {
  const web = service("web", { type: "NodePort", ports: [{ name: "p", port: 80, nodePort: 30080 }] });
  const addresses = ["10.0.0.11", "172.16.1.1", "172.16.1.0"];
  const rows: [name: string, option: Parameters<typeof synced>[2], served: string[]][] = [
    ["not said: all of the node's", {}, addresses],
    ["empty: all of the node's", { nodePortAddresses: [] }, addresses],
    ["primary: the node IP", { nodePortAddresses: "primary" }, ["10.0.0.11"]],
    ["a range", { nodePortAddresses: [{ address: ip("10.0.0.0"), length: 24 }] }, ["10.0.0.11"]],
    [
      "two ranges",
      {
        nodePortAddresses: [
          { address: ip("10.0.0.0"), length: 8 },
          { address: ip("172.16.1.1"), length: 32 },
        ],
      },
      ["10.0.0.11", "172.16.1.1"],
    ],
    ["a range that holds none", { nodePortAddresses: [{ address: ip("192.168.0.0"), length: 16 }] }, []],
  ];
  it.each(rows)("%s", (_name, option, served) => {
    const from = synced([web], [SLICE], { nodeIp: NODE_IP, ...option });
    const found = addresses.filter((dst) => pick(from, at(dst, { dport: 30080, local: true })) === ENDPOINT);
    expect(found).toEqual(served);
  });
});

describe("UDP conntrack clean-up of external addresses", () => {
  const dns = balanced(
    "dns",
    { externalIPs: ["192.0.2.7"], ports: [{ name: "p", port: 53, protocol: "UDP" }] },
    ["203.0.113.9"],
  );
  const some = slice("dns", [endpoint("172.16.1.2")], [{ name: "p", port: 5353, protocol: "UDP" }]);
  const flow = (originalIp: string): Flow => ({
    protocol: UDP,
    originalIp,
    originalPort: 53,
    endpointIp: "172.16.1.2",
    endpointPort: 5353,
  });
  const flows = ["192.0.2.7", "203.0.113.9", "10.254.0.10"].map(flow);

  it("removed endpoint, deleted Service, first endpoint: their flows go as those of the cluster IP", () => {
    for (const change of ["endpoint", "service", "first"] as const) {
      const conntrack = new FlowList();
      const from = synced([dns], change === "first" ? [] : [some], { conntrack });
      conntrack.flows = [...flows];
      if (change === "endpoint") from.onEndpointSliceDelete(some);
      if (change === "service") from.onServiceDelete(dns);
      if (change === "first") from.onEndpointSliceUpsert(some);
      from.sync(1);
      expect(conntrack.flows).toEqual([]);
    }
  });

  it("an external IP that is taken away loses its flows, the others keep theirs", () => {
    const conntrack = new FlowList();
    const from = synced([dns], [some], { conntrack });
    conntrack.flows = [...flows];
    from.onServiceUpsert({ ...dns, spec: { ...dns.spec, externalIPs: [] } });
    from.sync(1);
    expect(conntrack.flows.map((left) => left.originalIp)).toEqual(["203.0.113.9", "10.254.0.10"]);
  });
});
