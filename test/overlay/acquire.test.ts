import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acquireLease, NetworkFullError, type OwnLease, pickFree } from "../../src/overlay/acquire.js";
import { parseNetworkConfig } from "../../src/overlay/index.js";
import { SubnetRegistry } from "../../src/overlay/registry.js";
import { networkOf, parseCidr } from "../../src/overlay/subnet.js";
import {
  formatPrefix,
  type Prefix,
  parseIpv4,
  prefixContains,
  prefixesOverlap,
} from "../../src/wire/index.js";
import { Lab, PREFIX } from "./lab.js";

const config = parseNetworkConfig('{"Network":"172.16.0.0/16"}');
/** Three subnets: 10.1.0.64, .128 and .192, each a /26. */
const small = parseNetworkConfig('{"Network":"10.1.0.0/24"}');

const address = (text: string): number => parseIpv4(text) ?? expect.fail(text);
const prefix = (text: string): Prefix => parseCidr(text) ?? expect.fail(text);

describe("taking a subnet", () => {
  let lab: Lab;
  let log: string[];
  beforeEach(() => {
    lab = new Lab();
    log = [];
  });
  afterEach(() => lab.close());

  function acquire(
    publicIp: string,
    {
      network = config,
      previous,
      random = () => 0,
    }: { network?: typeof config; previous?: string; random?: () => number } = {},
  ): Promise<OwnLease> {
    const registry = new SubnetRegistry(lab.store, PREFIX, (_level, message) => log.push(message));
    return acquireLease(registry, network, {
      attributes: { publicIp: address(publicIp), backendType: "udp" },
      ttlSeconds: 60,
      clock: lab.clock,
      random,
      log: (_level, message) => log.push(message),
      ...(previous && { previous: { subnet: prefix(previous) } }),
    });
  }

  const subnetOf = async (lease: Promise<OwnLease>): Promise<string> => formatPrefix((await lease).subnet);

  it("writes flannel's key and value, attached to a lease", async () => {
    const lease = await acquire("10.0.0.11");
    expect(formatPrefix(lease.subnet)).toBe("172.16.1.0/24");
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": '{"PublicIP":"10.0.0.11","BackendType":"udp"}' });
    const info = await lab.store.leases.timeToLive(lease.leaseId);
    expect(info.keys).toEqual([`${PREFIX}/subnets/172.16.1.0-24`]);
    expect(lease.expiresAtMs).toBe(lab.clock.now() + 60_000);
  });

  it("picks by chance among the first hundred free ones", async () => {
    expect(await subnetOf(acquire("10.0.0.11", { random: () => 0.999999 }))).toBe("172.16.100.0/24");
    expect(await subnetOf(acquire("10.0.0.12", { random: () => 0.5 }))).toBe("172.16.51.0/24");
  });

  it("gives a PublicIP the subnet that it had, under a new lease", async () => {
    const first = await acquire("10.0.0.11", { random: () => 0.5 });
    const again = await acquire("10.0.0.11", { previous: "172.16.9.0/24" });
    expect(again.subnet).toEqual(first.subnet);
    expect(again.leaseId).not.toBe(first.leaseId);
    await lab.store.leases.revoke(first.leaseId);
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.51.0-24"]);
  });

  it("deletes a lease of its PublicIP that the configuration no longer allows", async () => {
    await acquire("10.0.0.11", { network: small });
    expect(await subnetOf(acquire("10.0.0.11"))).toBe("172.16.1.0/24");
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.1.0-24"]);
    expect(log).toContain(
      "lease 10.1.0.64/26 of our PublicIP does not fit the network configuration: deleted",
    );
  });

  it("takes the previous subnet while it is free", async () => {
    expect(await subnetOf(acquire("10.0.0.11", { previous: "172.16.53.0/24" }))).toBe("172.16.53.0/24");
    expect(await subnetOf(acquire("10.0.0.12", { previous: "172.16.53.0/24" }))).toBe("172.16.1.0/24");
  });

  it.each(["172.16.53.0/25", "172.16.0.0/24", "172.17.1.0/24"])(
    "takes no previous subnet %s",
    async (previous) => {
      expect(await subnetOf(acquire("10.0.0.11", { previous }))).toBe("172.16.1.0/24");
      expect(log).toContain(`previous subnet ${previous} does not fit the network configuration: ignored`);
    },
  );

  it("uses a reservation for its PublicIP, without a lease", async () => {
    await lab.put("subnets/172.16.7.0-24", '{"PublicIP":"10.0.0.11"}');
    const lease = await acquire("10.0.0.11", { previous: "172.16.53.0/24" });
    expect(formatPrefix(lease.subnet)).toBe("172.16.7.0/24");
    expect([lease.leaseId, lease.expiresAtMs]).toEqual(["0", Number.POSITIVE_INFINITY]);
    await lab.clock.advance(3_600_000);
    expect(await lab.subnets()).toEqual({ "172.16.7.0-24": '{"PublicIP":"10.0.0.11","BackendType":"udp"}' });
  });

  it("leaves a reservation for its PublicIP alone that the configuration does not allow", async () => {
    await lab.put("subnets/172.17.7.0-24", '{"PublicIP":"10.0.0.11"}');
    expect(await subnetOf(acquire("10.0.0.11"))).toBe("172.16.1.0/24");
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.1.0-24", "172.17.7.0-24"]);
  });

  it("prefers the reservation to a lease that it has as well", async () => {
    await acquire("10.0.0.11");
    await lab.put("subnets/172.16.7.0-24", '{"PublicIP":"10.0.0.11"}');
    expect(await subnetOf(acquire("10.0.0.11"))).toBe("172.16.7.0/24");
  });

  it("keeps off what others reserved and what it cannot read", async () => {
    await lab.put("subnets/172.16.1.0-24", '{"PublicIP":"10.0.0.99"}');
    await lab.put("subnets/172.16.2.0-24", "not JSON");
    await lab.put("subnets/172.16.4.0-22", '{"PublicIP":"10.0.0.98"}');
    expect(await subnetOf(acquire("10.0.0.11"))).toBe("172.16.3.0/24");
    expect(await subnetOf(acquire("10.0.0.12"))).toBe("172.16.8.0/24");
    expect(log.filter((line) => line.includes("is not a JSON object"))).toHaveLength(2);
  });

  it("says that the network is full", async () => {
    await lab.put("subnets/10.1.0.128-26", '{"PublicIP":"10.0.0.99"}');
    await acquire("10.0.0.11", { network: small });
    await acquire("10.0.0.12", { network: small });
    await expect(acquire("10.0.0.13", { network: small })).rejects.toThrow(
      "network 10.1.0.0/24 is full: 3 leases and reservations hold all of its 3 /26 subnets (10.1.0.64 to 10.1.0.192); " +
        "remove a node or enlarge the network in /coreos.com/network/config",
    );
    expect(Object.keys(await lab.subnets())).toHaveLength(3);
  });

  it("lets exactly one of two nodes have the last subnet", async () => {
    await acquire("10.0.0.11", { network: small });
    await acquire("10.0.0.12", { network: small });
    const racers = [acquire("10.0.0.13", { network: small }), acquire("10.0.0.14", { network: small })];
    const results = await Promise.allSettled(racers);
    const losers = results.filter((result) => result.status === "rejected");
    expect(losers.map((loser) => loser.reason)).toEqual([expect.any(NetworkFullError)]);
    expect(Object.keys(await lab.subnets())).toHaveLength(3);
  });

  it("never gives a subnet to two nodes, and fails only when all are held", async () => {
    const racing = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 26, max: 30 }), fc.integer());
    await fc.assert(
      fc.asyncProperty(racing, async ([nodes, subnetLen, seed]) => {
        const fresh = new Lab();
        const network = parseNetworkConfig(JSON.stringify({ Network: "10.1.0.0/24", SubnetLen: subnetLen }));
        const registry = new SubnetRegistry(fresh.store, PREFIX, () => undefined);
        const random = lcg(seed);
        const options = { ttlSeconds: 60, clock: fresh.clock, random, log: () => undefined };
        const results = await Promise.allSettled(
          Array.from({ length: nodes }, (_, node) =>
            acquireLease(registry, network, {
              ...options,
              attributes: { publicIp: 100 + node, backendType: "udp" },
            }),
          ),
        );
        const held = results
          .filter((result) => result.status === "fulfilled")
          .map((result) => result.value.subnet);
        const room = 2 ** (subnetLen - 24) - 1;
        expect(held).toHaveLength(Math.min(nodes, room));
        expect(new Set(held.map(formatPrefix)).size).toBe(held.length);
        expect(Object.keys(await fresh.subnets()).sort()).toEqual(
          held.map((subnet) => formatPrefix(subnet).replace("/", "-")).sort(),
        );
        await fresh.close();
      }),
      { numRuns: 40 },
    );
  });
});

