/** Create, read, update and delete of objects over the store, with optimistic concurrency on its revisions. */
import {
  type Compare,
  LeaseNotFoundError,
  type Operation,
  type Store,
  type TxnResult,
} from "../../store/index.js";
import { matchesFields, parseFieldSelector } from "../fields.js";
import { KINDS } from "../kinds/index.js";
import type { Ingress, Service } from "../objects.js";
import { type ResourceInfo, resourceInfo } from "../resources.js";
import { matchesAll, parseLabelSelector } from "../selectors.js";
import { alreadyExists, badRequest, failure, fieldError, forbidden, notFound } from "../status.js";
import {
  type DeleteOptions,
  type KubeList,
  type ListOptions,
  type ResourceName,
  StatusError,
} from "../types.js";
import {
  checkPreconditions,
  decodeBody,
  type FieldValidation,
  placeInNamespace,
  prepareCreate,
  prepareStatusUpdate,
  prepareUpdate,
} from "./admission.js";
import { isFinalized, planDeletion } from "./deletion.js";
import { EventLease } from "./eventLease.js";
import { setDefaultIngressClass } from "./ingressClass.js";
import type { SideEffects } from "./ipAddresses.js";
import { listObjects } from "./listing.js";
import { canonical, decodeStored, encode, keyOf, type Stored, withVersion } from "./object.js";
import type { ServiceAllocator } from "./serviceAllocator.js";

export interface RegistryOptions {
  readonly store: Store;
  readonly services: ServiceAllocator;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Which object a request is about. */
export interface ObjectPlace {
  readonly resource: ResourceName;
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface Written {
  readonly object: Stored;
  readonly warnings: readonly string[];
}

const NONE: SideEffects = { compares: [], operations: [] };
/** A random name that is taken is made again this often. */
const NAME_TRIES = 8;
const NAMESPACES = resourceInfo("namespaces");

export class Registry {
  readonly #options: RegistryOptions;
  readonly #eventLease: EventLease;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#eventLease = new EventLease(options.store);
  }

  /** @throws StatusError (404) */
  async get({ resource, namespace, name }: ObjectPlace): Promise<Stored> {
    const info = resourceInfo(resource);
    const { kvs } = await this.#options.store.range(keyOf(info, namespace, name));
    if (kvs[0] === undefined) throw notFound(info, name);
    return decodeStored(kvs[0]);
  }

