import type { Command } from "commander";
import { askApi } from "../../cluster/index.js";
import { CliError, Exit, findLab, outputOption, print, printJson } from "../context.js";

interface SysctlOptions {
  readonly values?: boolean;
  readonly output: "text" | "json";
  readonly lab?: string;
}

export function define(command: Command): void {
  command
    .argument("<node>", "node of the lab")
    .argument("[settings...]", "NAME to read, NAME=VALUE to set; none: list all")
    .option("-n, --values", "print values without names")
    .addOption(outputOption())
    .option("--lab <name>", "name of the lab")
    .addHelpText(
      "after",
      "\nThe names are Linux': net.netfilter.nf_conntrack_tcp_timeout_established, nf_conntrack_tcp_be_liberal, …" +
        "\nTime-outs are in seconds and count from a connection's next packet. What is set holds for this node until the" +
        "\nlab is taken down. Either all values are set or, if one is wrong, none." +
        "\n\n  podwire sysctl node-1 net.netfilter.nf_conntrack_udp_timeout=5",
    )
    .action(async (node: string, settings: readonly string[], options: SysctlOptions) => {
      const lab = findLab(options.lab);
      const known = lab.record.plan.nodes.map(({ name }) => name);
      if (!known.includes(node))
        throw new CliError(`no node ${node} in this lab; these are: ${known.join(", ")}`, Exit.usage);
      const path = `/podwire/v1/nodes/${encodeURIComponent(node)}/sysctl`;
      const assignments = settings.filter((word) => word.includes("="));
      const names = settings.map((word) => word.split("=", 1)[0] ?? "");
      // Asked first, so that a wrong name among those to read sets nothing.
      const asked = `${path}?${new URLSearchParams(names.map((name): [string, string] => ["name", name]))}`;
      let values = await askApi<Record<string, number>>(lab.paths, asked);
      if (assignments.length > 0) {
        const given = assignments.map((word): [string, string] => [
          word.slice(0, word.indexOf("=")),
          word.slice(word.indexOf("=") + 1),
        ]);
        const set = `${path}?${new URLSearchParams(given)}`;
        values = { ...values, ...(await askApi<Record<string, number>>(lab.paths, set, { method: "PUT" })) };
      }
      if (options.output === "json") return printJson(values);
      for (const [name, value] of Object.entries(values))
        print(options.values ? String(value) : `${name} = ${value}`);
    });
}
