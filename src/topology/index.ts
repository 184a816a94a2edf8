/**
 * Topology: YAML to a plan of a lab in which everything is settled, or errors that name file, line and column.
 *
 * A file is parsed with positions (source.ts), its shape is held against zod schemas (schema.ts, kinds/), and what the
 * fields mean together is checked after that: networks and node addresses (network.ts, nodes.ts), objects and their names,
 * images, Service addresses and node ports (objects.ts). Problems are collected, so that one run shows them all, and
 * nothing is created before the last check. A plan is plain data: it can be written to a file and read by another process.
 */
export { type Problem, TopologyError } from "./errors.js";
export { loadTopology } from "./load.js";
export { loadManifests, type ManifestOptions } from "./manifests.js";
export type { ImagePolicy } from "./objects.js";
export { checkHostRoutes, type HostRoute } from "./routes.js";
export type {
  ConntrackPlan,
  DualStackPlan,
  ImagePlan,
  LabPlan,
  ManifestObject,
  ManifestPlan,
  NetworkName,
  NetworkPlan,
  NodePlan,
  PodNetworkPlan,
  Position,
  ProxyPlan,
} from "./types.js";
