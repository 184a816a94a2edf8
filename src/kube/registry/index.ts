/** Starts everything behind the API that is not HTTP: registry, watches, allocators, the namespaces that always exist. */
import { createIfAbsent, type Store } from "../../store/index.js";
import { resourceInfo } from "../resources.js";
import type { ResourceName } from "../types.js";
import { decodeBody, prepareCreate } from "./admission.js";
import { SYSTEM_NAMESPACES } from "./deletion.js";
import { NamespaceReaper } from "./namespaceReaper.js";
import { encode, keyOf } from "./object.js";
import { Registry } from "./registry.js";
import { type PortRange, ServiceAllocator } from "./serviceAllocator.js";
import { Watches } from "./watches.js";

export interface BackendOptions {
  readonly store: Store;
  /** CIDRs of the ClusterIPs: one, or one of each IP family; Services get the first one's by default. */
  readonly serviceCidrs: readonly string[];
  /** Default 30000–32767. */
  readonly nodePortRange?: PortRange;
  /** Numbers in [0, 1) for the choice of addresses. */
  readonly random?: () => number;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Events of each resource that a watch can still catch up with; default 1000. */
  readonly watchWindowEvents?: number;
  /** Default: one minute. */
  readonly bookmarkIntervalMs?: number;
  readonly log?: (level: "info" | "warn" | "error", message: string) => void;
}

export interface Backend {
  readonly registry: Registry;
  readonly watches: Watches;
  close(): Promise<void>;
}

/** @throws Error for a bad service network; store errors when the store does not answer */
export async function startBackend(options: BackendOptions): Promise<Backend> {
  const { store, random = Math.random, now = Date.now, log = () => {} } = options;
  const { serviceCidrs, nodePortRange = { min: 30000, max: 32767 } } = options;
  const services = new ServiceAllocator({ store, serviceCidrs, nodePortRange, random, now });
  const registry = new Registry({ store, services, now });
  await createSystemNamespaces(store, now());
  await createDefaultServiceCidr(store, services.cidrs, now());
  await services.repair();
  const watches = new Watches({
    store,
    registry,
    windowEvents: options.watchWindowEvents ?? 1000,
    bookmarkIntervalMs: options.bookmarkIntervalMs ?? 60_000,
    log,
  });
  await watches.start();
  const reaper = new NamespaceReaper({ registry, watches, log });
  reaper.start();
  return {
    registry,
    watches,
    close: async () => {
      await Promise.all([reaper.stop(), watches.stop()]);
    },
  };
}

async function createSystemNamespaces(store: Store, nowMs: number): Promise<void> {
  for (const name of SYSTEM_NAMESPACES)
    await createAtStart(store, "namespaces", { metadata: { name } }, nowMs);
}

/** What the command line names, as the object that kube-apiserver makes of it. */
async function createDefaultServiceCidr(
  store: Store,
  cidrs: readonly string[],
  nowMs: number,
): Promise<void> {
  await createAtStart(store, "servicecidrs", { metadata: { name: "kubernetes" }, spec: { cidrs } }, nowMs);
}

async function createAtStart(
  store: Store,
  resource: ResourceName,
  object: { metadata: { name: string }; spec?: object },
  nowMs: number,
): Promise<void> {
  const info = resourceInfo(resource);
  const body = { apiVersion: info.apiVersion, kind: info.kind, ...object };
  const prepared = prepareCreate(info, decodeBody(info, body, "Strict").object, nowMs);
  await createIfAbsent(store, keyOf(info, undefined, object.metadata.name), encode(prepared));
}
