/** The pauses between a container's starts. */
import { expect, it } from "vitest";
import { Backoff } from "../../src/node/pods/backoff.js";

const MINUTE_MS = 60_000;

it("is none at first, then doubles from ten seconds to five minutes", () => {
  const backoff = new Backoff();
  const pauses = Array.from({ length: 9 }, () => backoff.afterRun(0) / 1000);
  expect(pauses).toEqual([0, 10, 20, 40, 80, 160, 300, 300, 300]);
});

it("begins anew after a run of more than ten minutes", () => {
  const backoff = new Backoff();
  for (let round = 0; round < 5; round++) backoff.afterRun(0);
  expect(backoff.afterRun(10 * MINUTE_MS)).toBe(160_000);
  expect(backoff.afterRun(10 * MINUTE_MS + 1)).toBe(0);
  expect(backoff.afterRun(0)).toBe(10_000);
});

it("is never none after a start that failed", () => {
  const backoff = new Backoff();
  expect([backoff.afterFailure(), backoff.afterFailure(), backoff.afterRun(0)]).toEqual([
    10_000, 20_000, 40_000,
  ]);
});
