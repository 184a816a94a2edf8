/** Finds upstream's names in the titles of tests. */
import type { UpstreamCase } from "./cases.js";

const START = "[sig-network]";

/** A title as it is compared: tags such as `[LinuxOnly]` do not count, nor do several spaces. */
function plain(text: string): string {
  return text
    .replace(/\[[^\]]*\]/g, (tag) => (tag === START ? tag : " "))
    .replace(/\s+/g, " ")
    .replace(/ (?=[;:,.]|$)/g, "")
    .trim();
}

export class CaseNames {
  /** Longest first: one name may begin with another. */
  readonly #names: readonly { readonly text: string; readonly upstream: UpstreamCase }[];

  /** @throws Error when two cases have one name */
  constructor(cases: readonly UpstreamCase[]) {
    const names = cases.flatMap((upstream) =>
      [upstream.fullName, ...(upstream.formerly ?? [])].map((name) => ({ text: plain(name), upstream })),
    );
    const seen = new Set<string>();
    for (const { text } of names) {
      if (seen.has(text)) throw new Error(`two cases are called ${text}`);
      seen.add(text);
    }
    this.#names = names.sort((a, b) => b.text.length - a.text.length);
  }

  /** The cases that a title names, and the parts of it that look like a name but are none. */
  find(title: string): { cases: UpstreamCase[]; unknown: string[] } {
    const text = plain(title);
    const cases: UpstreamCase[] = [];
    const unknown: string[] = [];
    for (let at = text.indexOf(START); at >= 0; at = text.indexOf(START, at + 1)) {
      const rest = text.slice(at);
      const found = this.#names.find(
        ({ text: name }) => rest.startsWith(name) && !/^\w/.test(rest.slice(name.length)),
      );
      if (found === undefined) {
        if (!this.#isGroup(rest)) unknown.push(rest);
      } else if (!cases.includes(found.upstream)) cases.push(found.upstream);
    }
    return { cases, unknown };
  }

  /** Whether the text up to the next name is only the beginning of one: `describe` of a group around tests with whole names. */
  #isGroup(rest: string): boolean {
    const next = rest.indexOf(START, 1);
    return next > 0 && this.#names.some(({ text }) => text.startsWith(rest.slice(0, next).trim()));
  }
}
