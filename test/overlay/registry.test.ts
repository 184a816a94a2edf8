import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeAttributes, parseLease, parseSubnetKey, subnetKey } from "../../src/overlay/registry.js";
import { networkOf } from "../../src/overlay/subnet.js";
import type { KeyValue } from "../../src/store/index.js";

const PREFIX = "/coreos.com/network";
const SUBNET = { address: 0xac103500, length: 24 };
const KEY = "/coreos.com/network/subnets/172.16.53.0-24";

function kv(value: string, key = KEY): KeyValue {
  return {
    key,
    value: new TextEncoder().encode(value),
    createRevision: 3,
    modRevision: 5,
    version: 2,
    lease: "77",
  };
}

describe("subnet keys", () => {
  it("are flannel's", () => expect(subnetKey(PREFIX, { subnet: SUBNET })).toBe(KEY));

  it("round-trip", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.integer({ min: 0, max: 32 }),
        (address, length) => {
          const subnet = networkOf(address, length);
          expect(parseSubnetKey(PREFIX, subnetKey(PREFIX, { subnet }))).toEqual({ subnet });
        },
      ),
    );
  });

  it.each([
    "172.16.53.0",
    "172.16.53.0-",
    "172.16.53.0-33",
    "172.16.53.0/24",
    "172.16.53.1-24",
    "172.16.053.0-24",
    "172.16.53.0-024",
    "172.16.53.0-24/x",
    "172.16.300.0-24",
    "x172.16.53.0-24",
    "172.16.53.0-24&",
    "172.16.53.0-24&fd00::-129",
    "172.16.53.0-24&fd00::1-64",
    "172.16.53.0-24&FD00::-64",
    "172.16.53.0-24&fd00:0::-64",
    "172.16.53.0-24&fd00::-64&fd01::-64",
    "&fd00::-64",
    "",
  ])("refuse %j", (name) => expect(parseSubnetKey(PREFIX, `${PREFIX}/subnets/${name}`)).toBeUndefined());

  it("name both subnets in a dual-stack network, as flannel writes them", () => {
    const subnet6 = { address: 0xfd00_0010_0244_0005n << 64n, length: 64 };
    const key = `${PREFIX}/subnets/172.16.53.0-24&fd00:10:244:5::-64`;
    expect(subnetKey(PREFIX, { subnet: SUBNET, subnet6 })).toBe(key);
    expect(parseSubnetKey(PREFIX, key)).toEqual({ subnet: SUBNET, subnet6 });
  });

  it("refuse other prefixes", () => expect(parseSubnetKey("/other", KEY)).toBeUndefined());
});

describe("lease values", () => {
  it("of a dual-stack lease say that the underlay has no IPv6", () => {
    const subnet6 = { address: 0xfd00n << 112n, length: 64 };
    const value = encodeAttributes({ publicIp: 0x0a00000b, backendType: "udp" }, { subnet6 });
    expect(new TextDecoder().decode(value)).toBe(
      '{"PublicIP":"10.0.0.11","PublicIPv6":null,"BackendType":"udp"}',
    );
  });

  it("are flannel's", () => {
    const value = encodeAttributes({ publicIp: 0x0a00000b, backendType: "udp" });
    expect(new TextDecoder().decode(value)).toBe('{"PublicIP":"10.0.0.11","BackendType":"udp"}');
  });

  it("are read as flannel writes them, with or without BackendType and the fields of IPv6", () => {
    const lease = { subnet: SUBNET, publicIp: 0x0a00000b, leaseId: "77", createRevision: 3, modRevision: 5 };
    expect(parseLease(PREFIX, kv('{"PublicIP":"10.0.0.11"}'))).toEqual({ ...lease, backendType: "" });
    expect(parseLease(PREFIX, kv('{"PublicIP":"10.0.0.11","PublicIPv6":null,"BackendType":"udp"}'))).toEqual({
      ...lease,
      backendType: "udp",
    });
    const vxlan =
      '{"PublicIP":"10.0.0.11","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}';
    const read = parseLease(PREFIX, kv(vxlan));
    expect(read).toEqual({
      ...lease,
      backendType: "vxlan",
      backendData: { VNI: 1, VtepMAC: "c6:d2:32:6f:8f:44" },
    });
    if (typeof read !== "string") expect(new TextDecoder().decode(encodeAttributes(read))).toBe(vxlan);
  });

  it.each([
    ["", /not a JSON object/],
    ["null", /not a JSON object/],
    ['["10.0.0.11"]', /not a JSON object/],
    ["{}", /no valid PublicIP/],
    ['{"PublicIP":"10.0.0"}', /no valid PublicIP/],
    ['{"PublicIP":167772171}', /no valid PublicIP/],
    ['{"PublicIP":"10.0.0.11","BackendType":7}', /BackendType that is not a text/],
  ])("refuse %j", (value, problem) => {
    expect(parseLease(PREFIX, kv(value))).toMatch(problem);
    expect(parseLease(PREFIX, kv(value))).toContain(KEY);
  });

  it("of any content are answered without throwing", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), fc.string(), (value, name) => {
        expect(["string", "object"]).toContain(
          typeof parseLease(PREFIX, kv(value, `${PREFIX}/subnets/${name}`)),
        );
      }),
    );
  });
});
