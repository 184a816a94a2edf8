/** Pieces of Kubernetes object schemas. Fields that Podwire does not look into are known by name only. */
import { z } from "zod";
import { dnsLabel, labels } from "../schema.js";

/** Fields that are accepted as they are. */
export function opaque<const Names extends readonly string[]>(...names: Names) {
  const entries = names.map((name) => [name, z.unknown().optional()]);
  return Object.fromEntries(entries) as { [Name in Names[number]]: z.ZodOptional<z.ZodUnknown> };
}

export const protocol = z.enum(["TCP", "UDP", "SCTP"]);
export const port = z.int().min(1).max(65535);
/** RFC 6335 service name, as container ports have. */
export const portName = z
  .string()
  .max(15)
  .regex(
    /^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/,
    "is not a port name; use lower-case letters, digits and -, with a letter",
  );
export const portOrName = z.union([port, portName], {
  error: "is not a port number from 1 to 65535 and not the name of a container port",
});
export const stringMap = z.record(z.string(), z.string());

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const subdomain = z
  .string()
  .max(253)
  .regex(SUBDOMAIN, "is not a DNS subdomain; use lower-case letters, digits, - and .");

const metadataFields = {
  namespace: dnsLabel(63).optional(),
  labels: labels.optional(),
  annotations: stringMap.optional(),
  ...opaque(
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
  ),
};

/** ObjectMeta of an object of its own; `name` as the kind demands. */
export function metadata(name: z.ZodString = subdomain) {
  return z.strictObject({ name, ...metadataFields });
}

/** ObjectMeta of a pod template. */
export const templateMetadata = z.strictObject({ name: subdomain.optional(), ...metadataFields });

/** meta/v1 LabelSelector. */
export const labelSelector = z.strictObject({
  matchLabels: labels.optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: z.string(),
        operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
});
