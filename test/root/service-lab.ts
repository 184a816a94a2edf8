/**
 * A lab for tests of Services: servers and clients as pods on chosen nodes, objects made over the API, questions asked with
 * real sockets from pods, nodes and the host.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LabPaths } from "../../src/cluster/paths.js";
import {
  type EndpointSlice,
  HttpKubeClient,
  type KubeObject,
  type Pod,
  type ResourceName,
  retryOnConflict,
  type Service,
} from "../../src/kube/index.js";
import { eventually, exec, TestLab } from "./lab.js";

export const NODES = ["node-1", "node-2", "node-3"] as const;
export const NODE_IPS = ["10.177.0.2", "10.177.0.3", "10.177.0.4"] as const;
export const HOST_IP = "10.177.0.1";

/** Answers a question over HTTP, TCP port 8080, and UDP with the pod's name, and does not care for SIGTERM. */
const LINGER = `
const { createServer } = require("node:http");
const { createSocket } = require("node:dgram");
process.on("SIGTERM", () => {});
const pod = process.env.HOSTNAME ?? process.env.PODWIRE_POD;
createServer((request, response) => {
  const { remoteAddress, remotePort } = request.socket;
  response.setHeader("Connection", "close");
  response.end(request.url === "/clientip" ? remoteAddress.replace("::ffff:", "") + ":" + remotePort : pod);
}).listen(8080);
const udp = createSocket("udp4").on("message", (message, from) => udp.send("pod=" + pod + " " + message, from.port, from.address));
udp.bind(8080);
`;

/**
 * Sends datagrams, each after the answer to the one before, all from the given port or each from a new one; prints what came,
 * or why nothing did.
 */
const UDP_ASK = `
const { createSocket } = require("node:dgram");
const [ip, port, source, count, timeoutMs] = process.argv.slice(1);
const ask = () => new Promise((resolve) => {
  const socket = createSocket(ip.includes(":") ? "udp6" : "udp4");
  const timer = setTimeout(() => end("timeout"), Number(timeoutMs));
  const end = (answer) => {
    clearTimeout(timer);
    socket.close(() => resolve(answer));
  };
  socket.once("message", (message) => end(/pod=(\\S+)/.exec(String(message))?.[1] ?? "?"));
  socket.once("error", (error) => end(error.code === "ECONNREFUSED" ? "refused" : error.code));
  socket.bind(Number(source), () => socket.connect(Number(port), ip, () => socket.send("hello")));
});
(async () => { for (let left = Number(count); left > 0; left--) console.log(await ask()); })();
`;

/** Why curl got no answer, by its exit code: what the user of a Service sees. */
const CURL_FAILURES: Readonly<Record<number, string>> = { 7: "refused", 28: "timeout" };

export interface PodOptions {
  readonly node: string;
  readonly labels?: Record<string, string>;
  /** Runs on when it is asked to end, until its grace period is over. */
  readonly lingers?: boolean;
  /** The pod is ready while this file exists; at once without. */
  readonly readyFile?: string;
  readonly graceSeconds?: number;
  readonly hostNetwork?: boolean;
}

export class ServiceLab {
  readonly test: TestLab;
  readonly files = mkdtempSync(join(tmpdir(), "podwire-services-"));
  readonly #name: string;
  readonly #enters = new Map<string, readonly string[]>();
  #client: HttpKubeClient | undefined;

  constructor(name: string) {
    this.#name = name;
    this.test = new TestLab(name);
  }

  /** Brings up three nodes, in the zones a, b and b; `more` are lines of the topology. */
  async up(more = ""): Promise<void> {
    const file = join(this.files, "lab.yaml");
    const zone = (index: number) => (index === 0 ? "a" : "b");
    const nodes = NODES.map(
      (name, index) =>
        `  - { name: ${name}, ip: ${NODE_IPS[index]}, labels: { topology.kubernetes.io/zone: ${zone(index)} } }`,
    );
    const linger = JSON.stringify([process.execPath, "-e", LINGER]);
    writeFileSync(
      file,
      [
        `name: ${this.#name}`,
        "nodes:",
        ...nodes,
        `images: { test/linger: { command: ${linger} } }`,
        more,
      ].join("\n"),
    );
    await this.test.up(file);
    this.#client = new HttpKubeClient({ socketPath: this.paths.apiSocket });
  }

