import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KubeObject, ResourceName, Service } from "../../src/kube/index.js";
import { type Lab, refusal, startLab } from "./harness.js";

let lab: Lab;
beforeAll(async () => {
  lab = await startLab();
});
afterAll(() => lab.close());

const SUBDOMAIN =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035 =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const LABEL_NAME =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PORT = "must be between 1 and 65535, inclusive";
const IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const PROTOCOLS = 'supported values: "SCTP", "TCP", "UDP"';

/** What is wrong with an object, as lines of `field: message`. */
async function problems(resource: ResourceName, object: object): Promise<string[]> {
  const status = await refusal(
    lab.local.create(resource, { metadata: { name: "x" }, ...object } as KubeObject),
  );
  expect(status).toMatchObject({ status: "Failure", code: 422, reason: "Invalid" });
  return status.details?.causes?.map(({ field, message }) => `${field}: ${message}`) ?? [];
}

const svc = (spec: object) => ({ spec: { ports: [{ port: 80 }], ...spec } });
const port = (...ports: object[]) => svc({ ports });

describe("Services are refused", () => {
  it.each<[object, ...string[]]>([
    [{ spec: {} }, "spec.ports: Required value"],
    [port({}), `spec.ports[0].port: Invalid value: 0: ${PORT}`],
    [port({ port: 70000 }), `spec.ports[0].port: Invalid value: 70000: ${PORT}`],
    [port({ port: 80, targetPort: 65536 }), `spec.ports[0].targetPort: Invalid value: 65536: ${PORT}`],
    [
      port({ port: 80, targetPort: "a--b" }),
      'spec.ports[0].targetPort: Invalid value: "a--b": must not contain consecutive hyphens',
    ],
    [
      port({ port: 80, targetPort: "123" }),
      'spec.ports[0].targetPort: Invalid value: "123": must contain at least one letter (a-z)',
    ],
    [port({ port: 80, protocol: "tcp" }), `spec.ports[0].protocol: Unsupported value: "tcp": ${PROTOCOLS}`],
    [port({ port: 80, name: "A" }), `spec.ports[0].name: Invalid value: "A": ${LABEL}`],
    [port({ port: 80 }, { port: 81, name: "b" }), "spec.ports[0].name: Required value"],
    [port({ port: 80, name: "a" }, { port: 81, name: "a" }), 'spec.ports[1].name: Duplicate value: "a"'],
    [
      port({ port: 80, name: "a" }, { port: 80, name: "b" }),
      'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}',
    ],
    [
      port({ port: 80, nodePort: 30001 }),
      "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ],
    [
      {
        spec: {
          type: "NodePort",
          ports: [
            { name: "a", port: 80, nodePort: 30001 },
            { name: "b", port: 81, nodePort: 30001 },
          ],
        },
      },
      "spec.ports[1].nodePort: Duplicate value: 30001",
    ],
    [
      svc({ type: "Ingress" }),
      'spec.type: Unsupported value: "Ingress": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    ],
    [
      svc({ sessionAffinity: "Sticky" }),
      'spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"',
    ],
    [
      svc({ sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 86401 } } }),
      "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
    ],
    [svc({ clusterIP: "10.1.1" }), `spec.clusterIPs[0]: Invalid value: "10.1.1": ${IP}`],
    [
      svc({ clusterIP: "10.254.1.1", clusterIPs: ["10.254.1.2"] }),
      'spec.clusterIPs: Invalid value: []string{"10.254.1.2"}: first value must match `clusterIP`',
    ],
    [
      svc({ type: "NodePort", clusterIP: "None" }),
      "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
    ],
    [svc({ selector: { app: "a b" } }), `spec.selector: Invalid value: "a b": ${LABEL_VALUE}`],
    [svc({ externalIPs: ["x"] }), `spec.externalIPs[0]: Invalid value: "x": ${IP}`],
    [
      svc({ externalIPs: ["127.0.0.1"] }),
      'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    ],
    [svc({ type: "ExternalName" }), "spec.externalName: Required value"],
    [
      svc({ type: "ExternalName", externalName: "a_b" }),
      `spec.externalName: Invalid value: "a_b": ${SUBDOMAIN}`,
    ],
    [
      svc({ externalTrafficPolicy: "Local" }),
      'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
    ],
    [
      svc({ internalTrafficPolicy: "Near" }),
      'spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"',
    ],
    [
      svc({ ipFamilies: ["IPv6"] }),
      'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
    ],
    [{ ...svc({}), metadata: { name: "1x" } }, `metadata.name: Invalid value: "1x": ${LABEL_1035}`],
    [
      port({ port: 0 }, { port: 81 }),
      "spec.ports[0].name: Required value",
      `spec.ports[0].port: Invalid value: 0: ${PORT}`,
      "spec.ports[1].name: Required value",
    ],
  ])("%j", async (object, ...expected) => {
    expect(await problems("services", object)).toEqual(expected);
  });

  it("with one sentence that names the object and the field", async () => {
    const { message } = await refusal(
      lab.local.create("services", {
        metadata: { name: "x" },
        spec: { ports: [{ port: 70000 }] },
      } as Service),
    );
    expect(message).toBe(`Service "x" is invalid: spec.ports[0].port: Invalid value: 70000: ${PORT}`);
    const two = await refusal(
      lab.local.create("services", {
        metadata: { name: "x" },
        spec: { ports: [{ port: 70000, protocol: "x" }] },
      } as Service),
    );
    expect(two.message).toBe(
      `Service "x" is invalid: [spec.ports[0].port: Invalid value: 70000: ${PORT}, spec.ports[0].protocol: Unsupported value: "x": ${PROTOCOLS}]`,
    );
  });
});

const main = { name: "main", image: "echo" };
const inPod = (container: object, spec: object = {}) => ({
  spec: { containers: [{ ...main, ...container }], ...spec },
});
const probe = (readinessProbe: object) => inPod({ readinessProbe });

describe("Pods are refused", () => {
  it.each<[object, ...string[]]>([
    [{}, "spec.containers: Required value"],
    [
      { spec: { containers: [{}] } },
      "spec.containers[0].name: Required value",
      "spec.containers[0].image: Required value",
    ],
    [{ spec: { containers: [main, main] } }, 'spec.containers[1].name: Duplicate value: "main"'],
    [inPod({ name: "Main" }), `spec.containers[0].name: Invalid value: "Main": ${LABEL}`],
    [
      inPod({ image: " x" }),
      'spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace',
    ],
    [inPod({ ports: [{ name: "http" }] }), "spec.containers[0].ports[0].containerPort: Required value"],
    [
      inPod({ ports: [{ containerPort: 99999 }] }),
      `spec.containers[0].ports[0].containerPort: Invalid value: 99999: ${PORT}`,
    ],
    [
      inPod({ ports: [{ containerPort: 80, protocol: "X" }] }),
      `spec.containers[0].ports[0].protocol: Unsupported value: "X": ${PROTOCOLS}`,
    ],
    [
      inPod({ ports: [{ containerPort: 80, name: "much-too-long-name" }] }),
      'spec.containers[0].ports[0].name: Invalid value: "much-too-long-name": must be no more than 15 characters',
    ],
    [
      inPod({
        ports: [
          { containerPort: 80, name: "a" },
          { containerPort: 81, name: "a" },
        ],
      }),
      'spec.containers[0].ports[1].name: Duplicate value: "a"',
    ],
    [inPod({ env: [{ value: "x" }] }), "spec.containers[0].env[0].name: Required value"],
    [
      inPod({ env: [{ name: "1A" }] }),
      "spec.containers[0].env[0].name: Invalid value: \"1A\": a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')",
    ],
    [probe({}), "spec.containers[0].readinessProbe: Required value: must specify a handler type"],
    [
      probe({ exec: { command: ["x"] }, tcpSocket: { port: 1 } }),
      "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
    ],
    [
      probe({ tcpSocket: { port: 0 } }),
      `spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: 0: ${PORT}`,
    ],
    [
      inPod({ livenessProbe: { exec: { command: ["x"] }, successThreshold: 2 } }),
      "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ],
    [
      inPod({}, { restartPolicy: "Sometimes" }),
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ],
    [
      inPod({}, { terminationGracePeriodSeconds: -1 }),
      "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
    ],
    [inPod({}, { nodeName: "N_1" }), `spec.nodeName: Invalid value: "N_1": ${SUBDOMAIN}`],
    [inPod({}, { serviceAccountName: "a:b" }), `spec.serviceAccountName: Invalid value: "a:b": ${SUBDOMAIN}`],
    [inPod({}, { serviceAccount: "Web" }), `spec.serviceAccount: Invalid value: "Web": ${SUBDOMAIN}`],
    [{ ...inPod({}), metadata: { name: "A" } }, `metadata.name: Invalid value: "A": ${SUBDOMAIN}`],
    [{ ...inPod({}), metadata: {} }, "metadata.name: Required value: name or generateName is required"],
    [
      { ...inPod({}), metadata: { name: "x", labels: { "a b": "c d" } } },
      `metadata.labels: Invalid value: "a b": ${LABEL_NAME}`,
      `metadata.labels: Invalid value: "c d": ${LABEL_VALUE}`,
    ],
    [
      { ...inPod({}), metadata: { name: "x", annotations: { a: "x".repeat(262144) } } },
      "metadata.annotations: Too long: may not be more than 262144 bytes",
    ],
  ])("%#: %j", async (object, ...expected) => {
    expect(await problems("pods", object)).toEqual(expected);
  });
});

const template = (labels: object, spec: object = {}) => ({
  metadata: { labels },
  spec: { containers: [main], ...spec },
});

describe("what keeps replicas is refused", () => {
  it.each<[ResourceName, object, ...string[]]>([
    [
      "replicationcontrollers",
      { spec: {} },
      "spec.selector: Required value",
      "spec.template: Required value",
    ],
    [
      "replicationcontrollers",
      { spec: { selector: { app: "a" }, template: template({ app: "b" }) } },
      'spec.template.metadata.labels: Invalid value: map[string]string{"app":"b"}: `selector` does not match template `labels`',
    ],
    [
      "replicationcontrollers",
      { spec: { replicas: -1, template: template({ app: "a" }) } },
      "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ],
    [
      "replicationcontrollers",
      { spec: { template: template({ app: "a" }, { restartPolicy: "Never" }) } },
      'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ],
    [
      "replicationcontrollers",
      { spec: { template: { metadata: { labels: { app: "a" } } } } },
      "spec.template.spec.containers: Required value",
    ],
    ["replicasets", { spec: { template: template({ app: "a" }) } }, "spec.selector: Required value"],
    [
      "replicasets",
      { spec: { selector: {}, template: template({ app: "a" }) } },
      "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
    ],
    [
      "replicasets",
      {
        spec: {
          selector: { matchExpressions: [{ key: "app", operator: "Near" }] },
          template: template({ app: "a" }),
        },
      },
      'spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator',
    ],
  ])("%s %j", async (resource, object, ...expected) => {
    expect(await problems(resource, object)).toEqual(expected);
  });
});

describe("other kinds are refused", () => {
  const slice = (addresses: string[], more: object = {}) => ({
    addressType: "IPv4",
    endpoints: [{ addresses }],
    ...more,
  });
  it.each<[ResourceName, object, string]>([
    ["namespaces", { metadata: { name: "a.b" } }, `metadata.name: Invalid value: "a.b": ${LABEL}`],
    [
      "nodes",
      { spec: { podCIDRs: ["10.1.0.0"] } },
      'spec.podCIDRs[0]: Invalid value: "10.1.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
    ],
    [
      "endpoints",
      { subsets: [{ ports: [{ port: 1 }] }] },
      "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
    ],
    [
      "endpoints",
      { subsets: [{ addresses: [{ ip: "10.1" }] }] },
      `subsets[0].addresses[0].ip: Invalid value: "10.1": ${IP}`,
    ],
    ["endpointslices", { endpoints: [] }, "addressType: Required value"],
    ["endpointslices", slice([]), "endpoints[0].addresses: Required value: must contain at least 1 address"],
    [
      "endpointslices",
      slice(["fd00::1"]),
      'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address',
    ],
    [
      "endpointslices",
      slice(["10.1.1.1"], { ports: [{ port: 1 }, { port: 2 }] }),
      'ports[1].name: Duplicate value: ""',
    ],
    [
      "events",
      { involvedObject: { kind: "Pod", namespace: "other", name: "p" } },
      'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
    ],
  ])("%s %j", async (resource, object, expected) => {
    expect(await problems(resource, object)).toEqual([expected]);
  });
});
