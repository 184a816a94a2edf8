/** kill -9 of each process of a lab while traffic runs, until all of them are gone at once. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Service } from "../../src/kube/index.js";
import { CrashLab, NODE_PORT, underTraffic, WEB, webManifests } from "./crash-lab.js";
import { eventually } from "./lab.js";

const lab = new CrashLab("crash", { nodes: 3, manifests: webManifests(5) });
const NODES = ["node-1", "node-2", "node-3"];
/** The NodePort on a node that is never the victim. */
const URL = `http://10.177.0.3:${NODE_PORT}/`;
const CURL_TIMED_OUT = 28;
let before: string[] = [];

beforeAll(async () => {
  before = await lab.footprint();
  await lab.up(lab.topology);
});
afterAll(() => lab.close());

/** Through a NodePort, which may choose any pod, and between pods of the first two nodes. */
async function traffic(what: string, during: () => Promise<void>) {
  const [from, to] = [await lab.podOn("node-2"), await lab.podOn("node-1")];
  const podUrl = `http://${to.status?.podIP}:8080/`;
  const requests = { nodePort: () => lab.request(URL), podToPod: () => lab.requestFrom(from, podUrl) };
  return underTraffic(what, requests, during);
}

/** All that a process that recovers finds again. */
async function state() {
  const nodes = await lab.nodes();
  return {
    subnets: nodes.map(({ status }) => status?.overlay.subnet),
    containers: NODES.map((name) => lab.containers(name)),
    restarts: await lab.restarts(),
    endpoints: await lab.endpoints(),
  };
}

const newPid = (what: string, old: number) =>
  eventually(
    `a new ${what}`,
    async () => lab.pid(what),
    (pid) => pid !== old,
  );
const running = (name: string) =>
  eventually(
    `${name} to run`,
    () => lab.node(name),
    (node) => node?.status?.phase === "running",
  );
const allReady = (count: number) =>
  eventually(
    `${count} endpoints`,
    () => lab.endpoints(),
    ({ length }) => length === count,
    30_000,
  );
const answers = (...args: string[]) =>
  eventually(
    `podwire ${args[0]}`,
    () => lab.podwire(...args),
    ({ code }) => code === 0,
  );

describe("kill -9 while traffic runs", () => {
  it("of the cluster process, which is the store too: nodes forward on, and it comes back with all it knew", async () => {
    const known = await state();
    const pid = lab.pid("cluster.pid");
    const counts = await traffic("cluster process", async () => {
      lab.signal("cluster.pid", "SIGKILL");
      await newPid("cluster.pid", pid);
      await answers("get", "nodes");
    });
    expect(counts.nodePort.answered).toBeGreaterThan(0);
    expect([counts.nodePort.failed, counts.podToPod.failed]).toEqual([0, 0]);
    expect(await state()).toEqual(known);
  });

  it.each(["node-3", "node-1"])(
    "of the node process of %s: same subnet, same pods, which ran on",
    async (name) => {
      const known = await state();
      const pid = lab.pid(name);
      const service = await lab.client.get<Service>("services", "default", WEB);
      const counts = await traffic(`node process of ${name}`, async () => {
        lab.signal(name, "SIGKILL");
        await newPid(name, pid);
        await running(name);
        await lab.answers(URL);
        await lab.answers(`http://${service.spec?.clusterIP}/`);
      });
      expect(counts.nodePort.answered).toBeGreaterThan(0);
      if (name === "node-3") expect(counts.podToPod.failed).toBe(0);
      expect(await state()).toEqual(known);
    },
  );

  it("of a node and the cluster process at once", async () => {
    const known = await state();
    const pids = [lab.pid("cluster.pid"), lab.pid("node-3")] as const;
    const counts = await traffic("cluster and node process", async () => {
      lab.signal("cluster.pid", "SIGKILL");
      lab.signal("node-3", "SIGKILL");
      await newPid("cluster.pid", pids[0]);
      await newPid("node-3", pids[1]);
      await running("node-3");
      await lab.answers(URL);
    });
    expect(counts.podToPod.failed).toBe(0);
    expect(await state()).toEqual(known);
  });

  it("of a pod's process, also with its node: it alone is started again", async () => {
    for (const withNode of [false, true]) {
      const known = await state();
      const pod = await lab.podOn("node-3");
      const { uid = "", name = "" } = pod.metadata ?? {};
      await traffic(`pod's process${withNode ? " and its node" : ""}`, async () => {
        if (withNode) lab.signal("node-3", "SIGKILL");
        process.kill(lab.containers("node-3")[uid] ?? 0, "SIGKILL");
        await eventually(
          "one restart",
          () => lab.restarts(),
          (now) => now[name] !== known.restarts[name],
        );
        await running("node-3");
        await allReady(5);
        await lab.answers(URL);
      });
      expect(await lab.restarts()).toEqual({ ...known.restarts, [name]: (known.restarts[name] ?? 0) + 1 });
    }
  });

  it("of a pod's shim: the pod does not notice, and its node goes on watching it", async () => {
    const known = await state();
    const { uid = "", name = "" } = (await lab.podOn("node-1")).metadata ?? {};
    const pid = lab.containers("node-1")[uid] ?? 0;
    const shim = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    expect(readFileSync(`/proc/${shim}/cmdline`, "utf8")).toContain("podwire-shim");
    const counts = await traffic("pod's shim", async () => {
      process.kill(shim, "SIGKILL");
      await lab.answers(URL);
    });
    expect(counts.nodePort.failed + counts.podToPod.failed).toBe(0);
    expect(await state()).toEqual(known);
    process.kill(pid, "SIGKILL");
    await eventually(
      "one restart",
      () => lab.restarts(),
      (now) => now[name] !== known.restarts[name],
    );
    await allReady(5);
  });
});

