import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { overlaps, parseNetwork } from "../../src/topology/address.js";
import { loadManifests, loadTopology } from "../../src/topology/index.js";
import { lab } from "./files.js";

const topologies = fileURLToPath(new URL("../../topologies/", import.meta.url));

describe("a topology", () => {
  it("needs a name and a number of nodes only", () => {
    const plan = loadTopology(lab("name: tiny\nnodes: 2\n"));
    expect(plan).toMatchObject({
      name: "tiny",
      network: {
        nodes: "10.177.0.0/24",
        host: "10.177.0.1",
        pods: {
          network: "10.244.0.0/16",
          subnetLen: 24,
          prefix: "/coreos.com/network",
          backend: { type: "udp", port: 8285 },
        },
        services: "10.96.0.0/16",
        nodePorts: { min: 30000, max: 32767 },
        underlayMtuBytes: 1500,
      },
      images: {},
      manifests: [],
      options: {
        ...{ ipMasq: true, bridgeNetfilter: true, dns: true, trace: false },
        proxy: {
          scheduler: "rr",
          nodePortAddresses: [],
          masqueradeAll: false,
          detectLocalMode: "ClusterCIDR",
        },
        conntrack: { tcpBeLiberal: false, timeoutSeconds: {} },
      },
    });
    expect(plan.network).toHaveProperty("loadBalancerPool", []);
    expect(plan.network).not.toHaveProperty("ipv6");
    expect(plan.nodes.map(({ name, index, ip }) => [name, index, ip])).toEqual([
      ["node-1", 0, "10.177.0.2"],
      ["node-2", 1, "10.177.0.3"],
    ]);
  });

  it("keeps what it says, and the host takes the first address that is left", () => {
    const plan = loadTopology(
      lab(`name: full
network:
  nodes: 192.168.5.0/29
  pods: { network: 172.20.0.0/20, subnetMin: 172.20.8.0, subnetMax: 172.20.12.0, leaseTtlSeconds: 60, leaseRenewMarginSeconds: 20 }
  services: 10.3.0.0/24
  nodePorts: 20000-20010
  underlayMtu: 9000
nodes:
  - { name: a, ip: 192.168.5.1, labels: { role: master } }
  - { name: b, underlay: 127.9.9.9 }
  - { name: c, ip: 192.168.5.6 }
images:
  registry.example/mysql: { command: [cat], args: ["-"], env: { A: b } }
options: { trace: true, ipMasq: false }
`),
    );
    expect(plan.network.host).toBe("192.168.5.2");
    expect(plan.nodes.map(({ ip }) => ip)).toEqual(["192.168.5.1", "192.168.5.3", "192.168.5.6"]);
    expect(plan.nodes[0]?.labels).toEqual({ role: "master" });
    expect(plan.nodes[1]?.underlay).toBe("127.9.9.9");
    expect(plan.network.pods).toEqual({
      network: "172.20.0.0/20",
      subnetLen: 24,
      subnetMin: "172.20.8.0",
      subnetMax: "172.20.12.0",
      prefix: "/coreos.com/network",
      backend: { type: "udp", port: 8285 },
      leaseTtlSeconds: 60,
      leaseRenewMarginSeconds: 20,
    });
    expect(plan.network).toMatchObject({ nodePorts: { min: 20000, max: 20010 }, underlayMtuBytes: 9000 });
    expect(plan.images).toEqual({
      "registry.example/mysql": { command: ["cat"], args: ["-"], env: { A: "b" } },
    });
    expect(plan.options).toMatchObject({ ipMasq: false, bridgeNetfilter: true, dns: true, trace: true });
    expect(plan.positions.services).toMatchObject({ line: 5, column: 13 });
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  it("may have a second family: flannel's subnets, addresses in order, Kubernetes' services", () => {
    const plan = loadTopology(
      lab(`name: dual
network:
  nodesIPv6: FD00:10:177:0::/64
  pods: { networkIPv6: fd00:10:244::/56 }
  servicesIPv6: fd00:10:96::/112
nodes:
  - name: a
  - { name: b, ipv6: "fd00:10:177::1" }
  - name: c
`),
    );
    expect(plan.network.ipv6).toEqual({
      nodes: "fd00:10:177::/64",
      host: "fd00:10:177::2",
      nodeIps: ["fd00:10:177::3", "fd00:10:177::1", "fd00:10:177::4"],
      pods: { network: "fd00:10:244::/56", subnetLen: 64 },
      services: "fd00:10:96::/112",
    });
    expect(plan.nodes.map(({ ipv6 }) => ipv6)).toEqual(plan.network.ipv6?.nodeIps);
    expect(plan.network.pods).not.toHaveProperty("networkIPv6");
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  it("gives load balancers a pool, which is kept as networks", () => {
    const ipv6 =
      "nodesIPv6: 'fd00:10:177::/64', pods: { networkIPv6: 'fd00:10:244::/56' }, servicesIPv6: 'fd00:10:96::/112'";
    const pool = (text: string) =>
      loadTopology(lab(`name: lb\nnodes: 2\nnetwork: { ${ipv6}, loadBalancerPool: [${text}] }\n`)).network
        .loadBalancerPool;
    expect(pool("10.177.0.240/28, 10.9.0.7")).toEqual(["10.177.0.240/28", "10.9.0.7/32"]);
    expect(pool("10.9.0.1-10.9.0.10")).toEqual([
      "10.9.0.1/32",
      "10.9.0.2/31",
      "10.9.0.4/30",
      "10.9.0.8/31",
      "10.9.0.10/32",
    ]);
    expect(pool("192.168.0.0-192.168.255.255")).toEqual(["192.168.0.0/16"]);
    expect(pool("'FD00:9:0::/120', 10.9.0.7")).toEqual(["fd00:9::/120", "10.9.0.7/32"]);
    expect(pool("'fd00:9::7', 'fd00:9:0::8-fd00:9::10'")).toEqual([
      "fd00:9::7/128",
      "fd00:9::8/125",
      "fd00:9::10/128",
    ]);
    expect(pool("'fd00:10:177::f0/124'")).toEqual(["fd00:10:177::f0/124"]);
  });

  it("understands anchors, merged maps and empty fields", () => {
    const plan = loadTopology(
      lab(`name: anchors
network:
nodes:
  - &one { name: a, labels: { role: worker } }
  - { <<: *one, name: b }
`),
    );
    expect(plan.nodes.map(({ name, labels }) => [name, labels.role])).toEqual([
      ["a", "worker"],
      ["b", "worker"],
    ]);
  });

  it("takes objects from files, Lists and JSON, Namespaces first, with their places", () => {
    const file = lab("name: objects\nnodes: 1\nmanifests:\n  - file: all.yaml\n  - file: one.json\n", {
      "all.yaml": `# nothing here
---
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: Pod, metadata: { name: p, namespace: team }, spec: { containers: [{ name: c, image: "podwire/echo:1" }] } }
  - apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: { name: s }
    addressType: IPv4
    endpoints: [{ addresses: [10.0.0.1] }]
---
apiVersion: v1
kind: Namespace
metadata: { name: team }
`,
      "one.json": '{"apiVersion": "v1", "kind": "Endpoints",\n "metadata": {"name": "e"}, "subsets": []}',
    });
    const plan = loadTopology(file);
    expect(
      plan.manifests.map(({ object, position }) => [object.kind, object.metadata.namespace, position.line]),
    ).toEqual([
      ["Namespace", undefined, 13],
      ["Pod", "team", 6],
      ["EndpointSlice", "default", 7],
      ["Endpoints", "default", 1],
    ]);
  });

  it("gives every lab and node its own loopback address, the same each time", () => {
    const underlays = (name: string) =>
      loadTopology(lab(`name: ${name}\nnodes: 3\n`)).nodes.map((node) => node.underlay);
    expect(underlays("one")).toEqual(underlays("one"));
    expect(new Set([...underlays("one"), ...underlays("two")]).size).toBe(6);
  });
});

describe("defaults", () => {
  it("never overlap, for any number of nodes", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 250 }),
        fc.stringMatching(/^[a-z][a-z0-9]{0,30}$/),
        (count, name) => {
          const { network, nodes } = loadTopology(lab(`name: ${name}\nnodes: ${count}\n`));
          const ranges = [network.nodes, network.pods.network, network.services, "127.0.0.0/8"].map(
            (text) => parseNetwork(text)!,
          );
          for (const [index, a] of ranges.entries()) {
            for (const b of ranges.slice(index + 1)) expect(overlaps(a, b)).toBe(false);
          }
          expect(new Set([network.host, ...nodes.map((node) => node.ip)]).size).toBe(count + 1);
          expect(new Set(nodes.map((node) => node.underlay)).size).toBe(count);
          for (const node of nodes) expect(node.underlay).toMatch(/^127\.(6[4-9]|[789]\d|1[01]\d|12[0-7])\./);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("the topologies that come with Podwire", () => {
  it("myweb is the classic lab", () => {
    const plan = loadTopology(`${topologies}myweb.yaml`);
    expect(plan.nodes.map(({ name, ip }) => [name, ip])).toEqual([
      ["k8s-master", "10.0.0.11"],
      ["k8s-node-1", "10.0.0.12"],
      ["k8s-node-2", "10.0.0.13"],
    ]);
    expect(plan.network).toMatchObject({
      services: "10.254.0.0/16",
      pods: { network: "172.16.0.0/16", prefix: "/atomic.io/network" },
    });
    const objects = plan.manifests.map(({ object }) => `${object.kind}/${object.metadata.name}`);
    expect(objects).toEqual([
      "ReplicationController/mysql",
      "Service/mysql",
      "ReplicationController/myweb",
      "Service/myweb",
    ]);
    expect(plan.manifests[2]?.object.spec).toMatchObject({
      replicas: 5,
      template: {
        spec: {
          containers: [{ ports: [{ containerPort: 8080 }], env: [{ value: "mysql" }, { value: "3306" }] }],
        },
      },
    });
    expect(plan.manifests[3]?.object.spec).toMatchObject({
      type: "NodePort",
      ports: [{ port: 8080, nodePort: 30001 }],
    });
  });

  it("two-nodes has a NodePort for TCP and UDP", () => {
    const plan = loadTopology(`${topologies}two-nodes.yaml`);
    expect(plan.nodes.length).toBe(2);
    expect(plan.manifests[1]?.object.spec).toMatchObject({
      ports: [{ nodePort: 30080 }, { nodePort: 30080, protocol: "UDP" }],
    });
  });

  it("udp-echo can be applied", () => {
    expect(loadManifests(`${topologies}udp-echo.yaml`, []).map(({ object }) => object.kind)).toEqual([
      "ReplicationController",
      "Service",
    ]);
  });
});