  async down(): Promise<void> {
    await this.test.podwire("down", "--all");
    await exec(["ip", "netns", "del", this.test.netns]);
    rmSync(this.files, { recursive: true });
  }

  get paths(): LabPaths {
    return new LabPaths(this.#name, this.test.runDir);
  }

  get client(): HttpKubeClient {
    if (!this.#client) throw new Error("the lab is not up");
    return this.#client;
  }

  /** Makes a pod; it may not be ready yet. */
  async pod(name: string, options: PodOptions): Promise<void> {
    const { node, labels = {}, lingers, readyFile, graceSeconds, hostNetwork } = options;
    const image = lingers ? "test/linger" : "podwire/echo";
    const ports = [
      { name: "http", containerPort: 8080, protocol: "TCP" },
      { name: "udp", containerPort: 8080, protocol: "UDP" },
    ];
    const handler = readyFile
      ? { exec: { command: ["test", "-e", readyFile] } }
      : { tcpSocket: { port: 8080 } };
    const readinessProbe = { ...handler, periodSeconds: 1, failureThreshold: 1 };
    await this.client.create<Pod>("pods", {
      metadata: { name, namespace: "default", labels },
      spec: {
        nodeName: node,
        ...(hostNetwork ? { hostNetwork } : {}),
        terminationGracePeriodSeconds: graceSeconds ?? 1,
        containers: [{ name: "main", image, ports, readinessProbe }],
      },
    });
  }

  /** The pods when all of them are ready. */
  async ready(...names: string[]): Promise<Pod[]> {
    const look = (): Promise<Pod[]> =>
      Promise.all(names.map((name) => this.client.get<Pod>("pods", "default", name)));
    const isReady = ({ status }: Pod) =>
      status?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True") ?? false;
    return eventually(`${names.join(", ")} ready`, look, (pods) => pods.every(isReady), 30_000);
  }

  async podIp(name: string): Promise<string> {
    return (await this.client.get<Pod>("pods", "default", name)).status?.podIP ?? "";
  }

  async service(name: string, spec: object, metadata: object = {}): Promise<Service> {
    return this.client.create<Service>("services", {
      metadata: { name, namespace: "default", ...metadata },
      spec,
    });
  }

  /** Changes an object; again when somebody else was faster. */
  async edit<T extends KubeObject>(
    resource: ResourceName,
    name: string,
    change: (object: T) => void,
    subresource?: "status",
  ): Promise<T> {
    return retryOnConflict(async () => {
      const namespace = resource === "nodes" ? undefined : "default";
      const object = await this.client.get<T>(resource, namespace, name);
      change(object);
      return this.client.update(resource, object, subresource);
    });
  }

  editService(name: string, change: (spec: NonNullable<Service["spec"]>) => void): Promise<Service> {
    return this.edit<Service>("services", name, (service) => change(service.spec ?? {}));
  }

  async remove(resource: ResourceName, ...names: string[]): Promise<void> {
    await Promise.all(names.map((name) => this.client.delete(resource, "default", name)));
  }

  /** Endpoints of a Service that fit, as names of pods in order. */
  async endpoints(
    service: string,
    fits: (conditions: Conditions) => boolean = ({ ready }) => ready,
  ): Promise<string[]> {
    const labelSelector = `kubernetes.io/service-name=${service}`;
    const { items } = await this.client.list<EndpointSlice>("endpointslices", {
      namespace: "default",
      labelSelector,
    });
    return items
      .flatMap((slice) => slice.endpoints)
      .filter(({ conditions }) => {
        const ready = conditions?.ready ?? true;
        return fits({
          ready,
          serving: conditions?.serving ?? ready,
          terminating: conditions?.terminating ?? false,
        });
      })
      .map(({ targetRef, addresses }) => targetRef?.name ?? addresses[0] ?? "?")
      .sort();
  }

  /** Waits until these pods are the Service's ready endpoints. */
  async hasEndpoints(service: string, ...pods: string[]): Promise<void> {
    const wanted = JSON.stringify(pods.toSorted());
    await eventually(
      `endpoints of ${service}`,
      () => this.endpoints(service),
      (found) => JSON.stringify(found) === wanted,
    );
  }

  /** What a program says in a pod, on a node (`node-1`), or on the `host`. */
  async run(place: string, ...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return exec([...(await this.#enter(place)), ...words]);
  }

  /**
   * New connections to a URL, one after the other: the first line of each answer, or `refused` or `timeout`.
   */
  async ask(place: string, url: string, count = 1, timeoutSeconds = 2): Promise<string[]> {
    const urls = Array.from({ length: count }, () => url);
    const limit = [
      "--connect-timeout",
      String(timeoutSeconds),
      "--max-time",
      String(timeoutSeconds * count + 3),
    ];
    const { code, stdout, stderr } = await this.run(
      place,
      ...["curl", "-sS", "-w", "\n", "-H", "Connection: close", ...limit, ...urls],
    );
    if (code !== 0 && CURL_FAILURES[code] === undefined)
      throw new Error(`curl ${url} from ${place}: ${stderr}`);
    const answers = stdout.split("\n").filter(Boolean);
    return code === 0 ? answers : [...answers, CURL_FAILURES[code] ?? "?"];
  }

  /** Names of the pods that answered datagrams, or `refused` or `timeout`; without a source port each has its own. */
  async udp(
    place: string,
    ip: string,
    port: number,
    { sourcePort = 0, count = 1, timeoutMs = 700 } = {},
  ): Promise<string[]> {
    const words = [ip, port, sourcePort, count, timeoutMs].map(String);
    const { stdout, stderr } = await this.run(place, process.execPath, "-e", UDP_ASK, ...words);
    if (stderr) throw new Error(`udp to ${ip}:${port} from ${place}: ${stderr}`);
    return stdout.split("\n").filter(Boolean);
  }

  /** Asks until a connection to the URL has this outcome. */
  async becomes(place: string, url: string, outcome: string | RegExp): Promise<void> {
    await eventually(
      `${url} from ${place}`,
      async () => (await this.ask(place, url, 1, 1))[0] ?? "",
      (answer) => (typeof outcome === "string" ? answer === outcome : outcome.test(answer)),
    );
  }

  /** Starts a program in a place; it is the test's to end. */
  async spawn(place: string, ...words: string[]): Promise<Spawned> {
    const [program = "", ...args] = [...(await this.#enter(place)), ...words];
    return new Spawned(spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] }));
  }

  /** A node's connections from an address. */
  conntrack(node: string, src: string): Promise<{ state?: string; timeoutSeconds: number }[]> {
    return getJson(this.paths.node(node).socket, `/conntrack?src=${src}`);
  }

  /** Waits until it holds. */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    await eventually(what, holds, (value) => value);
  }

  async #enter(place: string): Promise<readonly string[]> {
    if (place === "host") return ["nsenter", `--net=/run/netns/${this.test.netns}`, "--"];
    if (/^node-\d$/.test(place)) return ["nsenter", `--net=/run/netns/pwnode-${this.#name}.${place}`, "--"];
    const known = this.#enters.get(place);
    if (known) return known;
    const node = (await this.client.get<Pod>("pods", "default", place)).spec?.nodeName ?? "";
    const { enter } = await getJson<{ enter: string[] }>(
      this.paths.node(node).socket,
      `/exec/default/${place}`,
    );
    this.#enters.set(place, enter);
    return enter;
  }
}

/** A program that runs while the test goes on. */
export class Spawned {
  #output = "";

  constructor(private readonly child: ChildProcess) {
    child.stdout?.on("data", (chunk) => {
      this.#output += String(chunk);
    });
  }

  /** Waits for the words; returns all that it has said. */
  says(words: string): Promise<string> {
    return eventually(
      words,
      async () => this.#output,
      (output) => output.includes(words),
    );
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }
}

interface Conditions {
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

function getJson<T>(socketPath: string, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      answer.on("end", () => {
        if (answer.statusCode === 200) resolve(JSON.parse(text) as T);
        else reject(new Error(`${path}: ${answer.statusCode} ${text}`));
      });
    });
    asked.once("error", reject).end();
  });
}
