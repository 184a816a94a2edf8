import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NetworkConfigError, StoppedError } from "../../src/overlay/index.js";
import { CompactedError } from "../../src/store/index.js";
import { formatPrefix } from "../../src/wire/index.js";
import { FlakyStore } from "./flaky-store.js";
import { Lab, PREFIX } from "./lab.js";
import { settle } from "./virtual-clock.js";

const HOUR_MS = 3_600_000;
const udp = (publicIp: string): string => `{"PublicIP":"${publicIp}","BackendType":"udp"}`;

let lab: Lab;
beforeEach(async () => {
  lab = new Lab();
  await lab.put("config", '{"Network":"172.16.0.0/16"}');
});
afterEach(() => lab.close());

describe("a network of nodes", () => {
  it("gives each node a subnet and a route to each of the others", async () => {
    const [a, b, c] = [await lab.up("10.0.0.11"), await lab.up("10.0.0.12"), await lab.up("10.0.0.13")];
    expect(Object.fromEntries(a.routes.table)).toEqual({
      "172.16.2.0/24": "10.0.0.12",
      "172.16.3.0/24": "10.0.0.13",
    });
    expect(Object.fromEntries(b.routes.table)).toEqual({
      "172.16.1.0/24": "10.0.0.11",
      "172.16.3.0/24": "10.0.0.13",
    });
    expect(Object.fromEntries(c.routes.table)).toEqual({
      "172.16.1.0/24": "10.0.0.11",
      "172.16.2.0/24": "10.0.0.12",
    });
  });

  it("says when the first list's peers are routes, however late the store is", async () => {
    await lab.up("10.0.0.11");
    const store = new FlakyStore(lab.store);
    const { overlay, routes } = lab.node("10.0.0.12", { store });
    await overlay.acquire();
    store.down = true;
    let known: [string, string][] | undefined;
    void overlay.start(routes).then(() => (known = [...routes.table]));
    await lab.clock.advance(1000);
    expect(known).toBeUndefined();
    store.down = false;
    await lab.clock.advance(5000);
    expect(known).toEqual([["172.16.1.0/24", "10.0.0.11"]]);
  });

  it("shows its state", async () => {
    lab.echo.paths.set(0x0a00000c, { up: true, mtuBytes: 1500, rttMs: 0.25, tellsMtu: true });
    const a = await lab.up("10.0.0.11");
    expect(a.overlay.status()).toEqual({
      state: "running",
      publicIp: "10.0.0.11",
      network: "172.16.0.0/16",
      subnet: "172.16.1.0/24",
      backendType: "udp",
      port: 8285,
      mtuBytes: 1472,
      lease: { id: expect.any(String), expiresAt: lab.clock.now() + 24 * HOUR_MS },
      peers: [],
    });
    await lab.up("10.0.0.12");
    const checkedAt = lab.clock.now();
    const probe = { peer: "10.0.0.12", reachable: true, rttMs: 0.25, pathMtuBytes: 1500, checkedAt };
    expect(a.overlay.status().peers).toEqual([{ publicIp: "10.0.0.12", subnet: "172.16.2.0/24", probe }]);
  });

  it("stops without a trace but its lease", async () => {
    const a = await lab.up("10.0.0.11");
    await lab.up("10.0.0.12");
    await lab.close();
    expect(a.overlay.status().state).toBe("stopped");
    expect(lab.echo.closed).toBe(true);
    expect(lab.clock.waiting).toBe(0);
    lab = new Lab();
  });

  it("works without probes", async () => {
    const openEcho = () => Promise.reject(new Error("the optional package raw-socket cannot be loaded"));
    const a = await lab.up("10.0.0.11", { openEcho });
    await lab.up("10.0.0.12");
    const { probe } = a.overlay.status().peers[0];
    expect(probe?.error).toBe("unavailable: the optional package raw-socket cannot be loaded");
    expect(probe?.reachable).toBeUndefined();
  });

  it.each([
    [{ publicIp: "10.0.0" }, "underlay address 10.0.0 is not an IPv4 address"],
    [{ leaseTtlSeconds: 0 }, "lease TTL 0 cannot be used"],
    [{ leaseTtlSeconds: 1.5 }, "lease TTL 1.5 cannot be used"],
    [{ leaseTtlSeconds: 60, renewMarginSeconds: 60 }, "lease renewal 60 s before the end cannot be used"],
    [{ renewMarginSeconds: 0 }, "lease renewal 0 s before the end cannot be used"],
  ])("refuses %j", (options, message) => {
    expect(() => lab.node("10.0.0.11", options)).toThrow(message);
  });
});

