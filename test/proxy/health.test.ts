import { describe, expect, it } from "vitest";
import { SyncHealth } from "../../src/proxy/index.js";
import { balanced, endpoint, service, slice, synced } from "./objects.js";

const LOCAL = {
  externalTrafficPolicy: "Local",
  healthCheckNodePort: 32000,
  ports: [
    { name: "p", port: 80 },
    { name: "q", port: 81 },
  ],
};
const PORTS = [
  { name: "p", port: 8080 },
  { name: "q", port: 8081 },
];
const WEB = balanced("web", LOCAL, ["203.0.113.9"]);
const LEAVING = { ready: false, serving: true, terminating: true };

describe("health check node ports (healthcheck/service_health.go)", () => {
  it("count ready endpoints of this node once, over all ports of the Service", () => {
    const endpoints = [
      endpoint("172.16.1.2"),
      endpoint("172.16.1.3"),
      endpoint("172.16.1.4", { ready: false }),
      endpoint("172.16.2.2", {}, "node-2"),
    ];
    const from = synced([WEB], [slice("web", endpoints, PORTS)]);
    expect(from.healthChecks()).toEqual([
      { port: 32000, family: "IPv4", service: "default/web", localReady: 2 },
    ]);
  });

  it("are there also when the Service has no endpoints, none here", () => {
    expect(synced([WEB], []).healthChecks()).toEqual([
      { port: 32000, family: "IPv4", service: "default/web", localReady: 0 },
    ]);
  });

  it("[sig-network] Services should fail health check node port if there are only terminating endpoints", () => {
    const from = synced([WEB], [slice("web", [endpoint("172.16.1.2", LEAVING)], PORTS)]);
    expect(from.healthChecks()).toMatchObject([{ localReady: 0 }]);
  });

  it.each([
    ["policy Cluster", balanced("web", { ...LOCAL, externalTrafficPolicy: "Cluster" }, [])],
    ["type NodePort", service("web", { ...LOCAL, type: "NodePort" })],
    ["no port given", balanced("web", { ...LOCAL, healthCheckNodePort: undefined }, [])],
    ["a port that is none", balanced("web", { ...LOCAL, healthCheckNodePort: 70_000 }, [])],
  ])("are not for %s", (_name, object) => {
    expect(synced([object], []).healthChecks()).toEqual([]);
  });

  it("follow their Service: changed, then deleted, in order of name", () => {
    const other = balanced("api", { ...LOCAL, clusterIP: "10.254.0.11", healthCheckNodePort: 32001 }, []);
    const from = synced([WEB, other], []);
    expect(from.healthChecks().map((check) => check.service)).toEqual(["default/api", "default/web"]);
    from.onServiceUpsert(balanced("web", { ...LOCAL, healthCheckNodePort: 32005 }, []));
    from.onServiceDelete(other);
    from.sync(1);
    expect(from.healthChecks()).toEqual([
      { port: 32005, family: "IPv4", service: "default/web", localReady: 0 },
    ]);
  });
});

describe("the proxy's own health (proxy_health.go)", () => {
  it("is good while it starts and while changes wait for a minute at most, and good again after the sync", () => {
    const health = new SyncHealth();
    expect(health.isHealthy(0)).toBe(true);
    health.queued(1000);
    health.queued(50_000);
    expect([health.isHealthy(60_999), health.isHealthy(61_000)]).toEqual([true, false]);
    health.updated(61_500);
    expect(health.isHealthy(61_500)).toBe(true);
  });

  it("tells the last sync when it is bad, and now when it is good", () => {
    const health = new SyncHealth();
    health.updated(5);
    expect(health.lastUpdatedMs(1000)).toBe(1000);
    health.queued(2000);
    expect(health.lastUpdatedMs(62_000)).toBe(5);
  });
});
