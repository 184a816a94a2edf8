import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type DeleteOptions,
  type Event,
  type KubeClient,
  type Namespace,
  type Node,
  type Pod,
  recordEvent,
  retryOnConflict,
  type Service,
  StatusError,
} from "../../src/kube/index.js";
import { boundPod, controller, type Lab, pod, refusal, service, startLab, take } from "./harness.js";

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ now: () => Date.UTC(2024, 4, 6, 7, 8, 9) });
});
afterAll(() => lab.close());

describe.each(["local", "http"] as const)("%s client", (kind) => {
  let client: KubeClient;
  let prefix: string;
  beforeAll(() => {
    client = lab[kind];
    prefix = kind;
  });
  const name = (suffix: string) => `${prefix}-${suffix}`;

  it("creates, gets, updates, lists and deletes", async () => {
    const created = await client.create<Pod>("pods", pod(name("crud")));
    expect(created).toMatchObject({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: name("crud"), namespace: "default", creationTimestamp: "2024-05-06T07:08:09Z" },
      spec: { restartPolicy: "Always", terminationGracePeriodSeconds: 30 },
      status: { phase: "Pending" },
    });
    expect(created.metadata?.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(await client.get("pods", "default", name("crud"))).toEqual(created);

    const labelled = { ...created, metadata: { ...created.metadata, labels: { a: "b" } } };
    const updated = await client.update<Pod>("pods", labelled);
    expect(updated.metadata?.labels).toEqual({ a: "b" });
    expect(Number(updated.metadata?.resourceVersion)).toBeGreaterThan(
      Number(created.metadata?.resourceVersion),
    );
    const list = await client.list<Pod>("pods", { namespace: "default", labelSelector: "a=b" });
    expect(list).toMatchObject({ apiVersion: "v1", kind: "PodList" });
    expect(list.items).toEqual([updated]);

    await client.delete("pods", "default", name("crud"));
    expect(await refusal(client.get("pods", "default", name("crud")))).toMatchObject({
      code: 404,
      reason: "NotFound",
      message: `pods "${name("crud")}" not found`,
      details: { name: name("crud"), kind: "pods" },
    });
  });

  it("refuses what exists, what is gone and what has changed, in Kubernetes' words", async () => {
    const first = await client.create<Pod>("pods", pod(name("twice")));
    expect(await refusal(client.create("pods", pod(name("twice"))))).toMatchObject({
      code: 409,
      reason: "AlreadyExists",
      message: `pods "${name("twice")}" already exists`,
    });
    await client.update<Pod>("pods", { ...first, metadata: { ...first.metadata, labels: { v: "2" } } });
    expect(await refusal(client.update<Pod>("pods", first))).toMatchObject({
      code: 409,
      reason: "Conflict",
      message: `Operation cannot be fulfilled on pods "${name("twice")}": the object has been modified; please apply your changes to the latest version and try again`,
    });
    expect(await refusal(client.get("replicasets", "default", "none"))).toMatchObject({
      message: 'replicasets.apps "none" not found',
      details: { group: "apps", kind: "replicasets", name: "none" },
    });
    expect(
      await refusal(client.create("pods", { ...pod("x"), metadata: { name: "x", namespace: "nowhere" } })),
    ).toMatchObject({
      message: 'namespaces "nowhere" not found',
    });
  });

  it("writes nothing when an update changes nothing", async () => {
    const created = await client.create<Service>("services", service(name("same")));
    const again = await client.update<Service>("services", structuredClone(created));
    expect(again.metadata?.resourceVersion).toBe(created.metadata?.resourceVersion);
  });

  it("keeps spec and status apart", async () => {
    const created = await client.create<Pod>(
      "pods",
      pod(name("status"), { status: { phase: "Running" } } as Partial<Pod>),
    );
    expect(created.status).toEqual({ phase: "Pending" });
    const viaStatus = await client.update<Pod>(
      "pods",
      {
        metadata: { name: name("status"), labels: { lost: "yes" } },
        status: { phase: "Running", podIP: "10.1.1.1" },
      } as Pod,
      "status",
    );
    expect(viaStatus.status).toEqual({ phase: "Running", podIP: "10.1.1.1" });
    expect(viaStatus.spec).toEqual(created.spec);
    expect(viaStatus.metadata?.labels).toBeUndefined();
    const viaMain = await client.update<Pod>("pods", {
      ...viaStatus,
      metadata: { ...viaStatus.metadata, labels: { kept: "yes" } },
      status: { phase: "Failed" },
    } as Pod);
    expect(viaMain.status).toEqual(viaStatus.status);
    expect(viaMain.metadata?.labels).toEqual({ kept: "yes" });
  });

  it("lets a scheduler bind a pod, once", async () => {
    const created = await client.create<Pod>("pods", pod(name("bind")));
    const bound = await client.update<Pod>("pods", {
      ...created,
      spec: { ...created.spec!, nodeName: "n1" },
    });
    expect(bound.spec?.nodeName).toBe("n1");
    const moved = { ...bound, spec: { ...bound.spec!, nodeName: "n2" } };
    expect((await refusal(client.update<Pod>("pods", moved))).message).toContain(
      "pod updates may not change fields other than",
    );
  });

  it("counts generations of the spec only", async () => {
    const created = await client.create("replicationcontrollers", controller(name("generations"), 1));
    expect(created.metadata?.generation).toBe(1);
    const scaled = await client.update("replicationcontrollers", {
      ...created,
      spec: { ...created.spec, replicas: 3 },
    });
    expect(scaled.metadata?.generation).toBe(2);
    const labelled = await client.update("replicationcontrollers", {
      ...scaled,
      metadata: { ...scaled.metadata, labels: { x: "y" } },
    });
    expect(labelled.metadata?.generation).toBe(2);
    const status = await client.update(
      "replicationcontrollers",
      { ...labelled, status: { replicas: 2 } },
      "status",
    );
    expect(status).toMatchObject({ metadata: { generation: 2 }, status: { replicas: 2 } });
  });

  it("makes names of five characters from Kubernetes' alphabet", async () => {
    const { metadata } = await client.create<Pod>("pods", {
      ...pod(""),
      metadata: { generateName: `${name("web")}-` },
    });
    expect(metadata?.name).toMatch(new RegExp(`^${name("web")}-[bcdfghjklmnpqrstvwxz2456789]{5}$`));
  });

  it("lists in pages of one moment", async () => {
    for (const letter of ["a", "b", "c", "d", "e"]) {
      await client.create<Pod>(
        "pods",
        pod(name(`page-${letter}`), { metadata: { name: name(`page-${letter}`), labels: { page: prefix } } }),
      );
    }
    const options = { namespace: "default", labelSelector: `page=${prefix}`, limit: 2 };
    const first = await client.list<Pod>("pods", options);
    await client.delete("pods", "default", name("page-c"));
    const second = await client.list<Pod>("pods", { ...options, continue: first.metadata.continue! });
    const third = await client.list<Pod>("pods", { ...options, continue: second.metadata.continue! });
    const names = [first, second, third].map((list) =>
      list.items.map((item) => item.metadata?.name?.slice(-1)),
    );
    expect(names).toEqual([["a", "b"], ["c", "d"], ["e"]]);
    expect(third.metadata.continue).toBeUndefined();
    expect(third.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    expect(await refusal(client.list("pods", { ...options, continue: "bm9uc2Vuc2U" }))).toMatchObject({
      code: 400,
    });
  });

  it("selects by field", async () => {
    await client.create<Pod>("pods", boundPod(name("on-n7"), `${prefix}-n7`));
    const select = (fieldSelector: string) => client.list<Pod>("pods", { fieldSelector });
    expect((await select(`spec.nodeName=${prefix}-n7`)).items.map((item) => item.metadata?.name)).toEqual([
      name("on-n7"),
    ]);
    expect((await select(`spec.nodeName=${prefix}-n7,metadata.name!=${name("on-n7")}`)).items).toEqual([]);
    expect(await refusal(select("spec.colour=red"))).toMatchObject({
      code: 400,
      message: "field label not supported: spec.colour",
    });
  });

  it("gives a bound pod time to end, and honours preconditions and finalizers", async () => {
    await client.create<Pod>("pods", boundPod(name("bound"), "n1"));
    await client.delete("pods", "default", name("bound"));
    const marked = await client.get<Pod>("pods", "default", name("bound"));
    expect(marked.metadata).toMatchObject({
      deletionTimestamp: "2024-05-06T07:08:39Z",
      deletionGracePeriodSeconds: 30,
    });
    await client.delete("pods", "default", name("bound"), { gracePeriodSeconds: 5 });
    expect(
      (await client.get<Pod>("pods", "default", name("bound"))).metadata?.deletionGracePeriodSeconds,
    ).toBe(5);
    await client.delete("pods", "default", name("bound"), { gracePeriodSeconds: 60 });
    expect(
      (await client.get<Pod>("pods", "default", name("bound"))).metadata?.deletionGracePeriodSeconds,
    ).toBe(5);
    const wrong = { gracePeriodSeconds: 0, preconditions: { uid: "other" } };
    expect((await refusal(client.delete("pods", "default", name("bound"), wrong))).message).toBe(
      `Operation cannot be fulfilled on pods "${name("bound")}": Precondition failed: UID in precondition: other, UID in object meta: ${marked.metadata?.uid}`,
    );
    await client.delete("pods", "default", name("bound"), {
      gracePeriodSeconds: 0,
      preconditions: { uid: marked.metadata!.uid! },
    });
    expect((await refusal(client.get("pods", "default", name("bound")))).code).toBe(404);

    const held = await client.create<Service>("services", {
      ...service(name("held")),
      metadata: { name: name("held"), finalizers: ["podwire.test/hold"] },
    });
    await client.delete("services", "default", name("held"));
    const waiting = await client.get<Service>("services", "default", name("held"));
    expect(waiting.metadata?.deletionTimestamp).toBeDefined();
    const odd = { propagationPolicy: "Adopt" } as unknown as DeleteOptions;
    expect((await refusal(client.delete("services", "default", name("held"), odd))).code).toBe(422);
    await client.update<Service>("services", {
      ...waiting,
      metadata: { ...waiting.metadata, finalizers: [] },
    });
    expect((await refusal(client.get("services", "default", name("held")))).code).toBe(404);
    const anew = await client.create<Service>(
      "services",
      service(name("held"), { clusterIP: held.spec!.clusterIP! }),
    );
    expect(anew.metadata?.uid).not.toBe(held.metadata?.uid);
  });

  it("watches from a version on", async () => {
    const { metadata } = await client.list("nodes");
    const stop = new AbortController();
    const events = client.watch<Node>("nodes", {
      resourceVersion: metadata.resourceVersion!,
      signal: stop.signal,
    });
    const node = await client.create<Node>("nodes", { metadata: { name: name("node") } });
    await client.update<Node>("nodes", { ...node, spec: { podCIDR: "10.1.0.0/24" } });
    await client.delete("nodes", undefined, name("node"));
    const iterator = events[Symbol.asyncIterator]();
    expect(await take(iterator, 3)).toEqual([
      `ADDED ${name("node")}`,
      `MODIFIED ${name("node")}`,
      `DELETED ${name("node")}`,
    ]);
    const next = iterator.next();
    stop.abort();
    expect((await next).done).toBe(true);
  });

  it("refuses a watch with a bad selector", async () => {
    const iterator = client.watch("pods", { labelSelector: "a in" })[Symbol.asyncIterator]();
    expect((await refusal(iterator.next())).message).toBe(
      "unable to parse requirement: found '', expected: '('",
    );
  });

  it("counts repeated events", async () => {
    const involved = await client.create<Node>("nodes", { metadata: { name: name("seen") } });
    const record = {
      involved,
      type: "Normal",
      reason: "Seen",
      message: "was seen",
      component: "test",
    } as const;
    await Promise.all([recordEvent(client, record), recordEvent(client, record)]);
    await recordEvent(client, record);
    await recordEvent(client, { ...record, message: "was seen again" });
    const { items } = await client.list<Event>("events", {
      fieldSelector: `involvedObject.name=${name("seen")}`,
    });
    expect(items.map((item) => `${item.message} ${item.count}`).sort()).toEqual([
      "was seen 3",
      "was seen again 1",
    ]);
    expect(items[0]).toMatchObject({
      involvedObject: { kind: "Node", name: name("seen"), uid: involved.metadata?.uid },
      source: { component: "test" },
    });
  });

  it("retries what loses a race", async () => {
    await client.create<Node>("nodes", { metadata: { name: name("race") } });
    const label = (key: string) =>
      retryOnConflict(async () => {
        const found = await client.get<Node>("nodes", undefined, name("race"));
        const labels = { ...found.metadata?.labels, [key]: "x" };
        return client.update<Node>("nodes", { ...found, metadata: { ...found.metadata, labels } });
      });
    await Promise.all([label("a"), label("b"), label("c")]);
    const { metadata } = await client.get<Node>("nodes", undefined, name("race"));
    expect(metadata?.labels).toEqual({ a: "x", b: "x", c: "x" });
    await expect(retryOnConflict(() => client.get("nodes", undefined, "none"))).rejects.toBeInstanceOf(
      StatusError,
    );
  });

  it("finds the namespaces that always exist", async () => {
    const { items } = await client.list<Namespace>("namespaces");
    expect(items.map((item) => item.metadata?.name)).toEqual(
      expect.arrayContaining(["default", "kube-public", "kube-system"]),
    );
    expect(await refusal(client.delete("namespaces", undefined, "default"))).toMatchObject({
      code: 403,
      message: 'namespaces "default" is forbidden: this namespace may not be deleted',
    });
  });
});
