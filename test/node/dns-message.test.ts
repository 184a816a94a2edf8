/** Messages on the wire: what is refused or dropped, sizes and truncation, and input of any kind. */
import { decode, encode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ask, catalogOf, queryOf, resolverOf, service, slice, told } from "./dns-lab.js";

const MANY = Array.from({ length: 60 }, (_, index) => ({ addresses: [`172.16.7.${index + 1}`] }));
const resolve = resolverOf(
  catalogOf({
    services: [
      service("web", { clusterIP: "10.254.0.80", ports: [{ name: "http", port: 80 }] }),
      service("many", { clusterIP: "None" }),
    ],
    slices: [slice("many", MANY)],
  }),
);
const WEB = "web.default.svc.cluster.local";
const MANY_NAME = "many.default.svc.cluster.local";

/** The query with its header's 16-bit word at `offset` replaced. */
function withWord(query: Buffer, offset: number, word: number): Buffer {
  query.writeUInt16BE(word, offset);
  return query;
}

describe("the question", () => {
  it("comes back as it was asked, upper and lower case too, in the answers as well", async () => {
    const name = "WeB.DeFault.svC.clusTER.local";
    const reply = await ask(resolve, name);
    expect(reply.questions?.[0]?.name).toBe(name);
    expect(reply.lines).toEqual([`${name} A 10.254.0.80`]);
  });

  it("is a format error when there are two or none (RFC 9619)", async () => {
    const two = encode({
      type: "query",
      id: 9,
      questions: [
        { name: WEB, type: "A" },
        { name: WEB, type: "AAAA" },
      ],
    });
    const none = encode({ type: "query", id: 9, questions: [] });
    for (const query of [two, none]) {
      const reply = told((await resolve(query, "udp"))!);
      expect(reply).toMatchObject({ id: 9, type: "response", rcode: "FORMERR", questions: [], answers: [] });
    }
  });

  it("is not implemented for other operations than a query", async () => {
    const update = withWord(queryOf(WEB), 2, 5 << 11);
    expect(told((await resolve(update, "udp"))!)).toMatchObject({ rcode: "NOTIMP", opcode: "UPDATE" });
  });

  it("is refused for other classes and for zone transfers", async () => {
    const chaos = encode({ type: "query", questions: [{ name: "version.bind", type: "TXT", class: "CH" }] });
    expect(told((await resolve(chaos, "udp"))!).rcode).toBe("REFUSED");
    expect((await ask(resolve, "cluster.local", { type: "AXFR" })).rcode).toBe("REFUSED");
  });

  it("does not mistake a dot within a label for the end of a label", async () => {
    const query = queryOf(WEB);
    const dot = query.indexOf("\x07default");
    query[12] = 11;
    query.write(".", dot);
    const reply = (await resolve(query, "udp"))!;
    expect(told(reply).rcode).toBe("NXDOMAIN");
    expect(reply.subarray(12, query.length).equals(query.subarray(12))).toBe(true);
  });

  it("gets no reply when it is a reply itself, or malformed", async () => {
    expect(await resolve(withWord(queryOf(WEB), 2, 0x8180), "udp")).toBeUndefined();
    const pointer = queryOf(WEB);
    pointer.writeUInt16BE(0xc00c, 12);
    expect(await resolve(pointer, "udp")).toBeUndefined();
    const query = queryOf(WEB);
    for (let length = 0; length < query.length; length++)
      expect(await resolve(query.subarray(0, length), "udp")).toBeUndefined();
  });
});

describe("EDNS", () => {
  it("is answered with EDNS, of an unknown version with BADVERS, twice with a format error", async () => {
    const reply = await ask(resolve, WEB, { ednsBytes: 4096 });
    expect(reply.additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 1232, extendedRcode: 0 }]);
    const query = queryOf(WEB, { ednsBytes: 4096 });
    const optAt = query.length - 11;
    query[optAt + 6] = 1;
    const refused = told((await resolve(query, "udp"))!);
    expect(refused.additionals).toMatchObject([{ type: "OPT", extendedRcode: 1, ednsVersion: 0 }]);
    expect(refused.answers).toEqual([]);
    const opt = query.subarray(optAt);
    const twice = withWord(Buffer.concat([queryOf(WEB), opt, opt]), 10, 2);
    expect(told((await resolve(twice, "udp"))!).rcode).toBe("FORMERR");
  });

  it("is left out for those who did not ask for it", async () => {
    expect((await ask(resolve, WEB)).additionals).toEqual([]);
  });
});

describe("a reply that is too large", () => {
  it.each([
    [undefined, 512],
    [100, 512],
    [900, 900],
    [65_000, 1232],
  ])("with EDNS size %s is cut at %i bytes after a whole record and says so", async (ednsBytes, limit) => {
    const message = queryOf(MANY_NAME, ednsBytes === undefined ? {} : { ednsBytes });
    const reply = (await resolve(message, "udp"))!;
    expect(reply.length).toBeLessThanOrEqual(limit);
    const { flag_tc, answers } = told(reply);
    const all = message.length + MANY.length * 16;
    expect(flag_tc).toBe(all > limit);
    // A record with a compressed name is 16 bytes.
    expect(answers).toHaveLength(Math.min(MANY.length, Math.floor((limit - message.length) / 16)));
  });

  it("is whole over TCP", async () => {
    const reply = await ask(resolve, MANY_NAME, { transport: "tcp" });
    expect(reply).toMatchObject({ flag_tc: false });
    expect(reply.answers).toHaveLength(60);
  });
});

describe("any input", () => {
  const query = fc.record({
    name: fc.constantFrom(
      WEB,
      MANY_NAME,
      `_http._tcp.${WEB}`,
      "80.0.254.10.in-addr.arpa",
      "example.com",
      ".",
    ),
    type: fc.constantFrom("A", "SRV", "PTR", "ANY", "NULL"),
    ednsBytes: fc.option(fc.nat(65_535), { nil: undefined }),
  });
  const changes = fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 });

  const check = async (message: Buffer) => {
    const before = Buffer.from(message);
    const reply = await resolve(message, "udp");
    expect(message.equals(before)).toBe(true);
    if (!reply) return;
    expect(reply.length).toBeLessThanOrEqual(1232);
    expect(reply.readUInt16BE(0)).toBe(message.readUInt16BE(0));
    expect(decode(reply).type).toBe("response");
  };

  it("never throws on mutated and cut queries, and what it replies is a message", async () => {
    await fc.assert(
      fc.asyncProperty(query, changes, fc.nat(100), async ({ name, type, ednsBytes }, edits, cut) => {
        const message = queryOf(name, { type, ...(ednsBytes === undefined ? {} : { ednsBytes }) });
        for (const [at, value] of edits) if (at < message.length) message[at] = value;
        await check(cut < 80 ? message : message.subarray(0, cut - 80 + 12));
      }),
      { numRuns: 2000 },
    );
  });

  it("never throws on random bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), (bytes) => check(Buffer.from(bytes))),
      { numRuns: 1000 },
    );
  });
});
