/** The API as pods find it: by its Service, with the CA, token and variables that every client library looks for. */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Pod } from "../../src/kube/index.js";
import { CrashLab } from "./crash-lab.js";
import { eventually, exec } from "./lab.js";

const DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
const sleeper = (name: string, more: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { containers: [{ name: "main", image: "podwire/echo" }], ...more },
});
const lab = new CrashLab("podapi", {
  network: { nodes: "10.0.0.0/24", pods: { network: "172.16.0.0/16" }, services: "10.254.0.0/16" },
  nodes: [
    { name: "n1", ip: "10.0.0.11" },
    { name: "n2", ip: "10.0.0.12" },
  ],
  manifests: [
    sleeper("client", { nodeName: "n2", serviceAccountName: "reader" }),
    sleeper("bare", { nodeName: "n1", automountServiceAccountToken: false, enableServiceLinks: false }),
  ],
});

beforeAll(async () => {
  await lab.up(lab.topology);
});
afterAll(() => lab.close());

const inPod = (pod: string, script: string) => lab.podwire("exec", pod, "--", "sh", "-c", script);
const ASK = `curl -sS --max-time 5 --cacert ${DIR}/ca.crt -H "Authorization: Bearer $(cat ${DIR}/token)"`;

describe("a pod", () => {
  it("asks the API by its name, with its service account's token", async () => {
    const { stdout } = await eventually(
      "the API's answer",
      () => inPod("client", `${ASK} https://kubernetes.default.svc/api/v1/namespaces/default/pods`),
      ({ code }) => code === 0,
    );
    const list = JSON.parse(stdout) as { items: Pod[] };
    expect(list.items.map(({ metadata }) => metadata?.name).sort()).toEqual(["bare", "client"]);
    expect((await inPod("client", `cat ${DIR}/namespace`)).stdout).toBe("default");
  });

  it("asks it with kubectl, which is told nothing but what is in the pod", async () => {
    const kubectl = "HOME=/nonexistent kubectl --cache-dir=/nonexistent";
    const { stdout, stderr } = await inPod("client", `${kubectl} get pods -o name`);
    expect(stdout, stderr).toBe("pod/bare\npod/client\n");
    const refused = await inPod("client", `${kubectl} delete node n1`);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain(
      'User "system:serviceaccount:default:reader" cannot delete resource "nodes" in API group "" at the cluster scope',
    );
  });

  it("is refused without the token, and does not believe a server without the CA", async () => {
    const url = "https://kubernetes.default.svc/api/v1/pods";
    const { stdout } = await inPod(
      "client",
      `curl -sS --cacert ${DIR}/ca.crt -w '%{http_code}' -o /dev/null ${url}`,
    );
    expect(stdout).toBe("401");
    expect((await inPod("client", `curl -sS ${url}`)).stderr).toContain("certificate");
  });

  it("cannot change its files, and leaves none on the machine", async () => {
    const { stderr } = await inPod("client", `echo x >${DIR}/token`);
    expect(stderr).toMatch(/[Rr]ead-only/);
    expect(existsSync(`${DIR}/token`)).toBe(false);
  });

  it("that wants no token has none, and no links, but knows where the API is", async () => {
    const { stdout } = await inPod(
      "bare",
      `ls ${DIR}; env | grep KUBERNETES_ | sort | head -3; env | grep -c _PORT_`,
    );
    expect(stdout).toContain("KUBERNETES_PORT=tcp://10.254.0.1:443\n");
    const host = await inPod("bare", 'echo "$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT"');
    expect(host.stdout).toBe("10.254.0.1:443\n");
    expect(stdout).not.toContain("token");
  });

  it("still reaches the API after its cluster process was killed", async () => {
    lab.signal("cluster.pid", "SIGKILL");
    await eventually(
      "the API's answer",
      () => inPod("client", `${ASK} https://10.254.0.1/version`),
      ({ code, stdout }) => code === 0 && stdout.includes("gitVersion"),
      30_000,
    );
  });
});

describe("the machine", () => {
  it("is heard from its own lab only, and is clean afterwards", async () => {
    const listening = await lab.host("ss", "-Hltn", "sport = :6443");
    expect(listening.stdout).toContain("10.0.0.1:6443");
    expect(listening.stdout.trim().split("\n")).toHaveLength(1);
    await lab.close();
    const mounted = await exec(["sh", "-c", `grep -l ${DIR.replace("/var", "")} /proc/[0-9]*/mountinfo`]);
    // Pods of other labs of this machine keep it.
    if (mounted.stdout === "") expect(existsSync(DIR)).toBe(false);
  });
});
