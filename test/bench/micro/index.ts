/** The microbenchmarks: pure parts of the product, no root, no devices, one process. */
import { type BenchOptions, selected } from "../options.js";
import type { Report } from "../report.js";
import { benchHeap } from "./heap.js";
import { benchLeases } from "./leases.js";
import { benchConntrack, benchPackets } from "./pipeline.js";
import { benchServices } from "./services.js";

export interface MicroOptions {
  readonly runs: number;
  readonly quick: boolean;
}

interface Micro {
  readonly name: string;
  run(report: Report, options: MicroOptions): Promise<void> | void;
}

const MICROS: readonly Micro[] = [
  { name: "micro-packets", run: benchPackets },
  { name: "micro-conntrack", run: benchConntrack },
  { name: "micro-heap", run: benchHeap },
  { name: "micro-services", run: benchServices },
  { name: "micro-leases", run: benchLeases },
];

export function microNames(): string[] {
  return MICROS.map(({ name }) => name);
}

export async function benchMicro(options: BenchOptions, report: Report): Promise<void> {
  report.notes.push("Nanoseconds are CPU time of the process, milliseconds are time by the clock.\n");
  for (const micro of selected(MICROS, options.only)) {
    process.stderr.write(`${micro.name}\n`);
    try {
      await micro.run(report, options);
    } catch (error) {
      report.skip(micro.name, (error as Error).message);
    }
  }
}
