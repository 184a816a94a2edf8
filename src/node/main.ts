/** Entry of a node process: `node main.js CONFIG.json`. Ends with the codes of {@link NodeExit}. */
import { readFileSync } from "node:fs";
import { createLog, lastWords } from "../observe/index.js";
import { type NodeConfig, NodeExit } from "./config.js";
import { LeaseLostError, NodeSetupError } from "./errors.js";
import { runNode } from "./node.js";

const path = process.argv[2];
if (!path) {
  console.error("usage: node main.js CONFIG.json");
  process.exit(NodeExit.config);
}
const config = JSON.parse(readFileSync(path, "utf8")) as NodeConfig;
const log = createLog({ component: config.name });

function exitCode(error: unknown): number {
  if (error instanceof LeaseLostError) return NodeExit.leaseLost;
  return error instanceof NodeSetupError ? NodeExit.config : NodeExit.crash;
}

const end = lastWords(log);

process.on("uncaughtException", (error) => void end(NodeExit.crash, error.stack ?? error.message));
process.on(
  "unhandledRejection",
  (error) => void end(exitCode(error), error instanceof Error ? error.stack : String(error)),
);

try {
  const node = await runNode(
    config,
    (level, message) => log.log(level, message),
    (error) => void end(exitCode(error), error.message),
  );
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => void node.stop().then(() => end(NodeExit.ok)));
  }
} catch (error) {
  await end(exitCode(error), (error as Error).message);
}
