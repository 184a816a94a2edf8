/** docs/conformance.md: counts, and a table for each group. */
import { type CaseResult, Result } from "./results.js";

const COLUMNS = [Result.pass, Result.fail, Result.notRun, Result.notApplicable] as const;

export function renderPage(cases: readonly CaseResult[]): string {
  const groups = [...new Set(cases.map(({ upstream }) => upstream.group))];
  return `${[
    "# Conformance",
    "Kubernetes' own network tests (`[sig-network]`, upstream's names), and the tests of Podwire that prove each of them.",
    "Made by `npm run conformance`, not by hand: a case passes when every test that carries its name in its title passes. " +
      "C marks the Conformance cases of Kubernetes v1.35. Left out are upstream's tests of one cloud (GCE firewalls, its L7 load balancer).",
    ["| | cases | pass | fail | not run | n/a |", "|---|--:|--:|--:|--:|--:|", ...countRows(cases)].join(
      "\n",
    ),
    ...groups.map((group) =>
      groupTable(
        group,
        cases.filter(({ upstream }) => upstream.group === group),
      ),
    ),
  ].join("\n\n")}\n`;
}

/** The counts as the program prints them. */
export function renderCounts(cases: readonly CaseResult[]): string {
  return summaries(cases)
    .map(([title, chosen]) => {
      const counts = COLUMNS.map((column) => `${count(chosen, column)} ${column}`).join(", ");
      return `${title}: ${chosen.length} cases, ${counts}`;
    })
    .join("\n");
}

function summaries(cases: readonly CaseResult[]): [string, CaseResult[]][] {
  return [
    ["Conformance, v1.35", cases.filter(({ upstream }) => upstream.conformance)],
    ["Services, v1.28", cases.filter(({ upstream }) => upstream.services)],
    ["All", [...cases]],
  ];
}

function countRows(cases: readonly CaseResult[]): string[] {
  return summaries(cases).map(
    ([title, chosen]) =>
      `| ${title} | ${chosen.length} | ${COLUMNS.map((column) => count(chosen, column)).join(" | ")} |`,
  );
}

function count(cases: readonly CaseResult[], result: Result): number {
  return cases.filter((one) => one.result === result).length;
}

function groupTable(group: string, cases: readonly CaseResult[]): string {
  const counts = `${count(cases, Result.pass)} of ${cases.length} pass.`;
  return [
    `## ${group}`,
    "",
    counts,
    "",
    "| case | | | proved by |",
    "|---|---|---|---|",
    ...cases.map(row),
  ].join("\n");
}

function row({ upstream, result, files }: CaseResult): string {
  const name = `${upstream.name.replace(/\s*\[Conformance\]/, "")}${upstream.shortened ? " (shortened)" : ""}`;
  const proof = upstream.notApplicable ?? files.map((file) => `\`${file}\``).join(", ");
  return `| ${name.replaceAll("|", "\\|")} | ${upstream.conformance ? "C" : ""} | ${result} | ${proof} |`;
}

/** How the page differs from what a run gives. A case that the run could not decide may be as it is. */
export function differences(page: string, cases: readonly CaseResult[]): string[] {
  if (page === renderPage(cases)) return [];
  const different = cases.filter(
    (one) => !one.undecided && !inGroup(page, one.upstream.group).includes(row(one)),
  );
  if (different.length > 0)
    return different.map((one) => `this run gives ${one.result} for ${one.upstream.fullName}`);
  return cases.some((one) => one.undecided) ? [] : ["its text or its counts are others"];
}

/** The lines of a group's section. */
function inGroup(page: string, group: string): string[] {
  const section = page.split("\n## ").find((text) => text.startsWith(`${group}\n`));
  return section?.split("\n") ?? [];
}
