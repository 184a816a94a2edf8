/** Init containers, sidecars, startup probes and hooks of a pod, with real processes. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Container, PodStatus } from "../../src/kube/index.js";
import { eventually } from "./lab.js";
import { PodLab } from "./pod-lab.js";
import { endPods, isReady, main, shell, TestPod } from "./test-pod.js";

let lab: PodLab;
beforeAll(() => {
  lab = new PodLab();
});
afterAll(async () => {
  await endPods();
  await lab.close();
});

const path = (name: string) => join(lab.dir, name);
const init = (script: string, name: string, more: object = {}) =>
  shell(script, { name, ...more } as Partial<Container>);
const initialised = ({ conditions }: PodStatus) =>
  conditions?.find(({ type }) => type === "Initialized")?.status === "True";

describe("init containers", () => {
  it("run one after the other before the containers", async () => {
    const order = path("order");
    const initContainers = [
      init(`sleep 0.2; echo one >>${order}`, "one"),
      init(`echo two >>${order}`, "two"),
    ];
    const pod = await TestPod.create(lab, [shell(`echo main >>${order}; sleep 300`)], { initContainers });
    await pod.worker.start();
    const [first] = pod.statuses;
    expect(first).toMatchObject({
      phase: "Pending",
      initContainerStatuses: [{ name: "one" }, { name: "two" }],
    });
    expect(main(first as PodStatus).state?.waiting?.reason).toBe("PodInitializing");
    expect(initialised(first as PodStatus)).toBe(false);
    const status = await pod.until(isReady);
    expect(initialised(status)).toBe(true);
    const written = async () => readFileSync(order, "utf8");
    await eventually("the order", written, (text) => text === "one\ntwo\nmain\n");
    pod.restartNode();
    await pod.worker.start();
    expect(pod.statuses.at(-1)).toMatchObject({ phase: "Running" });
    expect(readFileSync(order, "utf8")).toBe("one\ntwo\nmain\n");
    await pod.worker.stop(0);
  });

  it("that fail are tried again, or fail the pod", async () => {
    const tried = path("tried");
    const script = `echo x >>${tried}; [ $(wc -l <${tried}) -gt 1 ]`;
    const again = await TestPod.create(lab, [shell("sleep 300")], { initContainers: [init(script, "i")] });
    await again.worker.start();
    expect((await again.until(isReady)).initContainerStatuses).toMatchObject([{ restartCount: 1 }]);
    await again.worker.stop(0);
    const never = { initContainers: [init("exit 3", "i")], restartPolicy: "Never" };
    const failed = await TestPod.create(lab, [shell("sleep 300")], never);
    await failed.worker.start();
    const status = await failed.until(({ phase }) => phase === "Failed");
    expect(main(status).state?.waiting?.reason).toBe("PodInitializing");
    await failed.worker.stop(0);
  });

  it("that always restart run beside the containers, and end after them", async () => {
    const log = path("sidecar");
    const trap = (name: string) => `trap 'echo ${name} >>${log}; exit 0' TERM; while :; do sleep 0.05; done`;
    const initContainers = [init(trap("sidecar"), "side", { restartPolicy: "Always" })];
    const pod = await TestPod.create(lab, [shell(trap("main"))], { initContainers });
    await pod.worker.start();
    const status = await pod.until(isReady);
    expect(status.initContainerStatuses).toMatchObject([{ name: "side", started: true, ready: true }]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await pod.worker.stop(20_000);
    expect(readFileSync(log, "utf8")).toBe("main\nsidecar\n");
  });
});

describe("a startup probe", () => {
  it("comes before the other probes", async () => {
    const flag = path("started");
    const startupProbe = { exec: { command: ["cat", flag] }, periodSeconds: 0.05, failureThreshold: 1000 };
    const readinessProbe = { exec: { command: ["true"] }, periodSeconds: 0.05 };
    const livenessProbe = { exec: { command: ["cat", flag] }, periodSeconds: 0.05, failureThreshold: 1 };
    const pod = await TestPod.create(lab, [
      shell("sleep 300", { startupProbe, readinessProbe, livenessProbe }),
    ]);
    await pod.worker.start();
    const running = await pod.until((one) => main(one).state?.running !== undefined);
    expect(main(running)).toMatchObject({ started: false, ready: false });
    writeFileSync(flag, "");
    expect(main(await pod.until(isReady))).toMatchObject({ started: true, restartCount: 0 });
    rmSync(flag);
    await pod.until((one) => main(one).restartCount === 1);
    await pod.worker.stop(0);
  });

  it("that fails too often ends the container", async () => {
    const startupProbe = { exec: { command: ["false"] }, periodSeconds: 0.05, failureThreshold: 2 };
    const pod = await TestPod.create(lab, [shell("sleep 300", { startupProbe })]);
    await pod.worker.start();
    await pod.until((one) => main(one).restartCount === 1);
    expect(pod.events).toContain("Normal Killing: Container main failed startup probe, will be restarted");
    await pod.worker.stop(0);
  });
});

describe("hooks", () => {
  it("run after the start and before the end", async () => {
    const log = path("hooks");
    const hook = (word: string) => ({ exec: { command: ["sh", "-c", `echo ${word} >>${log}`] } });
    const lifecycle = { postStart: hook("post"), preStop: hook("pre") };
    const script = `trap 'echo term >>${log}; exit 0' TERM; while :; do sleep 0.05; done`;
    const pod = await TestPod.create(lab, [shell(script, { lifecycle } as Partial<Container>)]);
    await pod.worker.start();
    await pod.until(isReady);
    expect(readFileSync(log, "utf8")).toBe("post\n");
    await new Promise((resolve) => setTimeout(resolve, 200));
    await pod.worker.stop(20_000);
    expect(readFileSync(log, "utf8")).toBe("post\npre\nterm\n");
    expect(isReady(pod.statuses.at(-1) as PodStatus)).toBe(false);
  });

  it("that fail after the start end the container, and before the end only tell", async () => {
    const bad = { exec: { command: ["false"] } };
    const post = await TestPod.create(lab, [
      shell("sleep 300", { lifecycle: { postStart: bad } } as Partial<Container>),
    ]);
    await post.worker.start();
    await post.until((one) => main(one).lastState?.terminated?.exitCode === 137);
    expect(post.events).toContain(
      "Warning FailedPostStartHook: PostStartHook failed: command failed: exit code 1",
    );
    await post.worker.stop(0);
    const pre = await TestPod.create(lab, [
      shell("sleep 300", { lifecycle: { preStop: bad } } as Partial<Container>),
    ]);
    await pre.worker.start();
    await pre.until(isReady);
    await pre.worker.stop(20_000);
    expect(pre.events).toContain(
      "Warning FailedPreStopHook: PreStopHook failed: command failed: exit code 1",
    );
  });
});

describe("a pod that terminates", () => {
  it("tells its readiness to the end", async () => {
    const flag = path("serving");
    writeFileSync(flag, "");
    const readinessProbe = { exec: { command: ["cat", flag] }, periodSeconds: 0.05, failureThreshold: 1 };
    const lifecycle = { preStop: { sleep: { seconds: 1 } } };
    const pod = await TestPod.create(lab, [
      shell("sleep 300", { readinessProbe, lifecycle } as Partial<Container>),
    ]);
    await pod.worker.start();
    await pod.until(isReady);
    const stopped = pod.worker.stop(20_000);
    expect(isReady(pod.statuses.at(-1) as PodStatus)).toBe(true);
    rmSync(flag);
    await pod.until(
      (one) => pod.statuses.indexOf(one) > 1 && !isReady(one) && main(one).state?.running !== undefined,
    );
    await stopped;
  });
});

describe("a container that fails its liveness probe", () => {
  const dead = { exec: { command: ["false"] }, periodSeconds: 0.05, failureThreshold: 1 };

  it("runs its preStop hook, and ends in its own time", async () => {
    const log = path("unhealthy.log");
    const script = `trap 'echo term >>${log}; exit 3' TERM; while :; do sleep 0.05; done`;
    const lifecycle = { preStop: { exec: { command: ["sh", "-c", `echo pre >>${log}`] } } };
    const pod = await TestPod.create(lab, [
      shell(script, {
        lifecycle,
        livenessProbe: { ...dead, initialDelaySeconds: 0.5 },
      } as Partial<Container>),
    ]);
    await pod.worker.start();
    await pod.until((one) => main(one).lastState?.terminated?.exitCode === 3);
    expect(readFileSync(log, "utf8")).toMatch(/^pre\nterm\n/);
    await pod.worker.stop(0);
  });

  it("is killed when the probe's own grace period is over, not the pod's", async () => {
    const script = "trap '' TERM; while :; do sleep 0.05; done";
    const livenessProbe = { ...dead, terminationGracePeriodSeconds: 1 };
    const pod = await TestPod.create(lab, [shell(script, { livenessProbe } as Partial<Container>)], {
      terminationGracePeriodSeconds: 600,
    });
    await pod.worker.start();
    await pod.until((one) => main(one).lastState?.terminated?.exitCode === 137);
    await pod.worker.stop(0);
  });
});

describe("setHostnameAsFQDN", () => {
  it("makes the fully qualified name the host name", async () => {
    const pod = await TestPod.create(lab, [shell('echo "$(hostname) $HOSTNAME"; sleep 300')], {
      setHostnameAsFQDN: true,
      hostname: "a",
      subdomain: "web",
    });
    await pod.worker.start();
    const name = "a.web.default.svc.cluster.local";
    expect(await pod.logged(name)).toBe(`${name} ${name}\n`);
    await pod.worker.stop(0);
  });
});
