import type { Command } from "commander";
import pc from "picocolors";
import { askApi, type NodeState } from "../../cluster/index.js";
import type { OverlayStatus } from "../../overlay/index.js";
import type { ServicePortStatus } from "../../proxy/index.js";
import { findLab, outputOption, print, printJson } from "../context.js";
import { table } from "../table.js";

interface NodeReport {
  readonly nodeIp: string;
  readonly phase: string;
  readonly pods: number;
  readonly overlay: OverlayStatus;
  readonly services?: readonly ServicePortStatus[];
  readonly datapath?: { readonly conntrack: number; readonly drops: Readonly<Record<string, number>> };
  readonly memory: { readonly rssBytes: number };
}

interface LabReport {
  readonly lab: string;
  readonly netns?: string;
  readonly api: string;
  readonly store: readonly string[];
  readonly networks: Readonly<Record<string, string>>;
  readonly host: string;
  readonly nodes: readonly (NodeState & { readonly status?: NodeReport })[];
}

const PROTOCOLS: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

export function define(command: Command): void {
  command
    .argument("[lab]", "name of the lab")
    .option("--lab <name>", "the same as an option")
    .addOption(outputOption())
    .action(async (name: string | undefined, options: { lab?: string; output: string }) => {
      const lab = findLab(name ?? options.lab);
      const report = await askApi<LabReport>(lab.paths, "/podwire/v1/status");
      if (options.output === "json") printJson(report);
      else
        print(
          [heading(report), nodeTable(report), peerTable(report), serviceTable(report), drops(report)]
            .filter(Boolean)
            .join("\n\n"),
        );
    });
}

function heading(report: LabReport): string {
  const networks = Object.entries(report.networks).map(([name, prefix]) => `${name} ${prefix}`);
  return [
    `lab       ${pc.bold(report.lab)}${report.netns ? ` in namespace ${report.netns}` : ""}`,
    `networks  ${networks.join(", ")}; the host is ${report.host}`,
    `API       ${report.api}`,
    `store     ${report.store.join(", ")}`,
  ].join("\n");
}

function nodeTable(report: LabReport): string {
  const rows = report.nodes.map(({ name, state, pid, restarts, status }) => [
    name,
    state === "running" ? (status?.phase ?? "no answer") : state,
    status?.nodeIp ?? "",
    status?.overlay.subnet ?? "",
    status?.overlay.publicIp ?? "",
    String(status?.overlay.mtuBytes ?? ""),
    String(status?.pods ?? ""),
    String(status?.datapath?.conntrack ?? ""),
    String(pid ?? ""),
    String(restarts),
    status ? `${Math.round(status.memory.rssBytes / 2 ** 20)}Mi` : "",
  ]);
  const header = [
    "NODE",
    "STATE",
    "IP",
    "SUBNET",
    "UNDERLAY",
    "MTU",
    "PODS",
    "CONNTRACK",
    "PID",
    "RESTARTS",
    "MEMORY",
  ];
  return table(header, rows);
}

function peerTable(report: LabReport): string {
  const rows = report.nodes.flatMap(({ name, status }) =>
    (status?.overlay.peers ?? []).map(({ publicIp, subnet, probe }) => [
      name,
      publicIp,
      subnet,
      probe === undefined
        ? "not probed yet"
        : probe.reachable === undefined
          ? "unknown"
          : probe.reachable
            ? "reachable"
            : "unreachable",
      probe?.rttMs === undefined ? "" : `${probe.rttMs.toFixed(2)}ms`,
      String(probe?.pathMtuBytes ?? ""),
      probe?.error ?? "",
    ]),
  );
  return rows.length === 0
    ? ""
    : table(["FROM", "PEER", "SUBNET", "UNDERLAY PATH", "RTT", "PATH MTU", ""], rows);
}

/** As the first node that answers has them: every node's proxy has the same. */
function serviceTable(report: LabReport): string {
  const services = report.nodes.find((node) => node.status?.services)?.status?.services ?? [];
  const rows = services.map((one) => [
    one.name,
    PROTOCOLS[one.protocol] ?? String(one.protocol),
    `${one.clusterIp}:${one.port}`,
    one.nodePort ? String(one.nodePort) : "<none>",
    one.endpoints.map(({ ip, port, used }) => `${ip}:${port}${used ? "" : " (not used)"}`).join(",") ||
      "<none>",
  ]);
  return rows.length === 0 ? "" : table(["SERVICE", "PROTOCOL", "CLUSTER-IP", "NODEPORT", "ENDPOINTS"], rows);
}

function drops(report: LabReport): string {
  const rows = report.nodes.flatMap(({ name, status }) =>
    Object.entries(status?.datapath?.drops ?? {}).map(([reason, count]) => [name, reason, String(count)]),
  );
  return rows.length === 0 ? "" : table(["NODE", "DROPPED OR REJECTED", "PACKETS"], rows);
}
