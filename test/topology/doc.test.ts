import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { loadTopology } from "../../src/topology/index.js";
import { lab } from "./files.js";

it("the examples of docs/topology.md are topologies", () => {
  const page = readFileSync(new URL("../../docs/topology.md", import.meta.url), "utf8");
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1] ?? "");
  const web = "apiVersion: v1\nkind: Namespace\nmetadata: { name: web }\n";
  expect(examples.map((text) => loadTopology(lab(text, { "web.yaml": web })).name)).toEqual([
    "tiny",
    "myweb",
    "dual",
  ]);
});
