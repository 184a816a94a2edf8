import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { eventually, exec, identity, type Output, ROOT, TestLab } from "./lab.js";
import { Running } from "./running.js";

/** The commands about objects, pods and their processes, each as a user types it. */
const lab = new TestLab("cli");

/** A pod that has something to say, and more of it every tenth of a second. */
const TALKER = `
apiVersion: v1
kind: Pod
metadata: { name: talker, labels: { app: talker } }
spec:
  containers:
    - name: talker
      image: podwire/echo
      command: [sh, -c, "echo one; echo two; echo pid $$$$; while sleep 0.1; do echo more; done"]
`;

const service = (labels: string) => `
apiVersion: v1
kind: Service
metadata: { name: extra, labels: ${labels} }
spec: { selector: { app: web }, ports: [{ port: 81, targetPort: 8080 }] }
`;

beforeAll(async () => {
  await lab.up("topologies/two-nodes.yaml");
  await typed(TALKER, "apply", "-f", "-");
});
afterAll(async () => {
  await lab.podwire("down", "--all");
  await exec(["ip", "netns", "del", lab.netns]);
});

/** Runs `podwire` with something typed into its standard input. */
function typed(input: string, ...args: string[]): Promise<Output> {
  const cli = [process.execPath, `${ROOT}/dist/cli/main.js`, ...args];
  return exec(cli, { input, env: lab.env });
}

interface Items {
  kind: string;
  items: { kind: string; apiVersion: string; metadata: { name: string } }[];
}
const namesOf = async (...args: string[]) =>
  (await lab.ok("get", ...args, "-o", "name")).trim().split("\n").filter(Boolean);
const firstWeb = async () => (await namesOf("pods", "-l", "app=web"))[0]?.slice("pod/".length) ?? "";

describe("get", () => {
  it("tables", async () => {
    const [table, wide, all, everywhere] = await Promise.all([
      lab.ok("get", "pods"),
      lab.ok("get", "po", "-o", "wide"),
      lab.ok("get", "all"),
      lab.ok("get", "svc,ns", "-A"),
    ]);
    expect(table).toMatch(/^NAME +READY +STATUS +RESTARTS +AGE\ntalker +1\/1 +Running +0 +\d+s\nweb-/);
    expect(wide).toMatch(/IP +NODE +NOMINATED NODE +READINESS GATES\n/);
    expect(wide).toMatch(
      /^web-\w{5} +1\/1 +Running +0 +\d+s +10\.244\.\d+\.\d+ +node-[12] +<none> +<none>$/m,
    );
    expect(all).toMatch(/^pod\/web-\w{5} .*\n\nNAME +DESIRED.*\nreplicationcontroller\/web .*\n\n/ms);
    expect(all).toMatch(
      /^service\/web +NodePort +10\.96\.\d+\.\d+ +<none> +80:30080\/TCP,80:30080\/UDP +\d+s$/m,
    );
    expect(everywhere).toMatch(/^NAMESPACE +NAME +TYPE/);
    expect(everywhere).toMatch(/^default +service\/web /m);
    expect(everywhere).toMatch(/\n\nNAME +STATUS +AGE\nnamespace\/default +Active /);
  });

  it("one object and lists as JSON and YAML", async () => {
    const [one, list, yaml] = await Promise.all([
      lab.json<{ kind: string; metadata: { name: string } }>("get", "svc/web"),
      lab.json<Items>("get", "pods"),
      lab.ok("get", "svc,rc", "-o", "yaml"),
    ]);
    expect(one).toMatchObject({ kind: "Service", metadata: { name: "web" } });
    expect(list).toMatchObject({ kind: "List", items: [{ kind: "Pod" }, { kind: "Pod" }, { kind: "Pod" }] });
    const kinds = (parse(yaml) as Items).items.map(({ kind, apiVersion }) => `${apiVersion} ${kind}`);
    // `web` and the API's own, `kubernetes`.
    expect(kinds).toEqual(["v1 Service", "v1 Service", "v1 ReplicationController"]);
  });

  it("selectors of labels and fields, names, and nothing at all", async () => {
    expect(await namesOf("pods", "-l", "app in (talker,other)")).toEqual(["pod/talker"]);
    expect(await namesOf("pods", "-l", "app!=talker")).toHaveLength(2);
    const [node1, node2] = await Promise.all(
      ["node-1", "node-2"].map((node) => namesOf("pods", "--field-selector", `spec.nodeName=${node}`)),
    );
    expect([...(node1 ?? []), ...(node2 ?? [])]).toHaveLength(3);
    expect(await namesOf("rc", "web")).toEqual(["replicationcontroller/web"]);
    expect(await lab.podwire("get", "pods", "-l", "app=none")).toEqual({
      code: 0,
      stdout: "",
      stderr: "No resources found in default namespace.\n",
    });
    expect(await lab.podwire("get", "svc/none")).toEqual({
      code: 1,
      stdout: "",
      stderr: 'error: services "none" not found\n',
    });
  });

  it("the lab's other objects", async () => {
    const [endpoints, slices, nodes, events] = await Promise.all(
      ["ep", "endpointslices", "no", "events"].map((type) => lab.ok("get", type)),
    );
    expect(endpoints).toMatch(/^web +10\.244\.[\d.]+:8080,.* \+ 1 more\.\.\. /m);
    expect(slices).toMatch(/^web-\w{5} +IPv4 +8080,8080 +10\.244/m);
    expect(nodes).toMatch(/^node-2 +Ready +<none> +\d+s +v1\./m);
    expect(events).toMatch(/Normal +Scheduled +pod\/talker +Successfully assigned default\/talker to node-/);
  });

  it("--watch shows each change until Ctrl-C", async () => {
    const table = new Running(lab, "get", "rc", "web", "--watch");
    const json = new Running(lab, "get", "rc", "-w", "-o", "json");
    await table.prints(/^web +2 /m);
    await json.prints(/"name": "web"/);
    expect(await lab.ok("scale", "rc", "web", "--replicas", "3")).toBe("replicationcontroller/web scaled\n");
    await table.prints(/^web +3 +3 +3 /m);
    await json.prints(/"replicas": 3/);
    await lab.ok("scale", "rc/web", "--replicas=2");
    await table.prints(/^web +2 +2 +2 .*^web +3.*^web +2 +2 +2 /ms);
    expect(table.stdout.match(/NAME/g)).toHaveLength(1);
    expect([await table.end(), await json.end()]).toEqual([0, 0]);
    expect(table.stderr + json.stderr).toBe("");
  });
});

