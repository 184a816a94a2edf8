/** /etc/resolv.conf and /etc/hosts of pods, as the kubelet makes them. */
import { describe, expect, it } from "vitest";
import type { Pod } from "../../src/kube/index.js";
import { hostsFile } from "../../src/node/pods/hostsFile.js";
import { resolvConf } from "../../src/node/pods/resolvConf.js";

type Spec = NonNullable<Pod["spec"]>;
const pod = (spec: object = {}): Pod => ({
  metadata: { name: "web-0", namespace: "shop" },
  spec: { containers: [], ...spec } as Spec,
});

const HOST = `# made by hand
nameserver 192.0.2.53
nameserver 192.0.2.54
search old.example
search corp.example. example.
options timeout:1 rotate
`;
const OPTIONS = { clusterDns: ["10.254.0.10"], zone: "cluster.local", hostResolvConf: HOST };
const conf = (spec?: object, options = OPTIONS) => resolvConf(pod(spec), options);

const CLUSTER = `search shop.svc.cluster.local svc.cluster.local cluster.local corp.example example
nameserver 10.254.0.10
options ndots:5
`;
const DEFAULT = `search corp.example example
nameserver 192.0.2.53
nameserver 192.0.2.54
options timeout:1 rotate
`;

describe("dnsPolicy", () => {
  it.each([
    [undefined, false, CLUSTER],
    ["ClusterFirst", false, CLUSTER],
    ["ClusterFirst", true, DEFAULT],
    ["ClusterFirstWithHostNet", true, CLUSTER],
    ["Default", false, DEFAULT],
    ["None", false, ""],
  ])("%s with hostNetwork %s", (dnsPolicy, hostNetwork, expected) => {
    expect(conf({ dnsPolicy, hostNetwork })).toBe(expected);
  });

  it("ClusterFirst is Default where there is no cluster DNS", () => {
    expect(conf({}, { ...OPTIONS, clusterDns: [] })).toBe(DEFAULT);
  });

  it("a machine without searches adds none, and the root stays the root", () => {
    expect(conf({}, { ...OPTIONS, hostResolvConf: "" })).toContain("svc.cluster.local cluster.local\n");
    expect(conf({ dnsPolicy: "Default" }, { ...OPTIONS, hostResolvConf: "search .\n" })).toBe("search .\n");
  });
});

