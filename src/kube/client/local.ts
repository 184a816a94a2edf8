/** The API in process: the same registry that the server serves, without HTTP. Objects are the caller's own copies. */
import type { Backend } from "../registry/index.js";
import { resourceInfo } from "../resources.js";
import { badRequest } from "../status.js";
import type {
  DeleteOptions,
  KubeClient,
  KubeList,
  KubeObject,
  ListOptions,
  ResourceName,
  WatchEvent,
  WatchOptions,
} from "../types.js";

export class LocalKubeClient implements KubeClient {
  readonly #backend: Pick<Backend, "registry" | "watches">;

  constructor(backend: Pick<Backend, "registry" | "watches">) {
    this.#backend = backend;
  }

  async get<T extends KubeObject>(
    resource: ResourceName,
    namespace: string | undefined,
    name: string,
  ): Promise<T> {
    return as<T>(await this.#backend.registry.get({ resource, namespace, name }));
  }

  async list<T extends KubeObject>(resource: ResourceName, options: ListOptions = {}): Promise<KubeList<T>> {
    return as<KubeList<T>>(await this.#backend.registry.list(resource, options));
  }

  async create<T extends KubeObject>(resource: ResourceName, object: T): Promise<T> {
    const { namespace } = object.metadata ?? {};
    const body = withType(resource, object);
    return as<T>((await this.#backend.registry.create(resource, namespace, body, "Strict")).object);
  }

  async update<T extends KubeObject>(resource: ResourceName, object: T, subresource?: "status"): Promise<T> {
    const place = placeOf(resource, object);
    const body = withType(resource, object);
    return as<T>((await this.#backend.registry.update(place, body, "Strict", subresource)).object);
  }

  async delete(
    resource: ResourceName,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    await this.#backend.registry.delete({ resource, namespace, name }, options);
  }

  async *watch<T extends KubeObject>(
    resource: ResourceName,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    if (options.signal?.aborted) return;
    // The cache's objects are shared by all watches.
    for await (const event of await this.#backend.watches.open(resource, options))
      yield as(structuredClone(event));
  }
}

/** The object as it goes over the wire: plain JSON, with the type that a caller may leave out. */
export function withType(resource: ResourceName, object: KubeObject): unknown {
  const { apiVersion, kind } = resourceInfo(resource);
  return JSON.parse(JSON.stringify({ apiVersion, kind, ...object }));
}

/** Where an object is. @throws StatusError (400) when it has no name */
export function placeOf(
  resource: ResourceName,
  object: KubeObject,
): { resource: ResourceName; namespace?: string; name: string } {
  const { name, namespace = "default" } = object.metadata ?? {};
  if (!name) throw badRequest("metadata.name is missing: an update names its object");
  return resourceInfo(resource).namespaced ? { resource, namespace, name } : { resource, name };
}

/** The caller says which type the resource has; what the registry stores was validated as that. */
function as<T>(value: unknown): T {
  return value as T;
}
