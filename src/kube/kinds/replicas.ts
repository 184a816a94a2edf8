/** ReplicationControllers and ReplicaSets (kubernetes pkg/apis/core and pkg/apis/apps: v1 defaults and validation). */
import { dnsSubdomain } from "../names.js";
import type { LabelSelector, PodTemplateSpec, ReplicaSet, ReplicationController } from "../objects.js";
import { REPLICA_SET, REPLICATION_CONTROLLER } from "../schemas/core.js";
import { matchesLabels } from "../selectors.js";
import { type FieldError, fieldError } from "../status.js";
import { nonNegative } from "./container.js";
import type { KindRules } from "./kind.js";
import { validateLabelSelector, validateLabels } from "./meta.js";
import { defaultPodSpec, validatePodSpec } from "./pod.js";

const { required, invalid, notSupported } = fieldError;

export const REPLICATION_CONTROLLER_RULES: KindRules<ReplicationController> = {
  schema: REPLICATION_CONTROLLER,
  nameRule: dnsSubdomain,
  countsGenerations: true,
  initialStatus: { replicas: 0 },
  setDefaults: (controller) => {
    controller.spec ??= {};
    setDefaults(controller);
    const labels = controller.spec.template?.metadata?.labels;
    if (labels && !hasEntries(controller.spec.selector)) controller.spec.selector = { ...labels };
  },
  validate: ({ spec = {} }) => {
    const { selector, template } = spec;
    const matches = hasEntries(selector)
      ? (labels: Record<string, string>) => isPartOf(selector, labels)
      : undefined;
    return [
      ...(matches ? validateLabels(selector, "spec.selector") : [required("spec.selector")]),
      ...validateReplicas(spec),
      ...validateTemplate(template, matches),
    ];
  },
};

export const REPLICA_SET_RULES: KindRules<ReplicaSet> = {
  schema: REPLICA_SET,
  nameRule: dnsSubdomain,
  countsGenerations: true,
  initialStatus: { replicas: 0 },
  setDefaults,
  validate: ({ spec }) => {
    const selector = spec?.selector;
    const errors = selector ? validateSelector(selector, "spec.selector") : [required("spec.selector")];
    const matches =
      selector && errors.length === 0
        ? (labels: Record<string, string>) => matchesLabels(selector, labels)
        : undefined;
    return [...errors, ...validateReplicas(spec ?? {}), ...validateTemplate(spec?.template, matches)];
  },
  validateUpdate: ({ spec }, { spec: stored }) =>
    JSON.stringify(spec?.selector) === JSON.stringify(stored?.selector)
      ? []
      : [invalid("spec.selector", spec?.selector, "field is immutable")],
};

function setDefaults({ metadata, spec }: ReplicationController | ReplicaSet): void {
  if (!spec) return;
  spec.replicas ??= 1;
  const { template } = spec;
  if (template?.spec) defaultPodSpec(template.spec);
  const labels = template?.metadata?.labels;
  if (labels && metadata && !hasEntries(metadata.labels)) metadata.labels = { ...labels };
}

function hasEntries(map: Record<string, string> | undefined): map is Record<string, string> {
  return map !== undefined && Object.keys(map).length > 0;
}

function isPartOf(selector: Record<string, string>, labels: Record<string, string>): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

function validateReplicas(spec: { replicas?: number; minReadySeconds?: number }): FieldError[] {
  return [
    ...nonNegative("spec.replicas", spec.replicas),
    ...nonNegative("spec.minReadySeconds", spec.minReadySeconds),
  ];
}

function validateSelector(selector: LabelSelector, at: string): FieldError[] {
  const choosesAll = !hasEntries(selector.matchLabels) && !selector.matchExpressions?.length;
  return choosesAll
    ? [invalid(at, selector, "empty selector is invalid for deployment")]
    : validateLabelSelector(selector, at);
}

/** @param matches the selector, when it is a right one */
function validateTemplate(
  template: PodTemplateSpec | undefined,
  matches: ((labels: Record<string, string>) => boolean) | undefined,
): FieldError[] {
  const at = "spec.template";
  if (template === undefined) return [required(at)];
  const labels = template.metadata?.labels ?? {};
  const errors = validateLabels(labels, `${at}.metadata.labels`);
  if (matches && !matches(labels)) {
    errors.push(invalid(`${at}.metadata.labels`, labels, "`selector` does not match template `labels`"));
  }
  errors.push(...validatePodSpec(template.spec, `${at}.spec`));
  const policy = template.spec?.restartPolicy;
  const ends = policy === "OnFailure" || policy === "Never";
  return ends ? [...errors, notSupported(`${at}.spec.restartPolicy`, policy, ["Always"])] : errors;
}
