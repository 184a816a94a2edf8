/** What a set of objects must hold together: unique names, known images, Service addresses and node ports. */
import { formatAddress, isHostAddress, type Network, parseAddress } from "./address.js";
import { hint, type Path, type Problem } from "./errors.js";
import type { Manifest } from "./manifests.js";
import { valueAt } from "./source.js";
import type { Position } from "./types.js";

/** Names of the images table; `any` leaves it to the nodes. */
export type ImagePolicy = readonly string[] | "any";

export interface ObjectRules {
  readonly images: ImagePolicy;
  /** With these, Services are held against the lab's networks, and namespaces must exist. */
  readonly lab?: {
    readonly services: Network;
    readonly nodePorts: { readonly min: number; readonly max: number };
  };
}

/** The image that needs no entry; a tag makes no difference. */
const BUILT_IN = /^podwire\/echo(:[\w.-]+)?$/;
/** Namespaces that every lab has. */
const NAMESPACES = ["default", "kube-node-lease", "kube-public", "kube-system"];

/** Adds what is wrong with the objects together to the problems. */
export function checkObjects(manifests: readonly Manifest[], rules: ObjectRules, problems: Problem[]): void {
  const seen = new Seen(problems);
  const namespaces = new Set(NAMESPACES);
  for (const { object } of manifests) if (object.kind === "Namespace") namespaces.add(object.metadata.name);
  for (const manifest of manifests) {
    const { kind, metadata } = manifest.object;
    const name = metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
    seen.once(manifest, ["metadata", "name"], `${kind} ${name}`, "is already defined");
    checkImages(manifest, rules.images, problems);
    checkTemplate(manifest, problems);
    if (kind === "Service") checkPorts(manifest, problems);
    if (!rules.lab) continue;
    checkNamespace(manifest, namespaces, problems);
    if (kind === "Service") checkServiceAddress(manifest, rules.lab.services, seen, problems);
    if (kind === "Service") checkNodePorts(manifest, rules.lab.nodePorts, seen, problems);
  }
}

/** Things of which there may be only one, with the place of the first. */
class Seen {
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

function checkImages({ kind, source }: Manifest, images: ImagePolicy, problems: Problem[]): void {
  if (!kind.podSpec || images === "any") return;
  for (const list of ["containers", "initContainers"]) {
    const containers = (valueAt(source.value, [...kind.podSpec, list]) ?? []) as { image: string }[];
    for (const [index, { image }] of containers.entries()) {
      if (BUILT_IN.test(image) || images.includes(image)) continue;
      const text = `image "${image}" is neither built in (podwire/echo) nor in the topology's images table`;
      const advice = hint(image, [...images, "podwire/echo"]) || "; add it there";
      problems.push(source.problem([...kind.podSpec, list, index, "image"], text + advice));
    }
  }
}

/** A controller must select the pods that it makes, or it would make them for ever. */
function checkTemplate({ object, source }: Manifest, problems: Problem[]): void {
  if (object.kind !== "ReplicationController" && object.kind !== "ReplicaSet") return;
  const labels = (valueAt(object, ["spec", "template", "metadata", "labels"]) ?? {}) as Record<
    string,
    string
  >;
  const path = object.kind === "ReplicaSet" ? ["spec", "selector", "matchLabels"] : ["spec", "selector"];
  const selector = (valueAt(object, path) ?? {}) as Record<string, string>;
  const labelsPath = ["spec", "template", "metadata", "labels"];
  if (Object.keys(labels).length === 0) {
    problems.push(
      source.problem(labelsPath, "the pod template has no labels; give it those that the selector asks for"),
    );
    return;
  }
  for (const [key, value] of Object.entries(selector)) {
    if (labels[key] === value) continue;
    const found = labels[key] === undefined ? "lacks it" : `has "${labels[key]}"`;
    const text = `selector asks for ${key}=${value}, but the pod template ${found}; make them agree`;
    problems.push(source.problem([...path, key], text));
  }
}

interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly nodePort?: number;
  readonly protocol?: string;
}

function portsOf({ object }: Manifest): readonly ServicePort[] {
  return (valueAt(object, ["spec", "ports"]) ?? []) as ServicePort[];
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

function checkNamespace(
  { object, source }: Manifest,
  namespaces: ReadonlySet<string>,
  problems: Problem[],
): void {
  const namespace = object.metadata.namespace;
  if (namespace === undefined || namespaces.has(namespace)) return;
  const text = `namespace "${namespace}" does not exist; add a Namespace manifest${hint(namespace, namespaces)}`;
  problems.push(source.problem(["metadata", "namespace"], text));
}

function checkServiceAddress(manifest: Manifest, services: Network, seen: Seen, problems: Problem[]): void {
  const path = ["spec", "clusterIP"];
  const text = valueAt(manifest.object, path) as string | undefined;
  if (text === undefined || text === "" || text === "None") return;
  const address = parseAddress(text)!;
  if (isHostAddress(services, address))
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

function checkNodePorts(
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
