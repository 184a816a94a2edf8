import { expect, it } from "vitest";
import { EXPECTATION_TIMEOUT_MS, Expectations } from "../../src/control/expectations.js";

it("expectations hold until all creations and deletions were seen", () => {
  const expectations = new Expectations(() => 0);
  expect(expectations.satisfied("rc")).toBe(true);
  expectations.expect("rc", 2, []);
  expectations.created("rc");
  expect(expectations.satisfied("rc")).toBe(false);
  expectations.created("other");
  expect(expectations.satisfied("rc")).toBe(false);
  expectations.created("rc");
  expect(expectations.satisfied("rc")).toBe(true);

  expectations.expect("rc", 0, ["p1", "p2"]);
  expectations.deleted("rc", "p1");
  expectations.deleted("rc", "p1");
  expect(expectations.satisfied("rc")).toBe(false);
  expectations.deleted("rc", "p2");
  expect(expectations.satisfied("rc")).toBe(true);
});

it("expectations give up after a while, and are forgotten with their owner", () => {
  let now = 0;
  const expectations = new Expectations(() => now);
  expectations.expect("rc", 1, []);
  now = EXPECTATION_TIMEOUT_MS - 1;
  expect(expectations.satisfied("rc")).toBe(false);
  now = EXPECTATION_TIMEOUT_MS;
  expect(expectations.satisfied("rc")).toBe(true);
  expectations.expect("rc", 1, []);
  expectations.forget("rc");
  expect(expectations.satisfied("rc")).toBe(true);
});
