/** Samples to medians, spreads and ratios; tables for people and JSON for programs. */
import { cpus, release, totalmem } from "node:os";

/** What is measured. Rows of the same metric make one table. */
export interface Metric {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  /** What a reader wants of it. */
  readonly better: "higher" | "lower";
  readonly digits: number;
}

export interface Row {
  readonly metric: Metric;
  readonly path: string;
  /** One sample a round; undefined where the round failed. */
  readonly samples: (number | undefined)[];
  /** Path that this one is held against. */
  readonly reference?: string;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export class Report {
  readonly #rows: Row[] = [];
  /** What could not be measured, and why. */
  readonly skipped: { readonly what: string; readonly reason: string }[] = [];
  /** How to read the tables. */
  readonly notes: string[] = [];

  /** Enters one round's value. `undefined` keeps the rounds of a path aligned with those of its reference. */
  add(metric: Metric, path: string, round: number, value: number | undefined, reference?: string): void {
    let row = this.#find(metric.name, path);
    if (row === undefined) {
      row = { metric, path, samples: [], ...(reference === undefined ? {} : { reference }) };
      this.#rows.push(row);
    }
    row.samples[round] = value;
  }

  skip(what: string, reason: string): void {
    this.skipped.push({ what, reason });
  }

  /** Ratios are taken round by round, so that what slows a whole round down cancels out. */
  ratio(row: Row): Spread | undefined {
    const reference = row.reference === undefined ? undefined : this.#find(row.metric.name, row.reference);
    if (reference === undefined) return undefined;
    return spread(
      row.samples.map((value, round) => {
        const other = reference.samples[round];
        return value === undefined || other === undefined || other === 0 ? undefined : value / other;
      }),
    );
  }

  text(): string {
    const metrics = [...new Map(this.#rows.map(({ metric }) => [metric.name, metric])).values()];
    const skipped = this.skipped.map(({ what, reason }) => `skipped ${what}: ${reason}`);
    return [...metrics.map((metric) => this.#table(metric)), ...this.notes, ...skipped].join("\n");
  }

  json(options: object): string {
    const rows = this.#rows.map((row) => {
      const { metric, path, samples, reference } = row;
      return {
        metric: metric.name,
        unit: metric.unit,
        better: metric.better,
        path,
        samples,
        ...spread(samples),
        reference,
        ratio: this.ratio(row),
      };
    });
    const [cpu] = cpus();
    const machine = {
      kernel: release(),
      cpu: cpu?.model,
      cpus: cpus().length,
      memoryBytes: totalmem(),
      node: process.version,
    };
    const { skipped, notes } = this;
    return `${JSON.stringify({ time: new Date().toISOString(), machine, options, rows, skipped, notes }, null, 2)}\n`;
  }

  #find(metric: string, path: string): Row | undefined {
    return this.#rows.find((row) => row.metric.name === metric && row.path === path);
  }

  #table(metric: Metric): string {
    const rows = this.#rows.filter((row) => row.metric.name === metric.name);
    const cells = rows.map((row) => {
      const value = spread(row.samples);
      const ratio = this.ratio(row);
      return [
        row.path,
        value ? value.median.toFixed(metric.digits) : "failed",
        value ? `${value.min.toFixed(metric.digits)} – ${value.max.toFixed(metric.digits)}` : "",
        ratio ? `${ratio.median.toFixed(2)} ×` : "",
        ratio ? `${ratio.min.toFixed(2)} – ${ratio.max.toFixed(2)}` : "",
        ratio ? (row.reference ?? "") : "",
      ];
    });
    const head = ["", "median", "spread", "ratio", "spread", "to"];
    return `${metric.title}, ${metric.unit} (${metric.better} is better)\n${columns([head, ...cells])}\n`;
  }
}

/** Median, least and most of what was measured; undefined when nothing was. */
export function spread(samples: readonly (number | undefined)[]): Spread | undefined {
  const sorted = samples.filter((value) => value !== undefined).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  return { median: percentile(sorted, 50), min: sorted[0]!, max: sorted.at(-1)! };
}

/** A percentile of sorted values, at least one; between two neighbours it is their mean by distance. */
export function percentile(sorted: readonly number[], percent: number): number {
  const at = ((sorted.length - 1) * percent) / 100;
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}

/** First column to the left, the others to the right, but the last. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          i === 0 || i === row.length - 1 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `  ${line}`)
    .join("\n");
}
