import { describe, expect, it } from "vitest";
import { CASES, type UpstreamCase } from "./cases.js";
import { CaseNames } from "./match.js";
import { differences, renderCounts, renderPage } from "./page.js";
import { readResults, type VitestReport } from "./results.js";

const names = new CaseNames(CASES);
const found = (title: string) => names.find(title).cases.map(({ fullName }) => fullName);

/** A case by its name, without tags. */
function upstream(name: string): UpstreamCase {
  const [one, ...more] = names.find(name).cases;
  if (one === undefined || more.length > 0) throw new Error(`not one case: ${name}`);
  return one;
}

function report(...tests: [title: string, status: string][]): VitestReport {
  const assertionResults = tests.map(([title, status]) => ({ ancestorTitles: [], title, status }));
  return { testResults: [{ name: "/here/test/a.test.ts", assertionResults }] };
}

describe("the list", () => {
  it("has upstream's numbers of cases", () => {
    const inGroup = (text: string) => CASES.filter(({ group }) => group.startsWith(text)).length;
    expect({
      conformance: CASES.filter(({ conformance }) => conformance).length,
      services: CASES.filter(({ services }) => services).length,
      granularServices: inGroup("Networking Granular Checks: Services"),
      conntrack: inGroup("Conntrack"),
      loadBalancers: inGroup("LoadBalancers"),
      dualStack: inGroup("Dual-stack"),
      policy: inGroup("NetworkPolicy"),
    }).toEqual({
      conformance: 47,
      services: 48,
      granularServices: 20,
      conntrack: 4,
      loadBalancers: 20,
      dualStack: 22,
      policy: 50,
    });
  });
});

describe("titles", () => {
  // Not in the titles of these tests, which are read as well.
  it.each([
    { how: "alone", title: "[sig-network] Services should be rejected when no endpoints exist" },
    {
      how: "with text around it",
      title: "a [sig-network] Services should be rejected when no endpoints exist: b",
    },
    {
      how: "with other tags",
      title: "[sig-network] Services [Feature:X]  should be rejected when no endpoints exist [Slow]",
    },
  ])("name their case $how", ({ title }) => {
    expect(found(title)).toEqual(["[sig-network] Services should be rejected when no endpoints exist"]);
  });

  it("may name several cases, and the longest name counts", () => {
    const responses =
      "[sig-network] Proxy version v1 A set of valid responses are returned for both pod and service";
    expect(found(`${responses} ProxyWithPath; ${responses} Proxy`)).toEqual([
      `${responses} ProxyWithPath [Conformance]`,
      `${responses} Proxy [Conformance]`,
    ]);
  });

  it("name a case by what it was called before", () => {
    expect(found("[sig-network] Services should provide secure master service")).toEqual([
      "[sig-network] API Server should provide secure master service [Conformance]",
    ]);
  });

  it("may repeat their group, as tests with whole names inside a group do", () => {
    const name = "[sig-network] Services should be rejected when no endpoints exist";
    expect([
      found(`[sig-network] Services ${name}`),
      names.find(`[sig-network] Services ${name}`).unknown,
    ]).toEqual([[name], []]);
  });

  it("that name no case are told", () => {
    expect(names.find("[sig-network] Services should be rejected when no endpoints exists")).toEqual({
      cases: [],
      unknown: ["[sig-network] Services should be rejected when no endpoints exists"],
    });
  });
});

describe("results", () => {
  const up = "[sig-network] Services should be able to up and down services";
  const iptables = "[sig-network] Networking should recreate its iptables rules if they are deleted";

  const results = (...tests: [string, string][]) =>
    readResults(report(...tests), [upstream(up), upstream(iptables)], names, "/here");

  it("pass when all tests of a case pass, and fail when one fails", () => {
    const statuses = (...all: string[]) =>
      results(...all.map((status): [string, string] => [up, status])).cases[0].result;
    expect([
      statuses(),
      statuses("passed"),
      statuses("passed", "passed"),
      statuses("passed", "failed"),
      statuses("passed", "skipped"),
    ]).toEqual(["not run", "pass", "pass", "fail", "not run"]);
  });

  it("name a title that is no case, and a test of what is not applicable", () => {
    expect(results(["[sig-network] Services should", "passed"], [iptables, "passed"]).problems).toEqual([
      'test/a.test.ts: upstream has no case "[sig-network] Services should"',
      `test/a.test.ts: tests "${iptables} [Disruptive]", which is listed as not applicable`,
    ]);
  });

  it("are a page with counts, a table for each group, and its proofs", () => {
    const { cases } = results([up, "passed"]);
    expect(renderPage(cases)).toContain("| All | 2 | 1 | 0 | 0 | 1 |\n");
    expect(renderPage(cases)).toContain(
      "## Services\n\n1 of 1 pass.\n\n| case | | | proved by |\n|---|---|---|---|\n" +
        "| should be able to up and down services |  | pass | `test/a.test.ts` |\n",
    );
    expect(renderCounts(cases)).toContain("All: 2 cases, 1 pass, 0 fail, 0 not run, 1 n/a");
  });

  it("are compared with the page; a case that could not be tried may be as it is there", () => {
    const page = renderPage(results([up, "passed"]).cases);
    expect(differences(page, results([up, "passed"]).cases)).toEqual([]);
    expect(differences(page, results([up, "skipped"]).cases)).toEqual([]);
    expect(differences(page, results([up, "failed"]).cases)).toEqual([`this run gives fail for ${up}`]);
    expect(differences(page, results().cases)).toEqual([`this run gives not run for ${up}`]);
    expect(differences(`${page}by hand\n`, results([up, "passed"]).cases)).toEqual([
      "its text or its counts are others",
    ]);
  });
});
