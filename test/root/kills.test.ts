import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, exec, TestLab } from "./lab.js";

/** kill -9 of each process of a lab while traffic runs. */
const lab = new TestLab("kills");
const dir = join(lab.runDir, "myweb");
const URL = "http://10.0.0.11:30001/";
let before: string[] = [];

beforeAll(async () => {
  before = await lab.footprint();
  await lab.up("topologies/myweb.yaml");
});
afterAll(async () => {
  await lab.podwire("down", "--all");
  await exec(["ip", "netns", "del", lab.netns]);
});

const pidOf = (file: string): number =>
  (JSON.parse(readFileSync(join(dir, file), "utf8")) as { pid: number }).pid;
const killHard = (file: string): void => void process.kill(pidOf(file), "SIGKILL");

/** Pids of the containers of a node, by pod directory. */
function containers(node: string): Record<string, string> {
  const pods = join(dir, "nodes", node, "pods");
  return Object.fromEntries(
    readdirSync(pods).flatMap((uid) =>
      readdirSync(join(pods, uid), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => [uid, readFileSync(join(pods, uid, entry.name, "pid"), "utf8").split(" ")[0] ?? ""]),
    ),
  );
}

/** Runs `during` while requests go through a NodePort; how many were answered and how many were not. */
async function underTraffic(during: () => Promise<void>): Promise<{ answered: number; failed: number }> {
  let going = true;
  const count = { answered: 0, failed: 0 };
  const traffic = (async () => {
    for (let round = 0; going && round < 1000; round++) {
      const { code } = await lab.curl(URL, "-o", "/dev/null", "--max-time", "0.5");
      if (code === 0) count.answered++;
      else count.failed++;
    }
  })();
  await during();
  going = false;
  await traffic;
  return count;
}

interface Status {
  nodes: {
    name: string;
    pid: number;
    restarts: number;
    status?: { phase: string; overlay: { subnet: string } };
  }[];
}
const status = () => lab.json<Status>("status");
const restarts = async () => {
  type Pods = {
    items: { metadata: { name: string }; status: { containerStatuses: { restartCount: number }[] } }[];
  };
  const { items } = await lab.json<Pods>("get", "pods");
  return Object.fromEntries(
    items.map((pod) => [pod.metadata.name, pod.status.containerStatuses[0]?.restartCount]),
  );
};
const allAnswer = () =>
  eventually(
    "five answers in a row",
    async () => {
      for (let round = 0; round < 5; round++) {
        const { code } = await lab.curl(URL, "--max-time", "1");
        if (code !== 0) return false;
      }
      return true;
    },
    Boolean,
  );

describe("kill -9", () => {
  it("of the cluster process, which is the store too: nodes forward on, and it comes back with all it knew", async () => {
    const old = pidOf("cluster.pid");
    const pods = await lab.ok("get", "pods", "-o", "name");
    const { answered, failed } = await underTraffic(async () => {
      killHard("cluster.pid");
      await eventually(
        "a new cluster process",
        async () => pidOf("cluster.pid"),
        (pid) => pid !== old,
      );
      await eventually(
        "the API",
        () => lab.podwire("get", "nodes"),
        ({ code }) => code === 0,
      );
    });
    expect(answered).toBeGreaterThan(10);
    expect(failed).toBe(0);
    expect(await lab.ok("get", "pods", "-o", "name")).toBe(pods);
  });

  it.each(["k8s-node-2", "k8s-master"])(
    "of the node process of %s: same subnet, same pods, which ran on",
    async (name) => {
      const subnet = (await status()).nodes.find((node) => node.name === name)?.status?.overlay.subnet;
      const running = containers(name);
      const counts = await restarts();
      await underTraffic(async () => {
        killHard(`nodes/${name}/node.pid`);
        const back = (all: Status) =>
          all.nodes.find((node) => node.name === name)?.status?.phase === "running";
        await eventually("the node", status, back);
        await allAnswer();
      });
      expect((await status()).nodes.find((node) => node.name === name)?.status?.overlay.subnet).toBe(subnet);
      expect(containers(name)).toEqual(running);
      expect(await restarts()).toEqual(counts);
    },
  );

  it("of a pod's process: it alone is started again", async () => {
    const counts = await restarts();
    const [pid] = Object.values(containers("k8s-node-1"));
    process.kill(Number(pid), "SIGKILL");
    const after = await eventually(
      "one restart",
      restarts,
      (now) => JSON.stringify(now) !== JSON.stringify(counts),
    );
    const changed = Object.keys(counts).filter((name) => after[name] !== counts[name]);
    expect(changed).toHaveLength(1);
    await allAnswer();
  });

  it("of a node that is stopped for longer than its grace: NotReady, its pods leave the endpoints, and come back", async () => {
    const pid = pidOf("nodes/k8s-node-2/node.pid");
    process.kill(pid, "SIGSTOP");
    try {
      await eventually(
        "NotReady",
        () => lab.ok("get", "nodes"),
        (text) => /k8s-node-2 +NotReady/.test(text),
      );
      await allAnswer();
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await eventually(
      "Ready",
      () => lab.ok("get", "nodes"),
      (text) => /k8s-node-2 +Ready/.test(text),
    );
  });

  it("of everything at once: status says so, and down leaves nothing behind, also when called twice", async () => {
    const nodes = readdirSync(join(dir, "nodes")).map((name) => `nodes/${name}/node.pid`);
    for (const file of ["supervisor.pid", "cluster.pid", ...nodes]) killHard(file);
    const { code, stderr } = await lab.podwire("status");
    expect(code).toBe(1);
    expect(stderr).toContain("podwire down");
    await lab.down();
    await lab.down();
    expect(await lab.footprint()).toEqual(before);
  });
});
