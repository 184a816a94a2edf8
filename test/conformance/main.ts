/**
 * After a run of the tests: `write` makes docs/conformance.md from its report, `check` says whether the page is what the run
 * gives. Both print the counts.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CASES } from "./cases.js";
import { CaseNames } from "./match.js";
import { differences, renderCounts, renderPage } from "./page.js";
import { type CaseResult, Result, readResults, type VitestReport } from "./results.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const REPORT = join(ROOT, "node_modules/.vitest-report.json");
const PAGE = join(ROOT, "docs/conformance.md");

function main(mode: string | undefined): number {
  if (mode !== "write" && mode !== "check") {
    console.error("usage: main.ts write|check");
    return 2;
  }
  const report = JSON.parse(readFileSync(REPORT, "utf8")) as VitestReport;
  const { cases, problems } = readResults(report, CASES, new CaseNames(CASES), ROOT);
  const complaints = [...problems, ...(mode === "write" ? write(cases) : check(cases))];
  console.log(`\n${renderCounts(cases)}`);
  for (const complaint of complaints) console.error(`conformance: ${complaint}`);
  return complaints.length === 0 ? 0 : 1;
}

function write(cases: readonly CaseResult[]): string[] {
  writeFileSync(PAGE, renderPage(cases));
  return cases
    .filter(({ result }) => result === Result.fail)
    .map(({ upstream }) => `fails: ${upstream.fullName}`);
}

function check(cases: readonly CaseResult[]): string[] {
  return differences(readFileSync(PAGE, "utf8"), cases).map(
    (difference) => `docs/conformance.md is not of this state: ${difference}. Run: npm run conformance`,
  );
}

process.exitCode = main(process.argv[2]);