/** A source port from which a request was led to a pod that does not answer. */
async function unansweredPort(): Promise<string> {
  // Below those that the kernel chooses.
  for (let port = 20_000; port < 20_020; port++) {
    if ((await lab.request(URL, "--local-port", `${port}`)).code === CURL_TIMED_OUT) return `${port}`;
  }
  throw new Error("all requests were answered");
}

describe("a node that stays silent", () => {
  it("no longer leads the host to ClusterIPs", async () => {
    const service = await lab.client.get<Service>("services", "default", WEB);
    const { stdout } = await lab.host("ip", "route", "get", service.spec?.clusterIP ?? "");
    const gateway = NODES.find((name) => stdout.includes(` dev pw-${name} `)) ?? "";
    lab.signal(gateway, "SIGSTOP");
    try {
      await lab.answers(`http://${service.spec?.clusterIP}/`);
    } finally {
      lab.signal(gateway, "SIGCONT");
    }
    await eventually("Ready", () => lab.ready(gateway), Boolean);
    await allReady(5);
  });

  it("is NotReady, its pods leave the endpoints, and come back with it", async () => {
    const known = await state();
    const own = (await lab.pods()).filter(({ spec }) => spec?.nodeName === "node-3");
    const others = known.endpoints.filter((ip) => own.every(({ status }) => status?.podIP !== ip));
    lab.signal("node-3", "SIGSTOP");
    try {
      const port = await unansweredPort();
      await eventually(
        "its pods to leave",
        () => lab.endpoints(),
        (now) => `${now}` === `${others}`,
      );
      expect(await lab.ok("get", "nodes")).toMatch(/node-3 +NotReady/);
      // The kernel soon uses a port again, which must not lead to where it led before.
      await eventually(
        "an answer to the same port",
        () => lab.request(URL, "--local-port", port),
        ({ code }) => code === 0,
        3000,
      );
      const counts = await traffic("a stopped node", () => lab.answers(URL));
      expect(counts.nodePort.failed + counts.podToPod.failed).toBe(0);
      const asked = await lab.podwire("conntrack", "-L", "--node", "node-3");
      expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining("node node-3 does not answer")]);
    } finally {
      lab.signal("node-3", "SIGCONT");
    }
    await eventually("Ready", () => lab.ready("node-3"), Boolean);
    await allReady(5);
    await lab.answers(URL);
    expect(await state()).toEqual(known);
  });
});

describe("kill -9 while pods change", () => {
  it("of a node that is starting and stopping pods: all are made, and none is left over", async () => {
    await lab.ok("scale", `rc/${WEB}`, "--replicas=9");
    for (let round = 0; round < 3; round++) {
      const pid = lab.pid("node-3");
      lab.signal("node-3", "SIGKILL");
      await newPid("node-3", pid);
    }
    await allReady(9);
    await lab.ok("scale", `rc/${WEB}`, "--replicas=5");
    lab.signal("node-3", "SIGKILL");
    await eventually(
      "five pods",
      () => lab.pods(),
      ({ length }) => length === 5,
    );
    const names = (await lab.pods()).map(({ metadata }) => `pw-${lab.name}.default.${metadata?.name}`);
    await eventually(
      "five namespaces",
      async () => lab.netnsOfPods().sort(),
      (now) => `${now}` === `${names.sort()}`,
    );
    await allReady(5);
    await lab.answers(URL);
  });
});

describe("up", () => {
  it("of a lab that is up is refused and changes nothing", async () => {
    const known = await state();
    const what = ["cluster.pid", "supervisor.pid", ...NODES];
    const pids = what.map((name) => lab.pid(name));
    const { code, stderr } = await lab.podwire("up", lab.topology, "--netns", lab.netns, "--detach");
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining(`lab ${lab.name} is already up: podwire down`),
    ]);
    expect(what.map((name) => lab.pid(name))).toEqual(pids);
    expect(await state()).toEqual(known);
  });

  it("after a crash clears the remains: without its shell the lab runs on, but nothing restarts its cluster process", async () => {
    const counts = await traffic("supervisor shell, then cluster process", async () => {
      lab.signal("supervisor.pid", "SIGKILL");
      await answers("status");
      await lab.answers(URL);
      lab.signal("cluster.pid", "SIGKILL");
      const { code, stderr } = await lab.podwire("status");
      expect([code, stderr]).toEqual([1, expect.stringContaining(`podwire down ${lab.name}, then up`)]);
      await lab.answers(URL);
    });
    expect(counts.nodePort.failed + counts.podToPod.failed).toBe(0);
    await lab.up(lab.topology);
    await lab.answers(URL);
    expect(lab.netnsOfPods()).toHaveLength(5);
  });
});

describe("down", () => {
  it("leaves nothing, while the cluster process is just being started again", async () => {
    const pid = lab.pid("cluster.pid");
    lab.signal("cluster.pid", "SIGKILL");
    await newPid("cluster.pid", pid);
    lab.signal("cluster.pid", "SIGKILL");
    await lab.down();
    expect(await lab.footprint()).toEqual(before);
  });

  it("leaves nothing after kill -9 of everything at once, also when called twice", async () => {
    await lab.up(lab.topology);
    const pods = NODES.flatMap((name) => Object.values(lab.containers(name)));
    for (const what of ["supervisor.pid", "cluster.pid", ...NODES]) lab.signal(what, "SIGKILL");
    for (const pid of pods) process.kill(pid, "SIGKILL");
    await lab.down();
    await lab.down();
    expect(await lab.footprint()).toEqual(before);
  });
});
