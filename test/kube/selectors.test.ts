import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatSelector,
  matchesAll,
  matchesLabels,
  parseLabelSelector,
  type Requirement,
  StatusError,
} from "../../src/kube/index.js";
import { refusal } from "./harness.js";

function chooses(selector: string, labels: Record<string, string>): boolean {
  return matchesAll(parseLabelSelector(selector), labels);
}

describe("a label selector's string form", () => {
  it.each<[string, Record<string, string>, boolean]>([
    ["", {}, true],
    ["a=b", { a: "b" }, true],
    ["a==b", { a: "c" }, false],
    ["a = b , c!=d", { a: "b" }, true],
    ["a=b,c!=d", { a: "b", c: "d" }, false],
    ["e in (x,y)", { e: "y" }, true],
    ["e in (x,y)", {}, false],
    ["e notin (x,y)", {}, true],
    ["e notin (x, y)", { e: "x" }, false],
    ["!f", {}, true],
    ["!f", { f: "" }, false],
    ["f", { f: "" }, true],
    ["f=", { f: "" }, true],
    ["f in (,x)", { f: "" }, true],
    ["a=b,c!=d,e in (x,y),!f,g", { a: "b", e: "x", g: "1" }, true],
    ["example.com/app=web", { "example.com/app": "web" }, true],
    ["in in (in,notin)", { in: "notin" }, true],
    ["toString", {}, false],
  ])("%j on %j is %s", (selector, labels, expected) => {
    expect(chooses(selector, labels)).toBe(expected);
  });

  it.each([
    ["a in", "unable to parse requirement: found '', expected: '('"],
    ["a in (x", "unable to parse requirement: found '', expected: ',' or ')'"],
    ["a,", "found '', expected: identifier after ','"],
    ["a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !="],
    ["=b", "found '=', expected: !, identifier, or 'end of string'"],
    ["a=b c", "found 'c', expected: ',' or 'end of string'"],
    ["a=(b)", "unable to parse requirement: found '(', expected: identifier"],
    ["!=b", "found '!=', expected: !, identifier, or 'end of string'"],
    ["!a=b", "found '=', expected: ',' or 'end of string'"],
  ])("%j is refused: %s", async (selector, message) => {
    const parsing = Promise.resolve().then(() => parseLabelSelector(selector));
    expect(await refusal(parsing)).toMatchObject({ code: 400, message });
  });

  it("refuses keys and values that no label can have", () => {
    expect(() => parseLabelSelector("-a=b")).toThrow('key: Invalid value: "-a": name part must consist of');
    expect(() => parseLabelSelector("a in (x,-y)")).toThrow(
      'values[0][a]: Invalid value: "-y": a valid label must be',
    );
  });

  const word = fc.stringMatching(/^[a-z0-9]([a-z0-9._-]{0,6}[a-z0-9])?$/);
  const requirement: fc.Arbitrary<Requirement> = fc.oneof(
    fc.record({
      key: word,
      operator: fc.constantFrom("in" as const, "notin" as const),
      values: fc.uniqueArray(word, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({
      key: word,
      operator: fc.constantFrom("exists" as const, "!" as const),
      values: fc.constant([]),
    }),
  );

  it("chooses the same after formatting and parsing", () => {
    const labels = fc.dictionary(word, word, { maxKeys: 4 });
    fc.assert(
      fc.property(fc.array(requirement, { maxLength: 4 }), labels, (requirements, map) => {
        const again = parseLabelSelector(formatSelector(requirements));
        expect(matchesAll(again, map)).toBe(matchesAll(requirements, map));
        // Every term matters: all hold together exactly when each holds alone.
        expect(matchesAll(requirements, map)).toBe(requirements.every((one) => matchesAll([one], map)));
      }),
    );
  });

  it("answers any text with terms or with a StatusError", () => {
    const text = fc.oneof(
      fc.string(),
      fc
        .array(fc.constantFrom("a", "=", "!", ",", "(", ")", "in", "notin", " ", "x/y", "!=", "<"))
        .map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (selector) => {
        try {
          expect(Array.isArray(parseLabelSelector(selector))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(StatusError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a LabelSelector object", () => {
  const expression = (operator: string, values?: string[]) => ({
    matchExpressions: [{ key: "a", operator, ...(values ? { values } : {}) }],
  });
  it.each([
    [undefined, { a: "b" }, false],
    [{}, {}, true],
    [{ matchLabels: { a: "b", c: "d" } }, { a: "b", c: "d", e: "f" }, true],
    [{ matchLabels: { a: "b", c: "d" } }, { a: "b" }, false],
    [expression("In", ["b"]), { a: "b" }, true],
    [expression("NotIn", ["b"]), { a: "b" }, false],
    [expression("NotIn", ["b"]), {}, true],
    [expression("Exists"), { a: "" }, true],
    [expression("DoesNotExist"), { a: "" }, false],
    [expression("Resembles", ["b"]), { a: "b" }, false],
    [expression("constructor", ["b"]), { a: "b" }, false],
  ])("%j on %j is %s", (selector, labels, expected) => {
    expect(matchesLabels(selector, labels as unknown as Record<string, string>)).toBe(expected);
  });
});
