/** Leases of networks with IPv4 and IPv6, as flannel writes them (pkg/subnet/etcd/local_manager.go). */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pickFree } from "../../src/overlay/acquire.js";
import { NetworkConfigError, parseNetworkConfig } from "../../src/overlay/index.js";
import { formatSubnets, subnetsOverlap } from "../../src/overlay/subnet.js";
import { formatIpv6, ipv6Network, parseIpv6Prefix, parsePrefix } from "../../src/wire/index.js";
import { Lab } from "./lab.js";

const CONFIG = '{"Network":"172.16.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/56"}';
const lease = (publicIp: string) => `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"udp"}`;

describe("the configuration", () => {
  const ipv6Of = (fields: string) => {
    const { ipv6 } = parseNetworkConfig(`{"Network":"10.5.0.0/16","EnableIPv6":true,${fields}}`);
    return ipv6 && [ipv6.subnetLen, formatIpv6(ipv6.subnetMin), formatIpv6(ipv6.subnetMax)];
  };

  it.each([
    ['"IPv6Network":"fc00::/48"', 64, "fc00:0:0:1::", "fc00:0:0:ffff::"],
    ['"IPv6Network":"fc00::/62"', 64, "fc00:0:0:1::", "fc00:0:0:3::"],
    ['"IPv6Network":"fc00::/63"', 65, "fc00::8000:0:0:0", "fc00:0:0:1:8000::"],
    ['"IPv6Network":"fc00::/124"', 126, "fc00::4", "fc00::c"],
    ['"IPv6Network":"fc00::/48","IPv6SubnetLen":80', 80, "fc00::1:0:0:0", "fc00:0:0:ffff:ffff::"],
    ['"ipv6network":"fc00::1/48","IPv6SubnetMin":"fc00:0:0:5::"', 64, "fc00:0:0:5::", "fc00:0:0:ffff::"],
    ['"IPv6Network":"fc00::/48","IPv6SubnetMax":"fc00:0:0:5::"', 64, "fc00:0:0:1::", "fc00:0:0:5::"],
  ])("%s has flannel's defaults", (fields, ...expected) => expect(ipv6Of(fields)).toEqual(expected));

  it("without EnableIPv6 has no IPv6", () => {
    expect(parseNetworkConfig('{"Network":"10.5.0.0/16","IPv6Network":"fc00::/48"}').ipv6).toBeUndefined();
  });

  it.each([
    ['"IPv6SubnetLen":64', 'IPv6Network is missing; add one such as "IPv6Network":"fd00:10:244::/56"'],
    [
      '"IPv6Network":"10.0.0.0/8"',
      'IPv6Network "10.0.0.0/8" is not an IPv6 network such as "fd00:10:244::/56"',
    ],
    ['"IPv6Network":"fc00::/125"', "IPv6Network fc00::/125 is too small; use a /124 or larger"],
    [
      '"IPv6Network":"fc00::/63","IPv6SubnetLen":64',
      "IPv6Network fc00::/63 holds fewer than four /64 subnets; use IPv6SubnetLen 65 or more",
    ],
    [
      '"IPv6Network":"fc00::/56","IPv6SubnetLen":127',
      "IPv6SubnetLen 127 leaves no room for a bridge and a tunnel; use at most 126",
    ],
    [
      '"IPv6Network":"fc00::/56","IPv6SubnetLen":"64"',
      'IPv6SubnetLen "64" is not a prefix length; use a whole number up to 126',
    ],
    [
      '"IPv6Network":"fc00::/56","IPv6SubnetMin":"fc01::"',
      "IPv6SubnetMin fc01:: is outside IPv6Network fc00::/56",
    ],
    [
      '"IPv6Network":"fc00::/56","IPv6SubnetMin":"fc00::1"',
      "IPv6SubnetMin fc00::1 is not on a /64 boundary; the nearest below is fc00::",
    ],
    [
      '"IPv6Network":"fc00::/56","IPv6SubnetMin":"fc00:0:0:9::","IPv6SubnetMax":"fc00:0:0:8::"',
      "IPv6SubnetMin fc00:0:0:9:: is above IPv6SubnetMax fc00:0:0:8::; swap them",
    ],
    ['"EnableIPv4":false', "EnableIPv4 is false, but the underlay and every node here have IPv4; remove it"],
    ['"EnableIPv4":"no"', 'EnableIPv4 "no" is not true or false'],
  ])("%s is refused", (fields, problem) =>
    expect(() => ipv6Of(fields)).toThrow(new NetworkConfigError("/coreos.com/network/config", problem)),
  );
});

