/** What a run of the tests says about each case. */
import { relative } from "node:path";
import type { UpstreamCase } from "./cases.js";
import type { CaseNames } from "./match.js";

export const Result = { pass: "pass", fail: "fail", notRun: "not run", notApplicable: "n/a" } as const;
export type Result = (typeof Result)[keyof typeof Result];

/** The parts of vitest's JSON report that are read here. */
export interface VitestReport {
  readonly testResults: readonly {
    /** Path of the file. */
    readonly name: string;
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly status: string;
    }[];
  }[];
}

export interface CaseResult {
  readonly upstream: UpstreamCase;
  readonly result: Result;
  /** Files with tests that prove it, relative to the project. */
  readonly files: readonly string[];
  /** A test of it was left out, as when a tool is missing: this run cannot tell. */
  readonly undecided: boolean;
}

export interface Results {
  readonly cases: readonly CaseResult[];
  /** What is wrong with the titles themselves. */
  readonly problems: readonly string[];
}

/** @param root the project's folder */
export function readResults(
  report: VitestReport,
  cases: readonly UpstreamCase[],
  names: CaseNames,
  root: string,
): Results {
  const seen = new Map(
    cases.map((upstream) => [upstream, { statuses: [] as string[], files: new Set<string>() }]),
  );
  const problems: string[] = [];
  for (const { name, assertionResults } of report.testResults) {
    const file = relative(root, name);
    for (const { ancestorTitles, title, status } of assertionResults) {
      const found = names.find([...ancestorTitles, title].join(" "));
      problems.push(...found.unknown.map((text) => `${file}: upstream has no case "${text}"`));
      for (const upstream of found.cases) {
        seen.get(upstream)?.statuses.push(status);
        seen.get(upstream)?.files.add(file);
        if (upstream.notApplicable !== undefined)
          problems.push(`${file}: tests "${upstream.fullName}", which is listed as not applicable`);
      }
    }
  }
  const results = [...seen].map(([upstream, { statuses, files }]) => ({
    upstream,
    result: upstream.notApplicable === undefined ? verdict(statuses) : Result.notApplicable,
    files: [...files].sort(),
    undecided: statuses.some((status) => status !== "passed" && status !== "failed"),
  }));
  return { cases: results, problems: [...new Set(problems)] };
}

function verdict(statuses: readonly string[]): Result {
  if (statuses.includes("failed")) return Result.fail;
  return statuses.length > 0 && statuses.every((status) => status === "passed") ? Result.pass : Result.notRun;
}
