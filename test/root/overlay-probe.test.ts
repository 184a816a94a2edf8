/**
 * Probes with real packets: to the kernel's own echo on loopback addresses, and across a router between namespaces of
 * the test's own. Nothing leaves the machine.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EchoSocket, openRawEcho } from "../../src/overlay/index.js";
import { measurePath } from "../../src/overlay/path-mtu.js";
import { parseIpv4 } from "../../src/wire/index.js";

const address = (text: string): number => parseIpv4(text) ?? expect.fail(text);
const TIMEOUT_MS = 2000;

async function withEcho<T>(use: (echo: EchoSocket) => Promise<T>): Promise<T> {
  const echo = await openRawEcho();
  try {
    return await use(echo);
  } finally {
    echo.close();
  }
}

describe("probes on loopback", () => {
  it("are answered by the kernel, whatever their size", async () => {
    await withEcho(async (echo) => {
      for (const size of [84, 576, 1500, 9000, 65535]) {
        const outcome = await echo.echo(address("127.0.0.12"), size, TIMEOUT_MS);
        expect(outcome).toEqual({ type: "reply", rttMs: expect.any(Number) });
      }
    });
  });

  it("measure several paths", async () => {
    await withEcho(async (echo) => {
      for (const peer of ["127.0.0.11", "127.0.0.12", "127.1.2.3"]) {
        const report = await measurePath(echo, {
          peer: address(peer),
          ceilingBytes: 1500,
          timeoutMs: TIMEOUT_MS,
        });
        expect(report).toEqual({ reachable: true, rttMs: expect.any(Number), pathMtuBytes: 1500 });
      }
    });
  });

  it("of two sockets do not answer each other", async () => {
    await withEcho(async (one) => {
      await withEcho(async (two) => {
        const ask = (echo: EchoSocket, peer: string) => echo.echo(address(peer), 84, TIMEOUT_MS);
        const asked = [
          ask(one, "127.0.0.11"),
          ask(two, "127.0.0.12"),
          ask(one, "127.0.0.12"),
          ask(two, "127.0.0.11"),
        ];
        for (const outcome of await Promise.all(asked)) expect(outcome.type).toBe("reply");
      });
    });
  });

  it("end with the socket", async () => {
    const echo = await openRawEcho();
    echo.close();
    echo.close();
    const outcome = await echo.echo(address("127.0.0.12"), 84, TIMEOUT_MS);
    expect(outcome).toEqual({ type: "unreachable", reason: "the socket is closed" });
  });
});

describe("probes across a router, in namespaces", () => {
  const name = (role: string) => `podwire-probe-${role}-${process.pid}`;
  const ip = (role: string, command: string) => ip0(`-n ${name(role)} ${command}`);
  const ip0 = (command: string) => execFileSync("ip", command.split(" "), { stdio: "pipe" });
  const roles = ["near", "router", "far"];

  /** near 10.77.1.1 — 10.77.1.2 router 10.77.2.2 — 10.77.2.1 far; the link to far is the narrow one. */
  beforeAll(() => {
    for (const role of roles) ip0(`netns add ${name(role)}`);
    for (const [role, net] of [
      ["near", 1],
      ["far", 2],
    ] as const) {
      ip(role, `link add eth0 type veth peer name ${role} netns ${name("router")}`);
      ip(role, `addr add 10.77.${net}.1/24 dev eth0`);
      ip("router", `addr add 10.77.${net}.2/24 dev ${role}`);
      ip(role, "link set eth0 up");
      ip("router", `link set ${role} up`);
      ip(role, `route add default via 10.77.${net}.2`);
    }
    ip("router", "link set far mtu 1400");
    execFileSync("ip", ["netns", "exec", name("router"), "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  });
  afterAll(() => {
    for (const role of roles) ip0(`netns del ${name(role)}`);
  });

  /** What a process in namespace `near` measures. It needs the built code: a child process cannot load TypeScript. */
  function measureFromNear(peer: string): unknown {
    const dist = new URL("../../dist/", import.meta.url);
    if (!existsSync(new URL("overlay/path-mtu.js", dist)))
      expect.fail("dist/ is missing; run npm run build first");
    const script = `
      import { openRawEcho } from "${dist}overlay/raw-echo.js";
      import { measurePath } from "${dist}overlay/path-mtu.js";
      const echo = await openRawEcho();
      console.log(JSON.stringify(await measurePath(echo, { peer: ${address(peer)}, ceilingBytes: 1500, timeoutMs: 1000 })));
      echo.close();`;
    const node = [process.execPath, "--input-type=module", "-e", script];
    return JSON.parse(execFileSync("ip", ["netns", "exec", name("near"), ...node], { encoding: "utf8" }));
  }

  it("find the MTU of the path from what the router says", () => {
    expect(measureFromNear("10.77.2.1")).toEqual({
      reachable: true,
      rttMs: expect.any(Number),
      pathMtuBytes: 1400,
    });
  });

  it("say when a peer is not there", () => {
    expect(measureFromNear("10.77.2.9")).toMatchObject({ reachable: false, error: expect.any(String) });
    expect(measureFromNear("10.77.3.1")).toEqual({
      reachable: false,
      error: expect.stringMatching(/unreachable, says 10\.77\.1\.2/),
    });
  });
});