describe("the network configuration", () => {
  it("is waited for, and the log says so once", async () => {
    await lab.delete("config");
    const node = lab.node("10.0.0.11");
    const acquired = node.overlay.acquire();
    await lab.clock.advance(10_000);
    expect(node.overlay.status()).toEqual({ state: "waiting", publicIp: "10.0.0.11", peers: [] });
    expect(node.log).toEqual([
      "warn: waiting for the network configuration: the store has no key /coreos.com/network/config",
    ]);
    await lab.put("config", '{"Network":"10.5.0.0/16"}');
    await lab.clock.advance(1000);
    expect(formatPrefix((await acquired).subnet)).toBe("10.5.1.0/24");
  });

  it("that is wrong is an error that names the key", async () => {
    await lab.put("config", '{"Network":"172.16.0.0/30"}');
    await expect(lab.node("10.0.0.11").overlay.acquire()).rejects.toThrow(NetworkConfigError);
    await lab.put("config", '{"Network":"172.16.0.0/16","Backend":{"Type":"gce"}}');
    await expect(lab.node("10.0.0.11").overlay.acquire()).rejects.toThrow('Backend.Type "gce"');
  });

  it("is read under the prefix that was set", async () => {
    const value = new TextEncoder().encode('{"Network":"10.9.0.0/16"}');
    await lab.store.txn([], [{ type: "put", key: "/atomic.io/network/config", value }]);
    const node = await lab.up("10.0.0.11", { prefix: "/atomic.io/network" });
    expect(node.overlay.status().subnet).toBe("10.9.1.0/24");
    expect((await lab.store.range("/atomic.io/network/subnets/10.9.1.0-24")).count).toBe(1);
  });

  it("is no longer waited for after stop, even while the store does not answer at all", async () => {
    const store = new FlakyStore(lab.store);
    store.range = () => new Promise(() => undefined);
    const node = lab.node("10.0.0.11", { store });
    const acquired = expect(node.overlay.acquire()).rejects.toThrow(StoppedError);
    await node.overlay.stop();
    await acquired;
  });

  it("is no longer waited for after stop", async () => {
    await lab.delete("config");
    const node = lab.node("10.0.0.11");
    const acquired = expect(node.overlay.acquire()).rejects.toThrow(StoppedError);
    await lab.clock.advance(10);
    await node.overlay.stop();
    await acquired;
    expect(lab.clock.waiting).toBe(0);
  });
});

describe("subnet.env", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "podwire-overlay-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it("is written, and names the subnet to take when the lease is long gone", async () => {
    const subnetFile = join(directory, "subnet.env");
    const first = lab.node("10.0.0.11", { subnetFile, random: () => 0.5, leaseTtlSeconds: 60, ipMasq: true });
    await first.overlay.acquire();
    expect(await readFile(subnetFile, "utf8")).toBe(
      "FLANNEL_NETWORK=172.16.0.0/16\nFLANNEL_SUBNET=172.16.51.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n",
    );
    await first.overlay.stop();
    await lab.clock.advance(HOUR_MS);
    expect(await lab.subnets()).toEqual({});
    const second = lab.node("10.0.0.21", { subnetFile });
    expect(formatPrefix((await second.overlay.acquire()).subnet)).toBe("172.16.51.0/24");
  });

  it("that cannot be written is an error that names it", async () => {
    await writeFile(join(directory, "file"), "");
    const node = lab.node("10.0.0.11", { subnetFile: join(directory, "file", "subnet.env") });
    await expect(node.overlay.acquire()).rejects.toThrow(`${directory}/file/subnet.env`);
  });

  it("that is damaged is no reason to fail", async () => {
    const subnetFile = join(directory, "subnet.env");
    await writeFile(subnetFile, "FLANNEL_SUBNET=");
    const node = lab.node("10.0.0.11", { subnetFile });
    expect(formatPrefix((await node.overlay.acquire()).subnet)).toBe("172.16.1.0/24");
  });
});

describe("following the peers", () => {
  it("keeps routes while the store is away, then takes up what was missed", async () => {
    const store = new FlakyStore(lab.store);
    const node = await lab.up("10.0.0.11", { store });
    await lab.up("10.0.0.12", { leaseTtlSeconds: 60 }).then((peer) => peer.overlay.stop());
    await lab.clock.advance(0);
    store.down = true;
    await lab.clock.advance(30_000);
    await lab.put("subnets/172.16.30.0-24", udp("10.0.0.30"));
    await lab.clock.advance(HOUR_MS);
    expect([...node.routes.table]).toEqual([["172.16.2.0/24", "10.0.0.12"]]);
    store.down = false;
    await lab.clock.advance(10_000);
    expect([...node.routes.table]).toEqual([["172.16.30.0/24", "10.0.0.30"]]);
  });

  it("lists again when the store compacted what it had not seen", async () => {
    const store = new FlakyStore(lab.store);
    const node = await lab.up("10.0.0.11", { store });
    await lab.put("subnets/172.16.30.0-24", udp("10.0.0.30"));
    await lab.clock.advance(0);
    store.breakWatches(new CompactedError(99));
    await lab.delete("subnets/172.16.30.0-24");
    await lab.put("subnets/172.16.31.0-24", udp("10.0.0.31"));
    await lab.delete("subnets/172.16.1.0-24");
    await lab.store.compact((await lab.store.range(PREFIX)).revision);
    await lab.clock.advance(1000);
    expect([...node.routes.table]).toEqual([["172.16.31.0/24", "10.0.0.31"]]);
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.1.0-24", "172.16.31.0-24"]);
  });

  it("refuses malformed entries with a warning and goes on", async () => {
    const node = await lab.up("10.0.0.11");
    await lab.put("subnets/172.16.30.0-24", "\0");
    await lab.put("subnets/172.16.31.0-99", udp("10.0.0.31"));
    await lab.put("subnets/192.168.1.0-24", udp("10.0.0.32"));
    await lab.put("subnets/172.16.0.0-20", udp("10.0.0.33"));
    await lab.put("subnets/172.16.34.0-24", udp("10.0.0.34"));
    await lab.clock.advance(0);
    expect([...node.routes.table]).toEqual([["172.16.34.0/24", "10.0.0.34"]]);
    expect(node.log.filter((line) => line.startsWith("warn: ignored"))).toHaveLength(4);
  });

  it("probes the peers that there are", async () => {
    await lab.up("10.0.0.11", { probeIntervalMs: 5_000 });
    await lab.put("subnets/172.16.30.0-24", udp("10.0.0.30"));
    await lab.clock.advance(20_000);
    expect(lab.echo.sent).toBeGreaterThan(6);
    await lab.delete("subnets/172.16.30.0-24");
    await lab.clock.advance(0);
    const { sent } = lab.echo;
    await lab.clock.advance(60_000);
    await settle();
    expect(lab.echo.sent).toBe(sent);
  });
});
