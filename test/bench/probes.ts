/** What is measured on a path. A probe is one run of a generator and gives the values of one or more metrics. */
import { cpuTime } from "./cpu.js";
import { type Lab, lastLine, sleep } from "./lab.js";
import { type Path, SERVER_PORTS } from "./paths/path.js";
import { type Metric, percentile } from "./report.js";

export interface Bench {
  readonly lab: Lab;
  /** Path of the traffic program. */
  readonly load: string;
  readonly seconds: number;
}

export interface Probe {
  readonly name: string;
  readonly metrics: readonly Metric[];
  applies(path: Path): boolean;
  /** One value for each of {@link metrics}; undefined where it has no meaning on this path. */
  measure(bench: Bench, path: Path): Promise<(number | undefined)[]>;
}

const PARALLEL_CONNECTS = 64;
const PING_INTERVAL_MS = 2;
const LOADED_PING_INTERVAL_MS = 5;
/** A stream has left slow start, and the path's processes are warm. */
const SETTLE_MS = 500;
const everywhere = () => true;

function rate(name: string, title: string, unit: string, digits: number): Metric {
  return { name, title, unit, digits, better: "higher" };
}

function cost(name: string, title: string, unit: string, digits: number): Metric {
  return { name, title, unit, digits, better: "lower" };
}

interface IperfResult {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number } };
}

function iperf(path: Path, seconds: number, streams: number): string[] {
  const { address, ports } = path;
  const to = ["--client", address, "--port", String(ports.bulk), "--connect-timeout", "3000"];
  return ["iperf3", ...to, "--time", String(Math.ceil(seconds)), "--parallel", String(streams), "--json"];
}

/** Bits per second and gigabits received. */
function readIperf(printed: string): { readonly bps: number; readonly gigabits: number } {
  const { error, end } = JSON.parse(printed) as IperfResult;
  const received = end?.sum_received;
  if (error !== undefined || received === undefined) throw new Error(`iperf3: ${error ?? "no result"}`);
  return { bps: received.bits_per_second, gigabits: (received.bytes * 8) / 1e9 };
}

function tcp(streams: number): Probe {
  const name = `tcp${streams}`;
  const title = `TCP, ${streams} stream${streams > 1 ? "s" : ""}`;
  return {
    name,
    metrics: [
      rate(name, title, "Gbit/s", 2),
      cost(`${name}-cpu`, `CPU of the machine for ${title}`, "s/Gbit", 3),
      cost(`${name}-own-cpu`, `CPU of the path's own processes for ${title}`, "s/Gbit", 3),
    ],
    applies: everywhere,
    async measure({ lab, seconds }, path) {
      const before = cpuTime(path.pids);
      const { bps, gigabits } = readIperf(
        await lab.run(path.client, iperf(path, seconds, streams), "", (seconds + 15) * 1000),
      );
      const after = cpuTime(path.pids);
      const own = path.pids.length > 0 ? (after.ownSeconds - before.ownSeconds) / gigabits : undefined;
      return [bps / 1e9, (after.systemSeconds - before.systemSeconds) / gigabits, own];
    },
  };
}

/** Own generator: one send() per datagram like iperf3, but a receiver that takes many at once and never answers. */
function udp(bytes: number): Probe {
  return {
    name: `udp${bytes}`,
    metrics: [rate(`udp${bytes}`, `UDP received, ${bytes} bytes`, "kpps", 1)],
    applies: (path) => path.udp,
    async measure({ lab, load, seconds }, path) {
      const port = String(SERVER_PORTS.udp);
      const receiver = await lab.startReady(path.server, [load, "udprecv", port, String(seconds)], "ready");
      const send = [
        load,
        "udpsend",
        path.address,
        String(path.ports.udp),
        String(bytes),
        String(seconds + 0.3),
      ];
      await lab.run(path.client, send);
      if ((await receiver.ended) !== 0) throw new Error(lastLine(receiver.output()));
      const result = JSON.parse(lastLine(receiver.output())) as { received: number; seconds: number };
      return [result.received / result.seconds / 1000];
    },
  };
}

