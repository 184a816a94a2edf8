/** A way from a client to a server, and what every way has in common. */
import { fileURLToPath } from "node:url";
import { type Lab, run, sleep, Unusable } from "../lab.js";

/** Ports that the traffic goes to; on NAT paths those before the rewrite. */
export interface TrafficPorts {
  readonly bulk: number;
  readonly rr: number;
  readonly connect: number;
  readonly udp: number;
}

/** Ports that the servers listen on. */
export const SERVER_PORTS: TrafficPorts = { bulk: 5201, rr: 7000, connect: 8080, udp: 9000 };
/** Endpoints of every Service and of every DNAT rule; the server listens on as many ports from `connect` on. */
export const ENDPOINT_COUNT = 10;
const PROGRAM = fileURLToPath(new URL("../../../node_modules/.bench/load", import.meta.url));
const SOURCE = fileURLToPath(new URL("../../../test/bench/load.c", import.meta.url));

export interface Path {
  readonly name: string;
  /** Name of the path that this one is held against. */
  readonly reference?: string;
  readonly client: string;
  readonly server: string;
  /** Where the client sends. */
  readonly address: string;
  readonly ports: TrafficPorts;
  /** What ping is sent to; missing where the path carries no ICMP. */
  readonly pingAddress?: string;
  /** Whether UDP goes this way. */
  readonly udp: boolean;
  /** User-space processes that carry the packets; empty when the kernel does. */
  readonly pids: readonly number[];
}

/** Some paths that are set up together. */
export interface PathSet {
  /** Of all its paths, known before they exist. */
  readonly names: readonly string[];
  /** @throws Unusable when something is missing */
  setUp(lab: Lab): Promise<Path[]>;
}

/** Builds the traffic program; returns its path. */
export async function buildLoad(): Promise<string> {
  await run("mkdir", ["-p", PROGRAM.slice(0, PROGRAM.lastIndexOf("/"))]);
  await run("cc", ["-O2", "-Wall", "-Wextra", "-o", PROGRAM, SOURCE]);
  return PROGRAM;
}

/** Starts the servers in a namespace. */
export async function startServers(lab: Lab, netns: string): Promise<void> {
  const { bulk, rr, connect } = SERVER_PORTS;
  await lab.startReady(
    netns,
    [PROGRAM, "serve", String(rr), String(connect), String(ENDPOINT_COUNT)],
    "ready",
  );
  await lab.startReady(
    netns,
    ["iperf3", "--server", "--port", String(bulk), "--forceflush"],
    "Server listening",
  );
}

/** Two namespaces with a veth pair, 10.99.0.1 at the client's end and 10.99.0.2 at the server's. */
export interface Pair {
  readonly client: string;
  readonly server: string;
}

export const UNDERLAY = { client: "10.99.0.1", server: "10.99.0.2" } as const;
/** Addresses inside tunnels. */
export const INNER = { client: "10.98.0.1", server: "10.98.0.2" } as const;

export async function vethPair(lab: Lab, role: string): Promise<Pair> {
  const client = await lab.netns(`${role}-c`);
  const server = await lab.netns(`${role}-s`);
  await lab.ip(client, [
    `link add veth0 mtu 1500 type veth peer name veth0 mtu 1500 netns ${server}`,
    `addr add ${UNDERLAY.client}/24 dev veth0`,
    "link set veth0 up",
  ]);
  await lab.ip(server, [`addr add ${UNDERLAY.server}/24 dev veth0`, "link set veth0 up"]);
  await startServers(lab, server);
  return { client, server };
}

/** Waits for the first answer to a ping. @throws Unusable */
export async function untilReachable(
  lab: Lab,
  netns: string,
  address: string,
  why: () => string,
): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      await lab.run(netns, ["ping", "-n", "-c", "1", "-W", "1", address]);
      return;
    } catch {
      await sleep(200);
    }
  }
  throw new Unusable(`no packet came through: ${why()}`);
}
