import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { hostTapName, LabPaths, NODE_OPTIONS, readPidFile, writePidFile } from "../../cluster/index.js";
import type { ImageTable, NodeConfig } from "../../node/index.js";
import { parseIpv4, parsePrefix } from "../../wire/index.js";
import { CliError, Exit, wholeNumber } from "../context.js";

interface NodeOptions {
  readonly name: string;
  readonly lab: string;
  readonly ip: string;
  readonly underlay: string;
  readonly store: string;
  readonly api: string;
  readonly tokenFile?: string;
  readonly hostIp: string;
  readonly services: string;
  readonly nodePorts: string;
  readonly prefix: string;
  readonly mtu: number;
  readonly images?: string;
}

const NODE_MAIN = fileURLToPath(new URL("../../node/main.js", import.meta.url));

export function define(command: Command): void {
  command
    .option("--name <name>", "node name", hostname())
    .option("--lab <name>", "name of the lab it joins", "podwire")
    .requiredOption("--ip <address>", "node IP, emulated, in the lab's node network")
    .requiredOption("--host-ip <address>", "this machine's address in the node network")
    .requiredOption(
      "--underlay <address>",
      "this machine's address that the other nodes reach: flannel's PublicIP",
    )
    .requiredOption("--store <endpoints>", "etcd: http://HOST:2379[,...] or unix:/PATH")
    .requiredOption("--api <url>", "API server: http://HOST:PORT or unix:/PATH")
    .option("--token-file <file>", "bearer token of the API server")
    .requiredOption("--services <prefix>", "service network, such as 10.254.0.0/16")
    .option("--node-ports <range>", "range of the API server's node ports", "30000-32767")
    .option("--prefix <key>", "flannel's prefix in the store", "/coreos.com/network")
    .option("--mtu <bytes>", "MTU of the underlay", wholeNumber(576, 65_535), 1500)
    .option("--images <file>", 'JSON file with the images table: {"NAME": {"command": [...]}}')
    .addHelpText(
      "after",
      "\nRuns until Ctrl-C; pods go on. `podwire down LAB` removes what it made on this machine.",
    )
    .action(async (options: NodeOptions) => {
      process.exitCode = await runByHand(options);
    });
}

function runByHand(options: NodeOptions): Promise<number> {
  const config = configOf(options);
  mkdirSync(config.dir, { recursive: true, mode: 0o700 });
  const paths = new LabPaths(options.lab).node(options.name);
  const running = readPidFile(paths.pid);
  if (running)
    throw new CliError(
      `node ${options.name} of lab ${options.lab} runs on this machine already (pid ${running.pid})`,
    );
  const path = paths.config;
  writeFileSync(path, JSON.stringify(config, null, 2), { mode: 0o600 });
  // A process of its own, as under a lab: the same entry, the same exit codes.
  const child = spawn(process.execPath, [...NODE_OPTIONS, NODE_MAIN, path], { stdio: "inherit" });
  if (child.pid !== undefined) writePidFile(paths.pid, child.pid);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill("SIGTERM"));
  return new Promise((resolve) => child.once("exit", (code) => resolve(code ?? Exit.failed)));
}

function checkAddresses({ ip, hostIp, underlay, services, nodePorts }: NodeOptions): void {
  for (const [flag, address] of Object.entries({ "--ip": ip, "--host-ip": hostIp, "--underlay": underlay })) {
    if (parseIpv4(address) === undefined)
      throw new CliError(`${flag} ${address}: give an IPv4 address`, Exit.usage);
  }
  if (parsePrefix(services) === undefined)
    throw new CliError(`--services ${services}: give a network such as 10.254.0.0/16`, Exit.usage);
  const [first = 0, last = 0] = /^\d+-\d+$/.test(nodePorts) ? nodePorts.split("-").map(Number) : [];
  if (first < 1 || first > last || last > 65_535)
    throw new CliError(`--node-ports ${nodePorts}: give a range such as 30000-32767`, Exit.usage);
}

function configOf(options: NodeOptions): NodeConfig {
  checkAddresses(options);
  const api = options.api.startsWith("unix:")
    ? { socketPath: options.api.slice(5) }
    : { baseUrl: options.api };
  return {
    lab: options.lab,
    name: options.name,
    dir: new LabPaths(options.lab).node(options.name).dir,
    nodeIp: options.ip,
    hostIp: options.hostIp,
    hostTap: hostTapName(options.lab, options.name),
    hostTapAlias: `podwire:${options.lab}`,
    labels: {},
    underlay: { address: options.underlay, mtuBytes: options.mtu },
    nodenetPort: 8286,
    serviceNetwork: options.services,
    nodePorts: options.nodePorts,
    flannelPrefix: options.prefix,
    lease: { ttlSeconds: 24 * 3600, renewMarginSeconds: 3600 },
    store: options.store.split(","),
    api: { ...api, ...(options.tokenFile ? { tokenFile: options.tokenFile } : {}) },
    images: readImages(options.images),
    options: { ipMasq: true, bridgeNetfilter: true },
  };
}

function readImages(file: string | undefined): ImageTable {
  if (file === undefined) return {};
  try {
    return JSON.parse(readFileSync(file, "utf8")) as ImageTable;
  } catch (error) {
    throw new CliError(`--images ${file}: ${(error as Error).message}`, Exit.usage);
  }
}
