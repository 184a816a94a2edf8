/** One pod's worker over real namespaces, TAPs and processes: restarts, probes, graceful end, a later process. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Container, PodStatus } from "../../src/kube/index.js";
import { netnsExists, processStartTime } from "../../src/node/owned.js";
import { eventually } from "./lab.js";
import { PodLab, within } from "./pod-lab.js";
import { endPods, isReady, main, shell, TestPod } from "./test-pod.js";

let lab: PodLab;
beforeAll(() => {
  lab = new PodLab();
});
afterAll(async () => {
  await endPods();
  await lab.close();
});

describe("a pod", () => {
  it("becomes ready, answers, and is gone after a graceful stop", async () => {
    const env = [{ name: "GREETING", value: "hello" }];
    const pod = await TestPod.create(lab, [{ name: "main", image: "echo", env } as Container]);
    await pod.worker.start();
    expect(pod.statuses.map(({ phase }) => phase)).toEqual(["Pending", "Running"]);
    expect(isReady(await pod.until(isReady))).toBe(true);
    await pod.logged("listens");
    const { stdout } = await within(pod.record.netns, ["curl", "-sS", `http://${pod.record.ip}:8080/`]);
    expect(stdout).toMatch(
      new RegExp(`^pod=${pod.record.name} node=node-1 ip=${pod.record.ip} client=${pod.record.ip}:\\d+\n$`),
    );
    expect(pod.worker.environment()).toMatchObject({
      GREETING: "hello",
      PATH: "/image",
      HOSTNAME: pod.record.name,
    });
    const [program = "", ...way] = pod.worker.enter() ?? [];
    expect(program).toBe("nsenter");
    expect(Number(way[1])).toBeGreaterThan(1);
    expect(pod.events).toEqual(["Normal Started: Started container main"]);
    await pod.worker.stop(20_000);
    expect(netnsExists(pod.record.netns)).toBe(false);
    expect(existsSync(pod.sandboxes.podDir(pod.record.uid))).toBe(false);
    expect(isReady(pod.statuses.at(-1) as PodStatus)).toBe(false);
  });

  it("has its arguments expanded, with its own environment only", async () => {
    const env = [{ name: "WHO", value: "world" }];
    const container = {
      name: "main",
      image: "sh",
      args: ["-c", "echo '$(WHO) $(PATH) $$(WHO)'"],
      env,
    } as Container;
    const pod = await TestPod.create(lab, [container], { restartPolicy: "Never" });
    await pod.worker.start();
    await pod.until(({ phase }) => phase === "Succeeded");
    expect(pod.log()).toBe("world $(PATH) $(WHO)\n");
    await pod.worker.stop(0);
  });

  it.each([
    ["Never", 0, "Succeeded"],
    ["Never", 4, "Failed"],
    ["OnFailure", 0, "Succeeded"],
  ])(
    "with restart policy %s whose command ends at once with %i has %s",
    async (restartPolicy, exitCode, phase) => {
      const pod = await TestPod.create(lab, [shell(`exit ${exitCode}`)], { restartPolicy });
      await pod.worker.start();
      const status = await pod.until((one) => one.phase === phase);
      expect(main(status)).toMatchObject({
        ready: false,
        restartCount: 0,
        state: { terminated: { exitCode } },
      });
      // Nothing is told after it: least of all that it runs.
      expect(pod.statuses.at(-1)).toEqual(status);
      await pod.worker.stop(0);
    },
  );

  it("is restarted at once the first time, then with back-off", async () => {
    const pod = await TestPod.create(lab, [shell("echo run; exit 3")]);
    await pod.worker.start();
    const status = await pod.until((one) => main(one).state?.waiting?.reason === "CrashLoopBackOff");
    expect(status.phase).toBe("Running");
    expect(main(status)).toMatchObject({
      restartCount: 1,
      ready: false,
      state: { waiting: { message: "back-off 10s restarting failed container=main" } },
      lastState: { terminated: { exitCode: 3, reason: "Error" } },
    });
    expect(pod.events).toEqual([
      "Normal Started: Started container main",
      "Normal Started: Started container main",
      "Warning BackOff: Back-off restarting failed container main",
    ]);
    expect(readFileSync(join(pod.worker.containerDir("main"), "log.previous"), "utf8")).toBe("run\n");
    await pod.worker.stop(0);
    expect(netnsExists(pod.record.netns)).toBe(false);
  });

  it("whose command does not exist says so in its status and its log", async () => {
    const pod = await TestPod.create(
      lab,
      [{ name: "main", image: "sh", command: ["no-such-program"] } as Container],
      {
        restartPolicy: "Never",
      },
    );
    await pod.worker.start();
    const status = await pod.until((one) => one.phase === "Failed");
    expect(main(status).state?.terminated?.exitCode).toBe(127);
    expect(pod.log()).toContain("no-such-program");
    await pod.worker.stop(0);
  });

  it("of an unknown image waits, and the containers beside it run", async () => {
    const pod = await TestPod.create(lab, [
      { name: "main", image: "nginx" } as Container,
      shell("sleep 300", { name: "side" }),
    ]);
    await pod.worker.start();
    const status = await pod.until((one) => one.containerStatuses?.[1]?.ready === true);
    expect(status.phase).toBe("Pending");
    expect(main(status).state?.waiting).toMatchObject({ reason: "ErrImagePull" });
    expect(pod.events).toContainEqual(expect.stringContaining("Warning Failed: image nginx: no entry"));
    await pod.worker.stop(0);
  });
});

describe("probes of a pod", () => {
  it("make it ready and unready again, and tell why", async () => {
    const flag = join(lab.dir, "ready");
    const readinessProbe = { exec: { command: ["cat", flag] }, periodSeconds: 0.05, failureThreshold: 1 };
    const pod = await TestPod.create(lab, [shell("sleep 300", { readinessProbe })]);
    await pod.worker.start();
    await eventually(
      "an event",
      async () => pod.events,
      (events) => events.length > 1,
    );
    expect(pod.events.at(-1)).toMatch(
      /^Warning Unhealthy: Readiness probe failed: command failed: cat: .*No such file/,
    );
    expect(isReady(pod.statuses.at(-1) as PodStatus)).toBe(false);
    writeFileSync(flag, "");
    await pod.until(isReady);
    const seen = pod.statuses.length;
    rmSync(flag);
    const status = await pod.until((one) => pod.statuses.indexOf(one) >= seen && !isReady(one));
    expect(status.conditions).toContainEqual(
      expect.objectContaining({ message: "containers with unready status: [main]" }),
    );
    await pod.worker.stop(0);
    expect(pod.statuses.at(-1)).toEqual(status);
  });

  it("of liveness end it, and it is started again", async () => {
    const livenessProbe = { exec: { command: ["false"] }, periodSeconds: 0.05, failureThreshold: 2 };
    const pod = await TestPod.create(lab, [shell("sleep 300", { livenessProbe })]);
    await pod.worker.start();
    const status = await pod.until((one) => main(one).restartCount === 1);
    expect(main(status).lastState?.terminated).toMatchObject({ exitCode: 143, signal: 15 });
    expect(pod.events.slice(1, 3)).toEqual([
      "Warning Unhealthy: Liveness probe failed: command failed: exit code 1",
      "Normal Killing: Container main failed liveness probe, will be restarted",
    ]);
    await pod.worker.stop(0);
  });
});

describe("the end of a pod", () => {
  it("lets it finish its work within the grace period", async () => {
    const done = join(lab.dir, "done");
    const pod = await TestPod.create(lab, [
      shell(`trap 'sleep 0.3; echo finished >${done}; exit 0' TERM; echo up; while :; do sleep 0.05; done`),
    ]);
    await pod.worker.start();
    await pod.logged("up");
    await pod.worker.stop(60_000);
    expect(readFileSync(done, "utf8")).toBe("finished\n");
    expect(netnsExists(pod.record.netns)).toBe(false);
  });

  it("kills what will not listen when the grace period is over", async () => {
    const pod = await TestPod.create(lab, [shell("trap '' TERM; echo $$$$; while :; do sleep 0.05; done")]);
    await pod.worker.start();
    const pid = Number(await pod.logged("\n"));
    expect(processStartTime(pid)).toBeDefined();
    await pod.worker.stop(100);
    expect(processStartTime(pid)).toBeUndefined();
    expect(netnsExists(pod.record.netns)).toBe(false);
  });

  it("waits for a start in progress, which could slip into the namespace while that is taken down", async () => {
    const pod = await TestPod.create(lab, [shell("sleep 300")]);
    const path = process.env.PATH;
    const slow = `#!/bin/sh\ncase "$*" in *podwire-shim*) sleep 0.5 ;; esac\nPATH=\${PATH#*:} exec ip "$@"\n`;
    writeFileSync(join(lab.dir, "ip"), slow, { mode: 0o755 });
    process.env.PATH = `${lab.dir}:${path}`;
    try {
      let started = false;
      void pod.worker.start().then(() => {
        started = true;
      });
      await pod.worker.stop(0);
      expect(started).toBe(true);
    } finally {
      process.env.PATH = path;
    }
    expect(netnsExists(pod.record.netns)).toBe(false);
    expect(lab.processes()).toEqual([]);
    expect(pod.events).toEqual([]);
  });

  it("leaves no process behind whatever it was doing: starting, ending, being restarted", async () => {
    for (let round = 0; round < 8; round++) {
      const pod = await TestPod.create(lab, [shell("exit 1"), shell("sleep 300", { name: "side" })]);
      const started = pod.worker.start();
      if (round % 2 === 0) await pod.until((one) => (main(one)?.restartCount ?? 0) >= (round % 4) / 2);
      await pod.worker.stop(round < 4 ? 0 : 20_000);
      await started;
      const told = pod.statuses.length;
      expect(netnsExists(pod.record.netns)).toBe(false);
      expect(existsSync(pod.sandboxes.podDir(pod.record.uid))).toBe(false);
      // The shells end with the namespace's other processes; nothing may start a new one.
      await new Promise((resolve) => setImmediate(resolve));
      expect(lab.processes()).toEqual([]);
      expect(pod.statuses).toHaveLength(told);
    }
  });
});

describe("a later node process", () => {
  it("takes up a ready pod without a moment of unreadiness", async () => {
    const readinessProbe = { exec: { command: ["true"] }, periodSeconds: 0.05 };
    const pod = await TestPod.create(lab, [
      shell("sleep 300", { readinessProbe }),
      shell("sleep 300", { name: "side" }),
    ]);
    await pod.worker.start();
    const before = await pod.until(isReady);
    const enter = pod.worker.enter();
    pod.restartNode();
    await pod.worker.start();
    expect(pod.worker.enter()).toEqual(enter);
    expect(pod.statuses.map(isReady)).toEqual([true]);
    expect(pod.statuses.at(-1)).toEqual(before);
    expect(pod.events).toEqual([]);
    await pod.worker.stop(20_000);
  });

  it("restarts what ended meanwhile, and counts on", async () => {
    const pod = await TestPod.create(lab, [shell("echo $$$$; exec sleep 300")]);
    await pod.worker.start();
    const pid = Number(await pod.logged("\n"));
    pod.worker.release();
    process.kill(pid, "SIGKILL");
    await eventually(
      "its end",
      async () => processStartTime(pid),
      (time) => time === undefined,
    );
    pod.restartNode();
    await pod.worker.start();
    const status = await pod.until((one) => main(one).restartCount > 0 && isReady(one));
    expect(main(status)).toMatchObject({ restartCount: 1, lastState: { terminated: { exitCode: 137 } } });
    expect(pod.statuses.slice(0, pod.statuses.indexOf(status)).some(isReady)).toBe(false);
    await pod.worker.stop(20_000);
  });
});
