/** What the API holds of one resource, kept by an informer, with the object before and after each change. */
import { Informer, type KubeClient, type KubeObject, type ResourceName } from "../kube/index.js";

/** `before` is missing for a new object, `now` for a deleted one. */
export interface Change<T> {
  readonly before?: T;
  readonly now?: T;
}

export class Cache<T extends KubeObject> {
  readonly #informer: Informer<T>;
  readonly #items = new Map<string, T>();
  readonly #listeners: ((change: Change<T>) => void)[] = [];

  constructor(client: KubeClient, resource: ResourceName) {
    this.#informer = new Informer<T>(client, resource);
  }

  /** Resolves when the first list is in. */
  get synced(): Promise<void> {
    return this.#informer.synced;
  }

  /** By key, as `keyOf` makes them. */
  get(key: string): T | undefined {
    return this.#items.get(key);
  }

  items(): IterableIterator<T> {
    return this.#items.values();
  }

  /** Calls for every later change, in order, after the cache has it. */
  subscribe(listener: (change: Change<T>) => void): void {
    this.#listeners.push(listener);
  }

  start(): void {
    const put = (object: T) => {
      const before = this.#items.get(keyOf(object));
      this.#items.set(keyOf(object), object);
      this.#tell(before ? { before, now: object } : { now: object });
    };
    const remove = (object: T) => {
      this.#items.delete(keyOf(object));
      this.#tell({ before: object });
    };
    this.#informer.start({ onAdd: put, onUpdate: put, onDelete: remove });
  }

  stop(): void {
    this.#informer.stop();
  }

  #tell(change: Change<T>): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/** `namespace/name`, or the name alone for objects of the cluster. */
export function keyOf(object: KubeObject): string {
  const { namespace, name = "" } = object.metadata ?? {};
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The two parts of a key. */
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf("/");
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