const requestResponse: Probe = {
  name: "rr",
  metrics: [
    rate("rr", "Request and response of 1 byte, one connection", "1000/s", 2),
    cost("rr-p99", "The same, p99 of one exchange", "µs", 0),
  ],
  applies: everywhere,
  async measure({ lab, load, seconds }, path) {
    const printed = await lab.run(path.client, [
      load,
      "rr",
      path.address,
      String(path.ports.rr),
      String(seconds),
    ]);
    const result = JSON.parse(printed) as { count: number; seconds: number; p99Us: number };
    return [result.count / result.seconds / 1000, result.p99Us];
  },
};

const connects: Probe = {
  name: "connects",
  metrics: [rate("connects", `Connections opened and closed, ${PARALLEL_CONNECTS} at a time`, "1000/s", 2)],
  applies: everywhere,
  async measure({ lab, load, seconds }, path) {
    const words = [
      load,
      "connects",
      path.address,
      String(path.ports.connect),
      String(seconds),
      String(PARALLEL_CONNECTS),
    ];
    const result = JSON.parse(await lab.run(path.client, words)) as {
      count: number;
      failed: number;
      seconds: number;
    };
    if (result.failed > result.count / 100)
      throw new Error(`${result.failed} connections failed, ${result.count} did not`);
    return [result.count / result.seconds / 1000];
  },
};

async function pingTimesUs(lab: Lab, path: Path, seconds: number, intervalMs: number): Promise<number[]> {
  const count = String(Math.max(20, Math.round((seconds * 1000) / intervalMs)));
  const words = [
    "ping",
    "-n",
    "-i",
    String(intervalMs / 1000),
    "-c",
    count,
    "-W",
    "1",
    path.pingAddress ?? path.address,
  ];
  const printed = await lab.run(path.client, words);
  return [...printed.matchAll(/time=([\d.]+) ms/g)]
    .map((match) => Number(match[1]) * 1000)
    .sort((a, b) => a - b);
}

const ping: Probe = {
  name: "ping",
  metrics: [cost("ping-p50", "Ping, idle, p50", "µs", 0), cost("ping-p99", "Ping, idle, p99", "µs", 0)],
  applies: ({ pingAddress }) => pingAddress !== undefined,
  async measure({ lab, seconds }, path) {
    const times = await pingTimesUs(lab, path, seconds, PING_INTERVAL_MS);
    return [percentile(times, 50), percentile(times, 99)];
  },
};

/** What is left when no processor has to be woken first. */
const awakePing: Probe = {
  name: "awake-ping",
  metrics: [
    cost("awake-ping-p50", "Ping while the processors are kept awake, p50", "µs", 0),
    cost("awake-ping-p99", "Ping while the processors are kept awake, p99", "µs", 0),
  ],
  applies: ({ pingAddress }) => pingAddress !== undefined,
  async measure({ lab, load, seconds }, path) {
    const spinning = await lab.startReady(path.client, [load, "awake", String(seconds)], "ready");
    const times = await pingTimesUs(lab, path, seconds, PING_INTERVAL_MS);
    if ((await spinning.ended) !== 0) throw new Error(lastLine(spinning.output()));
    return [percentile(times, 50), percentile(times, 99)];
  },
};

const loadedPing: Probe = {
  name: "loaded-ping",
  metrics: [
    cost("loaded-ping-p50", "Ping while one TCP stream saturates the path, p50", "µs", 0),
    cost("loaded-ping-p99", "Ping while one TCP stream saturates the path, p99", "µs", 0),
  ],
  applies: ({ pingAddress }) => pingAddress !== undefined,
  async measure({ lab, seconds }, path) {
    const stream = lab.start(path.client, iperf(path, seconds + 1, 1));
    await sleep(SETTLE_MS);
    const times = await pingTimesUs(lab, path, seconds, LOADED_PING_INTERVAL_MS);
    await stream.ended;
    readIperf(stream.output());
    return [percentile(times, 50), percentile(times, 99)];
  },
};

export const PROBES: readonly Probe[] = [
  tcp(1),
  tcp(8),
  udp(64),
  udp(1400),
  requestResponse,
  connects,
  ping,
  awakePing,
  loadedPing,
];
