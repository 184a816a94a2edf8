/** A lab of its own topology, with what tests of crashes need: its processes by name, traffic, and what it leaves behind. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askApi, LabPaths } from "../../src/cluster/index.js";
import { type EndpointSlice, HttpKubeClient, type Node, type Pod } from "../../src/kube/index.js";
import { eventually, exec, type Output, TestLab } from "./lab.js";

const CURL_PAUSE_MS = 50;
const MIN_CURLS = 20;
const MAX_CURLS = 1500;
/** Less than the second after which TCP sends a lost SYN again, so that one lost packet counts. */
const PATIENCE_SECONDS = "0.9";
export const NODE_PORT = 30080;
/** Carries what tells this lab's pods from those of other labs of this machine. */
export const WEB = `web-${process.pid}`;

export interface NodeStatus {
  readonly name: string;
  readonly state: string;
  readonly lastExit?: string;
  readonly status?: {
    readonly phase: string;
    readonly overlay: {
      readonly subnet?: string;
      readonly lease?: { readonly expiresAt: number };
      readonly peers: readonly { readonly publicIp: string; readonly subnet: string }[];
    };
  };
}

export interface Count {
  readonly answered: number;
  readonly failed: number;
}

/** Pods of podwire/echo behind one NodePort Service. */
export function webManifests(replicas: number): object[] {
  const port = { name: "http", containerPort: 8080 };
  const readinessProbe = { httpGet: { path: "/", port: "http" }, periodSeconds: 1 };
  const containers = [{ name: "web", image: "podwire/echo", ports: [port], readinessProbe }];
  const selector = { app: "web" };
  const template = { metadata: { labels: selector }, spec: { containers } };
  const ports = [{ port: 80, targetPort: "http", nodePort: NODE_PORT }];
  const metadata = { name: WEB };
  return [
    { apiVersion: "v1", kind: "ReplicationController", metadata, spec: { replicas, selector, template } },
    { apiVersion: "v1", kind: "Service", metadata, spec: { type: "NodePort", selector, ports } },
  ];
}

export class CrashLab extends TestLab {
  readonly name: string;
  readonly topology: string;
  readonly paths: LabPaths;
  readonly client: HttpKubeClient;
  readonly #dir: string;

