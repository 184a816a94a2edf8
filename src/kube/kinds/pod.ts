/** Pods: defaults, validation, and what of a pod may change. */
import { isIP } from "node:net";
import { dnsLabel, dnsSubdomain } from "../names.js";
import type { Pod, PodSpec } from "../objects.js";
import { POD } from "../schemas/pod.js";
import { type FieldError, fieldError } from "../status.js";
import { defaultContainer, nonNegative, oneOf, validateContainer } from "./container.js";
import type { KindRules } from "./kind.js";
import { validateLabels } from "./meta.js";

const { required, invalid, duplicate, forbidden } = fieldError;
const RESTART_POLICIES = ["Always", "OnFailure", "Never"];
const DNS_POLICIES = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/** Of a pod or of a template. */
export function defaultPodSpec(spec: PodSpec): void {
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])])
    defaultContainer(container);
  if (spec.hostNetwork) defaultHostPorts(spec);
  spec.restartPolicy ??= "Always";
  spec.terminationGracePeriodSeconds ??= 30;
  spec.dnsPolicy ??= "ClusterFirst";
  spec.securityContext ??= {};
  spec.schedulerName ??= "default-scheduler";
  spec.enableServiceLinks ??= true;
}

/** In the node's network a container's ports are the node's (defaults.go, defaultHostNetworkPorts). */
function defaultHostPorts(spec: PodSpec): void {
  for (const { ports = [] } of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
    for (const port of ports) port.hostPort ||= port.containerPort;
  }
}

export function validatePodSpec(spec: PodSpec | undefined, at: string): FieldError[] {
  if (spec === undefined) return [required(`${at}.containers`)];
  const names = new Set<string>();
  const containers = spec.containers ?? [];
  return [
    ...(containers.length === 0 ? [required(`${at}.containers`)] : []),
    ...containers.flatMap((one, index) => validateContainer(one, `${at}.containers[${index}]`, names)),
    ...(spec.initContainers ?? []).flatMap((one, index) =>
      validateContainer(one, `${at}.initContainers[${index}]`, names),
    ),
    ...validateHostPorts(spec, `${at}.containers`),
    ...oneOf(`${at}.restartPolicy`, spec.restartPolicy, RESTART_POLICIES),
    ...oneOf(`${at}.dnsPolicy`, spec.dnsPolicy, DNS_POLICIES),
    ...nonNegative(`${at}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds),
    ...validateLabels(spec.nodeSelector, `${at}.nodeSelector`),
    ...named(`${at}.nodeName`, spec.nodeName, dnsSubdomain),
    ...named(`${at}.hostname`, spec.hostname, dnsLabel),
    ...named(`${at}.subdomain`, spec.subdomain, dnsLabel),
    ...named(`${at}.serviceAccountName`, spec.serviceAccountName, dnsSubdomain),
    ...named(`${at}.serviceAccount`, spec.serviceAccount, dnsSubdomain),
  ];
}

/** Host ports that two containers want, or that are not the node's in its network (validation.go). */
function validateHostPorts({ containers = [], hostNetwork }: PodSpec, at: string): FieldError[] {
  const seen = new Set<string>();
  return containers.flatMap(({ ports = [] }, index) =>
    ports.flatMap(({ hostPort, hostIP = "", containerPort, protocol }, portIndex) => {
      const where = `${at}[${index}].ports[${portIndex}]`;
      const why = "must match `hostPort` when `hostNetwork` is true";
      const errors = [
        ...(hostNetwork && hostPort !== containerPort
          ? [invalid(`${where}.containerPort`, containerPort, why)]
          : []),
        ...(hostIP && !isIP(hostIP)
          ? [
              invalid(
                `${where}.hostIP`,
                hostIP,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
              ),
            ]
          : []),
      ];
      if (!hostPort) return errors;
      const key = `${protocol}/${hostIP}/${hostPort}`;
      if (seen.has(key)) errors.push(duplicate(`${where}.hostPort`, key));
      seen.add(key);
      return errors;
    }),
  );
}

function named(field: string, value: string | undefined, rule: (value: string) => string[]): FieldError[] {
  return value ? rule(value).map((why) => invalid(field, value, why)) : [];
}

export const POD_RULES: KindRules<Pod> = {
  schema: POD,
  nameRule: dnsSubdomain,
  initialStatus: { phase: "Pending" },
  setDefaults: ({ spec }) => {
    if (spec) defaultPodSpec(spec);
  },
  validate: ({ spec }) => validatePodSpec(spec, "spec"),
  validateUpdate: validatePodUpdate,
};

const FIXED =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)";

/** Nearly all of a pod's spec is fixed. The scheduler's binding is the update that sets the missing `nodeName`. */
function validatePodUpdate({ spec }: Pod, { spec: stored }: Pod): FieldError[] {
  if (!spec || !stored) return [];
  if (spec.containers.length !== stored.containers.length)
    return [forbidden("spec.containers", "pod updates may not add or remove containers")];
  const bound = stored.nodeName ? spec.nodeName : undefined;
  return JSON.stringify(fixedPart({ ...spec, nodeName: bound })) === JSON.stringify(fixedPart(stored))
    ? []
    : [forbidden("spec", FIXED)];
}

function fixedPart(spec: PodSpec): PodSpec {
  const sameImages = (containers: PodSpec["containers"] | undefined) =>
    containers?.map((container) => ({ ...container, image: "", imagePullPolicy: "" }));
  const { activeDeadlineSeconds: _, tolerations: __, ...rest } = spec;
  return {
    ...rest,
    containers: sameImages(spec.containers) ?? [],
    ...(spec.initContainers ? { initContainers: sameImages(spec.initContainers) } : {}),
  } as PodSpec;
}
