/** One watch: events of a cache after a version, as its selectors see them, with bookmarks and a time-out. */
import type { ResourceInfo } from "../resources.js";
import { expired } from "../status.js";
import type { WatchEvent } from "../types.js";
import { type Stored, withVersion } from "./object.js";
import type { CacheEvent, WatchCache } from "./watchCache.js";

export interface FollowOptions {
  readonly info: ResourceInfo;
  /** Events after this version. */
  readonly fromRevision: number;
  readonly selects: (object: Stored) => boolean;
  readonly bookmarks: boolean;
  readonly bookmarkIntervalMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Yields until the time is over, the signal aborts or the cache stops; an expired version ends it with an ERROR event.
 * Objects are the cache's own: not to be changed.
 */
export async function* follow(
  cache: WatchCache,
  options: FollowOptions,
): AsyncGenerator<WatchEvent<Stored>, void, undefined> {
  const { info, selects, bookmarks, bookmarkIntervalMs, signal } = options;
  const endMs = performance.now() + options.timeoutMs;
  let bookmarkMs = performance.now() + bookmarkIntervalMs;
  let revision = options.fromRevision;
  let place = cache.placeAfter(revision);
  while (!signal.aborted && !cache.stopped.aborted) {
    const event = place === undefined ? "gone" : cache.eventAt(place);
    if (event === "gone") return yield expiredEvent(revision, cache.oldest);
    if (event !== "none") {
      place!++;
      if (event.revision <= options.fromRevision) continue;
      revision = event.revision;
      const seen = asSeen(event, selects);
      if (seen) yield seen;
      continue;
    }
    // Everything is delivered, also what the selectors hide: later than the last event delivered is true too.
    revision = Math.max(revision, cache.revision);
    const nowMs = performance.now();
    if (bookmarks && (nowMs >= bookmarkMs || nowMs >= endMs)) {
      bookmarkMs = nowMs + bookmarkIntervalMs;
      yield bookmark(info, revision);
    }
    if (nowMs >= endMs) return;
    await cache.changed(signal, Math.min(bookmarks ? bookmarkMs : endMs, endMs) - nowMs);
  }
}

/** A change of an object is an arrival or a departure to those whose selector begins or ceases to choose it. */
function asSeen(event: CacheEvent, selects: (object: Stored) => boolean): WatchEvent<Stored> | undefined {
  const { previous, revision } = event;
  const selected = !event.deleted && selects(event.object);
  const wasSelected = previous !== undefined && selects(previous);
  if (selected) return { type: wasSelected ? "MODIFIED" : "ADDED", object: event.object };
  return wasSelected ? { type: "DELETED", object: withVersion(previous, revision) } : undefined;
}

/** Says up to which version everything has been delivered. */
export function bookmark(
  info: ResourceInfo,
  revision: number,
  annotations?: Record<string, string>,
): WatchEvent<Stored> {
  const metadata = { resourceVersion: String(revision), ...(annotations ? { annotations } : {}) };
  return {
    type: "BOOKMARK",
    object: { kind: info.kind, apiVersion: info.apiVersion, metadata } as Stored,
  };
}

function expiredEvent(revision: number, oldest: number): WatchEvent<Stored> {
  return { type: "ERROR", object: expired(`too old resource version: ${revision} (${oldest})`).status };
}
