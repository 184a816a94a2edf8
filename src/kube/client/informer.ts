/**
 * A local copy of what the API holds: one list, then a watch that goes on where the last one ended; a new list when the
 * server has forgotten that version. While the server is away the copy stays, and the informer asks again with growing,
 * jittered pauses (client-go tools/cache/reflector.go).
 */
import type { KubeClient, KubeObject, ListOptions, ResourceName, WatchEvent } from "../types.js";
import { StatusError } from "../types.js";

export interface InformerHandlers<T> {
  onAdd?(object: T): void;
  onUpdate?(object: T, before: T): void;
  onDelete?(object: T): void;
}

export type InformerOptions = Pick<ListOptions, "namespace" | "labelSelector" | "fieldSelector">;

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2000;
/** A watch that lasted this long was none that failed at once. */
const HEALTHY_MS = 1000;
/** Servers are asked to end watches, so that a connection that is dead without saying so is not waited on for ever. */
const WATCH_SECONDS = 300;

export class Informer<T extends KubeObject> {
  /** Resolves when the first list is in and told to the handlers. Never, when stopped before. */
  readonly synced: Promise<void>;
  readonly #client: KubeClient;
  readonly #resource: ResourceName;
  readonly #options: InformerOptions;
  readonly #keep: (object: T) => T;
  readonly #stop = new AbortController();
  #handlers: InformerHandlers<T> = {};
  #objects = new Map<string, T>();
  #setSynced: () => void = () => {};

  /**
   * `keep` makes of each object what is to be kept of it, to save memory (client-go's SetTransform): at least name,
   * namespace, uid and resourceVersion. Handlers get that.
   */
  constructor(
    client: KubeClient,
    resource: ResourceName,
    options: InformerOptions = {},
    keep: (object: T) => T = (object) => object,
  ) {
    this.#client = client;
    this.#resource = resource;
    this.#options = options;
    this.#keep = keep;
    this.synced = new Promise((resolve) => {
      this.#setSynced = resolve;
    });
  }

  /** Begins; to be called once. */
  start(handlers: InformerHandlers<T> = {}): void {
    this.#handlers = handlers;
    void this.#run();
  }

  /** No handler is called after this. */
  stop(): void {
    this.#stop.abort();
  }

  /** What is known now; the objects are shared and not to be changed. */
  items(): T[] {
    return [...this.#objects.values()];
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let version: string | undefined;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      const startMs = performance.now();
      try {
        version ??= await this.#list();
        version = await this.#watch(version);
      } catch (error) {
        // What the API itself refuses is not mended by asking for the same version again.
        if (error instanceof StatusError) version = undefined;
      }
      if (performance.now() - startMs > HEALTHY_MS) pauseMs = FIRST_PAUSE_MS;
      await pause(pauseMs * (0.5 + Math.random()), signal);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  async #list(): Promise<string> {
    const list = await this.#client.list<T>(this.#resource, this.#options);
    if (this.#stop.signal.aborted) return "";
    const found = new Map(list.items.map((object) => [keyOf(object), object]));
    for (const [key, object] of this.#objects) if (!found.has(key)) this.#remove(key, object);
    for (const object of found.values()) this.#put(this.#keep(object));
    this.#setSynced();
    return list.metadata.resourceVersion ?? "";
  }

  /** The version up to which everything is known; undefined when a list is needed. */
  async #watch(from: string): Promise<string | undefined> {
    const { signal } = this.#stop;
    let version = from;
    const events = this.#client.watch<T>(this.#resource, {
      ...this.#options,
      resourceVersion: from,
      allowWatchBookmarks: true,
      timeoutSeconds: Math.round(WATCH_SECONDS * (1 + Math.random())),
      signal,
    });
    try {
      for await (const event of events) {
        if (signal.aborted) return undefined;
        if (event.type === "ERROR") return undefined;
        this.#apply(event);
        version = event.object.metadata?.resourceVersion ?? version;
      }
    } catch (error) {
      if (error instanceof StatusError) throw error;
      // The connection broke off: the next watch goes on from the last event.
    }
    return version;
  }

  #apply(event: Exclude<WatchEvent<T>, { type: "ERROR" }>): void {
    if (event.type === "BOOKMARK") return;
    const object = this.#keep(event.object);
    if (event.type === "DELETED") this.#remove(keyOf(object), object);
    else this.#put(object);
  }

  #put(object: T): void {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    if (before !== undefined && before.metadata?.resourceVersion === object.metadata?.resourceVersion) return;
    if (before !== undefined && before.metadata?.uid !== object.metadata?.uid) this.#remove(key, before);
    const replaced = this.#objects.get(key);
    this.#objects.set(key, object);
    this.#tell(() =>
      replaced === undefined ? this.#handlers.onAdd?.(object) : this.#handlers.onUpdate?.(object, replaced),
    );
  }

  #remove(key: string, object: T): void {
    if (this.#objects.delete(key)) this.#tell(() => this.#handlers.onDelete?.(object));
  }

  /** A handler that throws is a bug of the program, not a fault of the connection: it must not look like one. */
  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}`;
}

/** Unref'd timers would let the process end under a pause that somebody waits for. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
