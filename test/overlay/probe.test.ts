import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { type EchoOutcome, FakeEcho, type FakePath } from "../../src/overlay/index.js";
import { measurePath } from "../../src/overlay/path-mtu.js";
import { PathMonitor, type PathMonitorOptions } from "../../src/overlay/probe.js";
import { VirtualClock } from "./virtual-clock.js";

const PEER = 0x7f00000c;
const OTHER = 0x7f00000d;
const path = (changes: Partial<FakePath> = {}): FakePath => ({
  up: true,
  mtuBytes: 1500,
  rttMs: 0.5,
  tellsMtu: true,
  ...changes,
});

function measure(echo: FakeEcho, ceilingBytes = 1500, lastPathMtuBytes?: number) {
  return measurePath(echo, {
    peer: PEER,
    ceilingBytes,
    timeoutMs: 10,
    ...(lastPathMtuBytes && { lastPathMtuBytes }),
  });
}

describe("measuring a path", () => {
  let echo: FakeEcho;
  beforeEach(() => {
    echo = new FakeEcho();
  });

  it("needs two packets when all of the underlay's MTU gets through", async () => {
    echo.paths.set(PEER, path());
    expect(await measure(echo)).toEqual({ reachable: true, rttMs: 0.5, pathMtuBytes: 1500 });
    expect(echo.sent).toBe(2);
  });

  it("finds any MTU with few packets, whether routers tell it or not", async () => {
    const any = [
      fc.integer({ min: 576, max: 9000 }),
      fc.integer({ min: 576, max: 9000 }),
      fc.boolean(),
    ] as const;
    await fc.assert(
      fc.asyncProperty(...any, async (mtuBytes, ceiling, tellsMtu) => {
        const fresh = new FakeEcho();
        fresh.paths.set(PEER, path({ mtuBytes, tellsMtu }));
        expect((await measure(fresh, ceiling)).pathMtuBytes).toBe(Math.min(mtuBytes, ceiling));
        expect(fresh.sent).toBeLessThanOrEqual(tellsMtu ? 3 : 1 + 2 * 15);
      }),
    );
  });

  it("confirms what it knew with two more packets, in silence with three", async () => {
    echo.paths.set(PEER, path({ mtuBytes: 1400, tellsMtu: false }));
    expect((await measure(echo, 1500, 1400)).pathMtuBytes).toBe(1400);
    expect(echo.sent).toBe(3);
  });

  it("notices a path that has become wider or narrower", async () => {
    echo.paths.set(PEER, path({ mtuBytes: 1500 }));
    expect((await measure(echo, 1500, 1400)).pathMtuBytes).toBe(1500);
    echo.paths.set(PEER, path({ mtuBytes: 1450 }));
    expect((await measure(echo, 1500, 1400)).pathMtuBytes).toBe(1450);
    echo.paths.set(PEER, path({ mtuBytes: 1300, tellsMtu: false }));
    expect((await measure(echo, 1500, 1400)).pathMtuBytes).toBe(1300);
  });

  it("says that a silent peer does not answer", async () => {
    expect(await measure(echo)).toEqual({ reachable: false, error: "no answer within 10 ms" });
    expect(echo.sent).toBe(2);
  });

  it("says that a path carries less than every IPv4 path has to", async () => {
    echo.paths.set(PEER, path({ mtuBytes: 500 }));
    expect(await measure(echo)).toEqual({
      reachable: true,
      rttMs: 0.5,
      error: "packets of 576 bytes do not get through",
    });
  });

  it("passes on why a peer is unreachable", async () => {
    const outcome: EchoOutcome = { type: "unreachable", reason: "Network is unreachable" };
    const socket = { echo: () => Promise.resolve(outcome), close: () => undefined };
    const report = await measurePath(socket, { peer: PEER, ceilingBytes: 1500, timeoutMs: 10 });
    expect(report).toEqual({ reachable: false, error: "Network is unreachable" });
  });

  it("is not misled by an MTU that makes no sense", async () => {
    for (const mtuBytes of [0, 68, 1499, 1500, 9000, 65535]) {
      const socket = {
        echo: (_peer: number, size: number): Promise<EchoOutcome> =>
          Promise.resolve(size <= 1400 ? { type: "reply", rttMs: 1 } : { type: "too-big", mtuBytes }),
        close: () => undefined,
      };
      expect(
        (await measurePath(socket, { peer: PEER, ceilingBytes: 1500, timeoutMs: 10 })).pathMtuBytes,
      ).toBe(1400);
    }
  });
});

