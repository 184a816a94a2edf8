#!/usr/bin/env node
/** The entry of `podwire`: the command line in program.ts, standard output to its last byte, the exit code. */
import { Exit } from "./context.js";
import { run } from "./program.js";

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The reader went away (`podwire trace | head`): nothing is left to say.
  if (error.code === "EPIPE") process.exit(Exit.ok);
  throw error;
});
const code = await run(process.argv.slice(2));
// Sockets of finished requests may be kept alive; what was written has to be out before the end.
process.stdout.write("", () => process.exit(code));
