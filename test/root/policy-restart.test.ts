/** Network policies over the death of a node process, with the API there and away. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NetworkPolicy, Pod } from "../../src/kube/index.js";
import { type StoreServer, startStoreServer } from "../../src/store/index.js";
import { CrashLab } from "./crash-lab.js";
import { eventually, exec, ROOT } from "./lab.js";

const pod = (name: string, nodeName: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { name } },
  spec: { nodeName, containers: [{ name: "main", image: "podwire/echo" }] },
});
const policy = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "friends-only", namespace: "default" },
  spec: {
    podSelector: { matchLabels: { name: "db" } },
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ podSelector: { matchLabels: { name: "friend" } } }] }],
  },
};
const lab = new CrashLab("polrestart", {
  network: { nodes: "10.0.0.0/24", pods: { network: "172.16.0.0/16" }, services: "10.254.0.0/16" },
  nodes: [
    { name: "n1", ip: "10.0.0.11" },
    { name: "n2", ip: "10.0.0.12" },
  ],
  manifests: [pod("db", "n1"), pod("friend", "n2"), pod("stranger", "n2"), policy],
});
let url = "";
/** The node process that no cluster process starts again. */
let byHand: ChildProcess | undefined;

/** Apart from the lab's processes: a node without its store has no subnet, and lets nobody through. */
let store: StoreServer;
/** The built program, in the namespace that plays the host. */
const start = (args: readonly string[]) => {
  const built = args.map((word) => word.replace(`${ROOT}src/`, `${ROOT}dist/`));
  return spawn("nsenter", [`--net=/run/netns/${lab.netns}`, process.execPath, ...built], {
    stdio: "ignore",
    env: lab.env,
  });
};

beforeAll(async () => {
  const socket = join(mkdtempSync(join(tmpdir(), "pwt-store-")), "s");
  store = await startStoreServer({ listen: [`unix:${socket}`] });
  await lab.up(lab.topology, "--store", `unix:${socket}`);
  url = `http://${(await lab.client.get<Pod>("pods", "default", "db")).status?.podIP}:8080/`;
});
afterAll(async () => {
  byHand?.kill("SIGKILL");
  await lab.close();
  await store.close();
});

const ask = (from: string, seconds: number) =>
  exec([
    "nsenter",
    `--net=/run/netns/pw-${lab.name}.default.${from}`,
    ...["--", "curl", "-sS", "--max-time", `${seconds}`, url],
  ]);
const answers = (from: string) =>
  eventually(
    `${from} is answered`,
    () => ask(from, 1),
    ({ code }) => code === 0,
  );
const staysSilent = async (from: string) => {
  for (let round = 0; round < 3; round++) expect((await ask(from, 1)).code).toBe(28);
};
const file = () => join(lab.paths.node("n1").dir, "policies.json");

describe("policies of a node whose process is killed", () => {
  it("hold before, and are kept in a file of root's alone", async () => {
    await answers("friend");
    await eventually(
      "the stranger is shut out",
      () => ask("stranger", 1),
      ({ code }) => code === 28,
    );
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it("hold from the first packet of the next process, while the API is away", async () => {
    lab.signal("supervisor.pid", "SIGKILL");
    lab.signal("cluster.pid", "SIGKILL");
    lab.signal("n1", "SIGKILL");
    // A stranger that asks all the time would be the first to get through.
    const codes: number[] = [];
    let going = true;
    const asking = (async () => {
      while (going) codes.push((await ask("stranger", 1)).code);
    })();
    const { args } = lab.paths.node("n1");
    byHand = start(args);
    await answers("friend");
    await staysSilent("stranger");
    going = false;
    await asking;
    expect(codes).not.toContain(0);
    await answers("friend");
  });

  it("are the newest again when the API is back, and those that went meanwhile are gone", async () => {
    const cluster = start(lab.paths.clusterArgs);
    try {
      await eventually(
        "the API",
        () => lab.client.get<NetworkPolicy>("networkpolicies", "default", "friends-only"),
        Boolean,
      );
      await staysSilent("stranger");
      byHand?.kill("SIGKILL");
      await lab.client.delete("networkpolicies", "default", "friends-only");
      await answers("stranger");
    } finally {
      cluster.kill("SIGTERM");
    }
  });
});
