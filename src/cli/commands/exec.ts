import type { Command } from "commander";
import { askApi } from "../../cluster/index.js";
import type { Pod } from "../../kube/index.js";
import { CliError, findLab, kubeClient, type Lab } from "../context.js";
import { runInherited } from "./host.js";

export function define(command: Command): void {
  command
    .argument("<pod>", "name, or pod/NAME")
    .argument("<command...>", "program and arguments, after --")
    .option("-n, --namespace <name>", "namespace", "default")
    .option("-c, --container <name>", "container (default: the first)")
    .option("-i, --stdin", "accepted for kubectl's sake: input is always passed")
    .option("-t, --tty", "accepted for kubectl's sake: the terminal is always passed")
    .option("--lab <name>", "name of the lab")
    .addHelpText(
      "after",
      "\nExample: podwire exec web-x7k2p -- curl -s http://web:8080/\nEnds with the command's own exit code.",
    )
    .action(
      async (
        pod: string,
        words: string[],
        options: { namespace: string; container?: string; lab?: string },
      ) => {
        const lab = findLab(options.lab);
        const spec = await execSpec(lab, options.namespace, pod.replace(/^pods?\//, ""), options.container);
        const env = { ...spec.env, ...(process.env.TERM ? { TERM: process.env.TERM } : {}) };
        process.exitCode = await runInherited([...spec.enter, ...words], env);
      },
    );
}

export interface ExecSpec {
  /** Arguments that lead into the container's namespaces. */
  readonly enter: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The way into a pod's container on this machine. */
export async function execSpec(
  lab: Lab,
  namespace: string,
  name: string,
  container?: string,
): Promise<ExecSpec> {
  const pod = await kubeClient(lab).get<Pod>("pods", namespace, name);
  const node = pod.spec?.nodeName;
  if (!node) throw new CliError(`pod ${name} is not assigned to a node yet`);
  const path = ["exec", namespace, name, ...(container ? [container] : [])].map(encodeURIComponent).join("/");
  return askApi<ExecSpec>(lab.paths, `/podwire/v1/nodes/${encodeURIComponent(node)}/${path}`);
}
