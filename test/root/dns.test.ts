/** Cluster DNS as a program on loopback, fed by a real API server and asked by dig. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EndpointSlice, Service } from "../../src/kube/index.js";
import { startLab as startApi } from "../kube/harness.js";
import { answerTo, type FakeUpstream, service, slice, startUpstream } from "../node/dns-lab.js";
import { eventually, exec, ROOT } from "./lab.js";

type Api = Awaited<ReturnType<typeof startApi>>;
const ZONE = "cluster.local";
/** What the name server upstream knows of addresses, its own and one of the cluster's. */
const POINTERS: Readonly<Record<string, string>> = {
  "123.2.0.192.in-addr.arpa": "my.test",
  "9.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "my6.test",
  "80.0.254.10.in-addr.arpa": "not.asked.test",
};
let api: Api;
let apiRuns = false;
let upstream: FakeUpstream;
let server: ChildProcess;
let port: number;
let readyPort: number;
let printed = "";

async function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((bound) => socket.bind(0, "127.0.0.1", bound));
  const { port: free } = socket.address();
  await new Promise<void>((closed) => socket.close(closed));
  return free;
}

function startServer(env: Record<string, string>): ChildProcess {
  const main = join(ROOT, "src/node/images/dns/main.ts");
  return spawn(process.execPath, ["--import", "tsx", main], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH ?? "", PODWIRE_API: `unix:${api.socketPath}`, ...env },
  });
}

/** The lines that dig prints, sorted. */
async function dig(...words: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await exec([
    "dig",
    "@127.0.0.1",
    "-p",
    String(port),
    "+tries=1",
    ...words,
  ]);
  expect(`${code} ${stderr}`).toBe("0 ");
  expect(stdout).not.toMatch(/malformed|mismatch|extra bytes|recursion requested/i);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .sort();
}

