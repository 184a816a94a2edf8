/** NetworkPolicies on real pods: topologies/network-policy.yaml, with curl, nc and ping as its users have them. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, ROOT, TestLab } from "./lab.js";

const lab = new TestLab("policy");
const dir = mkdtempSync(join(tmpdir(), "pwt-policy-"));
const POLICIES = `${ROOT}/topologies/network-policy/policies.yaml`;
/** When the policies were seen to hold. */
let shutAt = 0;
const DB = "http://db.shop:5432/";

interface NodeStatus {
  readonly policies: {
    readonly policies: number;
    readonly pods: number;
    readonly isolated: readonly { readonly pod: string; readonly ingress: readonly string[] }[];
  };
}

/** `podwire exec POD -n NAMESPACE`, and how it ended. */
const run = (pod: string, ...words: string[]) => {
  const [namespace = "", name = ""] = pod.split("/");
  return lab.podwire("exec", name, "-n", namespace, "--", ...words);
};
const curl = (pod: string, url: string) => run(pod, "curl", "-sS", "--max-time", "2", url);
const reaches = async (pod: string, url: string) => (await curl(pod, url)).code === 0;
/** curl's exit code when nobody answers in time. */
const SILENCE = 28;
const policies = async (node: string) =>
  (
    JSON.parse(
      (await lab.host("curl", "-sS", "--unix-socket", nodeSocket(node), "http://node/status")).stdout,
    ) as NodeStatus
  ).policies;
const nodeSocket = (node: string) => join(lab.runDir, "network-policy", "nodes", node, "node.sock");
const applyText = async (text: string) => {
  const file = join(dir, "policy.yaml");
  writeFileSync(file, text);
  await lab.ok("apply", "-f", file);
};
const policy = (key: string, spec: string) => {
  const [namespace, name] = key.split("/");
  return `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec: ${spec}\n`;
};
const drop = (key: string) => {
  const [namespace = "", name = ""] = key.split("/");
  return lab.ok("delete", "netpol", name, "-n", namespace);
};

beforeAll(async () => {
  await lab.up(`${ROOT}/topologies/network-policy.yaml`);
});

afterAll(async () => {
  await lab.down();
  rmSync(dir, { recursive: true, force: true });
});

describe("a shop with policies", () => {
  it("is open before there are any, and its nodes know no pods but their own", async () => {
    expect(await curl("guests/visitor", DB)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("pod=db"),
    });
    expect(await reaches("guests/visitor", "http://web.shop/")).toBe(true);
    expect(await policies("node-1")).toMatchObject({ policies: 0, isolated: [] });
    expect((await policies("node-1")).pods).toBeLessThanOrEqual(2);
  });

  it("is shut for those that no policy names, the database to all but the web server", async () => {
    await lab.ok("apply", "-f", POLICIES);
    await eventually(
      "isolation",
      () => curl("guests/visitor", DB),
      ({ code }) => code === SILENCE,
    );
    shutAt = Date.now();
    expect(await policies("node-2")).toMatchObject({
      policies: 3,
      isolated: [{ pod: "shop/db", ingress: ["shop/db", "shop/default-deny"], egress: ["shop/db"] }],
    });
    // Allowed from the own namespace, from a namespace with the label, and from outside by address.
    expect((await curl("shop/web", DB)).stdout).toContain("pod=db");
    expect((await curl("guests/visitor", "http://web.shop/")).stdout).toContain("pod=web");
    expect((await lab.curl("http://10.177.0.2:30080/")).stdout).toContain("client=10.177.0.1");
    // ICMP has no ports: a rule with ports does not allow it.
    const { stdout: web } = await lab.podwire("get", "pod", "web", "-n", "shop", "-o", "json");
    const { podIP } = (JSON.parse(web) as { status: { podIP: string } }).status;
    expect((await run("guests/visitor", "ping", "-c1", "-W1", podIP)).code).toBe(1);
  });

  it("keeps its probes: a pod's own node is never shut out", async () => {
    // The readiness probes of web and db come every second; the third failure in a row would count.
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, shutAt + 5000 - Date.now())));
    for (const name of ["web", "db"]) {
      const { stdout } = await lab.podwire("get", "pod", name, "-n", "shop", "-o", "json");
      const { status } = JSON.parse(stdout) as { status: { conditions: { type: string; status: string }[] } };
      expect(status.conditions.find(({ type }) => type === "Ready")?.status).toBe("True");
    }
  });

  it("does not let the database ask anybody, not even for a name", async () => {
    expect((await curl("shop/db", "http://10.177.0.1:1/")).code).toBe(SILENCE);
    expect((await run("shop/db", "curl", "-sS", "--max-time", "2", "http://web.shop/")).code).not.toBe(0);
  });

  it("shows what a policy drops, and which policies isolate the pod", async () => {
    const trace = spawn(
      process.execPath,
      [`${ROOT}/dist/cli/main.js`, "trace", "--verdict", "drop:policy-denied"],
      {
        env: lab.env,
      },
    );
    const lines = gather(trace);
    await eventually(
      "the denial in the trace",
      async () => {
        await curl("guests/visitor", DB);
        return lines.text;
      },
      (text) => text.includes("policy="),
    );
    trace.kill("SIGTERM");
    expect(lines.text).toMatch(
      /drop:policy-denied .*svc=shop\/db.*policy=ingress:shop\/db,shop\/default-deny/,
    );
  });

  it("an open connection stalls when its permission goes, and goes on when it comes back", async () => {
    const talk = spawn(
      process.execPath,
      [`${ROOT}/dist/cli/main.js`, "exec", "-i", "web", "-n", "shop", "--", "nc", "db.shop", "5432"],
      { env: lab.env },
    );
    const answers = gather(talk);
    const count = () => answers.text.split("hello").length - 1;
    const say = () => void talk.stdin?.write("hello\n");
    await eventually(
      "the first answer",
      async () => {
        say();
        return count();
      },
      (n) => n > 0,
    );
    await applyText(policy("shop/db", "{ podSelector: { matchLabels: { app: db } }, ingress: [] }"));
    await eventually(
      "isolation",
      () => reaches("shop/web", DB),
      (open) => !open,
    );
    const before = count();
    say();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(count()).toBe(before);
    await drop("shop/db");
    await drop("shop/default-deny");
    await eventually(
      "the answer to what waited",
      async () => count(),
      (n) => n > before,
      20_000,
    );
    talk.kill("SIGTERM");
  });

  it("is open again without policies, and its nodes forget the others' pods", async () => {
    await drop("shop/web");
    await eventually(
      "openness",
      () => reaches("guests/visitor", DB),
      (open) => open,
    );
    const status = await eventually(
      "forgetting",
      () => policies("node-1"),
      ({ policies: n }) => n === 0,
    );
    expect(status.isolated).toEqual([]);
    expect(status.pods).toBeLessThanOrEqual(2);
  });
});

function gather(child: ChildProcess): { text: string } {
  const gathered = { text: "" };
  child.stdout?.on("data", (data: Buffer) => {
    gathered.text += data.toString();
  });
  return gathered;
}
