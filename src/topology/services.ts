/** What a Service must hold: ports that can be told apart, and addresses and node ports that are free. */
import { formatAddress, isHostAddress, type Network, parseAddress } from "./address.js";
import type { Path, Problem } from "./errors.js";
import type { Manifest } from "./manifests.js";
import { valueAt } from "./source.js";
import type { Position } from "./types.js";

/** Things of which there may be only one, with the place of the first. */
export class Seen {
  private readonly places = new Map<string, Position>();
  constructor(private readonly problems: Problem[]) {}

  once({ source }: Manifest, path: Path, thing: string, what: string): void {
    const first = this.places.get(thing);
    const position = source.locate(path);
    if (first === undefined) this.places.set(thing, position);
    else {
      const where = `${first.file}:${first.line}`;
      this.problems.push(source.problem(path, `${thing} ${what} at ${where}; choose another or remove one`));
    }
  }
}

interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly nodePort?: number;
  readonly protocol?: string;
}

interface ServiceSpec {
  readonly type?: string;
  readonly clusterIP?: string;
}

function portsOf({ object }: Manifest): readonly ServicePort[] {
  return (valueAt(object, ["spec", "ports"]) ?? []) as ServicePort[];
}

/** Adds what is wrong with the Service by itself to the problems. */
export function checkService(manifest: Manifest, problems: Problem[]): void {
  const { type = "ClusterIP", clusterIP } = (valueAt(manifest.object, ["spec"]) ?? {}) as ServiceSpec;
  const report = (path: Path, text: string) => problems.push(manifest.source.problem(path, text));
  const headless = clusterIP === "None";
  const ports = portsOf(manifest);
  if (ports.length === 0 && !headless && type !== "ExternalName") {
    report(["spec", "ports"], "missing; only a headless Service (clusterIP: None) can do without");
  }
  if (headless && type !== "ClusterIP")
    report(["spec", "clusterIP"], `None cannot be combined with type ${type}; remove one`);
  for (const [index, { nodePort }] of ports.entries()) {
    if (nodePort === undefined || type === "NodePort" || type === "LoadBalancer") continue;
    report(
      ["spec", "ports", index, "nodePort"],
      `a Service of type ${type} has no node ports; set type: NodePort`,
    );
  }
  checkPorts(manifest, problems);
}

function checkPorts(manifest: Manifest, problems: Problem[]): void {
  const ports = portsOf(manifest);
  const numbers = new Set<string>();
  const names = new Set<string>();
  for (const [index, { name, port, protocol = "TCP" }] of ports.entries()) {
    const report = (field: string, text: string) =>
      problems.push(manifest.source.problem(["spec", "ports", index, field], text));
    if (ports.length > 1 && name === undefined)
      report("name", "missing; a Service with several ports names each of them");
    if (name !== undefined && names.has(name))
      report("name", `"${name}" is twice in this Service; choose another`);
    if (numbers.has(`${port}/${protocol}`))
      report("port", `${port}/${protocol} is twice in this Service; remove one`);
    numbers.add(`${port}/${protocol}`);
    if (name !== undefined) names.add(name);
  }
}

/** Holds `clusterIP` against the service network and the addresses seen before. */
export function checkServiceAddress(
  manifest: Manifest,
  services: Network,
  seen: Seen,
  problems: Problem[],
): void {
  const path = ["spec", "clusterIP"];
  const text = valueAt(manifest.object, path) as string | undefined;
  if (text === undefined || text === "" || text === "None") return;
  const address = parseAddress(text);
  // One of the second family is held against its network by the API server.
  if (address === undefined) seen.once(manifest, path, `clusterIP ${text}`, "is already taken");
  else if (isHostAddress(services, address))
    seen.once(manifest, path, `clusterIP ${formatAddress(address)}`, "is already taken");
  else {
    const advice = "choose one inside, other than its first and last";
    problems.push(
      manifest.source.problem(
        path,
        `${text} is not an address of the service network ${services.cidr}; ${advice}`,
      ),
    );
  }
}

/** Holds `nodePort` against the range and the ports seen before; TCP and UDP may share one. */
export function checkNodePorts(
  manifest: Manifest,
  range: { readonly min: number; readonly max: number },
  seen: Seen,
  problems: Problem[],
): void {
  for (const [index, { nodePort, protocol = "TCP" }] of portsOf(manifest).entries()) {
    if (nodePort === undefined) continue;
    const path = ["spec", "ports", index, "nodePort"];
    if (nodePort >= range.min && nodePort <= range.max) {
      seen.once(manifest, path, `nodePort ${nodePort}/${protocol}`, "is already taken");
    } else {
      const text = `${nodePort} is outside the node port range ${range.min}-${range.max}; choose one inside`;
      problems.push(manifest.source.problem(path, text));
    }
  }
}
