/** A topology file to a checked plan. */

import { readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { parseNetwork } from "./address.js";
import { NETWORK_PATHS6, planDualStack } from "./dual-stack.js";
import { type Problem, TopologyError } from "./errors.js";
import { type Manifest, manifestPlans, readObjects, readText, unreadable } from "./manifests.js";
import { checkNetworks, NETWORK_PATHS, planNetwork } from "./network.js";
import { planNodes } from "./nodes.js";
import { checkObjects } from "./objects.js";
import { planPool } from "./pool.js";
import { fileReference, type TopologyInput, topologySchema } from "./schema.js";
import { parseSource, parseSources, type Source, valueAt } from "./source.js";
import type { LabPlan } from "./types.js";
import { validate } from "./validate.js";

/**
 * Reads a topology and the manifests that it names, and checks all of it; touches nothing else.
 * @throws TopologyError with every problem found
 */
export function loadTopology(path: string): LabPlan {
  const problems: Problem[] = [];
  const source = parseSource(path, readText(path));
  const counted = typeof valueAt(source.value, ["nodes"]) === "number";
  const input = validate(source, topologySchema(counted), problems);
  const manifests = readManifests(source, problems);
  if (!input) throw new TopologyError(problems);
  const plan = planLab(source, input, manifests, problems);
  if (problems.length > 0) throw new TopologyError(problems);
  return plan;
}

function planLab(
  source: Source,
  input: TopologyInput,
  manifests: readonly Manifest[],
  problems: Problem[],
): LabPlan {
  const networks = checkNetworks(source, input.network, problems);
  const { nodes, host } = planNodes(source, input, networks, problems);
  const ipv6 = planDualStack(source, input, problems);
  const hosts: [string, string][] = [
    ["the host", host],
    ...nodes.map(({ name, ip }) => [name, ip] as [string, string]),
    ...(ipv6 ? [["the host", ipv6.host] as [string, string]] : []),
    ...nodes.flatMap(({ name, index }) => (ipv6 ? [[name, ipv6.nodeIps[index]!] as [string, string]] : [])),
  ];
  const around = { pods: networks.pods.cidr, services: networks.services.cidr, hosts, ...(ipv6 && { ipv6 }) };
  const loadBalancerPool = planPool(source, input.network.loadBalancerPool, around, problems);
  const network = {
    ...planNetwork(source, input.network, networks, host, nodes.length, problems),
    ...(ipv6 && { ipv6 }),
    loadBalancerPool,
  };
  const lab = { services: parseNetwork(network.services)!, nodePorts: network.nodePorts };
  checkObjects(manifests, { images: Object.keys(input.images), lab }, problems);
  return {
    name: input.name,
    file: source.file,
    network,
    nodes: nodes.map((node) => ({ ...node, ...(ipv6 && { ipv6: ipv6.nodeIps[node.index]! }) })),
    images: input.images,
    manifests: manifestPlans(manifests),
    options: input.options,
    positions: {
      nodes: source.locate(NETWORK_PATHS.nodes),
      pods: source.locate(NETWORK_PATHS.pods),
      services: source.locate(NETWORK_PATHS.services),
    },
    ...(ipv6 && {
      positions6: {
        nodes: source.locate(NETWORK_PATHS6.nodes),
        pods: source.locate(NETWORK_PATHS6.pods),
        services: source.locate(NETWORK_PATHS6.services),
      },
    }),
  };
}

/** The objects of `manifests:`, embedded and from files. */
function readManifests(source: Source, problems: Problem[]): Manifest[] {
  const entries = valueAt(source.value, ["manifests"]);
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown, index) => {
    const part = source.part(["manifests", index]);
    const isFile = typeof entry === "object" && entry !== null && "file" in entry;
    return isFile ? readFile(part, problems) : readObjects(part, "default", problems);
  });
}

function readFile(part: Source, problems: Problem[]): Manifest[] {
  const reference = validate(part, fileReference, problems);
  if (!reference) return [];
  const file = isAbsolute(reference.file) ? reference.file : join(dirname(part.file), reference.file);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    problems.push(part.problem(["file"], `${file}: ${unreadable(error)}`));
    return [];
  }
  try {
    return parseSources(file, text).flatMap((source) => readObjects(source, "default", problems));
  } catch (error) {
    if (!(error instanceof TopologyError)) throw error;
    problems.push(...error.problems);
    return [];
  }
}
