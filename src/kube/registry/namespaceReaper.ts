/** Deletes what is in namespaces that are being deleted, then the namespaces themselves. */
import { RESOURCES } from "../resources.js";
import type { ResourceName } from "../types.js";
import type { Stored } from "./object.js";
import { isNotFound, type Registry } from "./registry.js";
import type { Watches } from "./watches.js";

export interface ReaperOptions {
  readonly registry: Registry;
  readonly watches: Watches;
  readonly log: (level: "warn", message: string) => void;
}

/** What makes other objects goes first; Events, which tell of the rest, last. */
const FIRST: readonly ResourceName[] = ["replicationcontrollers", "replicasets"];
const CONTENTS: readonly ResourceName[] = [
  ...FIRST,
  ...RESOURCES.flatMap(({ name, namespaced }) =>
    namespaced && name !== "events" && !FIRST.includes(name) ? [name] : [],
  ),
  "events",
];
/** Pods take their time to stop; between looks. */
const LOOK_AGAIN_MS = 250;

export class NamespaceReaper {
  readonly #options: ReaperOptions;
  readonly #stop = new AbortController();
  readonly #atWork = new Map<string, Promise<void>>();
  #watching: Promise<void> | undefined;

  constructor(options: ReaperOptions) {
    this.#options = options;
  }

  /** Takes up also what an earlier process left unfinished. */
  start(): void {
    this.#watching = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#watching, ...this.#atWork.values()]);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const event of await this.#options.watches.open("namespaces", { signal })) {
          if (event.type === "ERROR") break;
          const { name, deletionTimestamp } = event.object.metadata;
          if (event.type === "DELETED" || deletionTimestamp === undefined || this.#atWork.has(name)) continue;
          this.#atWork.set(
            name,
            this.#reap(name).finally(() => this.#atWork.delete(name)),
          );
        }
      } catch (error) {
        this.#options.log("warn", `namespaces cannot be watched: ${(error as Error).message}`);
      }
      await this.#pause();
    }
  }

  async #reap(name: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const namespace = await this.#options.registry.get({ resource: "namespaces", name });
        if (namespace.metadata.deletionTimestamp === undefined) return;
        if (await this.#empty(name, namespace)) await this.#options.registry.finalizeNamespace(namespace);
      } catch (error) {
        if (isNotFound(error)) return;
        this.#options.log("warn", `namespace ${name} cannot be emptied: ${(error as Error).message}`);
      }
      await this.#pause();
    }
  }

  /** Deletes the contents; true when there was nothing left and nobody else's finalizer holds the namespace. */
  async #empty(name: string, namespace: Stored): Promise<boolean> {
    let left = namespace.metadata.finalizers?.length ?? 0;
    for (const resource of CONTENTS) {
      const { items } = await this.#options.registry.deleteCollection(resource, { namespace: name });
      if (items.length > 0)
        left += (await this.#options.registry.list(resource, { namespace: name })).items.length;
    }
    return left === 0;
  }

  #pause(): Promise<void> {
    const { signal } = this.#stop;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, LOOK_AGAIN_MS).unref();
      signal.addEventListener("abort", done);
    });
  }
}