describe("dnsConfig", () => {
  it("[sig-network] DNS should support configurable pod DNS nameservers", () => {
    const dnsConfig = { nameservers: ["192.0.2.1"], searches: ["resolv.conf.local"] };
    expect(conf({ dnsPolicy: "None", dnsConfig })).toBe("search resolv.conf.local\nnameserver 192.0.2.1\n");
  });

  it("[sig-network] DNS should support configurable pod resolv.conf", () => {
    const dnsConfig = {
      nameservers: ["192.0.2.1"],
      searches: ["a.test"],
      options: [{ name: "ndots", value: "2" }],
    };
    expect(conf({ dnsPolicy: "None", dnsConfig })).toBe(
      "search a.test\nnameserver 192.0.2.1\noptions ndots:2\n",
    );
  });

  it("is merged with what the policy gives, each entry once, options replaced in place", () => {
    const dnsConfig = {
      nameservers: ["10.254.0.10", "fd00::1"],
      searches: ["example", "my.test"],
      options: [{ name: "ndots", value: "2" }, { name: "edns0" }],
    };
    expect(
      conf({ dnsConfig }),
    ).toBe(`search shop.svc.cluster.local svc.cluster.local cluster.local corp.example example my.test
nameserver 10.254.0.10
nameserver fd00::1
options ndots:2 edns0
`);
  });

  it("keeps the first 3 name servers and 32 searches, none that is too long, 2048 characters in all", () => {
    const nameservers = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    const searches = Array.from({ length: 40 }, (_, index) => `s${index}.test`);
    const limited = conf({ dnsPolicy: "None", dnsConfig: { nameservers, searches } });
    expect(limited).toBe(
      `search ${searches.slice(0, 32).join(" ")}\n${nameservers
        .slice(0, 3)
        .map((address) => `nameserver ${address}\n`)
        .join("")}`,
    );
    const long = ["x".repeat(254), ...Array.from({ length: 20 }, (_, index) => `${index}`.padEnd(200, "y"))];
    const [line = ""] = conf({ dnsPolicy: "None", dnsConfig: { searches: long } }).split("\n");
    expect(line).toBe(`search ${long.slice(1, 11).join(" ")}`);
  });

  it.each([
    [{ nameservers: ["dns.example"] }, 'spec.dnsConfig.nameservers[0] "dns.example": give an IP address'],
    [{ nameservers: [["192.0.2.1"]] }, 'spec.dnsConfig.nameservers[0] ["192.0.2.1"]: give an IP address'],
    [{ nameservers: "192.0.2.1" }, "spec.dnsConfig.nameservers: give a list"],
    [{ searches: ["ok", "a\nnameserver 192.0.2.9"] }, "spec.dnsConfig.searches[1]"],
    [{ searches: [""] }, "spec.dnsConfig.searches[0]"],
    [{ options: [{ value: "1" }] }, "spec.dnsConfig.options[0]"],
    [{ options: [{ name: "ndots", value: "2\n" }] }, "spec.dnsConfig.options[0]"],
    [{ options: [null] }, "spec.dnsConfig.options[0] null"],
    [{ options: ["ndots:2"] }, "spec.dnsConfig.options[0]"],
  ])("%j is refused", (dnsConfig, message) => {
    expect(() => conf({ dnsConfig })).toThrow(message);
  });
});

describe("/etc/hosts", () => {
  const hosts = (spec?: object) =>
    hostsFile(pod(spec), { ips: ["172.16.1.5"], zone: "cluster.local", nodeHosts: "127.0.0.1\tnode\n" });
  const managed = (own: string) => `# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
${own}`;

  it("[sig-network] DNS should provide /etc/hosts entries for the cluster", () => {
    expect(hosts()).toBe(managed("172.16.1.5\tweb-0\n"));
    expect(hosts({ hostname: "dns-querier-1", subdomain: "dns-test-service" })).toBe(
      managed("172.16.1.5\tdns-querier-1.dns-test-service.shop.svc.cluster.local\tdns-querier-1\n"),
    );
  });

  it("adds host aliases", () => {
    const hostAliases = [
      { ip: "192.0.2.7", hostnames: ["foo.local", "bar.local"] },
      { ip: "fd00::7", hostnames: ["baz"] },
    ];
    const added = "\n# Entries added by HostAliases.\n192.0.2.7\tfoo.local\tbar.local\nfd00::7\tbaz\n";
    expect(hosts({ hostAliases })).toBe(managed(`172.16.1.5\tweb-0\n${added}`));
    expect(hosts({ hostAliases, hostNetwork: true })).toBe(
      `# Kubernetes-managed hosts file (host network).\n127.0.0.1\tnode\n${added}`,
    );
  });

  it("has a line for each address", () => {
    const text = hostsFile(pod(), { ips: ["172.16.1.5", "fd00::5"], zone: "cluster.local" });
    expect(text.endsWith("172.16.1.5\tweb-0\nfd00::5\tweb-0\n")).toBe(true);
  });

  it.each([
    [{}, "spec.hostAliases: give a list"],
    [[null], "spec.hostAliases[0]"],
    [[{ ip: "nowhere", hostnames: ["a"] }], "spec.hostAliases[0]"],
    [[{ ip: "192.0.2.7", hostnames: ["a\n192.0.2.8 b"] }], "spec.hostAliases[0]"],
    [[{ ip: "192.0.2.7" }], "spec.hostAliases[0]"],
  ])("%j is refused", (hostAliases, message) => {
    expect(() => hosts({ hostAliases })).toThrow(message);
  });
});
