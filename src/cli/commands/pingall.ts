import { execFile } from "node:child_process";
import type { Command } from "commander";
import { CliError, Exit, findLab, outputOption, print, printJson, wholeNumber } from "../context.js";
import { type Place, podPlaces } from "../places.js";

interface Result {
  readonly from: string;
  readonly to: string;
  readonly rttMs: number | undefined;
}

export function define(command: Command): void {
  command
    .option("-W, --wait <seconds>", "how long to wait for each answer", wholeNumber(1), 2)
    .addOption(outputOption())
    .option("--lab <name>", "name of the lab")
    .addHelpText("after", "\nExit code 1 when a pair got no answer.")
    .action(async (options: { wait: number; output: string; lab?: string }) => {
      const places = await podPlaces(findLab(options.lab));
      if (places.length < 2) throw new CliError("fewer than two pods run");
      if (options.output === "text") print("*** Ping: testing reachability between all pods");
      const results: Result[] = [];
      for (const from of places) {
        const row = await Promise.all(
          places.filter((to) => to !== from).map((to) => pingOnce(from, to, options.wait)),
        );
        results.push(...row);
        if (options.output === "text")
          print(`${from.name} -> ${row.map((one) => (one.rttMs === undefined ? "X" : one.to)).join(" ")}`);
      }
      const lost = results.filter((one) => one.rttMs === undefined).length;
      if (options.output === "json")
        printJson({ sent: results.length, received: results.length - lost, results });
      else print(summary(results.length, lost));
      if (lost > 0) process.exitCode = Exit.failed;
    });
}

function summary(sent: number, lost: number): string {
  return `*** Results: ${Math.round((100 * lost) / sent)}% dropped (${sent - lost}/${sent} received)`;
}

function pingOnce(from: Place, to: Place, waitSeconds: number): Promise<Result> {
  const [program = "", ...args] = [
    ...(from.enter ?? []),
    "ping",
    "-n",
    "-c",
    "1",
    "-W",
    String(waitSeconds),
    to.ip,
  ];
  return new Promise((resolve, reject) => {
    execFile(program, args, (error, stdout) => {
      if (error?.code === "ENOENT")
        return reject(new CliError("ping is not installed (apt-get install iputils-ping)"));
      const rtt = /time=([\d.]+) ms/.exec(stdout)?.[1];
      resolve({ from: from.name, to: to.name, rttMs: rtt === undefined ? undefined : Number(rtt) });
    });
  });
}
