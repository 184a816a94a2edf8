import { describe, expect, it } from "vitest";
import { age, table } from "../../src/cli/table.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

describe("age", () => {
  it.each([
    [-2 * SECOND, "<invalid>"],
    [-1 * SECOND, "0s"],
    [0, "0s"],
    [1999, "1s"],
    [119 * SECOND, "119s"],
    [2 * MINUTE, "2m"],
    [2 * MINUTE + SECOND, "2m1s"],
    [10 * MINUTE - SECOND, "9m59s"],
    [10 * MINUTE + 5 * SECOND, "10m"],
    [3 * HOUR - SECOND, "179m"],
    [3 * HOUR, "3h"],
    [3 * HOUR + MINUTE, "3h1m"],
    [8 * HOUR - SECOND, "7h59m"],
    [8 * HOUR + 59 * MINUTE, "8h"],
    [48 * HOUR - SECOND, "47h"],
    [2 * DAY, "2d"],
    [2 * DAY + HOUR, "2d1h"],
    [8 * DAY - SECOND, "7d23h"],
    [8 * DAY + HOUR, "8d"],
    [2 * 365 * DAY - SECOND, "729d"],
    [2 * 365 * DAY, "2y"],
    [2 * 365 * DAY + DAY, "2y1d"],
    [8 * 365 * DAY - SECOND, "7y364d"],
    [8 * 365 * DAY + DAY, "8y"],
  ])("%d ms is %s", (ms, text) => {
    const now = Date.parse("2030-01-01T00:00:00Z");
    expect(age(now - ms, now)).toBe(text);
  });

  it("has no answer to a time that is none", () => {
    expect(age(Number.NaN)).toBe("<invalid>");
  });
});

describe("table", () => {
  it("aligns columns by their widest cell, three spaces apart, without blanks at the end", () => {
    const text = table(
      ["NAME", "AGE", "LAST"],
      [
        ["a-long-name", "5s", "x"],
        ["b", "10m", ""],
      ],
    );
    expect(text.split("\n")).toEqual([
      "NAME          AGE   LAST",
      "a-long-name   5s    x",
      "b             10m",
    ]);
  });
});
