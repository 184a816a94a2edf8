import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { LabPlan } from "../../topology/index.js";
import { type BringUpOptions, bringUp } from "../bringUp.js";
import { wholeNumber } from "../context.js";

const TOPOLOGY = fileURLToPath(new URL("../../../topologies/two-nodes.yaml", import.meta.url));

export function define(command: Command): void {
  command
    .option("-d, --detach", "return when the lab is ready; podwire down ends it")
    .option("--netns <name>", "put the whole lab into this network namespace (made if missing)")
    .option("--trace", "print each packet at each node")
    .option("--topology <file>", "another topology", TOPOLOGY)
    .option("--timeout <seconds>", "how long to wait for pods to be ready", wholeNumber(1), 60)
    .action(async (options: BringUpOptions & { topology: string }) => {
      process.exitCode = await bringUp(options.topology, {
        ...options,
        hints: (plan) => hints(plan, options.netns),
      });
    });
}

/** What to try, with this lab's own addresses. */
function hints(plan: LabPlan, netns: string | undefined): string[] {
  const podwire = "npx podwire";
  const onHost = netns === undefined ? "" : `${podwire} host -- `;
  const lines: [command: string, what: string][] = [];
  const node = plan.nodes[0];
  const port = nodePort(plan);
  if (node && port)
    lines.push([
      `${onHost}curl http://${node.ip}:${port}/`,
      "a NodePort: repeat it, the pods answer in turn",
    ]);
  lines.push(
    [`${podwire} trace --follow`, "each packet at each node, in another terminal"],
    [`${podwire} get pods -o wide`, "the pods and where they run"],
    [`${podwire} status`, "nodes, leases, Services"],
    [`${podwire} pingall`, "every pod to every pod, over the overlay"],
  );
  const width = Math.max(...lines.map(([command]) => command.length));
  return [
    "",
    "Try, from another terminal in this folder:",
    "",
    ...lines.map(([command, what]) => `  ${command.padEnd(width)}   # ${what}`),
    "",
  ];
}

function nodePort(plan: LabPlan): number | undefined {
  for (const { object } of plan.manifests) {
    if (object.kind !== "Service") continue;
    const spec = object.spec as { ports?: { nodePort?: number; protocol?: string }[] } | undefined;
    const found = spec?.ports?.find((port) => port.nodePort && (port.protocol ?? "TCP") === "TCP");
    if (found) return found.nodePort;
  }
  return undefined;
}
