import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressBook, isIpv6Handle, NO_HANDLE } from "../../../src/datapath/index.js";
import { RouteTable6 } from "../../../src/datapath/ipv6/routes.js";
import { formatIpv6, ipv6PrefixContains, writeIpv6Address } from "../../../src/wire/index.js";
import { seededRandom } from "../harness.js";
import { ip6, prefix6 } from "./harness6.js";

function bytesOf(address: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  writeIpv6Address(bytes, 0, address);
  return bytes;
}

describe("the address book", () => {
  it("gives every address one handle, and gives the address back", () => {
    const book = new AddressBook(seededRandom(1));
    const handle = book.intern(bytesOf(ip6("fd00::1")), 0);
    expect(isIpv6Handle(handle)).toBe(true);
    expect(book.intern(bytesOf(ip6("fd00::1")), 0)).toBe(handle);
    expect(book.intern(bytesOf(ip6("fd00::2")), 0)).not.toBe(handle);
    expect([book.address(handle), book.name(handle), book.name(0x0a000001)]).toEqual([
      ip6("fd00::1"),
      "fd00::1",
      0x0a000001,
    ]);
    expect(book.find(bytesOf(ip6("fd00::3")), 0)).toBe(NO_HANDLE);
    expect([0x0a000001, 0xffffffff, 0xefffffff, 0xf1000000].map(isIpv6Handle)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  it("frees what nobody keeps, and keeps what is pinned, marked or in use, as a plain map says", () => {
    const steps = fc.array(
      fc.tuple(fc.constantFrom("use", "keep", "drop", "pin", "unpin"), fc.nat({ max: 80 })),
      {
        maxLength: 400,
      },
    );
    fc.assert(
      fc.property(steps, (list) => {
        const book = new AddressBook(seededRandom(1), 32, 64);
        const kept = new Map<bigint, number>();
        const pinned = new Map<bigint, number>();
        book.addRoot((mark) => {
          for (const handle of kept.values()) mark(handle);
        });
        for (const [what, which] of list) {
          const address = ip6("fd00::") + BigInt(which);
          book.tick();
          if (what === "use" || what === "keep") {
            const handle = book.intern(bytesOf(address), 0);
            if (handle === NO_HANDLE) expect(kept.size + pinned.size).toBeGreaterThanOrEqual(48);
            else if (what === "keep") kept.set(address, handle);
          }
          if (what === "drop") kept.delete(address);
          if (what === "pin" && !pinned.has(address) && kept.size + pinned.size < 40)
            pinned.set(address, book.pin(address));
          if (what === "unpin" && pinned.has(address)) {
            book.unpin(pinned.get(address)!);
            pinned.delete(address);
          }
          expect(book.count).toBeLessThanOrEqual(64);
          for (const [known, handle] of [...kept, ...pinned]) {
            expect(book.find(bytesOf(known), 0)).toBe(handle);
            expect(formatIpv6(book.address(handle))).toBe(formatIpv6(known));
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("that is full and cannot grow looks for room once a tick", () => {
    const book = new AddressBook(seededRandom(1), 16, 16);
    let marked = 0;
    const handles: number[] = [];
    book.addRoot((mark) => {
      marked++;
      handles.forEach(mark);
    });
    for (let i = 0; i < 16; i++) handles.push(book.intern(bytesOf(BigInt(i) + ip6("fd00::")), 0));
    for (let i = 0; i < 100; i++) expect(book.intern(bytesOf(ip6("fd01::") + BigInt(i)), 0)).toBe(NO_HANDLE);
    expect(marked).toBe(1);
    expect(() => book.pin(ip6("fd02::"))).toThrow("no room for IPv6 address fd02::: 16 are in use");
    handles.length = 4;
    book.tick();
    expect(book.intern(bytesOf(ip6("fd03::")), 0)).not.toBe(NO_HANDLE);
    expect(book.count).toBe(5);
  });

  it("knows what an address is to the node, also those it had before", () => {
    const book = new AddressBook(seededRandom(1));
    const before = book.pin(ip6("fd00:10:244:1::5"));
    expect(book.has(before, 2 | 4)).toBe(false);
    book.setNetworks({
      own: [ip6("fd00:10::11")],
      podSubnet: prefix6("fd00:10:244:1::/64"),
      podNetwork: prefix6("fd00:10:244::/56"),
      serviceNetwork: prefix6("fd00:10:96::/112"),
    });
    const classes = (text: string) => {
      const handle = book.pin(ip6(text));
      return [1, 2, 4, 8, 16, 32, 64].filter((bit) => book.has(handle, bit));
    };
    expect(classes("fd00:10:244:1::5")).toEqual([2, 4, 64]);
    expect(classes("fd00:10:244:ff::5")).toEqual([4, 64]);
    expect(classes("fd00:10:244:100::5")).toEqual([64]);
    expect(classes("fd00:10:96::ffff")).toEqual([8, 64]);
    expect(classes("fd00:10:96::1:0")).toEqual([64]);
    expect(classes("fd00:10::11")).toEqual([1, 64]);
    expect(classes("ff02::1")).toEqual([16]);
    expect(classes("fe80::1")).toEqual([32, 64]);
    expect(classes("::1")).toEqual([]);
  });

  it("says how checksums change", () => {
    const slow = (address: bigint) => {
      let sum = 0n;
      for (let rest = address; rest > 0n; rest >>= 16n) sum += rest & 0xffffn;
      return sum % 0xffffn;
    };
    const address = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
    const book = new AddressBook(seededRandom(1));
    fc.assert(
      fc.property(address, address, (from, to) => {
        const delta = BigInt(book.replaced(book.pin(from), book.pin(to)));
        expect((slow(from) + delta) % 0xffffn).toBe(slow(to));
      }),
    );
  });

  it("digests an address the same way in every book", () => {
    const [one, other] = [new AddressBook(seededRandom(1)), new AddressBook(seededRandom(2))];
    other.pin(ip6("fd00::9"));
    expect(one.digest(one.pin(ip6("fd00::1")))).toBe(other.digest(other.pin(ip6("fd00::1"))));
    expect(one.digest(one.pin(ip6("fd00::1")))).not.toBe(one.digest(one.pin(ip6("fd00::2"))));
  });
});

describe("IPv6 routes", () => {
  it("the longest prefix wins, as a slow search says, also after changes", () => {
    const length = fc.integer({ min: 112, max: 128 });
    const change = fc.tuple(fc.boolean(), fc.nat({ max: 0xffff }), length);
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 30 }),
        fc.array(fc.nat({ max: 0xffff })),
        (changes, lookups) => {
          const book = new AddressBook(seededRandom(1));
          const table = new RouteTable6(book);
          const slow = new Map<string, { address: bigint; length: number }>();
          for (const [adds, host, bits] of changes) {
            const hostBits = BigInt(128 - bits);
            const prefix = {
              address: ((ip6("fd00::") + BigInt(host)) >> hostBits) << hostBits,
              length: bits,
            };
            const key = `${prefix.address}/${bits}`;
            if (adds) table.put({ prefix, port: bits, nextHop: 0 });
            else expect(table.delete(prefix)).toBe(slow.has(key));
            if (adds) slow.set(key, prefix);
            else slow.delete(key);
            for (const one of lookups) {
              const address = ip6("fd00::") + BigInt(one);
              const best = [...slow.values()]
                .filter((candidate) => ipv6PrefixContains(candidate, address))
                .sort((a, b) => b.length - a.length)[0];
              expect(table.lookup(book.intern(bytesOf(address), 0))?.prefix).toEqual(best);
            }
          }
        },
      ),
    );
  });

  it("a prefix with host bits is refused by name", () => {
    const table = new RouteTable6(new AddressBook(seededRandom(1)));
    expect(() => table.put({ prefix: { address: ip6("fd00::1"), length: 64 }, port: 1, nextHop: 0 })).toThrow(
      "route to fd00::1/64: not a network address; clear its host bits",
    );
  });
});
