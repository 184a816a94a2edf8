import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cruise, type ICruiseOptions, type ICruiseResult } from "dependency-cruiser";
import extractOptions from "dependency-cruiser/config-utl/extract-depcruise-options";
import extractTsConfig from "dependency-cruiser/config-utl/extract-ts-config";
import { afterAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const planted: string[] = [];
afterAll(() => {
  for (const dir of planted) rmSync(dir, { recursive: true });
});

/** Holds a tree against the project's rules: modules seen under src, and each violation as `rule: from -> to`. */
async function check(base: string): Promise<{ modules: number; violations: string[] }> {
  const options: ICruiseOptions = await extractOptions(join(root, ".dependency-cruiser.cjs"));
  const result = await cruise(["src"], { ...options, baseDir: base }, undefined, {
    tsConfig: extractTsConfig(join(root, "tsconfig.json")),
  });
  const output = result.output as ICruiseResult;
  const modules = output.modules.filter((module) => /^src\/.*\.ts$/.test(module.source));
  return {
    modules: modules.length,
    violations: output.summary.violations.map((found) => `${found.rule.name}: ${found.from} -> ${found.to}`),
  };
}

/** A small tree of its own with the given files. */
function plant(files: Record<string, string>): string {
  const base = mkdtempSync(join(root, "node_modules/.layering-"));
  planted.push(base);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(base, path, ".."), { recursive: true });
    writeFileSync(join(base, path), text);
  }
  symlinkSync(join(root, "tsconfig.json"), join(base, "tsconfig.json"));
  return base;
}

describe("import rules", () => {
  it("hold in this tree, and it has modules", async () => {
    const { modules, violations } = await check(root);
    expect(modules).toBeGreaterThan(50);
    expect(violations).toEqual([]);
  });

  it("see an import that runs upwards", async () => {
    const base = plant({
      "src/wire/index.ts": "export const a = 1;\n",
      "src/store/index.ts": 'import { a } from "../wire/index.js";\nexport const b = a;\n',
    });
    expect((await check(base)).violations).toEqual([
      "store-imports: src/store/index.ts -> src/wire/index.ts",
    ]);
  });

  it("see an import past a folder's index, of types too", async () => {
    const base = plant({
      "src/wire/ipv4.ts": "export type A = 1;\n",
      "src/datapath/index.ts": 'import type { A } from "../wire/ipv4.js";\nexport type B = A;\n',
    });
    expect((await check(base)).violations).toEqual([
      "through-the-door: src/datapath/index.ts -> src/wire/ipv4.ts",
    ]);
  });

  it("see a clock or a socket in the pure folders", async () => {
    const base = plant({
      "src/wire/index.ts": 'import "node:fs";\n',
      "src/datapath/index.ts": 'import "node:net";\n',
    });
    const { violations } = await check(base);
    expect(violations.map((line) => line.split(":")[0]).sort()).toEqual(["datapath-is-pure", "wire-is-pure"]);
  });

  it("see a folder that the house does not have", async () => {
    const base = plant({
      "src/wire/index.ts": "export const a = 1;\n",
      "src/misc/index.ts": 'import { a } from "../wire/index.js";\nexport const b = a;\n',
    });
    expect((await check(base)).violations).toEqual(["known-folders: src/misc/index.ts -> src/wire/index.ts"]);
  });
});
