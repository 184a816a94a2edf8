/** The client's watch: one stream for each, opened again after the last revision that was delivered. */

import { isAway, translate } from "./call.js";
import type { Endpoints } from "./endpoints.js";
import { StoreRequestError } from "./errors.js";
import { toRange, toText } from "./keys.js";
import { EVENT_TYPES, type WatchRequest, type WatchResponse, watchCreate } from "./messages.js";
import { Backoff, pause } from "./pause.js";
import { WATCH } from "./services.js";
import {
  CompactedError,
  type KeyValue,
  type StoreEvent,
  type WatchBatch,
  type WatchOptions,
} from "./types.js";

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2000;

/** Where a watch is; `created` stays true over reconnects. */
interface Progress {
  next: number;
  created: boolean;
}

/** @throws CompactedError, StoreRequestError; a store that is away is waited for */
export async function* watchKeys(
  endpoints: Endpoints,
  key: string,
  options: WatchOptions,
  closed: AbortSignal,
): AsyncGenerator<WatchBatch, void, undefined> {
  const signal = options.signal === undefined ? closed : AbortSignal.any([closed, options.signal]);
  const progress: Progress = { next: options.fromRevision ?? 0, created: false };
  const backoff = new Backoff(FIRST_RETRY_MS, LAST_RETRY_MS);
  while (!signal.aborted) {
    const channel = await endpoints.connected();
    try {
      for await (const response of responses(channel.client, key, options, progress.next, signal)) {
        backoff.reset();
        const batch = advance(response, progress, options);
        if (batch !== undefined) yield batch;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isAway(error)) throw translate(error, channel.endpoint);
    }
    endpoints.failed(channel);
    await pause(backoff.next(), signal);
  }
}

/** One stream with one watch on it. */
async function* responses(
  client: Endpoints["current"]["client"],
  key: string,
  options: WatchOptions,
  startRevision: number,
  signal: AbortSignal,
): AsyncGenerator<WatchResponse, void, undefined> {
  const { path, request, response } = WATCH;
  const call = client.makeBidiStreamRequest<Partial<WatchRequest>, WatchResponse>(
    path,
    request.encode,
    response.decode,
  );
  const cancel = () => call.cancel();
  signal.addEventListener("abort", cancel);
  // The loop below sees errors; this one is for the error of our own cancel, after the loop.
  call.on("error", () => undefined);
  const { key: start, end = "" } = toRange(key, options);
  const { prevKv = false } = options;
  // Progress reports keep an idle watch's place ahead of compactions.
  const create = watchCreate.make({ key: start, rangeEnd: end, startRevision, prevKv, progressNotify: true });
  try {
    if (signal.aborted) return;
    call.write({ create });
    yield* call as AsyncIterable<WatchResponse>;
  } finally {
    signal.removeEventListener("abort", cancel);
    call.cancel();
  }
}

/** Takes the progress along; the batch to deliver, if there is one. */
function advance(response: WatchResponse, progress: Progress, options: WatchOptions): WatchBatch | undefined {
  const revision = response.header?.revision ?? 0;
  if (response.canceled) throw canceled(response);
  if (response.created) {
    if (!progress.created) options.onCreated?.(revision);
    progress.created = true;
    if (progress.next === 0) progress.next = revision + 1;
    return undefined;
  }
  const events = response.events.map(toEvent);
  // The header may be ahead of the events when the server has more of them to send.
  const reached = events.at(-1)?.kv.modRevision ?? revision;
  progress.next = Math.max(progress.next, reached + 1);
  return { revision: reached, events };
}

function canceled({ compactRevision, cancelReason }: WatchResponse): Error {
  if (compactRevision > 0) return new CompactedError(compactRevision);
  return new StoreRequestError(0, `the store ended the watch: ${cancelReason || "no reason given"}`);
}

function toEvent({ type, kv, prevKv }: WatchResponse["events"][number]): StoreEvent {
  if (kv === undefined) throw new StoreRequestError(0, "the store sent a watch event without a key");
  const event = { type: EVENT_TYPES[type] === "delete" ? "delete" : "put", kv: withTextKey(kv) } as const;
  return prevKv === undefined ? event : { ...event, prevKv: withTextKey(prevKv) };
}

/** A key-value pair of the wire as the interface shows it. */
export function withTextKey(kv: KeyValue): KeyValue {
  return { ...kv, key: toText(kv.key) };
}
