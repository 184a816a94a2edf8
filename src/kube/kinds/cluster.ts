/** Namespaces, nodes and events. */
import { cidr, dnsLabel, dnsSubdomain } from "../names.js";
import type { Event, Namespace, Node } from "../objects.js";
import { EVENT, NAMESPACE, NODE } from "../schemas/core.js";
import { fieldError } from "../status.js";
import { oneOf } from "./container.js";
import type { KindRules } from "./kind.js";

const { required, invalid } = fieldError;

/** Keeps a namespace until its contents are gone; taken off by the namespace reaper. */
export const NAMESPACE_FINALIZER = "kubernetes";

export const NAMESPACE_RULES: KindRules<Namespace> = {
  schema: NAMESPACE,
  nameRule: dnsLabel,
  initialStatus: { phase: "Active" },
  setDefaults: (namespace) => {
    namespace.spec = { finalizers: [NAMESPACE_FINALIZER] };
    const { metadata } = namespace;
    // The label by which policies choose a namespace by name.
    if (metadata?.name)
      metadata.labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
  },
  validate: () => [],
};

const TAINT_EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/**
 * Unlike Kubernetes, `podCIDR` may change: the overlay hands subnets out, and a node whose lease was lost may come back
 * with another one.
 */
export const NODE_RULES: KindRules<Node> = {
  schema: NODE,
  nameRule: dnsSubdomain,
  setDefaults: (node) => {
    node.spec ??= {};
    if (node.spec.podCIDR && !node.spec.podCIDRs) node.spec.podCIDRs = [node.spec.podCIDR];
  },
  validate: ({ spec = {} }) => [
    ...(spec.podCIDRs ?? []).flatMap((one, index) =>
      cidr(one).map((why) => invalid(`spec.podCIDRs[${index}]`, one, why)),
    ),
    ...(spec.taints ?? []).flatMap(({ key, effect }, index) => [
      ...(key ? [] : [required(`spec.taints[${index}].key`)]),
      ...oneOf(`spec.taints[${index}].effect`, effect, TAINT_EFFECTS),
    ]),
  ],
};

export const EVENT_RULES: KindRules<Event> = {
  schema: EVENT,
  nameRule: dnsSubdomain,
  validate: ({ metadata, involvedObject }) => {
    if (!involvedObject) return [required("involvedObject")];
    // Events about objects without a namespace are kept in `default`.
    const namespace = involvedObject.namespace || "default";
    const why = "does not match event.namespace";
    return namespace === metadata.namespace
      ? []
      : [invalid("involvedObject.namespace", involvedObject.namespace ?? "", why)];
  },
};
