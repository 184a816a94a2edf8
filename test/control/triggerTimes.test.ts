import { describe, expect, it } from "vitest";
import { TriggerTimes } from "../../src/control/triggerTimes.js";
import type { Pod, Service } from "../../src/kube/index.js";

/** Cases of upstream's trigger_time_tracker_test.go. */
const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const service = (made: number): Service => ({
  metadata: { namespace: "default", name: "web", creationTimestamp: at(made) },
});
const pod = (uid: string, ready?: number): Pod => ({
  metadata: { uid, name: uid },
  status: {
    conditions: ready === undefined ? [] : [{ type: "Ready", status: "True", lastTransitionTime: at(ready) }],
  },
});

describe("the time at which a change began", () => {
  it("is the Service's own creation while it has no pods, and told once", () => {
    const times = new TriggerTimes();
    expect(times.of(service(5), [])).toBe(at(5));
    expect(times.of(service(5), [])).toBe("");
  });

  it("is the earliest of what is new", () => {
    const times = new TriggerTimes();
    expect(times.of(service(5), [pod("a", 3), pod("b", 4), pod("c")])).toBe(at(3));
    expect(times.of(service(5), [pod("a", 3), pod("b", 9), pod("c", 8)])).toBe(at(8));
    expect(times.of(service(5), [pod("a", 3), pod("b", 9), pod("c", 8), pod("d", 7)])).toBe(at(7));
  });

  it("is not known when a pod has gone, or nothing that counts has changed", () => {
    const times = new TriggerTimes();
    times.of(service(5), [pod("a", 3), pod("b", 4)]);
    expect(times.of(service(5), [pod("a", 3)])).toBe("");
    expect(times.of(service(5), [pod("a", 3)])).toBe("");
  });

  it("is that of a Service made anew under its name, and of one that was forgotten", () => {
    const times = new TriggerTimes();
    times.of(service(5), [pod("a", 3)]);
    expect(times.of(service(9), [pod("a", 3)])).toBe(at(9));
    times.forget("default/web");
    expect(times.of(service(9), [pod("a", 3)])).toBe(at(3));
  });
});