describe("describe", () => {
  it("a Service with its endpoints, a pod with its events, a node", async () => {
    const [web, talker, node] = await Promise.all([
      lab.ok("describe", "svc", "web"),
      lab.ok("describe", "pod/talker"),
      lab.ok("describe", "nodes", "node-1"),
    ]);
    expect(web).toMatch(/^Name: +web\nNamespace: +default\nLabels: +<none>\n/);
    expect(web).toMatch(/^Endpoints: +http 10\.244\.[\d.]+:8080,10\.244\.[\d.]+:8080\n +echo /m);
    expect(talker).toMatch(/^ {2}Normal +Started +\d+s +kubelet, node-\d +Started container talker$/m);
    expect(node).toMatch(/podCIDR: 10\.244\.\d+\.0\/24/);
  });
});

describe("apply and delete", () => {
  it("a manifest from standard input: created, unchanged, configured, deleted", async () => {
    const apply = (manifest: string) => typed(manifest, "apply", "-f", "-");
    expect((await apply(service("{}"))).stdout).toBe("service/extra created\n");
    expect((await apply(service("{}"))).stdout).toBe("service/extra unchanged\n");
    expect((await apply(service("{ tier: x }"))).stdout).toBe("service/extra configured\n");
    expect(await namesOf("svc", "-l", "tier=x")).toEqual(["service/extra"]);
    const gone = await typed(service("{}"), "delete", "-f", "-");
    expect(gone).toEqual({ code: 0, stdout: 'service "extra" deleted\n', stderr: "" });
    expect(await namesOf("svc", "-l", "tier=x")).toEqual([]);
  });

  it("a file, and everything in it deleted again", async () => {
    const created = await lab.ok("apply", "-f", `${ROOT}/topologies/udp-echo.yaml`);
    expect(created).toBe("replicationcontroller/udp-echo created\nservice/udp-echo created\n");
    const deleted = await lab.ok("delete", "-f", `${ROOT}/topologies/udp-echo.yaml`);
    expect(deleted).toBe('service "udp-echo" deleted\nreplicationcontroller "udp-echo" deleted\n');
  });

  it("by selector, and all of a namespace", async () => {
    const configless = ["a", "b"].map(
      (name) => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: other, labels: { set: ${name} } }
spec: { ports: [{ port: 1 }] }
`,
    );
    const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n";
    const { stdout } = await typed([namespace, ...configless].join("---\n"), "apply", "-f", "-");
    expect(stdout).toBe("namespace/other created\nservice/a created\nservice/b created\n");
    expect(await lab.ok("delete", "svc", "-n", "other", "-l", "set=a")).toBe('service "a" deleted\n');
    expect(await lab.ok("delete", "svc", "-n", "other", "--all")).toBe('service "b" deleted\n');
    expect(await lab.ok("delete", "ns/other")).toBe('namespace "other" deleted\n');
    expect(await namesOf("ns")).not.toContain("namespace/other");
  });

  it("what is not there", async () => {
    const missing = await lab.podwire("delete", "svc", "none");
    expect(missing).toEqual({ code: 1, stdout: "", stderr: 'error: services "none" not found\n' });
    expect(await lab.podwire("delete", "svc/none", "--ignore-not-found")).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    const unnamed = await lab.podwire("delete", "svc");
    expect(unnamed).toEqual({
      code: 2,
      stdout: "",
      stderr: "error: which services? give names, -l LABELS, or --all\n",
    });
  });

  it("a manifest that is wrong changes nothing; one that the API server refuses is named with its place", async () => {
    const unknown = await typed(`${service("{}")}---\n${service("{ tier: [x] }")}`, "apply", "-f", "-");
    expect(unknown).toMatchObject({ code: 2, stdout: "" });
    expect(unknown.stderr).toMatch(/^error: standard input:10:42: metadata\.labels\.tier: .*\n$/);
    const web = await lab.json<{ spec: { clusterIP: string } }>("get", "svc/web");
    const taken = service("{}").replace("ports:", `clusterIP: ${web.spec.clusterIP}, ports:`);
    const refused = await typed(taken, "apply", "-f", "-");
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toMatch(
      /^error: standard input:2:1: Service "extra" is invalid: spec\.clusterIPs?(\[0\])?: .*already allocated.*\n$/,
    );
    const port = service("{}")
      .replace("targetPort: 8080", "nodePort: 30080")
      .replace("ports:", "type: NodePort, ports:");
    expect((await typed(port, "apply", "-f", "-")).stderr).toMatch(
      /^error: standard input:2:1: .*spec\.ports\[0\]\.nodePort: .*30080.*already allocated.*\n$/,
    );
    expect((await lab.podwire("get", "svc/extra")).code).toBe(1);
  });
});

describe("logs", () => {
  it("whole, the last lines, and as they come", async () => {
    expect(await lab.ok("logs", "talker")).toMatch(/^one\ntwo\npid \d+\nmore\n/);
    expect(await lab.ok("logs", "pod/talker", "--tail", "2")).toBe("more\nmore\n");
    const following = new Running(lab, "logs", "-f", "talker", "--tail=1");
    await following.prints(/^(more\n){4,}$/);
    expect([await following.end(), following.stderr]).toEqual([0, ""]);
  });

  it("of the container before its last restart", async () => {
    const pid = /^pid (\d+)$/m.exec(await lab.ok("logs", "talker"))?.[1] ?? "";
    await lab.ok("exec", "talker", "--", "kill", "-9", pid);
    await eventually(
      "restart",
      () => lab.ok("get", "pods", "talker"),
      (text) => /talker +1\/1 +Running +1 /.test(text),
    );
    expect(await lab.ok("logs", "talker", "-p")).toContain(`pid ${pid}\n`);
    expect(await lab.ok("logs", "talker")).not.toContain(`pid ${pid}\n`);
  });

  it("of a pod or container that is not there", async () => {
    const { code, stderr } = await lab.podwire("logs", "none");
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'error: pods "none" not found\n' });
    const container = await lab.podwire("logs", "talker", "-c", "none");
    expect(container.code).toBe(1);
    expect(container.stderr).toBe("error: container none is not valid for pod talker\n");
  });
});

describe("exec and host", () => {
  it("exec passes input, environment and exit codes", async () => {
    const pod = await firstWeb();
    expect(await typed("line 1\nline 2\n", "exec", pod, "--", "cat", "-n")).toMatchObject({
      code: 0,
      stdout: "     1\tline 1\n     2\tline 2\n",
    });
    const env = await lab.ok("exec", pod, "--", "env");
    expect(env).toMatch(/^WEB_SERVICE_HOST=10\.96\.\d+\.\d+$/m);
    expect(env).toMatch(/^WEB_SERVICE_PORT=80$/m);
    expect((await lab.ok("exec", "-it", `pod/${pod}`, "--", "hostname")).trim()).toBe(pod);
    const codes = ["exit 0", "exit 7", "kill -9 $$"].map(
      async (script) => (await lab.podwire("exec", pod, "-c", "web", "--", "sh", "-c", script)).code,
    );
    expect(await Promise.all(codes)).toEqual([0, 7, 137]);
    expect((await lab.podwire("exec", pod, "--", "no-such-program")).code).toBe(127);
  });

  it("exec refuses what it cannot enter", async () => {
    expect(await lab.podwire("exec", "none", "--", "true")).toMatchObject({
      code: 1,
      stderr: 'error: pods "none" not found\n',
    });
    const { code, stderr } = await lab.podwire("exec", "talker", "-c", "none", "--", "true");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: container none of pod talker is not running\n$/);
  });

  it("host runs on the lab's host side, options of the program included", async () => {
    expect(identity(await lab.ok("host", "--", "curl", "-sS", "http://10.177.0.2:30080/")).pod).toMatch(
      /^web-/,
    );
    expect(await lab.ok("host", "ip", "-o", "-4", "addr", "show")).toContain(" 10.177.0.1/");
    expect((await lab.podwire("host", "--", "sh", "-c", "exit 9")).code).toBe(9);
  });
});

describe("a second look", () => {
  it("`up` of a lab that is up is refused and harms nothing", async () => {
    const again = await lab.podwire("up", "topologies/two-nodes.yaml", "--netns", lab.netns, "--detach");
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/error: lab two-nodes is already up: podwire down two-nodes first/);
    expect(await lab.ok("get", "rc", "web")).toMatch(/^web +2 +2 +2 /m);
  });
});
