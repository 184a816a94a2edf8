import { describe, expect, it } from "vitest";
import { loadTopology } from "../../src/topology/index.js";
import { golden, lab, problemsOf } from "./files.js";

/** What is wrong, the topology. The lines that say so are in errors.golden.txt. */
const cases: [what: string, text: string][] = [
  ["an empty file", "# nothing\n"],
  ["a list instead of a map", "- a\n"],
  ["malformed YAML", "name: a\nnodes: [1\n"],
  ["a tab", "name: a\n\tnodes: 1\n"],
  ["a key twice", "name: a\nname: b\nnodes: 1\n"],
  ["an alias without anchor", "name: *nobody\nnodes: 1\n"],
  ["a second document", "name: a\nnodes: 1\n---\nname: b\n"],
  ["missing fields", "options: {}\n"],
  ["a wrong type", "name: a\nnodes: many\n"],
  ["a number for a name", "name: 12\nnodes: 1\n"],
  ["a string for a number", 'name: a\nnodes: 1\nnetwork:\n  underlayMtu: "1500"\n'],
  ["a fraction", "name: a\nnodes: 1.5\n"],
  ["no nodes", "name: a\nnodes: []\n"],
  ["too many nodes", "name: a\nnodes: 251\n"],
  ["a bad lab name", "name: My_Lab\nnodes: 1\n"],
  ["a long lab name", `name: ${"a".repeat(33)}\nnodes: 1\n`],
  ["an unknown field", "name: a\nnode: 1\nnodes: 1\n"],
  ["an unknown field deep inside", "name: a\nnodes: 1\nnetwork:\n  pods:\n    subnetlen: 24\n"],
  ["an unknown field like no other", "name: a\nnodes: 1\noptions: { quantum: true }\n"],
  ["an unknown field of a node", "name: a\nnodes:\n  - name: b\n    adress: 10.177.0.3\n"],
  ["an unknown backend", "name: a\nnodes: 1\nnetwork: { pods: { backend: { type: upd } } }\n"],
  ["a bad address", "name: a\nnodes: [{ name: b, ip: 10.177.0.300 }]\n"],
  ["an address in octal", "name: a\nnodes: [{ name: b, ip: 10.177.0.011 }]\n"],
  ["a bad network", "name: a\nnodes: 1\nnetwork: { services: 10.96.0.0 }\n"],
  ["host bits", "name: a\nnodes: 1\nnetwork: { nodes: 10.0.0.1/24 }\n"],
  ["a bad port range", "name: a\nnodes: 1\nnetwork: { nodePorts: 30000 }\n"],
  ["a port range upside down", "name: a\nnodes: 1\nnetwork: { nodePorts: 32767-30000 }\n"],
  ["a bad prefix", "name: a\nnodes: 1\nnetwork: { pods: { prefix: coreos.com/ } }\n"],
  ["a node name twice", "name: a\nnodes:\n  - { name: b }\n  - { name: b }\n"],
  ["an address twice", "name: a\nnodes:\n  - { name: b, ip: 10.177.0.9 }\n  - { name: c, ip: 10.177.0.9 }\n"],
  ["the host's address", "name: a\nnetwork: { host: 10.177.0.9 }\nnodes: [{ name: b, ip: 10.177.0.9 }]\n"],
  ["an address outside", "name: a\nnodes: [{ name: b, ip: 10.0.0.11 }]\n"],
  ["the network address", "name: a\nnodes: [{ name: b, ip: 10.177.0.0 }]\n"],
  ["the broadcast address", "name: a\nnetwork: { host: 10.177.0.255 }\nnodes: 1\n"],
  ["an underlay address outside", "name: a\nnodes: [{ name: b, underlay: 10.0.0.1 }]\n"],
  ["localhost as underlay", "name: a\nnodes: [{ name: b, underlay: 127.0.0.1 }]\n"],
  [
    "an underlay address twice",
    "name: a\nnodes: [{ name: b, underlay: 127.1.0.1 }, { name: c, underlay: 127.1.0.1 }]\n",
  ],
  ["services over nodes", "name: a\nnodes: 1\nnetwork:\n  nodes: 10.0.0.0/24\n  services: 10.0.0.0/16\n"],
  [
    "pods over nodes",
    "name: a\nnodes: 1\nnetwork:\n  nodes: 10.0.0.0/24\n  pods: { network: 10.0.0.0/16 }\n",
  ],
  ["pods over services", "name: a\nnodes: 1\nnetwork:\n  services: 10.244.128.0/24\n"],
  ["the loopback range", "name: a\nnodes: 1\nnetwork: { services: 127.5.0.0/16 }\n"],
  ["the link-local range", "name: a\nnodes: 1\nnetwork: { nodes: 169.254.0.0/24 }\n"],
  ["the multicast range", "name: a\nnodes: 1\nnetwork: { pods: { network: 224.0.0.0/16 } }\n"],
  ["the whole address space", "name: a\nnodes: 1\nnetwork: { services: 0.0.0.0/0 }\n"],
  ["a node network too small", "name: a\nnodes: 6\nnetwork: { nodes: 10.0.0.0/29 }\n"],
  [
    "fewer subnets than nodes",
    "name: a\nnodes: 4\nnetwork: { pods: { network: 10.1.0.0/22, subnetLen: 24 } }\n",
  ],
  [
    "a subnetLen too short",
    "name: a\nnodes: 1\nnetwork: { pods: { network: 10.1.0.0/23, subnetLen: 24 } }\n",
  ],
  ["a pod network too small", "name: a\nnodes: 1\nnetwork: { pods: { network: 10.1.0.0/29 } }\n"],
  ["a service network too small", "name: a\nnodes: 1\nnetwork: { services: 10.1.0.0/31 }\n"],
  ["subnetMin outside", "name: a\nnodes: 1\nnetwork: { pods: { subnetMin: 10.1.0.0 } }\n"],
  ["subnetMin off the boundary", "name: a\nnodes: 1\nnetwork: { pods: { subnetMin: 10.244.1.7 } }\n"],
  [
    "subnetMin above subnetMax",
    "name: a\nnodes: 1\nnetwork: { pods: { subnetMin: 10.244.9.0, subnetMax: 10.244.8.0 } }\n",
  ],
  [
    "too few subnets between",
    "name: a\nnodes: 3\nnetwork: { pods: { subnetMin: 10.244.8.0, subnetMax: 10.244.9.0 } }\n",
  ],
  [
    "renewal before the grant",
    "name: a\nnodes: 1\nnetwork: { pods: { leaseTtlSeconds: 5, leaseRenewMarginSeconds: 5 } }\n",
  ],
  ["an image without command", "name: a\nnodes: 1\nimages:\n  db: { args: [x] }\n"],
  [
    "an image with a line for a command",
    "name: a\nnodes: 1\nimages:\n  reg.example/db: { command: sleep 1 }\n",
  ],
  ["half a second family", "name: a\nnodes: 1\nnetwork: { nodesIPv6: fd00::/64 }\n"],
  ["a subnet length for no network", "name: a\nnodes: 1\nnetwork: { pods: { subnetLenIPv6: 64 } }\n"],
  ["IPv6 host bits", "name: a\nnodes: 1\nnetwork: { servicesIPv6: fd00::1/112 }\n"],
  ["an IPv4 network for IPv6", "name: a\nnodes: 1\nnetwork: { servicesIPv6: 10.0.0.0/8 }\n"],
  [
    "IPv6 networks that meet",
    "name: a\nnodes: 1\nnetwork:\n  nodesIPv6: fe80::/64\n  pods: { networkIPv6: fd00::/56 }\n  servicesIPv6: fd00::/112\n",
  ],
  [
    "an IPv6 service network too large",
    "name: a\nnodes: 1\nnetwork:\n  nodesIPv6: fd01::/64\n  pods: { networkIPv6: fd00::/56, subnetLenIPv6: 57 }\n  servicesIPv6: fd02::/64\n",
  ],
  [
    "IPv6 addresses of nodes",
    "name: a\nnetwork: { nodesIPv6: fd01::/126, pods: { networkIPv6: fd00::/56 }, servicesIPv6: fd02::/112 }\nnodes:\n  - { name: b, ipv6: 'fd01::1' }\n  - { name: c, ipv6: 'fd01::1' }\n  - { name: d, ipv6: 'fd09::1' }\n  - { name: e }\n  - { name: f }\n",
  ],
  ["an IPv6 address without a network", "name: a\nnodes: [{ name: b, ipv6: 'fd01::1' }]\n"],
  [
    "a pool that nobody can read",
    "name: a\nnodes: 1\nnetwork: { loadBalancerPool: [10.9.0.9-10.9.0.1, 10.9.0.1/24, ten] }\n",
  ],
  [
    "a pool inside other networks",
    "name: a\nnodes: 1\nnetwork:\n  loadBalancerPool:\n    - 10.244.9.0/24\n    - 10.96.0.9\n    - 10.177.0.0-10.177.0.1\n    - 10.177.0.2/31\n    - 10.8.0.0/24\n    - 10.8.0.9\n",
  ],
  [
    "an IPv6 pool that nobody can read",
    "name: a\nnodes: 1\nnetwork: { loadBalancerPool: ['fd00:9::9-fd00:9::1', 'fd00:9::1/64', '10.9.0.1-fd00::1'] }\n",
  ],
  [
    "an IPv6 pool inside other networks",
    "name: a\nnodes: 1\nnetwork:\n  nodesIPv6: fd01::/64\n  pods: { networkIPv6: fd00::/56 }\n  servicesIPv6: fd02::/112\n  loadBalancerPool:\n    - fd00::1:0/112\n    - fd02::9\n    - fd01::-fd01::1\n    - fd01::2/127\n    - fe80::7\n    - 127.0.0.7\n    - fd09::/64\n    - fd09::9\n    - fd01::f0/124\n",
  ],
  [
    "an IPv6 pool without IPv6",
    "name: a\nnodes: 1\nnetwork: { loadBalancerPool: [10.9.0.9, 'fd00:9::/120'] }\n",
  ],
  [
    "an unknown scheduler",
    "name: a\nnodes: 1\noptions: { proxy: { scheduler: wlc, nodePortAddresses: [all], mode: ipvs } }\n",
  ],
  [
    "node port addresses of no kind",
    "name: a\nnodes: 1\noptions: { proxy: { nodePortAddresses: secondary } }\n",
  ],
  [
    "conntrack out of bounds",
    "name: a\nnodes: 1\noptions: { conntrack: { max: 10, timeoutSeconds: { udp: 0, tcpEstablish: 5 } } }\n",
  ],
];

const expected = golden("errors.golden.txt");

describe("a topology with", () => {
  it.each(cases)("%s", (what, text) => {
    expect(problemsOf(() => loadTopology(lab(text)))).toEqual(expected.get(what));
  });
});
