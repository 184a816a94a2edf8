import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { parseNetworkConfig } from "../../src/overlay/index.js";
import { LeaseTable } from "../../src/overlay/lease-table.js";
import type { LeaseEvent } from "../../src/overlay/types.js";
import { UdpBackend } from "../../src/overlay/udp.js";
import type { KeyValue, StoreEvent } from "../../src/store/index.js";
import { formatIpv4, formatPrefix, parseIpv4 } from "../../src/wire/index.js";
import { PREFIX, RecordedRoutes } from "./lab.js";

const config = parseNetworkConfig('{"Network":"172.16.0.0/16"}');
const udp = (publicIp: string): string => `{"PublicIP":"${publicIp}","BackendType":"udp"}`;

let revision = 0;
function kv(name: string, value: string, createRevision = ++revision): KeyValue {
  const key = `${PREFIX}/subnets/${name}`;
  return {
    key,
    value: new TextEncoder().encode(value),
    createRevision,
    modRevision: ++revision,
    version: 1,
    lease: "7",
  };
}
const put = (entry: KeyValue): StoreEvent => ({ type: "put", kv: entry });
const del = (entry: KeyValue): StoreEvent => ({ type: "delete", kv: { ...entry, value: new Uint8Array() } });

const show = (events: readonly LeaseEvent[]): string[] =>
  events.map(({ type, lease }) => `${type} ${formatPrefix(lease.subnet)} ${formatIpv4(lease.publicIp)}`);

describe("the table of leases", () => {
  let log: string[];
  let table: LeaseTable;

  function newTable(): LeaseTable {
    return new LeaseTable({
      prefix: PREFIX,
      network: config.network,
      own: { subnet: { address: 0xac100100, length: 24 } },
      ownPublicIp: parseIpv4("10.0.0.11") ?? 0,
      log: (level, message) => log.push(`${level}: ${message}`),
    });
  }

  beforeEach(() => {
    log = [];
    table = newTable();
  });

  it("tells who came and who went, and skips its own lease", () => {
    const two = kv("172.16.2.0-24", udp("10.0.0.12"));
    const three = kv("172.16.3.0-24", udp("10.0.0.13"));
    const own = kv("172.16.1.0-24", udp("10.0.0.11"));
    expect(show(table.reset([own, two]))).toEqual(["added 172.16.2.0/24 10.0.0.12"]);
    expect(show(table.apply([put(three), put(own), del(own)]))).toEqual(["added 172.16.3.0/24 10.0.0.13"]);
    expect(show(table.apply([del(two), del(two)]))).toEqual(["removed 172.16.2.0/24 10.0.0.12"]);
    expect(log).toEqual([]);
  });

  it("tells a snapshot as the difference to before", () => {
    const two = kv("172.16.2.0-24", udp("10.0.0.12"));
    table.reset([two, kv("172.16.3.0-24", udp("10.0.0.13"))]);
    expect(show(table.reset([two, kv("172.16.4.0-24", udp("10.0.0.13"))]))).toEqual([
      "removed 172.16.3.0/24 10.0.0.13",
      "added 172.16.4.0/24 10.0.0.13",
    ]);
    expect(show(table.reset([]))).toEqual([
      "removed 172.16.2.0/24 10.0.0.12",
      "removed 172.16.4.0/24 10.0.0.13",
    ]);
  });

  it("takes a renewal that writes the same again for no change, and a new PublicIP for one", () => {
    table.reset([kv("172.16.2.0-24", udp("10.0.0.12"))]);
    expect(table.apply([put(kv("172.16.2.0-24", udp("10.0.0.12")))])).toEqual([]);
    expect(show(table.apply([put(kv("172.16.2.0-24", udp("10.0.0.22")))]))).toEqual([
      "added 172.16.2.0/24 10.0.0.22",
    ]);
  });

  it.each([
    ["172.17.2.0-24", udp("10.0.0.12"), "subnet 172.17.2.0/24 is outside the network 172.16.0.0/16"],
    ["172.16.0.0-12", udp("10.0.0.12"), "subnet 172.16.0.0/12 is outside the network 172.16.0.0/16"],
    ["172.16.0.0-23", udp("10.0.0.12"), "subnet 172.16.0.0/23 overlaps our own 172.16.1.0/24"],
    ["172.16.1.128-25", udp("10.0.0.12"), "subnet 172.16.1.128/25 overlaps our own 172.16.1.0/24"],
    ["172.16.9.0-24", udp("10.0.0.11"), "carries our own PublicIP"],
    ["172.16.2.0-25", udp("10.0.0.13"), "subnet 172.16.2.0/25 overlaps 172.16.2.0/24 of 10.0.0.12"],
    ["nonsense", udp("10.0.0.12"), "does not name a subnet"],
    ["172.16.9.7-24", udp("10.0.0.12"), "does not name a subnet"],
    ["172.16.9.0-24", "{", "is not a JSON object"],
    ["172.16.9.0-24", '{"PublicIP":"10.0.0.300"}', "has no valid PublicIP"],
  ])("refuses %s = %s with a warning", (name, value, warning) => {
    table.reset([kv("172.16.2.0-24", udp("10.0.0.12"))]);
    expect(table.apply([put(kv(name, value))])).toEqual([]);
    expect(table.peers).toHaveLength(1);
    expect(log).toHaveLength(1);
    expect(log[0]).toContain(warning);
    expect(log[0]).toMatch(/^warn: /);
  });

  it("admits a refused lease when the one in its way is gone", () => {
    const wide = kv("172.16.4.0-22", udp("10.0.0.12"));
    table.reset([wide, kv("172.16.5.0-24", udp("10.0.0.13"))]);
    expect(show(table.apply([del(wide)]))).toEqual([
      "removed 172.16.4.0/22 10.0.0.12",
      "added 172.16.5.0/24 10.0.0.13",
    ]);
  });

  it("withdraws a lease that becomes one it has to refuse", () => {
    table.reset([kv("172.16.2.0-24", udp("10.0.0.12"))]);
    expect(show(table.apply([put(kv("172.16.2.0-24", udp("10.0.0.11")))]))).toEqual([
      "removed 172.16.2.0/24 10.0.0.12",
    ]);
    expect(show(table.apply([put(kv("172.16.2.0-24", udp("10.0.0.12")))]))).toEqual([
      "added 172.16.2.0/24 10.0.0.12",
    ]);
  });

  it("comes to the same from events as from the snapshot after them, and its events add up to its peers", () => {
    const change = fc.record({
      type: fc.constantFrom("put", "put", "delete"),
      name: fc.constantFrom(
        "172.16.2.0-24",
        "172.16.3.0-24",
        "172.16.2.0-23",
        "172.16.3.128-25",
        "172.16.0.0-22",
        "x",
      ),
      publicIp: fc.constantFrom("10.0.0.12", "10.0.0.13", "10.0.0.14"),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const content = new Map<string, KeyValue>();
        const byEvents = newTable();
        const seen = new Map<string, string>();
        for (const { type, name, publicIp } of changes) {
          const before = content.get(name);
          if (type === "delete" && before === undefined) continue;
          const entry = type === "put" || !before ? kv(name, udp(publicIp), before?.createRevision) : before;
          if (type === "put") content.set(name, entry);
          else content.delete(name);
          for (const { type: what, lease } of byEvents.apply([type === "put" ? put(entry) : del(entry)])) {
            if (what === "added") seen.set(formatPrefix(lease.subnet), formatIpv4(lease.publicIp));
            else expect(seen.delete(formatPrefix(lease.subnet))).toBe(true);
          }
        }
        const peers = (of: LeaseTable) =>
          of.peers.map((lease) => [formatPrefix(lease.subnet), formatIpv4(lease.publicIp)]);
        expect(new Map(peers(byEvents) as [string, string][])).toEqual(seen);
        const bySnapshot = newTable();
        bySnapshot.reset([...content.values()]);
        expect(peers(bySnapshot)).toEqual(peers(byEvents));
        expect(byEvents.reset([...content.values()])).toEqual([]);
      }),
    );
  });
});

