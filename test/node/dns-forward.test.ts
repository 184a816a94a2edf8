/** Names outside the cluster: asked of upstream servers that the test itself runs on loopback. */
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import type { Answer, DecodedPacket } from "dns-packet";
import { afterEach, describe, expect, it } from "vitest";
import { framed, nameservers, parseUpstreams } from "../../src/node/images/dns/forward.js";
import { startDnsServer, startReadyServer } from "../../src/node/images/dns/server.js";
import {
  answerTo,
  ask,
  catalogOf,
  type FakeUpstream,
  queryOf,
  resolverOf,
  service,
  startUpstream,
  told,
} from "./dns-lab.js";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function upstreamThat(
  answer: (query: DecodedPacket, bytes: Buffer) => Buffer | undefined,
): Promise<FakeUpstream> {
  const upstream = await startUpstream(answer);
  closing.push(() => upstream.close());
  return upstream;
}

const address = (name: string, data: string): Answer => ({ name, type: "A", ttl: 60, data });
const knows = (query: DecodedPacket) => answerTo(query, [address(query.questions![0]!.name, "192.0.2.1")]);
const EXT = service("ext", { type: "ExternalName", externalName: "foo.example.com" });
const EXT_NAME = "ext.default.svc.cluster.local";

describe("a name outside the zone", () => {
  it("is refused when nobody can be asked", async () => {
    const reply = await ask(resolverOf(catalogOf({})), "example.com");
    expect(reply).toMatchObject({ rcode: "REFUSED", flag_ra: false });
  });

  it.each(["udp", "tcp"] as const)(
    "is asked upstream over %s and answered as it is there",
    async (transport) => {
      const upstream = await upstreamThat(knows);
      const reply = await ask(resolverOf(catalogOf({}), [upstream]), "eXample.com", { transport });
      expect(reply).toMatchObject({ id: 4711, rcode: "NOERROR", flag_ra: true, flag_aa: false });
      expect(reply.lines).toEqual(["eXample.com A 192.0.2.1"]);
      expect(upstream.asked).toEqual([`${transport} eXample.com A`]);
    },
  );

  it("goes to the next server when the first is silent or away", async () => {
    const silent = await upstreamThat(() => undefined);
    const gone = await startUpstream(knows);
    await gone.close();
    const good = await upstreamThat(knows);
    for (const transport of ["udp", "tcp"] as const) {
      const resolve = resolverOf(catalogOf({}), [gone, silent, good]);
      expect((await ask(resolve, "example.com", { transport })).lines).toEqual(["example.com A 192.0.2.1"]);
    }
    expect(silent.asked).toEqual(["udp example.com A", "tcp example.com A"]);
  });

  it("fails when nobody answers, after two rounds", async () => {
    const silent = await upstreamThat(() => undefined);
    expect((await ask(resolverOf(catalogOf({}), [silent]), "example.com")).rcode).toBe("SERVFAIL");
    expect(silent.asked).toHaveLength(2);
  });

  it("does not believe an answer to another question or with another id", async () => {
    const liar = await upstreamThat((query) => answerTo({ ...query, id: query.id! ^ 1 }, []));
    const other = await upstreamThat((query) =>
      answerTo({ ...query, questions: [{ name: "example.org", type: "A" }] }, []),
    );
    const good = await upstreamThat(knows);
    for (const transport of ["udp", "tcp"] as const) {
      const resolve = resolverOf(catalogOf({}), [liar, other, good]);
      expect((await ask(resolve, "example.com", { transport })).lines).toEqual(["example.com A 192.0.2.1"]);
    }
  });

  it("passes on what upstream says, refusals and truncation too", async () => {
    const upstream = await upstreamThat((query) =>
      answerTo(query, [], query.questions![0]!.name === "cut.example" ? 0x200 : 5),
    );
    const resolve = resolverOf(catalogOf({}), [upstream]);
    expect((await ask(resolve, "no.example")).rcode).toBe("REFUSED");
    expect((await ask(resolve, "cut.example")).flag_tc).toBe(true);
  });

  it("never includes the cluster's own names; reverse names only when they are not the cluster's", async () => {
    const upstream = await upstreamThat(knows);
    const web = service("web", { clusterIP: "10.254.0.80" });
    const resolve = resolverOf(catalogOf({ services: [web] }), [upstream]);
    await ask(resolve, "web.default.svc.cluster.local");
    await ask(resolve, "nope.default.svc.cluster.local");
    await ask(resolve, "80.0.254.10.in-addr.arpa", { type: "PTR" });
    await ask(resolve, "80.0.254.10.in-addr.arpa", { type: "A" });
    expect(upstream.asked).toEqual([]);
    await ask(resolve, "1.2.0.192.in-addr.arpa", { type: "PTR" });
    await ask(resolve, "2.0.192.in-addr.arpa", { type: "NS" });
    expect(upstream.asked).toEqual(["udp 1.2.0.192.in-addr.arpa PTR", "udp 2.0.192.in-addr.arpa NS"]);
  });
});

