/** Watches over all resources: where each begins, and what it is asked to show. */
import type { Store } from "../../store/index.js";
import { RESOURCES, resourceInfo } from "../resources.js";
import { badRequest, failure } from "../status.js";
import type { ResourceName, WatchEvent, WatchOptions } from "../types.js";
import { prefixOf, type Stored } from "./object.js";
import { type Registry, selection } from "./registry.js";
import { WatchCache } from "./watchCache.js";
import { bookmark, follow } from "./watcher.js";

export interface WatchesOptions {
  readonly store: Store;
  readonly registry: Registry;
  /** Events that are kept of each resource. */
  readonly windowEvents: number;
  readonly bookmarkIntervalMs: number;
  readonly log: (level: "warn", message: string) => void;
}

export interface WatchRequest extends WatchOptions {
  /** Begin with the present state and say with a bookmark where it ends (KEP-3157). */
  readonly sendInitialEvents?: boolean;
}

/** Without a time-out of their own, watches end after half an hour to an hour, so that not all end together. */
const DEFAULT_TIMEOUT_MS = 30 * 60_000;
const MAX_TIMEOUT_SECONDS = 24 * 3600;
const INITIAL_EVENTS_END = { "k8s.io/initial-events-end": "true" };

export class Watches {
  readonly #options: WatchesOptions;
  readonly #caches: ReadonlyMap<ResourceName, WatchCache>;

  constructor(options: WatchesOptions) {
    this.#options = options;
    const { store, windowEvents, log } = options;
    this.#caches = new Map(
      RESOURCES.map((info) => [info.name, new WatchCache({ store, info, windowEvents, log })]),
    );
  }

  async start(): Promise<void> {
    await Promise.all([...this.#caches.values()].map((cache) => cache.start()));
  }

  /** Ends all watches. */
  async stop(): Promise<void> {
    await Promise.all([...this.#caches.values()].map((cache) => cache.stop()));
  }

  /**
   * Begins a watch. Without a version (or at "0") it first shows every object as ADDED. Objects belong to the cache
   * and are not to be changed.
   * @throws StatusError (400) for a bad selector or version, (504) for a version that is still to come
   */
  async open(
    resource: ResourceName,
    options: WatchRequest = {},
  ): Promise<AsyncGenerator<WatchEvent<Stored>, void, undefined>> {
    const info = resourceInfo(resource);
    const cache = this.#caches.get(resource)!;
    const asked = parseVersion(options.resourceVersion ?? "");
    const selects = selection(resource, options);
    const fromState = asked === 0 || options.sendInitialEvents === true;
    const initial = fromState ? await this.#present(resource, options) : undefined;
    const fromRevision = initial?.revision ?? asked;
    if (fromRevision > cache.revision && !initial) await this.#checkPast(fromRevision);
    const events = follow(cache, {
      info,
      fromRevision,
      selects,
      bookmarks: options.allowWatchBookmarks === true,
      bookmarkIntervalMs: this.#options.bookmarkIntervalMs,
      timeoutMs: timeoutMs(options.timeoutSeconds),
      signal: options.signal ?? new AbortController().signal,
    });
    const end = options.sendInitialEvents ? [bookmark(info, fromRevision, INITIAL_EVENTS_END)] : [];
    return initial ? chain([...initial.events, ...end], events) : events;
  }

  async #present(
    resource: ResourceName,
    options: WatchOptions,
  ): Promise<{ events: WatchEvent<Stored>[]; revision: number }> {
    const { namespace, labelSelector, fieldSelector } = options;
    const list = await this.#options.registry.list(resource, {
      ...(namespace === undefined ? {} : { namespace }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    });
    const events = list.items.map((object) => ({ type: "ADDED" as const, object }));
    return { events, revision: Number(list.metadata.resourceVersion) };
  }

  /** A version of a store that was replaced would otherwise wait for events that never come. */
  async #checkPast(version: number): Promise<void> {
    const { revision } = await this.#options.store.range(prefixOf(resourceInfo("namespaces")), {
      countOnly: true,
    });
    if (version <= revision) return;
    const message = `Too large resource version: ${version}, current: ${revision}`;
    const cause = { reason: "ResourceVersionTooLarge", message: "Too large resource version", field: "" };
    throw failure(504, "Timeout", message, { causes: [cause], retryAfterSeconds: 1 });
  }
}

async function* chain<T>(
  first: readonly T[],
  rest: AsyncGenerator<T, void>,
): AsyncGenerator<T, void, undefined> {
  yield* first;
  yield* rest;
}

function parseVersion(text: string): number {
  if (text === "") return 0;
  const version = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(version)) return version;
  throw badRequest(
    `resourceVersion: Invalid value: ${JSON.stringify(text)}: must be a version that the API server gave`,
  );
}

function timeoutMs(seconds: number | undefined): number {
  if (!seconds) return DEFAULT_TIMEOUT_MS * (1 + Math.random());
  return Math.min(seconds, MAX_TIMEOUT_SECONDS) * 1000;
}
