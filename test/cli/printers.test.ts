import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { printTable, type TableOptions } from "../../src/cli/printers.js";
import type {
  EndpointSlice,
  Endpoints,
  Event,
  KubeObject,
  Namespace,
  Node,
  Pod,
  ReplicaSet,
  ReplicationController,
  ResourceName,
  Service,
} from "../../src/kube/index.js";

/** Tables as kubectl 1.20 prints them against a real API server, object by object. */
const NOW = "2030-01-01T00:05:10Z";
const created = "2030-01-01T00:00:00Z";
beforeAll(() => {
  vi.useFakeTimers({ now: Date.parse(NOW), toFake: ["Date"] });
});
afterAll(() => {
  vi.useRealTimers();
});

const meta = (name: string, more: object = {}) => ({ name, creationTimestamp: created, ...more });
const lines = <T extends KubeObject>(resource: ResourceName, objects: T[], options: TableOptions = {}) =>
  printTable(resource, objects, options).split("\n");

describe("services", () => {
  const service = (name: string, spec: Service["spec"], more: Partial<Service> = {}): Service => ({
    metadata: meta(name),
    spec: { selector: { app: "web" }, ...spec },
    ...more,
  });
  const http = { port: 80, protocol: "TCP" };
  const all = [
    { metadata: meta("ext"), spec: { type: "ExternalName", externalName: "example.com" } },
    service("headless", { clusterIP: "None", ports: [http] }),
    service("web", { clusterIP: "10.0.0.7", ports: [http] }),
    service("weblb", { type: "LoadBalancer", clusterIP: "10.0.0.30", ports: [{ ...http, nodePort: 30955 }] }),
    service("webnp", {
      type: "NodePort",
      clusterIP: "10.0.0.93",
      ports: [
        { ...http, nodePort: 30080 },
        { port: 53, protocol: "UDP", nodePort: 31950 },
      ],
    }),
    service("webx", { clusterIP: "10.0.0.210", externalIPs: ["192.0.2.1"], ports: [http] }),
  ];

  it("every type, wide", () => {
    expect(lines("services", all, { wide: true })).toEqual([
      "NAME       TYPE           CLUSTER-IP   EXTERNAL-IP   PORT(S)                     AGE     SELECTOR",
      "ext        ExternalName   <none>       example.com   <none>                      5m10s   <none>",
      "headless   ClusterIP      None         <none>        80/TCP                      5m10s   app=web",
      "web        ClusterIP      10.0.0.7     <none>        80/TCP                      5m10s   app=web",
      "weblb      LoadBalancer   10.0.0.30    <pending>     80:30955/TCP                5m10s   app=web",
      "webnp      NodePort       10.0.0.93    <none>        80:30080/TCP,53:31950/UDP   5m10s   app=web",
      "webx       ClusterIP      10.0.0.210   192.0.2.1     80/TCP                      5m10s   app=web",
    ]);
  });

  it("a load balancer's addresses before the external ones", () => {
    const balanced = service(
      "lb",
      { type: "LoadBalancer", clusterIP: "10.0.0.1", externalIPs: ["192.0.2.1"], ports: [http] },
      { status: { loadBalancer: { ingress: [{ ip: "198.51.100.1" }, { hostname: "lb.example" }] } } },
    );
    expect(lines("services", [balanced])[1]).toContain(" 198.51.100.1,lb.example,192.0.2.1 ");
  });

  it("with a namespace column and a prefix", () => {
    const [web] = all.slice(2).map((one) => ({ ...one, metadata: meta("web", { namespace: "shop" }) }));
    expect(lines("services", web ? [web] : [], { namespaced: true, prefix: "service" })).toEqual([
      "NAMESPACE   NAME          TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)   AGE",
      "shop        service/web   ClusterIP   10.0.0.7     <none>        80/TCP    5m10s",
    ]);
  });
});

