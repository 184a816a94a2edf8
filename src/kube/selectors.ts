/**
 * Label selectors: the string form of queries (`a=b,c!=d,e in (x,y),!f`) and LabelSelector objects. Semantics and
 * messages of apimachinery pkg/labels/selector.go; its Gt and Lt exist for node affinity only and are left out.
 */

import { labelValue, qualifiedName } from "./names.js";
import type { LabelSelector } from "./objects.js";
import { badRequest, goValue } from "./status.js";

export type Labels = Readonly<Record<string, string>>;

/** One term. A label that is missing satisfies `notin` and `!`, never `in`. */
export interface Requirement {
  readonly key: string;
  readonly operator: "in" | "notin" | "exists" | "!";
  readonly values: readonly string[];
}

/** Whether the labels satisfy all terms; no terms choose everything. */
export function matchesAll(requirements: readonly Requirement[], labels: Labels = {}): boolean {
  return requirements.every((requirement) => matchesOne(requirement, labels));
}

function matchesOne({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "in":
      return value !== undefined && values.includes(value);
    case "notin":
      return value === undefined || !values.includes(value);
    case "exists":
      return value !== undefined;
    case "!":
      return value === undefined;
  }
}

/**
 * Whether a LabelSelector object chooses the labels: an empty one chooses everything, a missing one nothing, and one
 * with an unknown operator nothing.
 */
export function matchesLabels(selector: LabelSelector | undefined, labels: Labels = {}): boolean {
  if (selector === undefined) return false;
  const requirements = labelSelectorRequirements(selector);
  return requirements !== undefined && matchesAll(requirements, labels);
}

const OBJECT_OPERATORS: Readonly<Record<string, Requirement["operator"]>> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "!",
};

/** The terms of a LabelSelector object; undefined when an operator is unknown. */
export function labelSelectorRequirements(selector: LabelSelector): Requirement[] | undefined {
  const requirements = Object.entries(selector.matchLabels ?? {}).map(equality);
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const known = Object.hasOwn(OBJECT_OPERATORS, operator) ? OBJECT_OPERATORS[operator] : undefined;
    if (known === undefined) return undefined;
    requirements.push({ key, operator: known, values });
  }
  return requirements;
}

/** The terms of a map selector, as Services and ReplicationControllers have. */
export function mapRequirements(selector: Labels): Requirement[] {
  return Object.entries(selector).map(equality);
}

function equality([key, value]: [string, string]): Requirement {
  return { key, operator: "in", values: [value] };
}

/** The string form; parsing it gives terms that choose the same. */
export function formatSelector(requirements: readonly Requirement[]): string {
  return requirements
    .map(({ key, operator, values }) => {
      if (operator === "exists") return key;
      if (operator === "!") return `!${key}`;
      if (operator === "in" && values.length === 1) return `${key}=${values[0]}`;
      return `${key} ${operator} (${[...values].sort().join(",")})`;
    })
    .join(",");
}

/** A token of the string form; the kind says what it can stand for. */
interface Token {
  readonly kind: "identifier" | "end" | "," | "(" | ")" | "!" | "=" | "==" | "!=" | "in" | "notin" | "other";
  readonly text: string;
}

const TOKEN = /\s*(?:(!=|==|[=!(),<>])|([^\s!=(),<>]+))/y;
const SYMBOLS: ReadonlySet<string> = new Set([",", "(", ")", "!", "=", "==", "!="]);

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const source = text.trim();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const [, symbol, word = ""] = TOKEN.exec(source) ?? [];
    if (symbol !== undefined)
      tokens.push({ kind: SYMBOLS.has(symbol) ? (symbol as Token["kind"]) : "other", text: symbol });
    else tokens.push({ kind: word === "in" || word === "notin" ? word : "identifier", text: word });
  }
  return tokens;
}

const END: Token = { kind: "end", text: "" };
const OPERATORS = "in, notin, =, ==, !=";

