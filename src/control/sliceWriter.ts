/** Brings stored EndpointSlices to what they should hold: shared by the slice controller and the mirroring one. */
import { isDeepStrictEqual } from "node:util";
import type { EndpointSlice, KubeClient, ObjectMeta } from "../kube/index.js";
import type { Family } from "./families.js";
import { type PlacementLimits, type PortGroup, place } from "./placement.js";
import { unlessGone } from "./queue.js";

export const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
export const MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by";

/** What all slices of one Service and family have. */
export interface SliceKind {
  readonly addressType: Family;
  readonly metadata: ObjectMeta & { readonly labels: Record<string, string> };
  /** When the change began that slices are written for, ISO 8601; empty when that is not known, missing to say nothing of it. */
  readonly triggeredAt?: string;
}

/** Read by kube-proxy (core/v1 `EndpointsLastChangeTriggerTime`). */
const TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time";

/**
 * The slices that a manager keeps for a Service, from the API and not from a cache: one that was made a moment ago must
 * not be made again.
 */
export async function listSlices(
  client: KubeClient,
  namespace: string | undefined,
  service: string,
  manager: string,
): Promise<EndpointSlice[]> {
  const labelSelector = `${SERVICE_NAME_LABEL}=${service},${MANAGED_BY_LABEL}=${manager}`;
  const options = { ...(namespace && { namespace }), labelSelector };
  return (await client.list<EndpointSlice>("endpointslices", options)).items;
}

export async function removeSlice(client: KubeClient, slice: EndpointSlice): Promise<void> {
  await unlessGone(client.delete("endpointslices", slice.metadata?.namespace, slice.metadata?.name ?? ""));
}

/** The Service that a slice says it belongs to, as a key. */
export function serviceKeyOf({ metadata }: EndpointSlice): string | undefined {
  const name = metadata?.labels?.[SERVICE_NAME_LABEL];
  return name === undefined ? undefined : `${metadata?.namespace}/${name}`;
}

/** Creates, updates and removes slices; `existing` are those of this kind. */
export async function writeSlices(
  client: KubeClient,
  kind: SliceKind,
  groups: readonly PortGroup[],
  existing: readonly EndpointSlice[],
  limits: PlacementLimits,
): Promise<void> {
  const { create, update, remove } = place(groups, existing, limits);
  const { labels, annotations } = kind.metadata;
  for (const content of create) {
    await client.create<EndpointSlice>("endpointslices", {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: triggered(kind.metadata, kind.triggeredAt),
      addressType: kind.addressType,
      ...content,
    });
  }
  const written = new Set([...update, ...remove].map((slice) => slice.metadata?.uid));
  const relabelled = existing.filter(
    ({ metadata }) =>
      !written.has(metadata?.uid) &&
      !(isDeepStrictEqual(metadata?.labels, labels) && sameAnnotations(metadata, annotations)),
  );
  for (const slice of [...update, ...relabelled]) {
    const marked = { ...slice.metadata, labels, ...(annotations && { annotations }) };
    const metadata = triggered(marked, kind.triggeredAt);
    await client.update<EndpointSlice>("endpointslices", { ...slice, metadata });
  }
  // Last, so that no endpoint is missing in between.
  for (const slice of remove) await removeSlice(client, slice);
}

function triggered(metadata: ObjectMeta, at: string | undefined): ObjectMeta {
  if (at === undefined) return metadata;
  const { [TRIGGER_ANNOTATION]: _, ...others } = metadata.annotations ?? {};
  return { ...metadata, annotations: { ...others, ...(at && { [TRIGGER_ANNOTATION]: at }) } };
}

/** Those of slices that were not told any are left to whoever set them. */
function sameAnnotations(metadata: ObjectMeta | undefined, wanted: ObjectMeta["annotations"]): boolean {
  return wanted === undefined || isDeepStrictEqual(metadata?.annotations ?? {}, wanted);
}
