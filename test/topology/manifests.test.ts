import { describe, expect, it } from "vitest";
import { loadManifests, loadTopology } from "../../src/topology/index.js";
import { golden, lab, problemsOf } from "./files.js";

const POD =
  "apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec:\n  containers:\n    - name: c\n      image: podwire/echo\n";
const RC = "apiVersion: v1\nkind: ReplicationController\nmetadata: { name: r }\n";
const POLICY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: n }\n";
const SERVICE = "apiVersion: v1\nkind: Service\nmetadata: { name: s }\n";

/** What is wrong, the manifest file. The lines that say so are in manifests.golden.txt. */
const cases: [what: string, text: string][] = [
  ["no object", "hello\n"],
  ["malformed YAML", "apiVersion: v1\nkind: [\n"],
  ["neither apiVersion nor kind", "metadata: { name: x }\n"],
  ["an unknown kind", "apiVersion: v1\nkind: Pot\nmetadata: { name: x }\n"],
  ["a kind that is not supported", "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\n"],
  ["an unknown apiVersion", "apiVersion: v1\nkind: ReplicaSet\nmetadata: { name: x }\n"],
  ["a List without items", "apiVersion: v1\nkind: List\n"],
  ["a bad item in a List", "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: Servics\n"],
  ["no name", "apiVersion: v1\nkind: Namespace\nmetadata: {}\n"],
  ["a bad name", "apiVersion: v1\nkind: Namespace\nmetadata: { name: A_b }\n"],
  ["a bad Service name", "apiVersion: v1\nkind: Service\nmetadata: { name: 1s }\nspec: {}\n"],
  ["a label that is a number", "apiVersion: v1\nkind: Namespace\nmetadata: { name: a, labels: { v: 1 } }\n"],
  ["an unknown field", `${POD}      prots: []\n`],
  [
    "an unknown field in a second document",
    `${POD}---\n${RC}spec:\n  replica: 1\n  template: { spec: { containers: [{ name: c, image: podwire/echo }] } }\n`,
  ],
  ["an unknown top-level field", `${POD}sepc: {}\n`],
  ["a port out of range", `${POD}      ports: [{ containerPort: 65536 }]\n`],
  ["an unknown protocol", `${POD}      ports: [{ containerPort: 80, protocol: tcp }]\n`],
  ["an env value that is a number", `${POD}      env: [{ name: P, value: 3306 }]\n`],
  ["a bad target port", `${SERVICE}spec:\n  ports: [{ port: 80, targetPort: 70000 }]\n`],
  ["a bad cluster IP", `${SERVICE}spec: { clusterIP: none }\n`],
  ["no containers", "apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec: { containers: [] }\n"],
  ["an unknown image", POD.replace("podwire/echo", "podwire/ecko")],
  ["an image that nobody knows", POD.replace("podwire/echo", "mysql:8")],
  [
    "a template without labels",
    `${RC}spec:\n  template: { spec: { containers: [{ name: c, image: podwire/echo }] } }\n`,
  ],
  [
    "a selector that misses its template",
    `${RC}spec:\n  selector: { app: a }\n  template:\n    metadata: { labels: { app: b } }\n    spec: { containers: [{ name: c, image: podwire/echo }] }\n`,
  ],
  [
    "pods that end",
    `${RC}spec:\n  template:\n    metadata: { labels: { app: a } }\n    spec: { restartPolicy: Never, containers: [{ name: c, image: podwire/echo }] }\n`,
  ],
  ["a Service without ports", `${SERVICE}spec: { type: NodePort }\n`],
  [
    "a headless NodePort Service",
    `${SERVICE}spec: { type: NodePort, clusterIP: None, ports: [{ port: 80 }] }\n`,
  ],
  ["a node port without its type", `${SERVICE}spec:\n  ports: [{ port: 80, nodePort: 30001 }]\n`],
  ["two ports without names", `${SERVICE}spec:\n  ports:\n    - { port: 80 }\n    - { port: 81 }\n`],
  ["a port twice", `${SERVICE}spec:\n  ports:\n    - { name: a, port: 80 }\n    - { name: b, port: 80 }\n`],
  ["a policy of an unknown type", `${POLICY}spec: { podSelector: {}, policyTypes: [ingress] }\n`],
  ["a rule with a typing error", `${POLICY}spec: { podSelector: {}, ingress: [{ form: [] }] }\n`],
  ["an object twice", `${POD}---\n${POD}`],
  ["a missing namespace", POD.replace("name: p", "name: p, namespace: defualt")],
  ["a cluster IP outside", `${SERVICE}spec: { clusterIP: 10.0.0.1, ports: [{ port: 80 }] }\n`],
  ["the service network's own address", `${SERVICE}spec: { clusterIP: 10.96.0.0, ports: [{ port: 80 }] }\n`],
  [
    "a cluster IP twice",
    `${SERVICE}spec: { clusterIP: 10.96.0.9, ports: [{ port: 80 }] }\n---\n${SERVICE.replace("name: s", "name: t")}spec: { clusterIP: 10.96.0.9, ports: [{ port: 80 }] }\n`,
  ],
  ["a node port out of range", `${SERVICE}spec:\n  type: NodePort\n  ports: [{ port: 80, nodePort: 80 }]\n`],
  [
    "a taken node port",
    `${SERVICE}spec:\n  type: NodePort\n  ports:\n    - { name: a, port: 80, nodePort: 30001 }\n    - { name: b, port: 81, nodePort: 30001 }\n`,
  ],
  [
    "an IPv6 slice",
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: e }\naddressType: IPv5\nendpoints: []\n",
  ],
];