describe("pods", () => {
  type Status = NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number];
  const container = (state: Status["state"], ready = false, restartCount = 0): Status => ({
    name: "c",
    image: "i",
    imageID: "",
    ready,
    restartCount,
    ...(state ? { state } : {}),
  });
  const running = (ready: boolean) => container({ running: { startedAt: created } }, ready);
  const pod = (statuses: Status[], more: Partial<NonNullable<Pod["status"]>> = {}, metadata = {}): Pod => ({
    metadata: meta("web-1", metadata),
    spec: { containers: statuses.map(() => ({ name: "c" })), nodeName: "node2" },
    status: { phase: "Running", podIP: "10.244.1.5", containerStatuses: statuses, ...more },
  });
  const statusOf = (one: Pod) => lines("pods", [one])[1]?.split(/ {3,}/)[2];

  it("wide", () => {
    expect(lines("pods", [pod([running(true)])], { wide: true })).toEqual([
      "NAME    READY   STATUS    RESTARTS   AGE     IP           NODE    NOMINATED NODE   READINESS GATES",
      "web-1   1/1     Running   0          5m10s   10.244.1.5   node2   <none>           <none>",
    ]);
  });

  it("one that waits for a node", () => {
    const waiting: Pod = { metadata: meta("web-1"), spec: { containers: [{ name: "c" }] }, status: {} };
    expect(lines("pods", [waiting], { wide: true })[1]).toBe(
      "web-1   0/1     Pending   0          5m10s   <none>   <none>   <none>           <none>",
    );
  });

  it("counts ready containers and all restarts", () => {
    const [, line] = lines("pods", [pod([running(true), container({ running: {} }, false, 3)])]);
    expect(line).toMatch(/^web-1 {3}1\/2 {5}Running {3}3 /);
  });

  it("shows why a container does not run", () => {
    expect(statusOf(pod([container({ waiting: { reason: "CrashLoopBackOff" } })]))).toBe("CrashLoopBackOff");
    expect(statusOf(pod([container({ terminated: { exitCode: 3, reason: "Error" } })]))).toBe("Error");
    expect(statusOf(pod([container({ terminated: { exitCode: 3 } })]))).toBe("ExitCode:3");
    expect(statusOf(pod([container({ terminated: { exitCode: 137, signal: 9 } })]))).toBe("Signal:9");
    expect(statusOf(pod([running(true), container({ waiting: { reason: "ErrImagePull" } })]))).toBe(
      "ErrImagePull",
    );
  });

  it("one container that has completed beside one that runs", () => {
    const completed = container({ terminated: { exitCode: 0, reason: "Completed" } });
    const ready = { conditions: [{ type: "Ready", status: "True" }] };
    expect(statusOf(pod([completed, running(true)], ready))).toBe("Running");
    expect(statusOf(pod([completed, running(true)]))).toBe("NotReady");
    expect(statusOf(pod([completed], { phase: "Succeeded" }))).toBe("Completed");
  });

  it("deletion and eviction go first", () => {
    expect(statusOf(pod([running(true)], {}, { deletionTimestamp: NOW }))).toBe("Terminating");
    expect(statusOf(pod([], { phase: "Failed", reason: "Evicted" }))).toBe("Evicted");
  });
});

describe("controllers", () => {
  const spec = { replicas: 2, template: { spec: { containers: [{ name: "c", image: "img:1" }] } } };

  it("replication controllers, wide; labels of the selector in order", () => {
    const rc: ReplicationController = {
      metadata: meta("webrc"),
      spec: { ...spec, selector: { tier: "x", app: "web" } },
      status: { replicas: 2 },
    };
    expect(lines("replicationcontrollers", [rc], { wide: true })).toEqual([
      "NAME    DESIRED   CURRENT   READY   AGE     CONTAINERS   IMAGES   SELECTOR",
      "webrc   2         2         0       5m10s   c            img:1    app=web,tier=x",
    ]);
  });

  it("replica sets with expressions", () => {
    const matchExpressions = [
      { key: "tier", operator: "In", values: ["b", "a"] },
      { key: "canary", operator: "DoesNotExist" },
      { key: "zone", operator: "Exists" },
    ];
    const rs: ReplicaSet = {
      metadata: meta("webrs"),
      spec: { ...spec, selector: { matchLabels: { app: "web" }, matchExpressions } },
      status: { replicas: 2, readyReplicas: 1 },
    };
    expect(lines("replicasets", [rs], { wide: true })[1]).toBe(
      "webrs   2         2         1       5m10s   c            img:1    app=web,!canary,tier in (a,b),zone",
    );
  });
});