  constructor(name: string, topology: object) {
    super(name);
    // In the names of all that it makes, so that other labs of this machine are told apart.
    this.name = `${name}-${process.pid}`;
    this.#dir = mkdtempSync(join(tmpdir(), "podwire-crash-"));
    this.topology = join(this.#dir, "lab.yaml");
    writeFileSync(this.topology, JSON.stringify({ name: this.name, ...topology }));
    this.paths = new LabPaths(this.name, this.runDir);
    this.client = new HttpKubeClient({ socketPath: this.paths.apiSocket });
  }

  async close(): Promise<void> {
    await this.podwire("down", "--all");
    await exec(["ip", "netns", "del", this.netns]);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** The machine's own links and routes, and all else that carries this lab's name. */
  override async footprint(): Promise<string[]> {
    const lines = await super.footprint();
    return lines.filter((line) => /^(link|route) /.test(line) || line.includes(`-${process.pid}`));
  }

  /** `cluster.pid`, `supervisor.pid` or a node's name. */
  pid(what: string): number {
    const file = what.endsWith(".pid") ? join(this.paths.dir, what) : this.paths.node(what).pid;
    return (JSON.parse(readFileSync(file, "utf8")) as { pid: number }).pid;
  }

  signal(what: string, signal: NodeJS.Signals): void {
    process.kill(this.pid(what), signal);
  }

  async nodes(): Promise<readonly NodeStatus[]> {
    return (await askApi<{ nodes: NodeStatus[] }>(this.paths, "/podwire/v1/status")).nodes;
  }

  async node(name: string): Promise<NodeStatus | undefined> {
    return (await this.nodes()).find((node) => node.name === name);
  }

  async ready(name: string): Promise<boolean> {
    const { status } = await this.client.get<Node>("nodes", undefined, name);
    return (
      status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") ??
      false
    );
  }

  async pods(): Promise<Pod[]> {
    return (await this.client.list<Pod>("pods", { namespace: "default" })).items;
  }

  async podOn(node: string): Promise<Pod> {
    const pod = (await this.pods()).find(({ spec }) => spec?.nodeName === node);
    if (!pod) throw new Error(`no pod on ${node}`);
    return pod;
  }

  /** Restart counts by pod. */
  async restarts(): Promise<Record<string, number | undefined>> {
    const pods = await this.pods();
    return Object.fromEntries(
      pods.map((pod) => [pod.metadata?.name ?? "", pod.status?.containerStatuses?.[0]?.restartCount]),
    );
  }

  /** Addresses that new connections may go to, the API server's left out. */
  async endpoints(): Promise<string[]> {
    const slices = await this.client.list<EndpointSlice>("endpointslices", { namespace: "default" });
    return slices.items
      .filter(({ metadata }) => metadata?.labels?.["kubernetes.io/service-name"] !== "kubernetes")
      .flatMap(({ endpoints }) => endpoints ?? [])
      .flatMap(({ addresses, conditions }) => (conditions?.ready === false ? [] : addresses))
      .sort();
  }

  /** Pids of a node's containers by pod uid. */
  containers(node: string): Record<string, number> {
    const dir = join(this.paths.node(node).dir, "pods");
    return Object.fromEntries(
      readdirSync(dir).flatMap((uid) => {
        const path = join(dir, uid, "web", "pid");
        return existsSync(path) ? [[uid, Number.parseInt(readFileSync(path, "utf8"), 10)]] : [];
      }),
    );
  }

  /** Namespaces of the lab's pods that exist. */
  netnsOfPods(): string[] {
    return readdirSync("/run/netns").filter((name) => name.startsWith(`pw-${this.name}.default.`));
  }

  request(url: string, ...more: string[]): Promise<Output> {
    return this.curl(url, "-v", "--max-time", PATIENCE_SECONDS, "-o", "/dev/null", ...more);
  }

  requestFrom(pod: Pod, url: string): Promise<Output> {
    const netns = `/run/netns/pw-${this.name}.default.${pod.metadata?.name}`;
    const curl = ["curl", "-sS", "-v", "--max-time", PATIENCE_SECONDS, "-o", "/dev/null", url];
    return exec(["nsenter", `--net=${netns}`, "--", ...curl]);
  }

  /** Fails unless ten new connections in a row are answered soon. */
  async answers(url: string): Promise<void> {
    const ten = async () => {
      for (let round = 0; round < 10; round++) if ((await this.request(url)).code !== 0) return false;
      return true;
    };
    await eventually(`ten answers of ${url} in a row`, ten, Boolean);
  }
}

/** Runs `during` while each of the requests is made again and again; counts and prints how they ended. */
export async function underTraffic<Name extends string>(
  what: string,
  requests: Readonly<Record<Name, () => Promise<Output>>>,
  during: () => Promise<void>,
): Promise<Record<Name, Count>> {
  let going = true;
  const repeat = async (request: () => Promise<Output>): Promise<Output[]> => {
    const outputs: Output[] = [];
    while (outputs.length < (going ? MAX_CURLS : MIN_CURLS)) {
      const output = await request();
      outputs.push(output.code === 0 ? output : { ...output, stderr: reason(output) });
      await new Promise((resolve) => setTimeout(resolve, CURL_PAUSE_MS));
    }
    return outputs;
  };
  const names = Object.keys(requests) as Name[];
  const counting = Promise.all(names.map((name) => repeat(requests[name])));
  try {
    await during();
  } finally {
    going = false;
  }
  const outputs = await counting;
  const counts = names.map((name, at) => [name, count(`${what}, ${name}`, outputs[at] ?? [])] as const);
  return Object.fromEntries(counts) as Record<Name, Count>;
}

/** When a request failed, and the lines that tell why: only the first tells a refusal from an unreachable host. */
function reason({ stderr }: Output): string {
  const lines = stderr.split("\n").filter((line) => / failed: |^curl:/.test(line));
  return [new Date().toISOString(), ...lines].join(" ");
}

function count(what: string, outputs: readonly Output[]): Count {
  const failures = outputs.filter(({ code }) => code !== 0).map(({ stderr }) => stderr);
  const result = { answered: outputs.length - failures.length, failed: failures.length };
  console.log(`${what}: ${result.answered} answered, ${result.failed} failed`, ...failures);
  return result;
}