describe("picking a free subnet", () => {
  it("never overlaps a held one and stays in range; none only when none is free", () => {
    const heldSubnet = fc
      .tuple(
        fc.integer({ min: address("10.1.0.0"), max: address("10.1.0.255") }),
        fc.integer({ min: 24, max: 32 }),
      )
      .map(([any, length]) => networkOf(any, length));
    const network = parseNetworkConfig('{"Network":"10.1.0.0/24","SubnetLen":28,"SubnetMin":"10.1.0.32"}');
    fc.assert(
      fc.property(fc.array(heldSubnet), fc.double({ min: 0, max: 0.999999, noNaN: true }), (held, chance) => {
        const all = Array.from({ length: 14 }, (_, at) => ({
          address: network.subnetMin + at * 16,
          length: 28,
        }));
        const free = all.filter((subnet) => !held.some((other) => prefixesOverlap(other, subnet)));
        const subnets = held.map((subnet) => ({ subnet }));
        const picked = pickFree(network, subnets, () => chance)?.subnet;
        if (free.length === 0) expect(picked).toBeUndefined();
        else expect(free).toContainEqual(picked);
        if (picked) expect(prefixContains(network.network, picked.address)).toBe(true);
      }),
    );
  });
});

/** A small seeded generator of numbers in [0, 1) (Numerical Recipes' linear congruence). */
function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
