/** Label selectors of meta/v1 (apimachinery pkg/apis/meta/v1/helpers.go, pkg/labels/selector.go). */
import { asArray, asRecord, asString, type Labels } from "./read.js";

/** One term. A label that is missing satisfies `NotIn` and `DoesNotExist`, never `In`. */
export interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

type Operator = "In" | "NotIn" | "Exists" | "DoesNotExist";
const OPERATORS: ReadonlySet<string> = new Set(["In", "NotIn", "Exists", "DoesNotExist"]);

/** All terms must hold; none chooses everything. In a fixed order, so that equal selectors look equal as JSON. */
export type Selector = readonly Requirement[];

/** The terms of a LabelSelector; undefined when an operator is unknown, and then nothing is chosen. */
export function readSelector(value: unknown): Selector | undefined {
  const { matchLabels, matchExpressions } = asRecord(value);
  const terms: Requirement[] = Object.entries(asRecord(matchLabels)).map(([key, label]) => ({
    key,
    operator: "In",
    values: [asString(label)],
  }));
  for (const expression of asArray(matchExpressions).map(asRecord)) {
    const operator = asString(expression.operator);
    if (!OPERATORS.has(operator)) return undefined;
    const values = asArray(expression.values).map(asString).sort();
    terms.push({ key: asString(expression.key), operator: operator as Operator, values });
  }
  return terms.sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1));
}

export function selects(selector: Selector, labels: Labels): boolean {
  return selector.every((term) => holds(term, labels));
}

function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? asString(labels[key]) : undefined;
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

function textOf({ key, operator, values }: Requirement): string {
  return `${key} ${operator} ${values.join()}`;
}