const expected = golden("manifests.golden.txt");

describe("a manifest with", () => {
  it.each(cases)("%s", (what, text) => {
    const file = lab("name: a\nnodes: 1\nmanifests:\n  - file: web.yaml\n", { "web.yaml": text });
    expect(problemsOf(() => loadTopology(file))).toEqual(expected.get(what));
  });
});

describe("manifests of a topology", () => {
  it("are found, or the line that names the file is", () => {
    const file = lab(
      "name: a\nnodes: 1\nmanifests:\n  - file: web.yaml\n  - { fiel: x }\n  - file: ..\n  - 7\n",
    );
    expect(problemsOf(() => loadTopology(file))).toEqual([
      "lab.yaml:4:11: manifests[0].file: web.yaml: no such file; check the path",
      "lab.yaml:5:5: manifests[1].apiVersion: missing; every object names its apiVersion and kind",
      "lab.yaml:5:5: manifests[1].kind: missing; every object names its apiVersion and kind",
      expect.stringMatching(/^lab\.yaml:6:11: manifests\[2\]\.file: .*: is a directory; name a file in it$/),
      "lab.yaml:7:5: manifests[3]: expected a Kubernetes object: a map with apiVersion, kind and metadata",
    ]);
  });

  it("are held against each other across files", () => {
    const service = (name: string) =>
      `${SERVICE.replace("name: s", `name: ${name}`)}spec: { type: NodePort, ports: [{ port: 80, nodePort: 30001 }] }\n`;
    const file = lab("name: a\nnodes: 1\nmanifests:\n  - file: one.yaml\n  - file: two.yaml\n", {
      "one.yaml": service("one"),
      "two.yaml": service("two"),
    });
    expect(problemsOf(() => loadTopology(file))).toEqual([
      "two.yaml:4:55: spec.ports[0].nodePort: nodePort 30001/TCP is already taken at one.yaml:4; choose another or remove one",
    ]);
  });

  it("may use one node port for TCP and UDP, and images of the table", () => {
    const text = `${SERVICE}spec:\n  type: NodePort\n  ports:\n    - { name: a, port: 80, nodePort: 30001 }\n    - { name: b, port: 80, nodePort: 30001, protocol: UDP }\n---\n${POD.replace("podwire/echo", "mysql:8")}`;
    const file = lab(
      "name: a\nnodes: 1\nmanifests: [{ file: m.yaml }]\nimages: { mysql:8: { command: [cat] } }\n",
      { "m.yaml": text },
    );
    expect(loadTopology(file).manifests.length).toBe(2);
  });

  it("that are embedded are placed in the topology", () => {
    const file = lab(
      "name: a\nnodes: 1\nmanifests:\n  - apiVersion: v1\n    kind: Namespace\n    metadata: { nam: x }\n",
    );
    expect(problemsOf(() => loadTopology(file))).toEqual([
      "lab.yaml:6:5: manifests[0].metadata.name: missing; add it (a string)",
      'lab.yaml:6:17: manifests[0].metadata.nam: unknown field; did you mean "name"?',
    ]);
  });
});

describe("manifests to apply", () => {
  it("come from standard input, in a namespace, with any image", () => {
    const [pod] = loadManifests("-", "any", {
      stdin: POD.replace("podwire/echo", "mysql:8"),
      namespace: "team",
    });
    expect(pod?.object.metadata).toEqual({ name: "p", namespace: "team" });
    expect(pod?.position).toEqual({ file: "standard input", line: 1, column: 1 });
  });

  it("leave namespaces and addresses to the API server", () => {
    const stdin = `${SERVICE.replace("name: s", "name: s, namespace: other")}spec: { type: NodePort, clusterIP: 192.168.0.1, ports: [{ port: 1, nodePort: 9 }] }\n`;
    expect(loadManifests("-", [], { stdin }).length).toBe(1);
  });

  it("are reported by file, images too", () => {
    expect(problemsOf(() => loadManifests("/nowhere/x.yaml", "any"))).toEqual([
      "/nowhere/x.yaml:1:1: no such file; check the path",
    ]);
    expect(
      problemsOf(() => loadManifests("-", ["mysql"], { stdin: POD.replace("podwire/echo", "mysqld") })),
    ).toEqual([
      `standard input:7:14: spec.containers[0].image: image "mysqld" is neither built in (podwire/echo) nor in the topology's images table; did you mean "mysql"?`,
    ]);
  });
});
