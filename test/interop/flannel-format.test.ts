/** Leases in a real etcd, written and read with its own etcdctl the way flannel's documentation does it. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { FakeEcho, Overlay } from "../../src/overlay/index.js";
import { connectStore, type Store } from "../../src/store/index.js";
import { formatIpv4, formatIpv6Prefix, formatPrefix } from "../../src/wire/index.js";

const SUBNETS = "/coreos.com/network/subnets";
const WAIT = { timeout: 20_000, interval: 50 };

let directory: string;
let etcd: ChildProcess;
let endpoint: string;
let store: Store;
const overlays: Overlay[] = [];

const etcdctl = (...args: string[]): string =>
  execFileSync("etcdctl", [`--endpoints=${endpoint}`, ...args], {
    encoding: "utf8",
    env: { ...process.env, ETCDCTL_API: "3" },
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

/** A node whose routes are kept as text. */
async function up(
  publicIp: string,
): Promise<{ overlay: Overlay; routes: Map<string, string>; subnet: string }> {
  const routes = new Map<string, string>();
  const overlay = new Overlay({
    store,
    publicIp,
    underlayMtuBytes: 1500,
    openEcho: async () => new FakeEcho(),
    clock: {
      now: Date.now,
      schedule: (delayMs, task) => {
        const timer = setTimeout(task, delayMs);
        return () => clearTimeout(timer);
      },
    },
    random: Math.random,
    log: () => undefined,
    onLost: () => undefined,
  });
  overlays.push(overlay);
  const { subnet } = await overlay.acquire();
  overlay.start({
    put: (prefix, peer) => routes.set(formatPrefix(prefix), formatIpv4(peer)),
    delete: (prefix) => routes.delete(formatPrefix(prefix)),
    put6: (prefix, peer) => routes.set(formatIpv6Prefix(prefix), formatIpv4(peer)),
    delete6: (prefix) => routes.delete(formatIpv6Prefix(prefix)),
  });
  return { overlay, routes, subnet: formatPrefix(subnet) };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "podwire-etcd-"));
  endpoint = `http://127.0.0.1:${await freePort()}`;
  const peerUrl = `http://127.0.0.1:${await freePort()}`;
  const urls = ["--listen-client-urls", endpoint, "--advertise-client-urls", endpoint];
  const peers = ["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl];
  const cluster = ["--initial-cluster", `default=${peerUrl}`, "--data-dir", directory];
  etcd = spawn("etcd", [...urls, ...peers, ...cluster], { stdio: "ignore" });
  await vi.waitFor(() => etcdctl("endpoint", "health"), WAIT);
  etcdctl("put", "/coreos.com/network/config", '{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}');
  store = connectStore({ endpoints: [endpoint] });
});

afterAll(async () => {
  for (const overlay of overlays) await overlay.stop();
  await store?.close();
  const ended = new Promise((resolve) => etcd.once("exit", resolve));
  etcd.kill();
  await ended;
  await rm(directory, { recursive: true });
});

describe("leases in etcd", () => {
  it("are flannel's: key, value and a lease of a day", async () => {
    const { subnet, overlay } = await up("192.168.64.3");
    const key = `${SUBNETS}/${subnet.replace("/", "-")}`;
    expect(etcdctl("get", SUBNETS, "--prefix").split("\n")).toEqual([
      key,
      '{"PublicIP":"192.168.64.3","BackendType":"udp"}',
    ]);
    const id = BigInt(overlay.status().lease?.id ?? 0).toString(16);
    const lease = etcdctl("lease", "timetolive", "--keys", id);
    expect(lease).toContain("granted with TTL(86400s)");
    expect(lease).toContain(`attached keys([${key}])`);
    etcdctl("lease", "revoke", id);
    await vi.waitFor(() => expect(etcdctl("get", key, "--print-value-only")).toContain("192.168.64.3"), WAIT);
  });

  it("honour a reservation that was made with etcdctl", async () => {
    etcdctl("put", `${SUBNETS}/10.5.1.0-24`, '{"PublicIP":"192.168.64.4"}');
    const { subnet, overlay } = await up("192.168.64.4");
    expect(subnet).toBe("10.5.1.0/24");
    expect(overlay.status().lease).toEqual({ id: "0", expiresAt: null });
  });

  it("of a flannel peer become a route, until etcd lets its lease expire", async () => {
    const { routes } = await up("192.168.64.5");
    const taken = etcdctl("get", SUBNETS, "--prefix", "--keys-only");
    const peer = ["10.5.52.0", "10.5.53.0", "10.5.54.0", "10.5.55.0"].find(
      (subnet) => !taken.includes(subnet),
    );
    // Long enough for a machine that is busy: the route has to be seen while the lease is there.
    const granted = etcdctl("lease", "grant", "6");
    const id = /lease (\w+) granted/.exec(granted)?.[1] ?? expect.fail("no lease granted");
    const value = '{"PublicIP":"192.168.64.9","PublicIPv6":null}';
    etcdctl("put", `--lease=${id}`, `${SUBNETS}/${peer}-24`, value);
    await vi.waitFor(() => expect(routes.get(`${peer}/24`)).toBe("192.168.64.9"), WAIT);
    await vi.waitFor(() => expect(routes.has(`${peer}/24`)).toBe(false), WAIT);
  });
});
