import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import type { Pod, Service } from "../../src/kube/index.js";
import { NODE_IPS, ServiceLab } from "./service-lab.js";

/** Which endpoints a Service's traffic goes to, by their state and place (upstream test/e2e/network/service.go). */
const lab = new ServiceLab("svcep");
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const url = (address: string, port = 80) => `http://${address}:${port}/hostname`;
const nodePort = ({ spec }: Service) => spec?.ports?.[0]?.nodePort ?? 0;
const clusterUrl = ({ spec }: Service) => url(spec?.clusterIP ?? "");
const portUrl = (service: Service, node: 0 | 1 | 2) => url(NODE_IPS[node], nodePort(service));

beforeAll(async () => {
  await lab.up();
  await Promise.all([1, 2, 3].map((n) => lab.pod(`client-${n}`, { node: `node-${n}` })));
  await lab.ready("client-1", "client-2", "client-3");
});
afterAll(() => lab.down());

/** A Service over one pod on node-1 whose readiness the test decides, and that lingers when it is deleted. */
class Backend {
  readonly readyFile: string;

  constructor(readonly name: string) {
    this.readyFile = join(lab.files, name);
  }

  static async start(name: string, spec: object = {}, isReady = true): Promise<[Backend, Service]> {
    const backend = new Backend(name);
    if (isReady) backend.setReady(true);
    const labels = { app: name };
    const [service] = await Promise.all([
      lab.service(name, { selector: labels, ports: HTTP, ...spec }),
      lab.pod(name, {
        node: "node-1",
        labels,
        lingers: true,
        graceSeconds: 60,
        readyFile: backend.readyFile,
      }),
    ]);
    if (isReady) await lab.hasEndpoints(name, name);
    else await lab.until("an endpoint", async () => (await lab.endpoints(name, () => true)).length > 0);
    return [backend, service];
  }

  setReady(isReady: boolean): void {
    if (isReady) writeFileSync(this.readyFile, "");
    else rmSync(this.readyFile, { force: true });
  }

  /** Deletes the pod and waits until the slices say that it terminates; it serves on. */
  async terminate(): Promise<void> {
    await lab.remove("pods", this.name);
    const leaves = ({ terminating }: { terminating: boolean }) => terminating;
    await lab.until(
      "a terminating endpoint",
      async () => (await lab.endpoints(this.name, leaves)).length === 1,
    );
  }

  async end(): Promise<void> {
    await lab.client.delete("pods", "default", this.name, { gracePeriodSeconds: 0 });
    await lab.remove("services", this.name);
  }
}

describe("[sig-network] Services", () => {
  it("should be rejected when no endpoints exist", async () => {
    const service = await lab.service("nobody", {
      type: "NodePort",
      selector: { app: "nobody" },
      ports: HTTP,
    });
    await lab.becomes("client-1", clusterUrl(service), "refused");
    await lab.becomes("client-1", portUrl(service, 1), "refused");
    await lab.becomes("node-1", clusterUrl(service), "refused");
    await lab.becomes("host", portUrl(service, 2), "refused");
    await lab.remove("services", "nobody");
  });

  it("should be rejected for evicted pods (no endpoints exist)", async () => {
    const service = await lab.service("evicted", { selector: { app: "evicted" }, ports: HTTP });
    await lab.client.create("pods", {
      metadata: { name: "evicted", namespace: "default", labels: { app: "evicted" } },
      // What an eviction leaves behind: a pod that has failed and is not started again.
      spec: {
        nodeName: "node-2",
        restartPolicy: "Never",
        containers: [
          { name: "main", image: "test/linger", command: ["false"], ports: [{ containerPort: 8080 }] },
        ],
      },
    } as object);
    const phase = async () => (await lab.client.get<Pod>("pods", "default", "evicted")).status?.phase;
    await lab.until("a failed pod", async () => (await phase()) === "Failed");
    await lab.until("no endpoints", async () => (await lab.endpoints("evicted", () => true)).length === 0);
    await lab.becomes("client-1", clusterUrl(service), "refused");
    await lab.remove("pods", "evicted");
    await lab.remove("services", "evicted");
  });

  it("should create endpoints for unready pods", async () => {
    const [backend, service] = await Backend.start("unready", { publishNotReadyAddresses: true }, false);
    await lab.becomes("client-2", clusterUrl(service), "unready");
    await lab.editService("unready", (spec) => Object.assign(spec, { publishNotReadyAddresses: false }));
    await lab.becomes("client-2", clusterUrl(service), "refused");
    backend.setReady(true);
    await lab.becomes("client-2", clusterUrl(service), "unready");
    await backend.end();
    await lab.until("no endpoints", async () => (await lab.endpoints("unready", () => true)).length === 0);
  });

  it("should be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is true", async () => {
    const [backend, service] = await Backend.start("published", {
      type: "NodePort",
      publishNotReadyAddresses: true,
    });
    backend.setReady(false);
    await backend.terminate();
    await lab.becomes("client-1", clusterUrl(service), "published");
    await lab.becomes("client-2", clusterUrl(service), "published");
    await lab.becomes("client-2", portUrl(service, 2), "published");
    await backend.end();
  });

  it("should not be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is false", async () => {
    const [backend, service] = await Backend.start("private", { type: "NodePort" });
    backend.setReady(false);
    await lab.until("an unready endpoint", async () => (await lab.endpoints("private")).length === 0);
    await backend.terminate();
    await lab.becomes("client-1", clusterUrl(service), "refused");
    await lab.becomes("client-2", portUrl(service, 0), "refused");
    await backend.end();
  });

  it("should respect internalTrafficPolicy=Local Pod to Pod", async () => {
    const [backend, service] = await Backend.start("itp", { internalTrafficPolicy: "Local" });
    await lab.becomes("client-1", clusterUrl(service), "itp");
    await lab.becomes("client-2", clusterUrl(service), "timeout");
    await backend.end();
  });
});

describe("[sig-network] Services should fallback to terminating endpoints when there are no ready endpoints with", () => {
  it("externallTrafficPolicy=Cluster", async () => {
    const [backend, service] = await Backend.start("etp-cluster", { type: "NodePort" });
    await backend.terminate();
    for (const node of [0, 1] as const) await lab.becomes("client-2", portUrl(service, node), "etp-cluster");
    await backend.end();
  });

  it("internalTrafficPolicy=Cluster", async () => {
    const [backend, service] = await Backend.start("itp-cluster");
    await backend.terminate();
    for (const client of ["client-1", "client-2"])
      await lab.becomes(client, clusterUrl(service), "itp-cluster");
    await backend.end();
  });
});

describe("[sig-network] Services should fallback to local terminating endpoints when there are no ready endpoints with", () => {
  it("externalTrafficPolicy=Local", async () => {
    const [backend, service] = await Backend.start("etp-local", {
      type: "NodePort",
      externalTrafficPolicy: "Local",
    });
    await backend.terminate();
    // From outside: a pod's traffic to a node port of its own cluster is under no Local policy.
    await lab.becomes("host", portUrl(service, 0), "etp-local");
    await lab.becomes("host", portUrl(service, 1), "timeout");
    await lab.becomes("client-2", portUrl(service, 1), "etp-local");
    await backend.end();
  });

  it("internalTrafficPolicy=Local", async () => {
    const [backend, service] = await Backend.start("itp-local", { internalTrafficPolicy: "Local" });
    await backend.terminate();
    await lab.becomes("client-1", clusterUrl(service), "itp-local");
    await lab.becomes("client-2", clusterUrl(service), "timeout");
    await backend.end();
  });
});
