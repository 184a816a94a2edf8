import { afterEach, describe, expect, it } from "vitest";
import {
  type Event,
  type Node,
  type Pod,
  recordEvent,
  type WatchEvent,
  type WatchOptions,
} from "../../src/kube/index.js";
import { CompactedError, MemoryStore } from "../../src/store/index.js";
import { type Lab, pod, refusal, startLab, take } from "./harness.js";

const labs: Lab[] = [];
const stops: AbortController[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) stop.abort();
  for (const lab of labs.splice(0)) await lab.close();
});

async function start(options: Parameters<typeof startLab>[0] = {}): Promise<Lab> {
  const lab = await startLab(options);
  labs.push(lab);
  return lab;
}

/** Over HTTP: the longest way. */
function watchNodes(lab: Lab, options: WatchOptions = {}): AsyncIterator<WatchEvent<Node>> {
  const stop = new AbortController();
  stops.push(stop);
  return lab.http.watch<Node>("nodes", { ...options, signal: stop.signal })[Symbol.asyncIterator]();
}

const node = (name: string, labels: Record<string, string> = {}): Node => ({ metadata: { name, labels } });

describe("a watch", () => {
  it("begins with the present state when no version is given", async () => {
    const lab = await start();
    await lab.local.create("nodes", node("a"));
    await lab.local.create("nodes", node("b"));
    const unversioned = watchNodes(lab);
    const zero = watchNodes(lab, { resourceVersion: "0" });
    expect(await take(unversioned, 2)).toEqual(["ADDED a", "ADDED b"]);
    expect(await take(zero, 2)).toEqual(["ADDED a", "ADDED b"]);
    await lab.local.delete("nodes", undefined, "a");
    expect(await take(unversioned, 1)).toEqual(["DELETED a"]);
  });

  it("resumes after any event it has seen, also what happened in between", async () => {
    const lab = await start();
    const { metadata } = await lab.local.list("nodes");
    for (const name of ["a", "b", "c"]) await lab.local.create("nodes", node(name));
    const first = watchNodes(lab, { resourceVersion: metadata.resourceVersion! });
    const a = (await first.next()).value as WatchEvent<Node>;
    await lab.local.delete("nodes", undefined, "b");
    const version = (a.object as Node).metadata?.resourceVersion;
    expect(await take(watchNodes(lab, { resourceVersion: version! }), 3)).toEqual([
      "ADDED b",
      "ADDED c",
      "DELETED b",
    ]);
  });

  it("gives a deleted object's last state with the version of the delete", async () => {
    const lab = await start();
    const created = await lab.local.create<Node>("nodes", node("a", { x: "y" }));
    const events = watchNodes(lab, { resourceVersion: created.metadata!.resourceVersion! });
    await lab.local.delete("nodes", undefined, "a");
    const { value } = await events.next();
    expect(value.object.metadata.labels).toEqual({ x: "y" });
    expect(Number(value.object.metadata.resourceVersion)).toBeGreaterThan(
      Number(created.metadata?.resourceVersion),
    );
  });

  it("is told that its version has expired when the window has moved on, at the start and on the way", async () => {
    const lab = await start({ watchWindowEvents: 4 });
    const { metadata } = await lab.local.list("nodes");
    const slow = lab.local
      .watch<Node>("nodes", { resourceVersion: metadata.resourceVersion! })
      [Symbol.asyncIterator]();
    await lab.local.create("nodes", node("n0"));
    expect(await take(slow, 1)).toEqual(["ADDED n0"]);
    for (let index = 1; index <= 10; index++) await lab.local.create("nodes", node(`n${index}`));
    await take(watchNodes(lab), 11);
    const expired = ["ERROR 410 Expired", "END"];
    expect(await take(watchNodes(lab, { resourceVersion: metadata.resourceVersion! }), 2)).toEqual(expired);
    expect(await take(slow, 2)).toEqual(expired);
  });

  it("is refused a version that the store has not reached", async () => {
    const lab = await start();
    expect(
      await refusal(watchNodes(lab, { resourceVersion: "99999" }).next() as Promise<unknown>),
    ).toMatchObject({
      code: 504,
      reason: "Timeout",
      message: expect.stringContaining("Too large resource version: 99999, current: "),
    });
    expect(
      await refusal(watchNodes(lab, { resourceVersion: "x1" }).next() as Promise<unknown>),
    ).toMatchObject({ code: 400 });
  });

  it("sends bookmarks to those who allow them, also of what their selector hides", async () => {
    const lab = await start({ bookmarkIntervalMs: 10 });
    const { metadata } = await lab.local.list("nodes");
    const hidden = await lab.local.create<Node>("nodes", node("hidden"));
    const events = watchNodes(lab, {
      resourceVersion: metadata.resourceVersion!,
      fieldSelector: "metadata.name=none",
      allowWatchBookmarks: true,
    });
    await take(events, 2);
    expect((await events.next()).value).toEqual({
      type: "BOOKMARK",
      object: {
        kind: "Node",
        apiVersion: "v1",
        metadata: { resourceVersion: hidden.metadata?.resourceVersion },
      },
    });
  });

  it("ends when its time is over, with a bookmark where they are allowed", async () => {
    const lab = await start();
    await lab.local.create<Node>("nodes", node("a"));
    const plain = take(watchNodes(lab, { timeoutSeconds: 1 }), 3);
    const marked = take(watchNodes(lab, { timeoutSeconds: 1, allowWatchBookmarks: true }), 3);
    expect(await plain).toEqual(["ADDED a", "END"]);
    expect(await marked).toEqual(["ADDED a", "BOOKMARK ", "END"]);
  });

  it("sees objects come and go as they begin and cease to match", async () => {
    const lab = await start();
    const { metadata } = await lab.local.list("nodes");
    const events = watchNodes(lab, {
      resourceVersion: metadata.resourceVersion!,
      labelSelector: "zone in (x,y)",
    });
    const relabel = async (zone: string) => {
      const found = await lab.local.get<Node>("nodes", undefined, "a");
      await lab.local.update("nodes", { ...found, metadata: { ...found.metadata, labels: { zone } } });
    };
    await lab.local.create("nodes", node("a", { zone: "w" }));
    await relabel("x");
    await relabel("y");
    await relabel("z");
    await lab.local.delete("nodes", undefined, "a");
    await lab.local.create("nodes", node("last", { zone: "x" }));
    expect(await take(events, 4)).toEqual(["ADDED a", "MODIFIED a", "DELETED a", "ADDED last"]);
  });

  it("follows pods to their node by field, and one namespace alone", async () => {
    const lab = await start();
    await lab.local.create("namespaces", { metadata: { name: "other" } });
    const { metadata } = await lab.local.list("pods");
    const stop = new AbortController();
    stops.push(stop);
    const from = { resourceVersion: metadata.resourceVersion!, signal: stop.signal };
    const onNode = lab.http
      .watch<Pod>("pods", { ...from, fieldSelector: "spec.nodeName=n1" })
      [Symbol.asyncIterator]();
    const inOther = lab.http.watch<Pod>("pods", { ...from, namespace: "other" })[Symbol.asyncIterator]();
    const created = await lab.local.create<Pod>("pods", pod("p"));
    await lab.local.create("pods", { ...pod("q"), metadata: { name: "q", namespace: "other" } });
    await lab.local.update("pods", { ...created, spec: { ...created.spec!, nodeName: "n1" } });
    expect(await take(onNode, 1)).toEqual(["ADDED p"]);
    expect(await take(inOther, 1)).toEqual(["ADDED q"]);
  });

  it("cannot be used to change the server's copy", async () => {
    const lab = await start();
    const { metadata } = await lab.local.list("nodes");
    const watch = () =>
      lab.local.watch<Node>("nodes", { resourceVersion: metadata.resourceVersion! })[Symbol.asyncIterator]();
    await lab.local.create("nodes", node("a", { x: "y" }));
    const first = (await watch().next()).value as WatchEvent<Node>;
    (first.object as Node).metadata!.labels!.x = "changed";
    const second = (await watch().next()).value as WatchEvent<Node>;
    expect((second.object as Node).metadata?.labels).toEqual({ x: "y" });
  });

  it("expires when the store has compacted what its server missed, and begins anew after that", async () => {
    const store = new MemoryStore();
    const watch = store.watch.bind(store);
    const broken = new AbortController();
    // The store's watch of nodes ends as after a long interruption.
    store.watch = async function* (key, options) {
      if (key !== "/registry/nodes/" || broken.signal.aborted) return yield* watch(key, options);
      for await (const batch of watch(key, { ...options, signal: broken.signal })) yield batch;
      throw new CompactedError(1);
    };
    const logged: string[] = [];
    const lab = await start({ store, log: (_, message) => logged.push(message) });
    const { metadata } = await lab.local.list("nodes");
    const before = watchNodes(lab, { resourceVersion: metadata.resourceVersion! });
    await lab.local.create("nodes", node("a"));
    expect(await take(before, 1)).toEqual(["ADDED a"]);
    broken.abort();
    await lab.local.create("nodes", node("b"));
    expect(await take(before, 2)).toEqual(["ERROR 410 Expired", "END"]);
    expect(logged).toEqual([expect.stringContaining("watch of nodes in the store broke off")]);
    const after = watchNodes(lab);
    expect(await take(after, 2)).toEqual(["ADDED a", "ADDED b"]);
    await lab.local.delete("nodes", undefined, "a");
    expect(await take(after, 1)).toEqual(["DELETED a"]);
  });

  it("tells of Events that end with their time, and new ones can be written after that", async () => {
    const lab = await start();
    const record = { involved: node("n"), type: "Normal", reason: "Seen", component: "test" } as const;
    await recordEvent(lab.local, { ...record, message: "one" });
    await recordEvent(lab.local, { ...record, message: "two" });
    const { kvs } = await lab.store.range("/registry/events/", { prefix: true });
    expect(new Set(kvs.map((kv) => kv.lease)).size).toBe(1);
    const { metadata } = await lab.local.list("events");
    const from = { resourceVersion: metadata.resourceVersion! };
    const events = lab.local.watch<Event>("events", from)[Symbol.asyncIterator]();
    await lab.store.leases.revoke(kvs[0]!.lease);
    expect((await take(events, 2)).map((line) => line.split(" ")[0])).toEqual(["DELETED", "DELETED"]);
    await recordEvent(lab.local, { ...record, message: "three" });
    expect((await lab.local.list("events")).items).toHaveLength(1);
  });

  it("passes over values in the store that are no objects", async () => {
    const lab = await start();
    const { metadata } = await lab.local.list("nodes");
    const value = Buffer.from("{]");
    await lab.store.txn([], [{ type: "put", key: "/registry/nodes/bad", value }]);
    await lab.local.create("nodes", node("good"));
    expect(await take(watchNodes(lab, { resourceVersion: metadata.resourceVersion! }), 1)).toEqual([
      "ADDED good",
    ]);
    expect(await refusal(lab.http.get("nodes", undefined, "bad"))).toMatchObject({
      code: 500,
      message: expect.stringContaining("/registry/nodes/bad does not hold an object of that name"),
    });
  });
});
