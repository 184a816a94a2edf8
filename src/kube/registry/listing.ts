/** Lists, whole or in pages: a page's continue token holds the revision, so all pages are of one moment. */
import { CompactedError, prefixEnd, type RangeResult, type Store } from "../../store/index.js";
import type { ResourceInfo } from "../resources.js";
import { badRequest, expired } from "../status.js";
import type { KubeList, ListOptions } from "../types.js";
import { decodeStored, prefixOf, type Stored } from "./object.js";

interface Page {
  /** Store revision of all pages; undefined for the first. */
  readonly revision?: number;
  /** Where in the key space the page starts. */
  readonly start: string;
}

/** @throws StatusError (400) for a bad token, (410) when the token's revision is gone */
export async function listObjects(
  store: Store,
  info: ResourceInfo,
  options: ListOptions,
  selects: (object: Stored) => boolean,
): Promise<KubeList<Stored>> {
  const prefix = prefixOf(info, options.namespace);
  const limit = options.limit ?? 0;
  let page: Page = options.continue ? parseToken(options.continue, prefix) : { start: prefix };
  const items: Stored[] = [];
  for (;;) {
    const wanted = limit > 0 ? limit - items.length : 0;
    const result = await readPage(store, prefix, page, wanted);
    items.push(...result.kvs.map(decodeStored).filter(selects));
    const last = result.kvs.at(-1);
    const resourceVersion = String(result.revision);
    const { apiVersion, listKind: kind } = info;
    if (!result.more || last === undefined) return { apiVersion, kind, metadata: { resourceVersion }, items };
    page = { revision: result.revision, start: `${last.key}\0` };
    if (items.length >= limit) {
      const token = formatToken(page, prefix);
      const selective = options.labelSelector || options.fieldSelector;
      const remaining = selective ? {} : { remainingItemCount: result.count - result.kvs.length };
      return { apiVersion, kind, metadata: { resourceVersion, continue: token, ...remaining }, items };
    }
  }
}

const TOO_OLD =
  "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";

async function readPage(store: Store, prefix: string, page: Page, limit: number): Promise<RangeResult> {
  const { revision, start } = page;
  try {
    const result = await store.range(start, {
      rangeEnd: prefixEnd(prefix),
      ...(limit > 0 ? { limit } : {}),
      ...(revision === undefined ? {} : { revision }),
    });
    return revision === undefined ? result : { ...result, revision };
  } catch (error) {
    if (error instanceof CompactedError) throw expired(TOO_OLD);
    throw error;
  }
}

const TOKEN_VERSION = "meta.k8s.io/v1";

function formatToken({ revision, start }: Page, prefix: string): string {
  const token = { v: TOKEN_VERSION, rv: revision, start: start.slice(prefix.length) };
  return Buffer.from(JSON.stringify(token)).toString("base64url");
}

function parseToken(text: string, prefix: string): Page {
  let token: { v?: unknown; rv?: unknown; start?: unknown } | null = null;
  try {
    token = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    // Falls through to the same answer as any other text that is no token.
  }
  const { v, rv, start } = typeof token === "object" && token !== null ? token : {};
  if (v !== TOKEN_VERSION || typeof start !== "string" || !Number.isSafeInteger(rv) || (rv as number) < 1)
    throw badRequest("continue key is not valid: list again without it");
  return { revision: rv as number, start: prefix + start };
}
