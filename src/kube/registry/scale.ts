/** The `scale` subresource: autoscaling/v1 Scale as a view of what keeps replicas. */

import { KINDS } from "../kinds/index.js";
import type { ReplicaSet, ReplicationController } from "../objects.js";
import { resourceInfo } from "../resources.js";
import { decode } from "../schema.js";
import { SCALE } from "../schemas/core.js";
import { formatSelector, labelSelectorRequirements, mapRequirements } from "../selectors.js";
import { badRequest, fieldError, invalid } from "../status.js";
import { checkPreconditions } from "./admission.js";
import { canonical, type Meta, type Stored } from "./object.js";
import type { ObjectPlace, Registry } from "./registry.js";

export interface Scale extends Stored {
  spec: { replicas?: number };
  status: { replicas: number; selector: string };
}

export function toScale(object: Stored): Scale {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const metadata = { name, namespace, uid, resourceVersion, creationTimestamp } as Meta & { name: string };
  const { spec, status } = object as ReplicationController | ReplicaSet;
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata,
    spec: { replicas: spec?.replicas ?? 0 },
    status: { replicas: status?.replicas ?? 0, selector: selectorText(object) },
  };
}

function selectorText({ kind, spec }: Stored): string {
  if (kind === "ReplicaSet") {
    const selector = (spec as ReplicaSet["spec"])?.selector;
    return formatSelector((selector && labelSelectorRequirements(selector)) ?? []);
  }
  return formatSelector(mapRequirements((spec as ReplicationController["spec"])?.selector ?? {}));
}

/**
 * Sets the number of replicas to that of a Scale; `change` makes the Scale from the present one.
 * @throws StatusError (400, 404, 409, 422)
 */
export async function updateScale(
  registry: Registry,
  place: ObjectPlace,
  change: (present: Scale) => unknown,
): Promise<Scale> {
  const info = resourceInfo(place.resource);
  const updated = await registry.modify(place, (stored) => {
    const scale = decode(SCALE, change(toScale(stored))).value as Partial<Scale>;
    if (scale.kind !== "Scale")
      throw badRequest(`a Scale of autoscaling/v1 is wanted, not kind "${scale.kind ?? ""}"`);
    checkPreconditions(info, stored, scale.metadata ?? {});
    const replicas = scale.spec?.replicas ?? 0;
    if (replicas < 0) {
      const why = "must be greater than or equal to 0";
      throw invalid(info, place.name, [fieldError.invalid("spec.replicas", replicas, why)]);
    }
    if (replicas === (stored.spec as { replicas?: number }).replicas) return stored;
    const metadata = { ...stored.metadata, generation: (stored.metadata.generation ?? 0) + 1 };
    const spec = { ...(stored.spec as object), replicas };
    return canonical(KINDS[info.name].schema, { ...stored, metadata, spec });
  });
  return toScale(updated);
}
