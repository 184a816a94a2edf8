/** The bench of whole paths: sets all of them up, then measures them in turn, round after round. */
import { Lab, Unusable } from "./lab.js";
import { type BenchOptions, selected } from "./options.js";
import { haproxy } from "./paths/haproxy.js";
import { kernelDirect, kernelDnat, kernelDnatVxlan } from "./paths/kernel.js";
import { buildLoad, type Path, type PathSet } from "./paths/path.js";
import { podwire, podwireCut } from "./paths/podwire.js";
import { openvpn, tinc, wireguardGo } from "./paths/tunnels.js";
import { type Bench, PROBES, type Probe } from "./probes.js";
import type { Report } from "./report.js";

const NOTES = [
  "UDP is what the server received while the client sent as fast as it could (own generator, one send() a datagram).",
  "CPU of the machine is from /proc/stat, generators and everything else that ran included; own CPU from /proc/PID/stat.",
  "Ping on paths with NAT goes to the endpoint itself, the same way without NAT. Ratios are taken round by round.\n",
];

/** Names of paths and probes, for `--list`. */
export function networkNames(): string[] {
  return [...sets(undefined).flatMap(({ names }) => names), ...PROBES.map(({ name }) => name)];
}

/** Runs everything that is chosen and enters it in the report. Namespaces are gone when it returns. */
export async function benchNetwork(
  options: BenchOptions,
  report: Report,
  onLab: (lab: Lab) => void,
): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new Error("the bench makes network namespaces: run it as root, or run bench micro");
  await Lab.sweep();
  const lab = new Lab();
  onLab(lab);
  try {
    const bench = { lab, load: await buildLoad(), seconds: options.seconds };
    const paths = await setUpPaths(lab, options, report);
    const probes = selected(PROBES, options.only);
    for (const path of paths) await warmUp(bench, path);
    for (let round = 0; round < options.runs; round++) {
      for (const probe of probes) {
        for (const path of paths) await measure(bench, report, probe, path, round, options.runs);
      }
    }
    report.notes.push(...NOTES);
  } finally {
    await lab.close();
  }
}

function sets(profile: string | undefined): PathSet[] {
  return [
    kernelDirect,
    kernelDnat,
    kernelDnatVxlan,
    podwire(profile),
    podwireCut,
    openvpn,
    tinc,
    wireguardGo,
    haproxy,
  ];
}

async function setUpPaths(lab: Lab, options: BenchOptions, report: Report): Promise<Path[]> {
  const all = sets(options.profile);
  const wanted = new Set(
    selected(
      all.flatMap(({ names }) => names.map((name) => ({ name }))),
      options.only,
    ).map(({ name }) => name),
  );
  const paths: Path[] = [];
  for (const set of all) {
    if (!set.names.some((name) => wanted.has(name))) continue;
    say(`setting up ${set.names.join(", ")}`);
    try {
      paths.push(...(await set.setUp(lab)).filter(({ name }) => wanted.has(name)));
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      report.skip(set.names.join(", "), error.message);
    }
  }
  return paths;
}

/** A second of bulk that counts nowhere: node processes that have been up for a while are compiled, as the kernel is. */
async function warmUp(bench: Bench, path: Path): Promise<void> {
  say(`warming up ${path.name}`);
  const [bulk] = PROBES;
  await bulk?.measure({ ...bench, seconds: 1 }, path).catch((error: unknown) => {
    if (bench.lab.isClosing) throw error;
  });
}

async function measure(
  bench: Bench,
  report: Report,
  probe: Probe,
  path: Path,
  round: number,
  runs: number,
): Promise<void> {
  if (!probe.applies(path)) return;
  say(`round ${round + 1} of ${runs}: ${probe.name} on ${path.name}`);
  let values: (number | undefined)[] = [];
  try {
    values = await probe.measure(bench, path);
  } catch (error) {
    if (bench.lab.isClosing) throw error;
    report.skip(`${probe.name} on ${path.name} in round ${round + 1}`, (error as Error).message);
  }
  for (const [i, metric] of probe.metrics.entries()) {
    const isMeaningless = values.length > 0 && values[i] === undefined;
    if (!isMeaningless) report.add(metric, path.name, round, values[i], path.reference);
  }
}

/** Progress goes to standard error, so that the tables can be piped. */
function say(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
}
