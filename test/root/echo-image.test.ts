/** The built-in image as a real process in a namespace of the test's own, asked by ordinary clients. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ContainerProcess } from "../../src/node/pods/container.js";
import { eventually, type Output } from "./lab.js";
import { PodLab, within } from "./pod-lab.js";

const IDENTITY = /^pod=web-0 node=node-1 ip=172\.16\.5\.2 client=127\.0\.0\.1:\d+\n/;
let lab: PodLab;
let netns: string;
let container: ContainerProcess;
let count = 0;

function start(ports: string): Promise<ContainerProcess> {
  const identity = { PODWIRE_POD: "web-0", PODWIRE_NODE: "node-1", PODWIRE_POD_IP: "172.16.5.2" };
  const env = { ...identity, PODWIRE_PORTS: ports };
  return ContainerProcess.start({
    dir: join(lab.dir, `e${count++}`),
    netns,
    hostname: "web-0",
    command: lab.echoProgram(),
    env,
    cwd: "/",
  });
}

const log = (index: number): string => readFileSync(join(lab.dir, `e${index}`, "log"), "utf8");
const listening = (index: number) =>
  eventually(
    "the program's first line",
    async () => log(index),
    (text) => text.includes("listens"),
  );
const curl = (...words: string[]): Promise<Output> =>
  within(netns, ["curl", "-sS", "--max-time", "60", ...words]);
const url = (path: string): string => `http://127.0.0.1:8080${path}`;

beforeAll(async () => {
  lab = new PodLab();
  netns = await lab.netns();
  container = await start("8080/TCP,8080/UDP,5353/UDP,9000/SCTP");
  await listening(0);
});
afterAll(() => lab.close());

/** What the image documents: byte i of each block of 64 KiB is (i * 31) mod 251. */
function content(bytes: number): Buffer {
  const block = Buffer.from(Array.from({ length: 65_536 }, (_, index) => (index * 31) % 251));
  return Buffer.concat(Array(Math.ceil(bytes / block.length)).fill(block)).subarray(0, bytes);
}
const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

describe("over HTTP", () => {
  it("answers who it is and who asked, one line", async () => {
    const { stdout } = await curl(url("/any/path?x=1"));
    expect(stdout).toMatch(IDENTITY);
    expect(stdout.split("\n")).toHaveLength(2);
    expect((await curl(url("/hostname"))).stdout).toBe("web-0");
    expect((await curl(url("/clientip"))).stdout).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it("keeps a connection for the next request", async () => {
    const { stdout } = await curl(url("/clientip"), url("/clientip"));
    const [, first, second] = /^(127\.0\.0\.1:\d+)(127\.0\.0\.1:\d+)$/.exec(stdout) ?? [];
    expect(first).toBeDefined();
    expect(second).toBe(first);
  });

  it.each([0, 1, 65_536, 20_000_003])("serves %i bytes that have the digest it gives", async (bytes) => {
    const path = join(lab.dir, "download");
    await curl("--output", path, url(`/bytes/${bytes}`));
    const received = readFileSync(path);
    expect(received.equals(content(bytes))).toBe(true);
    expect((await curl(url(`/sha256/${bytes}`))).stdout).toBe(`${sha256(received)}\n`);
  });

  it.each([["PUT"], ["POST"]])("takes an upload by %s and answers its digest and size", async (method) => {
    const upload = content(20_000_003).reverse();
    const path = join(lab.dir, "upload");
    writeFileSync(path, upload);
    const { stdout } = await curl("-T", path, "-X", method, url("/upload"));
    expect(stdout).toBe(`${sha256(upload)} 20000003\n`);
  });

  it("refuses more than it serves, and lives through requests that make no sense", async () => {
    expect((await curl("-o", "/dev/null", "-w", "%{http_code}", url("/bytes/99999999999"))).stdout).toBe(
      "400",
    );
    for (const request of [
      "GET // HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
      "GET http://[ HTTP/1.0\r\n\r\n",
      "PUT x\r\n\r\n",
    ]) {
      await within(netns, ["nc", "-N", "127.0.0.1", "8080"], request);
    }
    expect(container.running).toBe(true);
  });

  it("does not mind a client that goes away in the middle", async () => {
    await curl("--max-filesize", "1000", "--output", "/dev/null", url("/bytes/10000000"));
    expect(
      (await curl("--max-time", "0.05", "--limit-rate", "1k", "-o", "/dev/null", url("/bytes/1000000000")))
        .code,
    ).toBe(28);
    expect((await curl(url("/"))).stdout).toMatch(IDENTITY);
    expect(log(0)).not.toMatch(/Warning|Error/);
  });
});

describe("over plain TCP", () => {
  it("answers who it is, then everything back", async () => {
    const text = "hello\n".repeat(50_000);
    const { stdout } = await within(netns, ["nc", "-N", "127.0.0.1", "8080"], text);
    expect(stdout).toMatch(IDENTITY);
    expect(stdout.replace(IDENTITY, "")).toBe(text);
  });

  it("hangs up on clients that close without a word, such as probes", async () => {
    for (let probe = 0; probe < 5; probe++) {
      expect((await within(netns, ["nc", "-z", "127.0.0.1", "8080"])).code).toBe(0);
    }
    const halfOpen = async () => (await within(netns, ["ss", "-tanH", "state", "close-wait"])).stdout;
    await eventually("no connection in CLOSE-WAIT", halfOpen, (lines) => lines === "");
  });
});

describe("over UDP", () => {
  it.each([8080, 5353])("answers each datagram on port %i with who it is and the datagram", async (port) => {
    const answer = await within(
      netns,
      ["nc", "-u", "-W", "1", "-w", "10", "127.0.0.1", String(port)],
      "ping",
    );
    expect(answer.stdout).toMatch(IDENTITY);
    expect(answer.stdout.replace(IDENTITY, "")).toBe("ping");
  });
});

describe("as a program", () => {
  it("says what it serves and what it does not", () => {
    expect(log(0)).toContain("podwire/echo web-0 on node-1 listens on 8080/TCP,8080/UDP,5353/UDP,9000/SCTP");
    expect(log(0)).toContain("podwire/echo: 9000/SCTP is not served");
  });

  it("fails with one sentence when a port is taken", async () => {
    const second = await start("8080/TCP");
    const exit = await new Promise((resolve) => second.observe(resolve));
    expect(exit).toMatchObject({ exitCode: 1 });
    expect(log(count - 1)).toMatch(/podwire\/echo: listen EADDRINUSE.*:8080\n/);
    expect(log(count - 1)).not.toContain("    at ");
  });

  it("ends with 0 on SIGTERM", async () => {
    container.signal("SIGTERM");
    expect(await new Promise((resolve) => container.observe(resolve))).toMatchObject({ exitCode: 0 });
  });
});
