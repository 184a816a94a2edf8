/** The command line of the bench. */
import { parseArgs } from "node:util";

export const USAGE = `npm run bench -- [micro] [options]

  micro           only the microbenchmarks, which need no root
  --quick         short runs: shows that everything works, the figures mean little
  --runs N        interleaved rounds (default 3)
  --seconds S     length of each measurement (default 3)
  --only NAME     only paths, measurements or microbenchmarks whose name contains NAME; may be repeated
  --json FILE     also write all samples to FILE
  --profile DIR   write a CPU profile of every Podwire node process to DIR
  --list          list the names`;

export interface BenchOptions {
  readonly micro: boolean;
  readonly quick: boolean;
  readonly runs: number;
  readonly seconds: number;
  readonly only: readonly string[];
  readonly json?: string;
  readonly profile?: string;
  readonly list: boolean;
}

/** @throws Error one sentence that names the argument */
export function parseOptions(args: readonly string[]): BenchOptions | "help" {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      runs: { type: "string" },
      seconds: { type: "string" },
      only: { type: "string", multiple: true, default: [] },
      json: { type: "string" },
      profile: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return "help";
  const [mode, ...rest] = positionals;
  if ((mode !== undefined && mode !== "micro") || rest.length > 0) {
    throw new Error(`bench knows no ${positionals.join(" ")}; the only word it takes is micro`);
  }
  return {
    micro: mode === "micro",
    quick: values.quick,
    runs: positive("--runs", values.runs ?? (values.quick ? "1" : "3"), true),
    seconds: positive("--seconds", values.seconds ?? (values.quick ? "1" : "3"), false),
    only: values.only,
    list: values.list,
    ...(values.json === undefined ? {} : { json: values.json }),
    ...(values.profile === undefined ? {} : { profile: values.profile }),
  };
}

/**
 * Those of one kind (paths, measurements) that `--only` leaves. Names that fit none of the kind say nothing about it,
 * so that `--only veth --only tcp1` is one measurement on one path.
 */
export function selected<T extends { readonly name: string }>(
  all: readonly T[],
  only: readonly string[],
): T[] {
  const fits = all.filter(({ name }) => only.some((part) => name.includes(part)));
  return fits.length > 0 ? fits : [...all];
}

function positive(flag: string, text: string, whole: boolean): number {
  const value = Number(text);
  if (!(value > 0) || (whole && !Number.isInteger(value))) {
    throw new Error(`${flag} ${text}: give a ${whole ? "whole " : ""}number above 0`);
  }
  return value;
}
