/**
 * `npm run bench`: Podwire beside the kernel's paths and other people's, in namespaces of its own, in one run.
 *
 * All paths are set up at once and measured in turn (A B C A B C), so that what else the machine does meets all of
 * them; figures are medians over the rounds, ratios are taken round by round. Nothing here fails because something is
 * slow. `bench micro` measures the parts that need no network.
 */
import { writeFileSync } from "node:fs";
import type { Lab } from "./lab.js";
import { benchMicro, microNames } from "./micro/index.js";
import { benchNetwork, networkNames } from "./network.js";
import { type BenchOptions, parseOptions, USAGE } from "./options.js";
import { Report } from "./report.js";

let lab: Lab | undefined;

/** However it is ended, namespaces and processes go first. */
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  process.once(signal, () => {
    process.stderr.write("\nstopping\n");
    void (lab?.close() ?? Promise.resolve()).finally(() => process.exit(code));
  });
}

async function bench(options: BenchOptions): Promise<void> {
  const names = [...(options.micro ? [] : networkNames()), ...microNames()];
  if (options.list) return console.log(names.join("\n"));
  const unknown = options.only.filter((part) => !names.some((name) => name.includes(part)));
  if (unknown.length > 0) throw new Error(`--only ${unknown[0]}: no such name; --list shows them`);
  const isChosen = (kind: readonly string[]) =>
    options.only.length === 0 || options.only.some((part) => kind.some((name) => name.includes(part)));
  const report = new Report();
  if (!options.micro && isChosen(networkNames())) await benchNetwork(options, report, (made) => (lab = made));
  if (isChosen(microNames())) await benchMicro(options, report);
  console.log(`\n${report.text()}`);
  if (options.json !== undefined) writeFileSync(options.json, report.json(options));
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") console.log(USAGE);
  else await bench(options);
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exitCode = 1;
}