describe("endpoints", () => {
  const subset = (ips: string[], ports: number[]) => ({
    addresses: ips.map((ip) => ({ ip })),
    ports: ports.map((port) => ({ port })),
  });
  const of = (...subsets: NonNullable<Endpoints["subsets"]>) =>
    lines("endpoints", [{ metadata: meta("web"), subsets }])[1];

  it("three, then how many more; ports of one after the other", () => {
    expect(
      lines("endpoints", [
        { metadata: meta("webnp"), subsets: [subset(["10.244.1.7", "10.244.1.8"], [53, 8080])] },
      ]),
    ).toEqual([
      "NAME    ENDPOINTS                                                 AGE",
      "webnp   10.244.1.7:53,10.244.1.8:53,10.244.1.7:8080 + 1 more...   5m10s",
    ]);
  });

  it("none, and without ports", () => {
    expect(of()).toBe("web    <none>      5m10s");
    expect(of({ addresses: [{ ip: "10.244.1.7" }] })).toBe("web    10.244.1.7   5m10s");
  });

  it("slices", () => {
    const slice = (name: string, endpoints: EndpointSlice["endpoints"], ports: number[]): EndpointSlice => ({
      metadata: meta(name),
      addressType: "IPv4",
      endpoints,
      ports: ports.map((port) => ({ port })),
    });
    const four = [7, 8, 9, 10].map((last) => ({ addresses: [`10.244.1.${last}`] }));
    expect(lines("endpointslices", [slice("web-2pq87", four, [8080, 53]), slice("empty", [], [])])).toEqual([
      "NAME        ADDRESSTYPE   PORTS     ENDPOINTS                                      AGE",
      "web-2pq87   IPv4          8080,53   10.244.1.7,10.244.1.8,10.244.1.9 + 1 more...   5m10s",
      "empty       IPv4          <unset>   <unset>                                        5m10s",
    ]);
  });
});

describe("nodes, namespaces and events", () => {
  const node = (labels: Record<string, string>, ready?: string, unschedulable?: boolean): Node => ({
    metadata: meta("node1", { labels }),
    spec: unschedulable ? { unschedulable } : {},
    status: {
      addresses: [{ type: "InternalIP", address: "192.168.1.11" }],
      ...(ready ? { conditions: [{ type: "Ready", status: ready }] } : {}),
    },
  });

  it("nodes, wide", () => {
    const roles = { "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "" };
    expect(
      lines("nodes", [node({}, "True"), node(roles, "Unknown", true), node({})], { wide: true }),
    ).toEqual([
      "NAME    STATUS                        ROLES                  AGE     VERSION   INTERNAL-IP    EXTERNAL-IP   OS-IMAGE    KERNEL-VERSION   CONTAINER-RUNTIME",
      "node1   Ready                         <none>                 5m10s             192.168.1.11   <none>        <unknown>   <unknown>        <unknown>",
      "node1   NotReady,SchedulingDisabled   control-plane,worker   5m10s             192.168.1.11   <none>        <unknown>   <unknown>        <unknown>",
      "node1   Unknown                       <none>                 5m10s             192.168.1.11   <none>        <unknown>   <unknown>        <unknown>",
    ]);
  });

  it("namespaces", () => {
    const namespace: Namespace = { metadata: meta("default"), status: { phase: "Active" } };
    expect(lines("namespaces", [namespace])).toEqual(["NAME      STATUS   AGE", "default   Active   5m10s"]);
  });

  const event: Event = {
    metadata: meta("node1.18e9c054f2d08630"),
    involvedObject: { kind: "Node", name: "node1" },
    type: "Normal",
    reason: "RegisteredNode",
    message: "Node node1 event: Registered Node node1 in Controller\n",
    source: { component: "node-controller" },
    firstTimestamp: created,
    lastTimestamp: "2030-01-01T00:05:07Z",
    count: 2,
  };

  it("events", () => {
    expect(lines("events", [event])).toEqual([
      "LAST SEEN   TYPE     REASON           OBJECT       MESSAGE",
      "3s          Normal   RegisteredNode   node/node1   Node node1 event: Registered Node node1 in Controller",
    ]);
    expect(lines("events", [event], { wide: true })).toEqual([
      "LAST SEEN   TYPE     REASON           OBJECT       SUBOBJECT   SOURCE            MESSAGE                                                 FIRST SEEN   COUNT   NAME",
      "3s          Normal   RegisteredNode   node/node1               node-controller   Node node1 event: Registered Node node1 in Controller   5m10s        2       node1.18e9c054f2d08630",
    ]);
  });
});
