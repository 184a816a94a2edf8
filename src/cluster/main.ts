/** Entry of the cluster process: `node main.js LAB RUN_ROOT`. Exit 0: asked to stop; 2: cannot work as configured. */
import { writeFileSync } from "node:fs";
import { createLog, lastWords } from "../observe/index.js";
import { ClusterSetupError, runCluster } from "./cluster.js";
import { LabPaths } from "./paths.js";

const [, , lab, root] = process.argv;
if (!lab || !root) {
  console.error("usage: node main.js LAB RUN_ROOT");
  process.exit(2);
}
const paths = new LabPaths(lab, root);
const log = createLog({ component: "cluster" });

const end = lastWords(log);

function crash(error: unknown): void {
  void end(1, error instanceof Error ? (error.stack ?? error.message) : String(error));
}
process.on("uncaughtException", crash);
process.on("unhandledRejection", crash);

try {
  const cluster = await runCluster(paths, (level, message) => log.log(level, message));
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => void cluster.stop().then(() => end(0)));
  }
} catch (error) {
  if (!(error instanceof ClusterSetupError)) crash(error);
  else {
    // `up` waits for this file and shows its words.
    writeFileSync(paths.failure, `${error.message}\n`, { mode: 0o600 });
    await end(2, error.message);
  }
}