const short = (...words: string[]) => dig("+short", ...words);
const under = (rest: string) => `${rest}.svc.${ZONE}`;
const readiness = async () =>
  (await exec(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", `http://127.0.0.1:${readyPort}/ready`]))
    .stdout;

const WEB = service("web", {
  ports: [{ name: "http", port: 80, protocol: "TCP" }],
  clusterIP: "10.254.0.80",
});
const DB = service("db", { clusterIP: "None", ports: [{ name: "http", port: 80, protocol: "TCP" }] });
const FOO = service("dns-test-service-3", { type: "ExternalName", externalName: "foo.example.com" });

beforeAll(async () => {
  api = await startApi();
  apiRuns = true;
  upstream = await startUpstream((query) => {
    const [{ name, type }] = query.questions as [{ name: string; type: string }];
    if (type !== "PTR") return answerTo(query, [{ name, type: "A", ttl: 60, data: "192.0.2.1" }]);
    const data = POINTERS[name];
    return answerTo(query, data === undefined ? [] : [{ name, type, ttl: 60, data }]);
  });
  port = await freePort();
  readyPort = await freePort();
  for (const one of [WEB, DB, FOO]) await api.http.create<Service>("services", one);
  const endpoints = ["172.16.1.5", "172.16.2.5"].map((ip, index) => ({
    addresses: [ip],
    hostname: `db-${index}`,
    conditions: { ready: true },
  }));
  await api.http.create<EndpointSlice>("endpointslices", slice("db", endpoints));
  server = startServer({
    PODWIRE_DNS_LISTEN: `127.0.0.1:${port}`,
    PODWIRE_DNS_READY: `127.0.0.1:${readyPort}`,
    // The first is the server itself, which it must not ask.
    PODWIRE_DNS_UPSTREAM: `127.0.0.1:${port},127.0.0.1:${upstream.port}`,
  });
  const gather = (text: Buffer) => {
    printed += text.toString();
  };
  server.stdout?.on("data", gather);
  server.stderr?.on("data", gather);
  await eventually("readiness", readiness, (code) => code === "200");
});

afterAll(async () => {
  if (server?.exitCode === null) {
    const exit = once(server, "exit");
    server.kill("SIGTERM");
    expect((await exit)[0]).toBe(0);
  }
  await upstream?.close();
  if (apiRuns) await api.close();
});

describe("[sig-network] DNS", () => {
  it("should provide DNS for services [Conformance]", async () => {
    for (const transport of ["+notcp", "+tcp"]) {
      expect(await short(transport, under("db.default"))).toEqual(["172.16.1.5", "172.16.2.5"]);
      expect(await short(transport, under("_http._tcp.db.default"), "SRV")).toEqual(
        [0, 1].map((index) => `0 50 8080 ${under(`db-${index}.db.default`)}.`),
      );
      expect(await short(transport, under("_http._tcp.web.default"), "SRV")).toEqual([
        `0 100 80 ${under("web.default")}.`,
      ]);
      expect(await short(transport, "-x", "10.254.0.80")).toEqual([`${under("web.default")}.`]);
    }
  });

  it("should resolve DNS of partial qualified names for services [LinuxOnly] [Conformance]", async () => {
    const search = ["+search", "+ndots=5", `+domain=default.svc.${ZONE}`];
    expect(await short(...search, "web")).toEqual(["10.254.0.80"]);
    const wider = ["+search", "+ndots=5", `+domain=svc.${ZONE}`];
    expect(await short(...wider, "web.default")).toEqual(["10.254.0.80"]);
    expect(
      await short("+search", "+ndots=5", `+domain=${ZONE}`, "_http._tcp.db.default.svc", "SRV"),
    ).toHaveLength(2);
  });

  it("should provide DNS for pods for Hostname [Conformance]; [sig-network] DNS should provide DNS for pods for Subdomain [Conformance]", async () => {
    expect(await short(under("db-1.db.default"))).toEqual(["172.16.2.5"]);
    expect(await short("-x", "172.16.2.5")).toEqual([`${under("db-1.db.default")}.`]);
    expect(await short(`172-16-2-5.default.pod.${ZONE}`)).toEqual(["172.16.2.5"]);
  });

  it("should provide DNS for ExternalName services [Conformance]; [sig-network] DNS configMap nameserver Forward external name lookup should forward externalname lookup to upstream nameserver", async () => {
    const name = under("dns-test-service-3.default");
    expect(await short(name, "CNAME")).toEqual(["foo.example.com."]);
    expect(await short(name)).toEqual(["192.0.2.1", "foo.example.com."]);
    const stored = await api.http.get<Service>("services", "default", "dns-test-service-3");
    const spec = { ...stored.spec, externalName: "bar.example.com" };
    const changed = await api.http.update<Service>("services", { ...stored, spec });
    await eventually(
      "the new name",
      () => short(name, "CNAME"),
      ([target]) => target === "bar.example.com.",
    );
    const ports = [{ name: "http", port: 80, protocol: "TCP" as const }];
    const made = await api.http.update<Service>("services", {
      ...changed,
      spec: { type: "ClusterIP", ports },
    });
    expect(made.spec?.clusterIP).toMatch(/^10\.254\./);
    await eventually(
      "an address",
      () => short(name, "A"),
      ([address]) => address === made.spec?.clusterIP,
    );
  });
});

describe("[sig-network] DNS configMap nameserver Forward PTR lookup", () => {
  it("should forward PTR records lookup to upstream nameserver [Slow][Serial]", async () => {
    for (const transport of ["+notcp", "+tcp"]) {
      expect(await short(transport, "-x", "192.0.2.123")).toEqual(["my.test."]);
      expect(await short(transport, "-x", "2001:db8::29")).toEqual(["my6.test."]);
    }
    expect(await short("-x", "192.0.2.124")).toEqual([]);
    expect(upstream.asked).toContain("udp 124.2.0.192.in-addr.arpa PTR");
    // The cluster's own addresses are the cluster's to name.
    expect(await short("-x", "10.254.0.80")).toEqual([`${under("web.default")}.`]);
    expect(upstream.asked.filter((line) => line.includes("80.0.254.10"))).toEqual([]);
  });
});

describe("what dig sees", () => {
  it("is an authoritative answer with a TTL of 5, and its own case", async () => {
    const lines = await dig("+noall", "+answer", "+comments", "WEB.default.SVC.cluster.local");
    expect(lines.join("\n")).toMatch(/status: NOERROR/);
    expect(lines.join("\n")).toMatch(/flags: qr aa rd ra;/);
    expect(lines).toContain("WEB.default.SVC.cluster.local. 5 IN\tA\t10.254.0.80");
  });

  it("is NXDOMAIN or no data, with the SOA", async () => {
    const missing = (await dig(under("nope.default"))).join("\n");
    expect(missing).toMatch(/status: NXDOMAIN/);
    expect(missing).toMatch(
      /cluster\.local\.\s+5\s+IN\s+SOA\s+ns\.dns\.cluster\.local\. hostmaster\.cluster\.local\. \d+ 7200 1800 86400 5/,
    );
    const noData = (await dig(under("web.default"), "AAAA")).join("\n");
    expect(noData).toMatch(/status: NOERROR/);
    expect(noData).toMatch(/ANSWER: 0, AUTHORITY: 1/);
    expect(await short(`dns-version.${ZONE}`, "TXT")).toEqual(['"1.1.0"']);
  });

  it("is a large answer over TCP when it does not fit", async () => {
    const endpoints = Array.from({ length: 90 }, (_, index) => ({ addresses: [`172.16.9.${index + 1}`] }));
    await api.http.create<Service>("services", service("many", { clusterIP: "None" }));
    await api.http.create<EndpointSlice>("endpointslices", slice("many", endpoints));
    const name = under("many.default");
    await eventually(
      "all endpoints",
      () => short(name),
      (lines) => lines.length === 90,
    );
    const cut = (await dig("+ignore", "+noedns", name)).join("\n");
    expect(cut).toMatch(/flags: qr aa tc rd ra;/);
    const cookie = await dig("+ignore", "+bufsize=4096", "+cookie", name);
    expect(cookie.join("\n")).toMatch(/udp: 1232/);
  });

  it("is upstream's answer for other names; the server does not ask itself", async () => {
    expect(await short("example.com")).toEqual(["192.0.2.1"]);
    expect(await short("+tcp", "example.com")).toEqual(["192.0.2.1"]);
    expect(upstream.asked).toContain("udp example.com A");
    expect(upstream.asked).toContain("tcp example.com A");
    expect(printed).toContain(`all other names are asked of 127.0.0.1:${upstream.port}\n`);
  });
});

describe("the program", () => {
  it.each([
    [{ PODWIRE_API: "tcp:nowhere" }, 'PODWIRE_API "tcp:nowhere": give unix:/path or http://host:port'],
    [{ PODWIRE_DNS_ZONE: "a..b" }, 'PODWIRE_DNS_ZONE "a..b"'],
    [{ PODWIRE_DNS_LISTEN: "here" }, 'PODWIRE_DNS_LISTEN "here": give address:port'],
    [{ PODWIRE_DNS_UPSTREAM: "here" }, '"here" is no name server'],
  ])("ends with one sentence about %j", async (env, words) => {
    const child = startServer({ PODWIRE_DNS_UPSTREAM: "", ...env });
    let text = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    const [code] = await once(child, "close");
    expect(code).toBe(1);
    expect(text).toMatch(/^podwire\/dns: .*\n$/);
    expect(text).toContain(words);
  });

  it("keeps answering while the API is away", async () => {
    await api.close();
    apiRuns = false;
    expect(await short(under("web.default"))).toEqual(["10.254.0.80"]);
    expect(await readiness()).toBe("200");
  });
});