describe("a dual-stack network of nodes", () => {
  let lab: Lab;
  let directory: string;
  beforeEach(async () => {
    lab = new Lab();
    await lab.put("config", CONFIG);
    directory = await mkdtemp(join(tmpdir(), "podwire-dual-stack-"));
  });
  afterEach(async () => {
    await lab.close();
    await rm(directory, { recursive: true });
  });

  it("gives each node a subnet of both families under one key, and routes to both", async () => {
    const [a, b] = [await lab.up("10.0.0.11"), await lab.up("10.0.0.12")];
    expect(await lab.subnets()).toEqual({
      "172.16.1.0-24&fd00:10:244:1::-64": lease("10.0.0.11"),
      "172.16.2.0-24&fd00:10:244:2::-64": lease("10.0.0.12"),
    });
    expect(Object.fromEntries(a.routes.table)).toEqual({
      "172.16.2.0/24": "10.0.0.12",
      "fd00:10:244:2::/64": "10.0.0.12",
    });
    expect(b.overlay.status()).toMatchObject({
      network6: "fd00:10:244::/56",
      subnet6: "fd00:10:244:2::/64",
      peers: [{ publicIp: "10.0.0.11", subnet: "172.16.1.0/24", subnet6: "fd00:10:244:1::/64" }],
    });
    await b.overlay.stop();
    await lab.delete("subnets/172.16.2.0-24&fd00:10:244:2::-64");
    await lab.clock.advance(0);
    expect(a.routes.changes.slice(-2)).toEqual(["delete 172.16.2.0/24", "delete fd00:10:244:2::/64"]);
  });

  it("finds its subnets again by its PublicIP, and by subnet.env", async () => {
    const subnetFile = join(directory, "subnet.env");
    await writeFile(
      subnetFile,
      "FLANNEL_NETWORK=172.16.0.0/16\nFLANNEL_SUBNET=172.16.9.1/24\nFLANNEL_IPV6_NETWORK=fd00:10:244::/56\n" +
        "FLANNEL_IPV6_SUBNET=fd00:10:244:77::1/64\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n",
    );
    const a = await lab.up("10.0.0.11", { subnetFile });
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.9.0-24&fd00:10:244:77::-64"]);
    expect((await readFile(subnetFile, "utf8")).split("\n").slice(0, 4)).toEqual([
      "FLANNEL_NETWORK=172.16.0.0/16",
      "FLANNEL_SUBNET=172.16.9.1/24",
      "FLANNEL_IPV6_NETWORK=fd00:10:244::/56",
      "FLANNEL_IPV6_SUBNET=fd00:10:244:77::1/64",
    ]);
    await a.overlay.stop();
    const again = await lab.up("10.0.0.11");
    expect(again.overlay.status()).toMatchObject({ subnet: "172.16.9.0/24", subnet6: "fd00:10:244:77::/64" });
  });

  it("gives up an IPv4 lease from before, as flannel does", async () => {
    await lab.put("subnets/172.16.9.0-24", '{"PublicIP":"10.0.0.11"}', (await lab.store.leases.grant(60)).id);
    const a = await lab.up("10.0.0.11");
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.1.0-24&fd00:10:244:1::-64"]);
    expect(a.log).toContain(
      "warn: lease 172.16.9.0/24 of our PublicIP does not fit the network configuration: deleted",
    );
  });

  it("a peer with IPv4 alone is a peer for IPv4; one whose IPv6 subnet is ours is none", async () => {
    const a = await lab.up("10.0.0.11");
    await lab.put("subnets/172.16.7.0-24", '{"PublicIP":"10.0.0.17"}');
    await lab.put("subnets/172.16.8.0-24&fd00:10:244:1::-64", lease("10.0.0.18"));
    await lab.put("subnets/172.16.9.0-24&fd99::-64", lease("10.0.0.19"));
    await lab.clock.advance(0);
    expect(Object.fromEntries(a.routes.table)).toEqual({ "172.16.7.0/24": "10.0.0.17" });
    expect(a.log.filter((line) => line.startsWith("warn: ignored"))).toEqual([
      "warn: ignored the lease of 10.0.0.18: subnet 172.16.8.0/24&fd00:10:244:1::/64 overlaps our own 172.16.1.0/24&fd00:10:244:1::/64",
      "warn: ignored the lease of 10.0.0.19: subnet 172.16.9.0/24&fd99::/64 is outside the network fd00:10:244::/56",
    ]);
  });

  it("a node that is configured for IPv4 alone uses the IPv4 part", async () => {
    await lab.put("config", '{"Network":"172.16.0.0/16"}');
    const a = await lab.up("10.0.0.11");
    await lab.put("subnets/172.16.8.0-24&fd00:10:244:8::-64", lease("10.0.0.18"));
    await lab.clock.advance(0);
    expect(Object.fromEntries(a.routes.table)).toEqual({ "172.16.8.0/24": "10.0.0.18" });
  });

  it("asks for an underlay that carries IPv6's least packet", async () => {
    const node = lab.node("10.0.0.11", { underlayMtuBytes: 1300 });
    await expect(node.overlay.acquire()).rejects.toThrow(
      "underlay MTU 1300 is too small; use 1308 bytes or more",
    );
  });
});

describe("picking free subnets", () => {
  it("overlaps no held one of either family; two nodes that see the same want the same key", () => {
    const config = parseNetworkConfig(
      '{"Network":"10.1.0.0/24","SubnetLen":28,"EnableIPv6":true,"IPv6Network":"fd00::/60"}',
    );
    const held = fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 15 }), fc.boolean());
    const chance = fc.double({ min: 0, max: 0.999999, noNaN: true });
    fc.assert(
      fc.property(fc.array(held, { maxLength: 14 }), chance, (list, random) => {
        const subnets = list.map(([four, six, isDual]) => ({
          subnet: parsePrefix(`10.1.0.${four * 16}/28`)!,
          ...(isDual && { subnet6: parseIpv6Prefix(`fd00:0:0:${six.toString(16)}::/64`)! }),
        }));
        const picked = pickFree(config, subnets, () => random);
        if (picked === undefined) {
          const left4 = new Set(subnets.map(({ subnet }) => subnet.address)).size;
          expect(left4).toBeGreaterThanOrEqual(14);
          return;
        }
        expect(picked.subnet6 && ipv6Network(picked.subnet6.address, 60)).toBe(0xfd00n << 112n);
        for (const other of subnets) expect(subnetsOverlap(picked, other)).toBe(false);
        expect(formatSubnets(pickFree(config, subnets, () => random)!)).toBe(formatSubnets(picked));
      }),
    );
  });
});
