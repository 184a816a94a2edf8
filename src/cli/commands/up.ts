import { type Command, InvalidArgumentError } from "commander";
import { parseIpv4 } from "../../wire/index.js";
import { type BringUpOptions, bringUp } from "../bringUp.js";
import { wholeNumber } from "../context.js";

export function define(command: Command): void {
  command
    .argument("<topology>", "topology file, such as topologies/myweb.yaml")
    .option("-d, --detach", "return when the lab is ready; podwire down ends it")
    .option(
      "--netns <name>",
      "put the whole lab, its host side included, into this network namespace (made if missing)",
    )
    .option("--trace", "print each packet at each node")
    .option(
      "--store <endpoints>",
      "use a real etcd: http://HOST:2379[,...] instead of the embedded store",
      storeEndpoints,
    )
    .option(
      "--store-listen <host:port>",
      "let etcdctl reach the embedded store over TCP too, such as 127.0.0.1:2379 (no password)",
      hostAndPort,
    )
    .option(
      "--api-port <port>",
      "TCP port of the API server on 127.0.0.1 (default: any free one)",
      wholeNumber(1, 65_535),
    )
    .option("--timeout <seconds>", "how long to wait for pods to be ready", wholeNumber(1), 60)
    .addHelpText(
      "after",
      "\nExit codes: 0 ready, 1 not ready or failed, 2 the topology or the command line is wrong.",
    )
    .action(async (topology: string, options: BringUpOptions) => {
      process.exitCode = await bringUp(topology, options);
    });
}

function storeEndpoints(text: string): string {
  if (text.split(",").every((one) => /^http:\/\/[^\s/:]+:\d+\/?$|^unix:\/./.test(one))) return text;
  throw new InvalidArgumentError("Give http://HOST:PORT, several separated by commas, or unix:/PATH.");
}

function hostAndPort(text: string): string {
  const [host = "", port = "", more] = text.split(":");
  const valid = parseIpv4(host) !== undefined && /^\d{1,5}$/.test(port) && Number(port) < 65_536;
  if (valid && more === undefined) return text;
  throw new InvalidArgumentError("Give ADDRESS:PORT, such as 127.0.0.1:2379.");
}