  /** @throws StatusError (400) for a bad selector or continue token, (410) for an old token */
  async list(resource: ResourceName, options: ListOptions = {}): Promise<KubeList<Stored>> {
    return listObjects(this.#options.store, resourceInfo(resource), options, selection(resource, options));
  }

  /** @throws StatusError (400, 403, 404, 409, 422) */
  async create(
    resource: ResourceName,
    namespace: string | undefined,
    body: unknown,
    validation: FieldValidation,
  ): Promise<Written> {
    const info = resourceInfo(resource);
    const { object: decoded, warnings } = decodeBody(info, body, validation);
    placeInNamespace(info, decoded, namespace);
    for (let tries = 1; ; tries++) {
      if (resource === "ingresses") await setDefaultIngressClass(this.#options.store, decoded as Ingress);
      const object = prepareCreate(info, decoded, this.#options.now());
      const created = await this.#insert(info, object);
      if (created) return { object: created, warnings };
      const { name } = object.metadata;
      if (decoded.metadata.name || tries === NAME_TRIES) throw alreadyExists(info, name);
    }
  }

  /** Undefined when the name is taken. */
  async #insert(info: ResourceInfo, object: Stored): Promise<Stored | undefined> {
    const key = keyOf(info, object.metadata.namespace, object.metadata.name);
    for (;;) {
      const compares: Compare[] = [{ key, target: "createRevision", result: "=", value: 0 }];
      if (info.namespaced) compares.push(await this.#openNamespace(info, object));
      // Asked first, since a Service of this name holds the very addresses that this one may ask for.
      if ((await this.#options.store.range(key, { countOnly: true })).count > 0) return undefined;
      const next = structuredClone(object);
      const result = await this.#write(info, compares, key, next, undefined);
      if (result.succeeded) return withVersion(next, result.revision);
      // The name was taken or the namespace changed in between: look again.
    }
  }

  /** The condition that the object's namespace is still as it is now. @throws StatusError (403, 404) */
  async #openNamespace(info: ResourceInfo, { metadata }: Stored): Promise<Compare> {
    const { namespace = "", name } = metadata;
    const stored = await this.get({ resource: "namespaces", name: namespace });
    if (stored.metadata.deletionTimestamp !== undefined) {
      const message = `namespace ${namespace} is being terminated`;
      const causes = [{ reason: "NamespaceTerminating", message, field: "metadata.namespace" }];
      const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
      throw forbidden(info, name, why, causes);
    }
    const value = Number(stored.metadata.resourceVersion);
    return { key: keyOf(NAMESPACES, undefined, namespace), target: "modRevision", result: "=", value };
  }

  /** Replaces the object, or its status alone. @throws StatusError (400, 404, 409, 422) */
  async update(
    place: ObjectPlace,
    body: unknown,
    validation: FieldValidation,
    subresource?: "status",
  ): Promise<Written> {
    const info = resourceInfo(place.resource);
    const { object: decoded, warnings } = decodeBody(info, body, validation);
    const { name } = decoded.metadata;
    if (name !== place.name) {
      const what = "the name of the object";
      throw badRequest(`${what} (${name ?? ""}) does not match the name on the URL (${place.name})`);
    }
    placeInNamespace(info, decoded, place.namespace);
    const prepare = subresource === "status" ? prepareStatusUpdate : prepareUpdate;
    const object = await this.modify(place, (stored) => prepare(info, decoded, stored));
    return { object, warnings };
  }

  /**
   * Stores what `change` makes of the stored object; asks it again when somebody else wrote in between.
   * @throws StatusError (404), and what `change` throws
   */
  async modify(place: ObjectPlace, change: (stored: Stored) => Stored): Promise<Stored> {
    const info = resourceInfo(place.resource);
    const key = keyOf(info, place.namespace, place.name);
    for (;;) {
      const stored = await this.get(place);
      const next = change(stored);
      if (isFinalized(info, next)) {
        if (await this.#remove(info, key, stored)) return next;
        continue;
      }
      if (sameValue(next, stored)) return stored;
      const result = await this.#write(info, [unchangedSince(key, stored)], key, next, stored);
      if (result.succeeded) return withVersion(next, result.revision);
    }
  }

  /**
   * Deletes, or marks for deletion; `removed` says which.
   * @throws StatusError (403, 404, 409, 422)
   */
  async delete(
    place: ObjectPlace,
    options: DeleteOptions = {},
  ): Promise<{ object: Stored; removed: boolean }> {
    const info = resourceInfo(place.resource);
    const key = keyOf(info, place.namespace, place.name);
    checkPropagation(options);
    for (;;) {
      const stored = await this.get(place);
      checkPreconditions(info, stored, options.preconditions ?? {});
      const plan = planDeletion(info, stored, options, this.#options.now());
      if (plan.type === "wait") return { object: stored, removed: false };
      if (plan.type === "remove") {
        if (await this.#remove(info, key, stored)) return { object: stored, removed: true };
        continue;
      }
      const result = await this.#write(info, [unchangedSince(key, stored)], key, plan.object, stored);
      if (result.succeeded) return { object: withVersion(plan.object, result.revision), removed: false };
    }
  }

  /** Deletes each object that the selectors choose; returns them as they were. */
  async deleteCollection(
    resource: ResourceName,
    options: ListOptions,
    deleteOptions: DeleteOptions = {},
  ): Promise<KubeList<Stored>> {
    const list = await this.list(resource, options);
    for (const { metadata } of list.items) {
      try {
        await this.delete({ resource, namespace: metadata.namespace, name: metadata.name }, deleteOptions);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    return list;
  }

  /** Removes a namespace that is being deleted and is empty. */
  async finalizeNamespace(stored: Stored): Promise<void> {
    await this.#remove(NAMESPACES, keyOf(NAMESPACES, undefined, stored.metadata.name), stored);
  }

  /** False when the object has changed since. */
  async #remove(info: ResourceInfo, key: string, stored: Stored): Promise<boolean> {
    const remove = ({ compares, operations }: SideEffects = NONE) =>
      this.#options.store.txn(
        [unchangedSince(key, stored), ...compares],
        [{ type: "delete", key }, ...operations],
      );
    const result =
      info.name === "services"
        ? await this.#options.services.commit(undefined, stored as Service, remove)
        : await remove();
    return result.succeeded;
  }

  /** Services get their addresses, and Events their time to live, with the write. */
  async #write(
    info: ResourceInfo,
    compares: readonly Compare[],
    key: string,
    next: Stored,
    previous: Stored | undefined,
  ): Promise<TxnResult> {
    const { store, services } = this.#options;
    const put = (lease = "0", effects = NONE): Promise<TxnResult> => {
      const operation: Operation = {
        type: "put",
        key,
        value: encode(canonical(KINDS[info.name].schema, next)),
        lease,
      };
      return store.txn([...compares, ...effects.compares], [operation, ...effects.operations]);
    };
    if (info.name === "services") {
      const write = (effects: SideEffects) => put("0", effects);
      return services.commit(next as Service, previous as Service | undefined, write);
    }
    if (info.name !== "events") return put();
    try {
      return await put(await this.#eventLease.current());
    } catch (error) {
      if (!(error instanceof LeaseNotFoundError)) throw error;
      this.#eventLease.forget();
      return put(await this.#eventLease.current());
    }
  }
}

/** Whether the options choose an object. @throws StatusError (400) for a bad selector */
export function selection(resource: ResourceName, options: ListOptions): (object: Stored) => boolean {
  const namespace = resourceInfo(resource).namespaced ? options.namespace : undefined;
  const labels = parseLabelSelector(options.labelSelector ?? "");
  const fields = parseFieldSelector(resource, options.fieldSelector ?? "");
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    matchesAll(labels, object.metadata.labels) &&
    matchesFields(fields, object);
}

/** Foreground is taken for background: the owner goes first, its dependents follow. */
const PROPAGATION_POLICIES: readonly string[] = ["Background", "Foreground", "Orphan"];

function checkPropagation({ propagationPolicy = "Background" }: DeleteOptions): void {
  if (PROPAGATION_POLICIES.includes(propagationPolicy)) return;
  const { message } = fieldError.notSupported("propagationPolicy", propagationPolicy, PROPAGATION_POLICIES);
  throw failure(422, "Invalid", `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: ${message}`);
}

function unchangedSince(key: string, stored: Stored): Compare {
  return { key, target: "modRevision", result: "=", value: Number(stored.metadata.resourceVersion) };
}

function sameValue(a: Stored, b: Stored): boolean {
  return Buffer.compare(encode(a), encode(b)) === 0;
}

export function isNotFound(error: unknown): boolean {
  return error instanceof StatusError && error.status.reason === "NotFound";
}
