import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { TopologyError } from "../../src/topology/index.js";

const made: string[] = [];
afterAll(() => {
  for (const directory of made) rmSync(directory, { recursive: true });
});

/** Writes a topology as lab.yaml, with other files beside it, and returns its path. */
export function lab(text: string, others: Readonly<Record<string, string>> = {}): string {
  const directory = mkdtempSync(join(tmpdir(), "podwire-topology-"));
  made.push(directory);
  for (const [name, content] of Object.entries({ ...others, "lab.yaml": text })) {
    writeFileSync(join(directory, name), content);
  }
  return join(directory, "lab.yaml");
}

/** The lines of the TopologyError that a call throws, directories left out. */
export function problemsOf(call: () => unknown): string[] {
  try {
    call();
  } catch (error) {
    if (!(error instanceof TopologyError)) throw error;
    return made.reduce((text, directory) => text.replaceAll(`${directory}/`, ""), error.message).split("\n");
  }
  throw new Error("no error");
}

/** Expected lines from a text file: under each heading `what:` the indented lines of that case. */
export function golden(name: string): Map<string, string[]> {
  const text = readFileSync(new URL(name, import.meta.url), "utf8");
  const cases = text.trim().split(/\n(?=\S)/);
  return new Map(
    cases.map((entry) => {
      const [heading = "", ...lines] = entry.split("\n");
      return [heading.replace(/:$/, ""), lines.map((line) => line.trim())];
    }),
  );
}
