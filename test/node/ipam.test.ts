/** Pod addresses: never two alike, in host-local's order, and all of the subnet is used before it is full. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PodIpam, SubnetFullError } from "../../src/node/pods/ipam.js";
import { formatIpv4, type Prefix, parsePrefix } from "../../src/wire/index.js";

const prefix = (text: string): Prefix => parsePrefix(text) ?? expect.fail(text);

describe("second addresses", () => {
  const subnet = { address: 0xac103500, length: 24 };

  it("have the number of the first in the IPv6 subnet", () => {
    const ipam = new PodIpam(subnet, { address: 0xfd00_0010_0244_0035n << 64n, length: 64 });
    expect(["172.16.53.2", "172.16.53.254"].map((ip) => ipam.second(ip))).toEqual([
      "fd00:10:244:35::2",
      "fd00:10:244:35::fe",
    ]);
    expect(new PodIpam(subnet).second("172.16.53.2")).toBeUndefined();
  });

  it("are none beyond an IPv6 subnet that is the smaller one", () => {
    const ipam = new PodIpam(subnet, { address: 0xfd00n << 112n, length: 125 });
    expect(ipam.second("172.16.53.7")).toBe("fd00::7");
    expect(() => ipam.second("172.16.53.8")).toThrow("no free pod address in fd00::/125");
  });
});

describe("PodIpam", () => {
  it("starts at .2 and gives a freed address out last", () => {
    const ipam = new PodIpam(prefix("172.16.53.0/29"));
    expect([ipam.allocate(), ipam.allocate(), ipam.allocate()]).toEqual([
      "172.16.53.2",
      "172.16.53.3",
      "172.16.53.4",
    ]);
    ipam.release("172.16.53.2");
    expect([ipam.allocate(), ipam.allocate(), ipam.allocate()]).toEqual([
      "172.16.53.5",
      "172.16.53.6",
      "172.16.53.2",
    ]);
    expect(() => ipam.allocate()).toThrow(SubnetFullError);
    ipam.release("172.16.53.4");
    expect(ipam.allocate()).toBe("172.16.53.4");
  });

  it("names the subnet when it is full", () => {
    expect(() => new PodIpam(prefix("10.9.8.0/31")).allocate()).toThrow("no free pod address in 10.9.8.0/31");
  });

  it("claims what a surviving pod holds, once and inside the subnet only", () => {
    const ipam = new PodIpam(prefix("172.16.53.0/24"));
    expect(ipam.claim("172.16.53.7")).toBe(true);
    expect(ipam.claim("172.16.53.7")).toBe(false);
    for (const foreign of ["172.16.53.0", "172.16.53.1", "172.16.53.255", "172.16.54.2", "no address"]) {
      expect([foreign, ipam.claim(foreign)]).toEqual([foreign, false]);
    }
    expect(ipam.allocate()).toBe("172.16.53.8");
  });

  it("agrees with a list that is walked round, whatever the calls", () => {
    const subnet = prefix("192.168.255.240/28");
    const all = Array.from({ length: 13 }, (_, index) => formatIpv4(subnet.address + 2 + index));
    const call = fc.oneof(
      fc.constant("allocate" as const),
      fc.nat(12).map((index) => ({ release: index })),
    );
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const ipam = new PodIpam(subnet);
        const held = new Set<string>();
        let last = all.length - 1;
        for (const one of calls) {
          if (one !== "allocate") {
            held.delete(all[one.release] ?? "");
            ipam.release(all[one.release] ?? "");
            continue;
          }
          const round = [...all.slice(last + 1), ...all.slice(0, last + 1)];
          const expected = round.find((ip) => !held.has(ip));
          if (expected === undefined) {
            expect(() => ipam.allocate()).toThrow(SubnetFullError);
            continue;
          }
          expect(ipam.allocate()).toBe(expected);
          held.add(expected);
          last = all.indexOf(expected);
        }
      }),
    );
  });
});
