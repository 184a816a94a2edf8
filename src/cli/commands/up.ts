import type { Command } from "commander";
import { type BringUpOptions, bringUp } from "../bringUp.js";

export function define(command: Command): void {
  command
    .argument("<topology>", "topology file, such as topologies/myweb.yaml")
    .option("-d, --detach", "return when the lab is ready; podwire down ends it")
    .option(
      "--netns <name>",
      "put the whole lab, its host side included, into this network namespace (made if missing)",
    )
    .option("--trace", "print each packet at each node")
    .option("--store <endpoints>", "use a real etcd: http://HOST:2379[,...] instead of the embedded store")
    .option(
      "--store-listen <host:port>",
      "let etcdctl reach the embedded store over TCP too, such as 127.0.0.1:2379 (no password)",
    )
    .option("--api-port <port>", "TCP port of the API server on 127.0.0.1 (default: any free one)", Number)
    .option("--timeout <seconds>", "how long to wait for pods to be ready", Number, 60)
    .addHelpText(
      "after",
      "\nExit codes: 0 ready, 1 not ready or failed, 2 the topology or the command line is wrong.",
    )
    .action(async (topology: string, options: BringUpOptions) => {
      process.exitCode = await bringUp(topology, options);
    });
}