describe("the path monitor", () => {
  let clock: VirtualClock;
  let echo: FakeEcho;
  let log: string[];

  function monitor(options: Partial<PathMonitorOptions> = {}): PathMonitor {
    return new PathMonitor({
      open: () => Promise.resolve(echo),
      underlayMtuBytes: 1500,
      intervalMs: 30_000,
      clock,
      random: () => 0.5,
      log: (level, message) => log.push(`${level}: ${message}`),
      ...options,
    });
  }

  beforeEach(() => {
    clock = new VirtualClock();
    echo = new FakeEcho();
    echo.paths.set(PEER, path());
    echo.paths.set(OTHER, path({ mtuBytes: 1400 }));
    log = [];
  });

  it("probes a new peer at once and again after the interval", async () => {
    const probes = monitor();
    probes.setPeers([PEER, OTHER]);
    await clock.advance(0);
    const checkedAt = clock.now();
    expect(probes.result(PEER)).toEqual({
      peer: "127.0.0.12",
      reachable: true,
      rttMs: 0.5,
      pathMtuBytes: 1500,
      checkedAt,
    });
    expect(probes.result(OTHER)?.pathMtuBytes).toBe(1400);
    echo.paths.set(PEER, path({ up: false }));
    await clock.advance(29_999);
    expect(probes.result(PEER)?.reachable).toBe(true);
    await clock.advance(1);
    expect(probes.result(PEER)).toMatchObject({ reachable: false, checkedAt: checkedAt + 30_000 });
    echo.paths.set(PEER, path());
    await clock.advance(30_000);
    expect(probes.result(PEER)?.reachable).toBe(true);
    expect(log).toEqual([
      "warn: the path to node 127.0.0.13 carries 1400 bytes, less than the underlay's 1500: larger packets are lost",
      "warn: node 127.0.0.12 does not answer on the underlay: no answer within 1000 ms",
      "info: node 127.0.0.12 answers on the underlay again",
    ]);
    await probes.stop();
  });

  it("spreads the repetitions", async () => {
    for (const [chance, delayMs] of [
      [0, 27_000],
      [0.999999, 33_000],
    ] as const) {
      const probes = monitor({ random: () => chance });
      probes.setPeers([PEER]);
      await clock.advance(0);
      const first = probes.result(PEER)?.checkedAt;
      await clock.advance(delayMs - 1);
      expect(probes.result(PEER)?.checkedAt).toBe(first);
      await clock.advance(1);
      expect(probes.result(PEER)?.checkedAt).toBeGreaterThan(first ?? 0);
      await probes.stop();
    }
  });

  it("forgets peers that have gone", async () => {
    const probes = monitor();
    probes.setPeers([PEER, OTHER]);
    await clock.advance(0);
    probes.setPeers([OTHER]);
    expect(probes.result(PEER)).toBeUndefined();
    const sent = echo.sent;
    await clock.advance(30_000);
    expect(echo.sent).toBeGreaterThan(sent);
    expect(probes.result(PEER)).toBeUndefined();
    await probes.stop();
  });

  it("says why probing is unavailable, once in the log", async () => {
    const probes = monitor({ open: () => Promise.reject(new Error("raw-socket is not installed")) });
    probes.setPeers([PEER, OTHER]);
    await clock.advance(60_000);
    expect(probes.result(OTHER)).toEqual({
      peer: "127.0.0.13",
      checkedAt: expect.any(Number),
      error: "unavailable: raw-socket is not installed",
    });
    expect(log).toEqual(["warn: paths to peers are not probed: raw-socket is not installed"]);
    await probes.stop();
  });

  it("leaves nothing behind when stopped", async () => {
    const probes = monitor();
    probes.setPeers([PEER, OTHER]);
    await clock.advance(0);
    await probes.stop();
    probes.setPeers([PEER]);
    expect(echo.closed).toBe(true);
    expect(clock.waiting).toBe(0);
  });
});