describe("the udp backend", () => {
  it("takes its own overhead off the MTU and refuses an underlay that is too narrow", () => {
    const options = { config, publicIp: 1, log: () => undefined };
    expect(new UdpBackend({ ...options, underlayMtuBytes: 1500 }).mtuBytes).toBe(1472);
    expect(new UdpBackend({ ...options, underlayMtuBytes: 65535 }).mtuBytes).toBe(65507);
    expect(() => new UdpBackend({ ...options, underlayMtuBytes: 575 })).toThrow(
      "underlay MTU 575 is too small",
    );
    expect(() => new UdpBackend({ ...options, underlayMtuBytes: Number.NaN })).toThrow("underlay MTU NaN");
  });

  it("routes to peers of its own kind only", () => {
    const log: string[] = [];
    const routes = new RecordedRoutes();
    const backend = new UdpBackend({
      config,
      publicIp: 1,
      underlayMtuBytes: 1500,
      log: (level, message) => log.push(`${level}: ${message}`),
    });
    const lease = {
      publicIp: 0x0a00000c,
      backendType: "udp",
      leaseId: "7",
      createRevision: 1,
      modRevision: 1,
    };
    const at = (third: number) => ({ address: 0xac100000 + third * 256, length: 24 });
    backend.handle(
      [
        { type: "added", lease: { ...lease, subnet: at(2) } },
        { type: "added", lease: { ...lease, subnet: at(3), backendType: "" } },
        { type: "added", lease: { ...lease, subnet: at(4), backendType: "vxlan" } },
      ],
      routes,
    );
    expect(routes.changes).toEqual(["put 172.16.2.0/24 10.0.0.12", "put 172.16.3.0/24 10.0.0.12"]);
    expect(log.at(-1)).toBe(
      "warn: ignored node 10.0.0.12 with subnet 172.16.4.0/24: its backend is vxlan, ours is udp",
    );
    backend.handle(
      [
        { type: "removed", lease: { ...lease, subnet: at(4), backendType: "vxlan" } },
        { type: "added", lease: { ...lease, subnet: at(2), backendType: "vxlan" } },
        { type: "removed", lease: { ...lease, subnet: at(3) } },
      ],
      routes,
    );
    expect(routes.changes.slice(2)).toEqual(["delete 172.16.2.0/24", "delete 172.16.3.0/24"]);
    expect(backend.peers()).toEqual([]);
  });
});
