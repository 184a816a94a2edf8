import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NetworkConfigError, parseNetworkConfig } from "../../src/overlay/index.js";
import { formatIpv4 } from "../../src/wire/index.js";

/** Good configurations: text, then subnet length, first and last subnet, backend, port. */
const good: [string, number, string, string, string, number][] = [
  ['{"Network":"172.16.0.0/16"}', 24, "172.16.1.0", "172.16.255.0", "udp", 8285],
  ['{"Network":"172.16.0.0/16","SubnetLen":0}', 24, "172.16.1.0", "172.16.255.0", "udp", 8285],
  ['{"Network":"10.0.0.0/8","SubnetLen":20}', 20, "10.0.16.0", "10.255.240.0", "udp", 8285],
  ['{"Network":"10.1.0.0/22"}', 24, "10.1.1.0", "10.1.3.0", "udp", 8285],
  ['{"Network":"10.1.0.0/23"}', 25, "10.1.0.128", "10.1.1.128", "udp", 8285],
  ['{"Network":"10.1.0.0/24"}', 26, "10.1.0.64", "10.1.0.192", "udp", 8285],
  ['{"Network":"10.1.0.16/28"}', 30, "10.1.0.20", "10.1.0.28", "udp", 8285],
  ['{"Network":"10.1.0.0/16","SubnetLen":30}', 30, "10.1.0.4", "10.1.255.252", "udp", 8285],
  ['{"Network":"172.16.7.9/16"}', 24, "172.16.1.0", "172.16.255.0", "udp", 8285],
  [
    '{"Network":"10.5.0.0/16","SubnetMin":"10.5.8.0","SubnetMax":"10.5.9.0"}',
    24,
    "10.5.8.0",
    "10.5.9.0",
    "udp",
    8285,
  ],
  ['{"Network":"10.5.0.0/16","SubnetMin":"10.5.0.0"}', 24, "10.5.0.0", "10.5.255.0", "udp", 8285],
  [
    '{"Network":"10.5.0.0/16","Backend":{"Type":"udp","Port":7890}}',
    24,
    "10.5.1.0",
    "10.5.255.0",
    "udp",
    7890,
  ],
  [
    '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":1}}',
    24,
    "10.5.1.0",
    "10.5.255.0",
    "vxlan",
    8285,
  ],
  [
    '{"network":"10.5.0.0/16","subnetlen":25,"backend":{"type":"udp"}}',
    25,
    "10.5.0.128",
    "10.5.255.128",
    "udp",
    8285,
  ],
  ['{"Network":"255.255.0.0/16"}', 24, "255.255.1.0", "255.255.255.0", "udp", 8285],
  [
    '{"Network":"10.5.0.0/16","EnableIPv6":false,"IPv6Network":"fc00::/48"}',
    24,
    "10.5.1.0",
    "10.5.255.0",
    "udp",
    8285,
  ],
];

/** Bad configurations, and what the message has to say. */
const bad: [string, RegExp][] = [
  ["", /not a JSON object/],
  ["172.16.0.0/16", /not a JSON object/],
  ["[]", /not a JSON object/],
  ["{}", /Network is missing/],
  ['{"Network":""}', /Network "" is not an IPv4 network/],
  ['{"Network":"172.16.0.0"}', /not an IPv4 network/],
  ['{"Network":"172.16.0.0/33"}', /not an IPv4 network/],
  ['{"Network":"172.16.0/16"}', /not an IPv4 network/],
  ['{"Network":"172.016.0.0/16"}', /not an IPv4 network/],
  ['{"Network":"fc00::/48"}', /not an IPv4 network/],
  ['{"Network":16}', /not an IPv4 network/],
  ['{"Network":"10.0.0.0/29"}', /too small; use a \/28/],
  ['{"Network":"10.0.0.0/16","SubnetLen":31}', /SubnetLen 31 leaves no room/],
  ['{"Network":"10.0.0.0/16","SubnetLen":33}', /SubnetLen 33 is not a prefix length/],
  ['{"Network":"10.0.0.0/16","SubnetLen":-1}', /SubnetLen -1/],
  ['{"Network":"10.0.0.0/16","SubnetLen":24.5}', /SubnetLen 24.5/],
  ['{"Network":"10.0.0.0/16","SubnetLen":"24"}', /SubnetLen "24"/],
  ['{"Network":"10.0.0.0/16","SubnetLen":17}', /fewer than four \/17 subnets; use SubnetLen 18/],
  ['{"Network":"10.0.0.0/16","SubnetMin":"10.1.0.0"}', /SubnetMin 10.1.0.0 is outside Network 10.0.0.0\/16/],
  ['{"Network":"10.0.0.0/16","SubnetMax":"9.255.255.0"}', /SubnetMax 9.255.255.0 is outside/],
  [
    '{"Network":"10.0.0.0/16","SubnetMin":"10.0.1.7"}',
    /SubnetMin 10.0.1.7 is not on a \/24 boundary.*10.0.1.0/,
  ],
  ['{"Network":"10.0.0.0/16","SubnetMax":"10.0.1.128"}', /SubnetMax 10.0.1.128 is not on a \/24 boundary/],
  ['{"Network":"10.0.0.0/16","SubnetMin":"x"}', /SubnetMin "x" is not an IPv4 address/],
  [
    '{"Network":"10.0.0.0/16","SubnetMin":"10.0.9.0","SubnetMax":"10.0.8.0"}',
    /SubnetMin 10.0.9.0 is above SubnetMax 10.0.8.0/,
  ],
  ['{"Network":"10.0.0.0/16","Backend":"udp"}', /Backend is not an object/],
  ['{"Network":"10.0.0.0/16","Backend":{}}', /Backend.Type is missing/],
  ['{"Network":"10.0.0.0/16","Backend":{"Type":"udp","Port":0}}', /Backend.Port 0/],
  ['{"Network":"10.0.0.0/16","Backend":{"Type":"udp","Port":"8285"}}', /Backend.Port "8285"/],
];

describe("network configuration", () => {
  it.each(good)("accepts %s", (text, subnetLen, min, max, backendType, port) => {
    const config = parseNetworkConfig(text);
    expect({
      ...config,
      subnetMin: formatIpv4(config.subnetMin),
      subnetMax: formatIpv4(config.subnetMax),
    }).toEqual({ network: config.network, subnetLen, subnetMin: min, subnetMax: max, backendType, port });
  });

  it.each(bad)("refuses %s", (text, message) => {
    expect(() => parseNetworkConfig(text, "/atomic.io/network/config")).toThrow(NetworkConfigError);
    expect(() => parseNetworkConfig(text, "/atomic.io/network/config")).toThrow(message);
    expect(() => parseNetworkConfig(text, "/atomic.io/network/config")).toThrow("/atomic.io/network/config");
  });

  it("clears the host bits of the network", () => {
    expect(parseNetworkConfig('{"Network":"172.16.7.9/16"}').network).toEqual({
      address: 0xac100000,
      length: 16,
    });
  });

  it("answers any text with a configuration or a NetworkConfigError", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parseNetworkConfig(text);
        } catch (error) {
          expect(error).toBeInstanceOf(NetworkConfigError);
        }
      }),
    );
  });
});