/**
 * Parses the string form.
 * @throws StatusError (400) that says what was found and what was expected
 */
export function parseLabelSelector(text: string): Requirement[] {
  return new Parser(tokenize(text)).parse();
}

class Parser {
  #position = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  parse(): Requirement[] {
    const requirements: Requirement[] = [];
    if (this.#peek().kind === "end") return requirements;
    if (!this.#startsTerm()) throw this.#unexpected("!, identifier, or 'end of string'");
    for (;;) {
      requirements.push(this.#requirement());
      const separator = this.#next();
      if (separator.kind === "end") return requirements;
      if (separator.kind !== ",") throw unexpected(separator, "',' or 'end of string'");
      if (!this.#startsTerm()) throw this.#unexpected("identifier after ','");
    }
  }

  #requirement(): Requirement {
    const absent = this.#peek().kind === "!" && this.#next() !== undefined;
    const token = this.#next();
    if (!isWord(token)) throw requirementError(token, "identifier");
    const key = token.text;
    for (const why of qualifiedName(key)) throw unparsable(`key: Invalid value: ${goValue(key)}: ${why}`);
    if (absent) return { key, operator: "!", values: [] };
    if (this.#atTermEnd()) return { key, operator: "exists", values: [] };
    const { operator, exact } = this.#operator();
    const values = exact ? [this.#exactValue()] : this.#values();
    for (const [index, value] of values.entries()) {
      for (const why of labelValue(value)) {
        throw unparsable(`values[${index}][${key}]: Invalid value: ${goValue(value)}: ${why}`);
      }
    }
    return { key, operator, values };
  }

  #operator(): { operator: "in" | "notin"; exact: boolean } {
    const token = this.#next();
    switch (token.kind) {
      case "=":
      case "==":
        return { operator: "in", exact: true };
      case "!=":
        return { operator: "notin", exact: true };
      case "in":
      case "notin":
        return { operator: token.kind, exact: false };
      default:
        throw requirementError(token, OPERATORS);
    }
  }

  #exactValue(): string {
    if (this.#atTermEnd()) return "";
    const token = this.#next();
    if (!isWord(token)) throw requirementError(token, "identifier");
    return token.text;
  }

  /** `(x,y)`; an empty place between commas is the empty value. */
  #values(): string[] {
    const open = this.#next();
    if (open.kind !== "(") throw requirementError(open, "'('");
    const values = [this.#listValue()];
    for (;;) {
      const token = this.#next();
      if (token.kind === ")") return [...new Set(values)].sort();
      if (token.kind !== ",") throw requirementError(token, "',' or ')'");
      values.push(this.#listValue());
    }
  }

  #listValue(): string {
    const token = this.#peek();
    if (token.kind === "," || token.kind === ")") return "";
    if (!isWord(token)) throw requirementError(token, "',', ')' or identifier");
    return this.#next().text;
  }

  #peek(): Token {
    return this.tokens[this.#position] ?? END;
  }

  #next(): Token {
    const token = this.#peek();
    this.#position++;
    return token;
  }

  #startsTerm(): boolean {
    return isWord(this.#peek()) || this.#peek().kind === "!";
  }

  #atTermEnd(): boolean {
    return this.#peek().kind === "end" || this.#peek().kind === ",";
  }

  #unexpected(expected: string): Error {
    return unexpected(this.#peek(), expected);
  }
}

/** `in` and `notin` are names too, where no operator can be. */
function isWord({ kind }: Token): boolean {
  return kind === "identifier" || kind === "in" || kind === "notin";
}

function unexpected(token: Token, expected: string): Error {
  return badRequest(`found '${token.text}', expected: ${expected}`);
}

function requirementError(token: Token, expected: string): Error {
  return unparsable(`found '${token.text}', expected: ${expected}`);
}

function unparsable(why: string): Error {
  return badRequest(`unable to parse requirement: ${why}`);
}
