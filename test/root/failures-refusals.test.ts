/** A node process that starts again may lose packets, as any restart, but refuses none: clients take a refusal for an answer. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Service } from "../../src/kube/index.js";
import { CrashLab, NODE_PORT, WEB, webManifests } from "./crash-lab.js";
import { eventually, exec } from "./lab.js";

/** The longer, the less often a new process's first moments meet a knock. */
const PAUSE_MS = 4;
/** Few, as every further death of one node makes its pause longer (supervisor.ts). */
const SIGNALS = ["SIGKILL", "SIGTERM", "SIGKILL"] as const;
const KNOCKER = fileURLToPath(new URL("knocker.mjs", import.meta.url));
const lab = new CrashLab("refuse", { nodes: 2, manifests: webManifests(4) });
const VICTIM = "node-1";
const nodePort = (address: string) => `http://${address}:${NODE_PORT}/`;
const [OWN, FOREIGN] = [nodePort("10.177.0.2"), nodePort("10.177.0.3")];

beforeAll(async () => {
  await lab.up(lab.topology);
  for (const url of [OWN, FOREIGN]) await lab.answers(url);
});
afterAll(() => lab.close());

/** Knocks from a namespace until it is stopped; then tells how the knocks ended. */
function knock(netns: string, url: string): () => Promise<Record<string, number>> {
  const command = [`--net=/run/netns/${netns}`, "--", process.execPath, KNOCKER, `${PAUSE_MS}`, url];
  const child: ChildProcess = spawn("nsenter", command, { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout?.on("data", (data) => (output += data));
  const ended = new Promise((resolve) => child.once("close", resolve));
  return async () => {
    child.stdin?.end();
    await ended;
    return JSON.parse(output) as Record<string, number>;
  };
}

/**
 * A death takes the carrier of the node's TAPs, and with it what the kernel knows of their other ends. Asking anew takes a
 * second, in which nothing would be sent to the new process.
 */
async function keepNeighbours(netns: string, device: string): Promise<void> {
  const neigh = (...words: string[]) => exec(["ip", "-4", "-n", netns, "neigh", ...words, "dev", device]);
  const { stdout } = await neigh("show");
  for (const [, address = "", mac = ""] of stdout.matchAll(/^(\S+) lladdr (\S+)/gm))
    await neigh("replace", address, "lladdr", mac, "nud", "permanent");
}

describe("a node process that starts again", () => {
  it("refuses no connection through its own node port, to its pods through another's, or of its pods to a Service", async () => {
    const service = await lab.client.get<Service>("services", "default", WEB);
    const clusterIp = `http://${service.spec?.clusterIP}:80/`;
    const pod = await lab.podOn(VICTIM);
    const podNetns = `pw-${lab.name}.default.${pod.metadata?.name}`;
    await lab.requestFrom(pod, clusterIp);
    await keepNeighbours(lab.netns, `pw-${VICTIM}`);
    await keepNeighbours(podNetns, "eth0");
    const ends = {
      own: knock(lab.netns, OWN),
      foreign: knock(lab.netns, FOREIGN),
      pod: knock(podNetns, clusterIp),
    };
    for (const signal of SIGNALS) {
      const pid = lab.pid(VICTIM);
      lab.signal(VICTIM, signal);
      await eventually(
        "a new process",
        async () => lab.pid(VICTIM),
        (now) => now !== pid,
      );
      await eventually(
        `${VICTIM} to run`,
        () => lab.node(VICTIM),
        (node) => node?.status?.phase === "running",
      );
      await lab.answers(OWN);
    }
    const counts = { own: await ends.own(), foreign: await ends.foreign(), pod: await ends.pod() };
    console.log(`${SIGNALS} of ${VICTIM}: ${JSON.stringify(counts)}`);
    for (const { connected, timeout, ...refused } of Object.values(counts)) {
      expect(connected).toBeGreaterThan(0);
      expect(timeout).toBeGreaterThan(0);
      expect(refused).toEqual({});
    }
  });
});
