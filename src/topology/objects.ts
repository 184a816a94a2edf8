/** What a set of objects must hold together: unique names, known images, Service addresses and node ports. */
import type { Network } from "./address.js";
import { hint, type Problem } from "./errors.js";
import type { Manifest } from "./manifests.js";
import { checkNodePorts, checkService, checkServiceAddress, Seen } from "./services.js";
import { valueAt } from "./source.js";

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
const NAMESPACES = ["default", "kube-public", "kube-system"];

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
    if (kind === "Service") checkService(manifest, problems);
    if (!rules.lab) continue;
    checkNamespace(manifest, namespaces, problems);
    if (kind === "Service") checkServiceAddress(manifest, rules.lab.services, seen, problems);
    if (kind === "Service") checkNodePorts(manifest, rules.lab.nodePorts, seen, problems);
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

/** A controller must select the pods that it makes, or it would make them for ever; and they must not end. */
function checkTemplate({ object, source }: Manifest, problems: Problem[]): void {
  if (object.kind !== "ReplicationController" && object.kind !== "ReplicaSet") return;
  const policyPath = ["spec", "template", "spec", "restartPolicy"];
  const policy = valueAt(object, policyPath) ?? "Always";
  if (policy !== "Always") {
    problems.push(source.problem(policyPath, `${policy} is for single Pods; a ${object.kind} needs Always`));
  }
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
