import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ProxyMetrics } from "../../src/node/proxy/metrics.js";
import { ServiceHealthServers } from "../../src/node/proxy/serviceHealth.js";
import { StatusServers } from "../../src/node/proxy/statusServers.js";
import { type ProxierMetrics, SyncHealth } from "../../src/proxy/index.js";
import { PodLab, within } from "./pod-lab.js";

/** What load balancers hear of a node whose proxy does not keep up (pkg/proxy/healthcheck), over HTTP in a namespace. */
const lab = new PodLab();
const HEALTH_CHECK_PORT = 32_000;
const SEEN: ProxierMetrics = {
  ...{
    syncsTotal: 1,
    lastSyncMs: 0,
    serviceChangesTotal: 0,
    serviceChangesPending: 0,
    endpointChangesTotal: 0,
  },
  ...{
    endpointChangesPending: 0,
    noLocalEndpointsInternal: 0,
    noLocalEndpointsExternal: 0,
    staleFlowsDeletedTotal: 0,
  },
};
const problems: string[] = [];
const log = (_level: "warn", message: string) => problems.push(message);
const health = new SyncHealth();
const metrics = new ProxyMetrics(() => SEEN);
let name = "";
let status: StatusServers;
let checks: ServiceHealthServers;

beforeAll(async () => {
  name = await lab.netns();
  const netns = { path: `/run/netns/${name}`, hasIpv6: false };
  status = new StatusServers(netns, health, metrics, log);
  checks = new ServiceHealthServers(netns, () => health.isHealthy(Date.now()), log);
  checks.sync([{ port: HEALTH_CHECK_PORT, family: "IPv4", service: "default/web", localReady: 2 }]);
});
afterAll(async () => {
  status.close();
  checks.close();
  await lab.close();
});

async function code(port: number, path: string): Promise<string> {
  const words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", `http://127.0.0.1:${port}${path}`];
  const { stdout, stderr } = await within(name, words);
  return stdout + stderr;
}
const codes = () =>
  Promise.all([code(10_256, "/healthz"), code(10_256, "/livez"), code(HEALTH_CHECK_PORT, "/")]);

describe("a proxy that does not keep up", () => {
  it("fails all its checks, those of Services with ready endpoints too, until it has caught up", async () => {
    expect(await codes()).toEqual(["200", "200", "200"]);
    health.queued(Date.now() - 59_000);
    expect(await codes()).toEqual(["200", "200", "200"]);
    health.updated(Date.now());
    health.queued(Date.now() - 61_000);
    expect(await codes()).toEqual(["503", "503", "503"]);
    health.updated(Date.now());
    expect(await codes()).toEqual(["200", "200", "200"]);
    expect(await metrics.page()).toMatch(/kubeproxy_proxy_healthz_total\{code="503"\} 1\b/);
    expect(problems).toEqual([]);
  });

  it("has a check of a Service without ready endpoints here fail anyway", async () => {
    checks.sync([{ port: HEALTH_CHECK_PORT, family: "IPv4", service: "default/web", localReady: 0 }]);
    expect(await codes()).toEqual(["200", "200", "503"]);
  });
});
