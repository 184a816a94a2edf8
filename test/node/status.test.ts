/** Pod status from container states, against the rules of kubelet_pods.go (getPhase) and status/generate.go. */
import { describe, expect, it } from "vitest";
import type { Container, Pod, PodStatus } from "../../src/kube/index.js";
import { type ContainerView, containerState, podStatus } from "../../src/node/pods/status.js";

const T0 = Date.UTC(2024, 0, 1);
const at = (seconds: number): number => T0 + seconds * 1000;
const iso = (seconds: number): string => new Date(at(seconds)).toISOString().replace(".000Z", "Z");

function view(name: string, state: ContainerView["state"], more: Partial<ContainerView> = {}): ContainerView {
  const started = state.type === "running";
  return { spec: { name, image: "i" } as Container, state, restartCount: 0, ready: false, started, ...more };
}

const waiting = { type: "waiting", reason: "ContainerCreating" } as const;
const running = { type: "running", startedAtMs: at(1) } as const;
const ended = (exitCode: number) =>
  ({ type: "terminated", exitCode, startedAtMs: at(1), finishedAtMs: at(5) }) as const;
const crashed = view(
  "c",
  { type: "waiting", reason: "CrashLoopBackOff" },
  { lastState: containerState(view("c", ended(1))) },
);

function status(
  restartPolicy: string | undefined,
  views: ContainerView[],
  previous?: PodStatus,
  nowMs = at(10),
): PodStatus {
  const pod = { metadata: { name: "p" }, spec: { restartPolicy }, status: previous } as Pod;
  return podStatus(pod, views, { podIp: "172.16.5.2", hostIp: "10.0.0.11" }, nowMs);
}

const condition = (of: PodStatus, type: string) => of.conditions?.find((one) => one.type === type);

describe("the phase", () => {
  it.each<[string, string | undefined, ContainerView[]]>([
    ["Pending", "Always", [view("a", waiting)]],
    ["Pending", "Always", [view("a", running), view("b", waiting)]],
    ["Pending", "Never", [view("a", ended(1)), view("b", waiting)]],
    ["Running", undefined, [view("a", running)]],
    ["Running", "Always", [crashed]],
    ["Running", "Always", [view("a", ended(0))]],
    ["Running", "Never", [view("a", running), view("b", ended(1))]],
    ["Running", "OnFailure", [view("a", ended(1))]],
    ["Running", "OnFailure", [view("a", ended(0)), crashed]],
    ["Succeeded", "OnFailure", [view("a", ended(0)), view("b", ended(0))]],
    ["Succeeded", "Never", [view("a", ended(0))]],
    ["Failed", "Never", [view("a", ended(0)), view("b", ended(2))]],
  ])("is %s with restart policy %s", (phase, policy, views) => {
    expect(status(policy, views).phase).toBe(phase);
  });
});

describe("conditions", () => {
  it("name the containers that are not ready", () => {
    const of = status("Always", [
      view("a", running, { ready: true }),
      view("b", running),
      view("c", running),
    ]);
    for (const type of ["Ready", "ContainersReady"]) {
      expect(condition(of, type)).toMatchObject({
        status: "False",
        reason: "ContainersNotReady",
        message: "containers with unready status: [b c]",
      });
    }
  });

  it("say of a finished pod only that it is finished", () => {
    expect(condition(status("Never", [view("a", ended(0))]), "Ready")).toEqual({
      type: "Ready",
      status: "False",
      reason: "PodCompleted",
      lastTransitionTime: iso(10),
    });
    expect(condition(status("Never", [view("a", ended(1))]), "Ready")).toMatchObject({ reason: "PodFailed" });
  });

  it("carry no reason when they hold", () => {
    const of = status("Always", [view("a", running, { ready: true })]);
    expect(condition(of, "Ready")).toEqual({ type: "Ready", status: "True", lastTransitionTime: iso(10) });
  });

  it("keep the time of their last change", () => {
    const first = status("Always", [view("a", running)], undefined, at(10));
    const same = status("Always", [view("a", running)], first, at(20));
    expect(same).toEqual(first);
    const ready = status("Always", [view("a", running, { ready: true })], same, at(30));
    expect(condition(ready, "Ready")?.lastTransitionTime).toBe(iso(30));
    expect(condition(ready, "PodScheduled")?.lastTransitionTime).toBe(iso(10));
    const later = status("Always", [view("a", running, { ready: true })], ready, at(40));
    expect(condition(later, "Ready")?.lastTransitionTime).toBe(iso(30));
    expect(later.startTime).toBe(iso(10));
  });
});

describe("container states", () => {
  it("are Kubernetes' own", () => {
    expect(containerState(view("a", running))).toEqual({ running: { startedAt: iso(1) } });
    expect(
      containerState(view("a", { type: "waiting", reason: "ErrImagePull", message: "no such" })),
    ).toEqual({
      waiting: { reason: "ErrImagePull", message: "no such" },
    });
    const killed = { ...ended(137), signal: 9 };
    expect(containerState(view("a", killed))).toEqual({
      terminated: { exitCode: 137, reason: "Error", signal: 9, startedAt: iso(1), finishedAt: iso(5) },
    });
    expect(containerState(view("a", ended(0))).terminated?.reason).toBe("Completed");
  });

  it("stand in the status with restarts, addresses and the state before", () => {
    const lastState = containerState(view("a", ended(3)));
    const of = status("Always", [view("a", running, { ready: true, restartCount: 2, lastState })]);
    expect(of).toMatchObject({ hostIP: "10.0.0.11", podIP: "172.16.5.2", podIPs: [{ ip: "172.16.5.2" }] });
    expect(of.containerStatuses).toEqual([
      {
        name: "a",
        image: "i",
        imageID: "",
        ready: true,
        started: true,
        restartCount: 2,
        state: { running: { startedAt: iso(1) } },
        lastState,
      },
    ]);
  });
});
