import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildEcho,
  buildTcp,
  buildUdp,
  formatFingerprint,
  type PacketFields,
  PacketView,
  ParseError,
  packetFingerprint,
  parseIpv4Packet,
  setU16,
  TCP_CHECKSUM,
  type TcpFields,
  TcpFlag,
  UDP_CHECKSUM,
  writeIcmpError,
} from "../../src/wire/index.js";
import { hex, payload, poisoned, u8, u16, u32 } from "./helpers.js";

const base: TcpFields = {
  ...{ src: 0x0a000001, dst: 0x0afe0001, sport: 40000, dport: 80, ttl: 64, id: 7, flags: TcpFlag.ack },
  ...{
    seq: 1000,
    ack: 2000,
    window: 501,
    options: hex("0101080a 00000001 00000002"),
    payload: hex("0102030405"),
  },
};

function fingerprint(bytes: Uint8Array, length: number): number {
  const view = new PacketView();
  expect(parseIpv4Packet(bytes, 0, length, view)).toBe(ParseError.ok);
  return packetFingerprint(bytes, view);
}

function ofTcp(change: Partial<TcpFields>, checksum?: number): number {
  const bytes = poisoned(300);
  const length = buildTcp(bytes, 0, { ...base, ...change });
  if (checksum !== undefined) setU16(bytes, 20 + TCP_CHECKSUM, checksum);
  return fingerprint(bytes, length);
}

const rewrite = fc.record({ src: u32, dst: u32, sport: u16, dport: u16, ttl: u8, tos: u8 });

describe("the fingerprint", () => {
  it("is the same after any rewrite, hop and state of the checksum", () => {
    fc.assert(
      fc.property(rewrite, u16, payload, (change, checksum, data) => {
        expect(ofTcp({ ...change, payload: data }, checksum)).toBe(ofTcp({ payload: data }));
      }),
    );
  });

  it("is the same for UDP and echo after a rewrite", () => {
    fc.assert(
      fc.property(rewrite, u16, payload, (change, number, data) => {
        const udp = (fields: PacketFields & { sport: number; dport: number }, checksum: number) => {
          const bytes = poisoned(300);
          const length = buildUdp(bytes, 0, { ...fields, payload: data });
          setU16(bytes, 20 + UDP_CHECKSUM, checksum);
          return fingerprint(bytes, length);
        };
        expect(udp({ ...base, ...change }, number)).toBe(udp(base, 0));
        const echo = (fields: PacketFields, icmpId: number) => {
          const bytes = poisoned(300);
          return fingerprint(bytes, buildEcho(bytes, 0, { ...fields, icmpId, icmpSeq: 9, payload: data }));
        };
        expect(echo({ ...base, ...change }, number)).toBe(echo(base, 1));
      }),
    );
  });

  it("is the same for an ICMP error translated outside and inside", () => {
    fc.assert(
      fc.property(rewrite, u32, u8, (change, src, ttl) => {
        const error = (fields: Partial<TcpFields>, from: number, hops: number) => {
          const bytes = poisoned(300);
          const out = poisoned(300);
          const view = new PacketView();
          parseIpv4Packet(bytes, 0, buildTcp(bytes, 0, { ...base, ...fields }), view);
          return fingerprint(out, writeIcmpError(out, 0, bytes, view, 3, 3, 0, from, hops, 21));
        };
        const translated = error({ ...change, tos: 0 }, src, ttl);
        expect(translated).toBe(error({}, 1, 64));
        expect(translated).not.toBe(error({ seq: 1001 }, 1, 64));
      }),
    );
  });

  it.each<[string, Partial<TcpFields>]>([
    ["IP id", { id: 8 }],
    ["DF", { dontFragment: true }],
    ["sequence number", { seq: 1001 }],
    ["acknowledgement", { ack: 2001 }],
    ["flags", { flags: TcpFlag.ack | TcpFlag.psh }],
    ["window", { window: 500 }],
    ["options", { options: hex("0101080a 00000001 00000003") }],
    ["last payload byte", { payload: hex("0102030406") }],
    ["length", { payload: hex("010203040500") }],
  ])("differs by %s", (_what, change) => {
    expect(ofTcp(change)).not.toBe(ofTcp({}));
  });

  it("does not read payload past 64 bytes", () => {
    const data = (at: number) => {
      const bytes = poisoned(100, 1);
      bytes[at] = 2;
      return { payload: bytes };
    };
    expect(ofTcp(data(64))).toBe(ofTcp(data(99)));
    expect(ofTcp(data(63))).not.toBe(ofTcp(data(99)));
  });

  it("spreads: ten thousand packets of one connection, at most a few collisions", () => {
    const seen = new Set(Array.from({ length: 10_000 }, (_, i) => ofTcp({ id: i, seq: i * 1448 })));
    expect(seen.size).toBeGreaterThan(9_998);
  });

  it("is written as eight hex digits", () => {
    expect([formatFingerprint(0xbeef), formatFingerprint(0xffffffff)]).toEqual(["0000beef", "ffffffff"]);
  });
});
