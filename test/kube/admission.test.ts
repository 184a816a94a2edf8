import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KubeObject, ResourceName, StatusError } from "../../src/kube/index.js";
import { type Lab, refusal, startLab } from "./harness.js";

let lab: Lab;
beforeAll(async () => {
  lab = await startLab();
});
afterAll(() => lab.close());

const svc = (spec: object) => ({ spec: { ports: [{ port: 80 }], ...spec } });
const main = { name: "main", image: "echo" };
const inPod = (container: object, spec: object = {}) => ({
  spec: { containers: [{ ...main, ...container }], ...spec },
});
const template = (labels: object, spec: object = {}) => ({
  metadata: { labels },
  spec: { containers: [main], ...spec },
});

describe("decoding", () => {
  const create = (object: object) =>
    lab.local.create("services", { metadata: { name: "x" }, ...object } as KubeObject);
  it("refuses unknown fields where they are", async () => {
    expect(
      await refusal(create({ spec: { prots: [], ports: [{ port: 80, colour: "red" }] } })),
    ).toMatchObject({
      code: 400,
      reason: "BadRequest",
      message:
        'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field "spec.prots", unknown field "spec.ports[0].colour"',
    });
  });

  it.each([
    [
      { spec: { ports: [{ port: "80" }] } },
      "json: cannot unmarshal string into Go struct field ServicePort.spec.ports[0].port of type int32",
    ],
    [
      { spec: { ports: [{ port: 1.5 }] } },
      "json: cannot unmarshal number into Go struct field ServicePort.spec.ports[0].port of type int32",
    ],
    [
      { spec: { ports: {} } },
      "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []",
    ],
    [
      { spec: { selector: { a: 1 } } },
      "json: cannot unmarshal number into Go struct field ServiceSpec.spec.selector.a of type string",
    ],
    [{ spec: [] }, "json: cannot unmarshal array into Go struct field Service.spec of type ServiceSpec"],
  ])("refuses values of a wrong type: %j", async (object, message) => {
    expect((await refusal(create(object))).message).toBe(
      `Service in version "v1" cannot be handled as a Service: ${message}`,
    );
  });

  it("refuses objects of another kind or version", async () => {
    expect((await refusal(create({ kind: "Pod" }))).message).toBe(
      'Pod in version "v1" cannot be handled as a Service',
    );
    expect((await refusal(create({ apiVersion: "v2" }))).message).toBe(
      "the API version in the data (v2) does not match the expected API version (v1)",
    );
  });
});

describe("defaults", () => {
  const create = (resource: ResourceName, object: object) =>
    lab.local.create(resource, object as KubeObject) as Promise<Record<string, unknown>>;
  it("of Services", async () => {
    const made = await create("services", {
      metadata: { name: "defaults" },
      spec: { ports: [{ port: 80 }], sessionAffinity: "ClientIP", type: "LoadBalancer" },
    });
    expect(made.spec).toMatchObject({
      ports: [{ port: 80, protocol: "TCP", targetPort: 80, nodePort: expect.any(Number) }],
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } },
      externalTrafficPolicy: "Cluster",
      internalTrafficPolicy: "Cluster",
      allocateLoadBalancerNodePorts: true,
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
    });
    expect(made.status).toEqual({ loadBalancer: {} });
    const plain = await create("services", {
      metadata: { name: "plain" },
      spec: { ports: [{ port: 80, targetPort: "http" }] },
    });
    expect(plain.spec).toMatchObject({
      type: "ClusterIP",
      sessionAffinity: "None",
      ports: [{ targetPort: "http" }],
    });
  });

  it("of Pods", async () => {
    const ports = [{ containerPort: 80 }];
    const made = await create("pods", {
      metadata: { name: "defaults" },
      ...inPod({ ports, readinessProbe: { httpGet: { port: 80 } } }),
    });
    expect(made.spec).toMatchObject({
      restartPolicy: "Always",
      dnsPolicy: "ClusterFirst",
      terminationGracePeriodSeconds: 30,
      enableServiceLinks: true,
      containers: [
        {
          imagePullPolicy: "Always",
          ports: [{ protocol: "TCP" }],
          readinessProbe: {
            httpGet: { path: "/", scheme: "HTTP", port: 80 },
            timeoutSeconds: 1,
            periodSeconds: 10,
            successThreshold: 1,
            failureThreshold: 3,
          },
        },
      ],
    });
    const pulled = await create("pods", {
      metadata: { name: "pulled" },
      ...inPod({ image: "host:5000/echo:1" }),
    });
    expect(pulled.spec).toMatchObject({ containers: [{ imagePullPolicy: "IfNotPresent" }] });
  });

  it("of ReplicationControllers", async () => {
    const made = await create("replicationcontrollers", {
      metadata: { name: "defaults" },
      spec: { template: template({ app: "a" }) },
    });
    expect(made).toMatchObject({
      metadata: { labels: { app: "a" }, generation: 1 },
      spec: { replicas: 1, selector: { app: "a" }, template: { spec: { restartPolicy: "Always" } } },
      status: { replicas: 0 },
    });
  });
});

describe("what may not change", () => {
  /** The refusal of an update of a new object's fields. */
  async function change(
    resource: ResourceName,
    object: object,
    changes: object,
  ): Promise<StatusError["status"]> {
    const made = await lab.local.create(resource, {
      ...object,
      metadata: { generateName: "fixed-" },
    } as KubeObject);
    return refusal(lab.local.update(resource, { ...made, ...changes } as KubeObject));
  }
  const messages = (status: StatusError["status"]) =>
    status.details?.causes?.map(({ field, message }) => `${field}: ${message}`);

  it("a Service's ClusterIP", async () => {
    const status = await change("services", svc({}), svc({ clusterIP: "10.254.99.99" }));
    expect(messages(status)).toEqual([
      'spec.clusterIPs[0]: Invalid value: []string{"10.254.99.99"}: may not change once set',
    ]);
  });

  it("a ReplicaSet's selector", async () => {
    const spec = (app: string) => ({
      spec: { selector: { matchLabels: { app } }, template: template({ app }) },
    });
    expect(messages(await change("replicasets", spec("a"), spec("b")))).toEqual([
      'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable',
    ]);
  });

  it("a Pod's containers but for their images", async () => {
    expect((await change("pods", inPod({}), inPod({ command: ["x"] }))).message).toContain(
      "Forbidden: pod updates may not change fields other than",
    );
    expect(
      messages(await change("pods", inPod({}), { spec: { containers: [main, { ...main, name: "b" }] } })),
    ).toEqual(["spec.containers: Forbidden: pod updates may not add or remove containers"]);
    const made = await lab.local.create("pods", { metadata: { name: "image" }, ...inPod({}) } as KubeObject);
    await lab.local.update("pods", { ...made, ...inPod({ image: "echo:2" }) } as KubeObject);
  });

  it("an EndpointSlice's address type", async () => {
    const slice = (addressType: string) => ({ addressType, endpoints: [] });
    expect(messages(await change("endpointslices", slice("IPv4"), slice("IPv6")))).toEqual([
      'addressType: Invalid value: "IPv6": field is immutable',
    ]);
  });
});
