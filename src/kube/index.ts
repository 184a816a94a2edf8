/**
 * The Kubernetes API: object types, validation, the registry over the store, the REST server, and its clients.
 *
 * Theory of operation. Objects are JSON under `/registry/<resource>/<namespace>/<name>` in the store; an object's
 * resourceVersion is the store revision that wrote it, and a list's is the revision that was read. Every write is a
 * transaction on the revision that it was made from, so two writers never overwrite each other: the loser is told
 * Conflict, or looks again. A write passes decoding (schema.ts, schemas/), defaults and validation of its kind (kinds/),
 * and for Services the allocation of addresses, which goes one Service at a time. Reads go to the store.
 *
 * Watches do not: one watch of the store per resource feeds a bounded window of recent events (registry/watchCache.ts),
 * and each watcher walks along it. Who falls behind the window is told that its version has expired, and lists again;
 * `Informer` does that by itself and keeps its copy while the server is away. `LocalKubeClient` and `HttpKubeClient` are
 * the same `KubeClient` in process and over HTTP; the second speaks to a real kube-apiserver too.
 */
export { type EventRecord, recordEvent } from "./client/events.js";
export { HttpKubeClient, type HttpKubeClientOptions } from "./client/http.js";
export { Informer, type InformerHandlers, type InformerOptions } from "./client/informer.js";
export { retryOnConflict } from "./client/retry.js";
export { conflictsWith, hasHostPorts } from "./hostPorts.js";
export { canonicalClusterIp } from "./names.js";
export * from "./objects.js";
export { ORPHAN_FINALIZER } from "./registry/deletion.js";
export { apiServiceAddress } from "./registry/serviceRange.js";
export { RESOURCES, type ResourceInfo, resourceOf } from "./resources.js";
export {
  formatSelector,
  matchesAll,
  matchesLabels,
  parseLabelSelector,
  type Requirement,
} from "./selectors.js";
export type { ApiServer, ApiServerOptions } from "./server/index.js";
export { startApiServer } from "./server/load.js";
export type { ExtraRoutes } from "./server/server.js";
export { type ServiceAccount, signToken } from "./serviceAccount.js";
export * from "./types.js";