describe("an external name's target outside the zone", () => {
  const resolve = (...upstreams: FakeUpstream[]) => resolverOf(catalogOf({ services: [EXT] }), upstreams);

  it("is resolved upstream, behind the alias", async () => {
    const upstream = await upstreamThat(knows);
    expect((await ask(resolve(upstream), EXT_NAME)).lines).toEqual([
      `${EXT_NAME} CNAME foo.example.com`,
      "foo.example.com A 192.0.2.1",
    ]);
    expect((await ask(resolve(upstream), EXT_NAME, { type: "CNAME" })).lines).toHaveLength(1);
    expect(upstream.asked).toEqual(["udp foo.example.com A"]);
  });

  it("gives its response code to the whole, and its truncation", async () => {
    const missing = await upstreamThat((query) => answerTo(query, [], 3));
    expect(await ask(resolve(missing), EXT_NAME)).toMatchObject({ rcode: "NXDOMAIN" });
    const cut = await upstreamThat((query) => answerTo(query, [], 0x200));
    expect(await ask(resolve(cut), EXT_NAME)).toMatchObject({ rcode: "NOERROR", flag_tc: true });
    const silent = await upstreamThat(() => undefined);
    const reply = await ask(resolve(silent), EXT_NAME);
    expect(reply.rcode).toBe("SERVFAIL");
    expect(reply.lines).toEqual([`${EXT_NAME} CNAME foo.example.com`]);
  });
});

describe("lists of upstream servers", () => {
  it("are addresses with or without a port", () => {
    expect(parseUpstreams(" 10.0.0.2, 10.0.0.3:5353 [fd00::1]:54 [fd00::2]")).toEqual([
      { address: "10.0.0.2", port: 53 },
      { address: "10.0.0.3", port: 5353 },
      { address: "fd00::1", port: 54 },
      { address: "fd00::2", port: 53 },
    ]);
    expect(parseUpstreams("")).toEqual([]);
    for (const wrong of ["dns.example", "10.0.0.2:0", "10.0.0.2:70000", "10.0.0.2:", "10.0.0"])
      expect(() => parseUpstreams(wrong)).toThrow(`"${wrong}" is no name server`);
  });

  it("are read from resolv.conf", () => {
    const text =
      "# a\nsearch x\n nameserver 10.0.0.2\nnameserver\nnameserver dns\n;nameserver 1.1.1.1\nnameserver ::1";
    expect(nameservers(text).map(({ address }) => address)).toEqual(["10.0.0.2", "::1"]);
  });
});

describe("the sockets", () => {
  const WEB = "web.default.svc.cluster.local";

  async function serve(): Promise<number> {
    const web = service("web", { clusterIP: "10.254.0.80" });
    const server = await startDnsServer(
      { host: "127.0.0.1", port: 0 },
      resolverOf(catalogOf({ services: [web] })),
    );
    closing.push(() => server.close());
    return server.port;
  }

  it("answer over UDP, and go on after what is no query", async () => {
    const port = await serve();
    const socket = createSocket("udp4");
    closing.push(() => socket.close());
    const reply = new Promise<Buffer>((resolve) => socket.once("message", resolve));
    socket.send("nonsense", port, "127.0.0.1");
    socket.send(queryOf(WEB), port, "127.0.0.1");
    expect(told(await reply).lines).toEqual([`${WEB} A 10.254.0.80`]);
  });

  it("answer several queries of one TCP connection, however they are cut up, until it is closed", async () => {
    const socket = connect(await serve(), "127.0.0.1");
    const bytes = Buffer.concat([framed(queryOf(WEB)), framed(queryOf("nope.cluster.local"))]);
    for (const byte of bytes) socket.write(Buffer.from([byte]));
    socket.end();
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    const all = Buffer.concat(chunks);
    const second = 2 + all.readUInt16BE(0);
    expect(told(all.subarray(2, second)).rcode).toBe("NOERROR");
    expect(told(all.subarray(second + 2)).rcode).toBe("NXDOMAIN");
  });

  it("end a TCP connection that sends what is no query", async () => {
    const socket = connect(await serve(), "127.0.0.1");
    socket.write(framed(Buffer.alloc(40, 0xff)));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {}).resume();
    await closed;
    expect(socket.bytesRead).toBe(0);
  });

  it("tell over HTTP when the server is ready", async () => {
    let ready = false;
    const server = await startReadyServer({ host: "127.0.0.1", port: 0 }, () => ready);
    closing.push(() => server.close());
    const place = server.address() as { port: number };
    const code = async (path: string) => (await fetch(`http://127.0.0.1:${place.port}${path}`)).status;
    expect(await code("/ready")).toBe(503);
    ready = true;
    expect(await code("/ready")).toBe(200);
    expect(await code("/")).toBe(404);
  });
});
