import type { Service } from "kubernetes-types/core/v1.d.ts";
import type { AddressFamily } from "./family.js";
import { asArray, asRecord, asString, isPort, PROTOCOL_NUMBERS } from "./read.js";
import { readExternal } from "./service-external.js";
import { readScheduling } from "./service-scheduling.js";
import { type InvalidHandler, type ServicePort, servicePortKey, servicePortName } from "./types.js";

/** Services and slices that carry one of these labels are somebody else's (pkg/proxy/apis/well_known_labels.go). */
const IGNORE_LABELS = ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] as const;

/** core/v1 `DefaultClientIPServiceAffinitySeconds`, and the longest that validation allows (one day). */
const DEFAULT_AFFINITY_SECONDS = 10_800;
const MAX_AFFINITY_SECONDS = 86_400;

/** Whether an object's labels say that another proxy serves it, or none. */
export function isIgnoredByLabels(metadata: Readonly<Record<string, unknown>>): boolean {
  const labels = asRecord(metadata.labels);
  return IGNORE_LABELS.some((label) => label in labels);
}

/**
 * The ports of a Service, none when kube-proxy ignores it (pkg/proxy/util/utils.go `ShouldSkipService`).
 * Parts that make no sense are reported and left out; undefined when the object has no name.
 */
export function readServicePorts(
  service: Service,
  onInvalid: InvalidHandler,
  family: AddressFamily,
): { service: string; ports: ServicePort[] } | undefined {
  const metadata = asRecord(service.metadata);
  const namespace = asString(metadata.namespace);
  const name = asString(metadata.name);
  if (namespace === "" || name === "") {
    onInvalid("A Service without metadata.namespace or metadata.name was ignored.");
    return undefined;
  }
  const key = `${namespace}/${name}`;
  const spec = asRecord(service.spec);
  if (isIgnoredByLabels(metadata) || hasNoVirtualIp(spec)) return { service: key, ports: [] };
  const clusterIps = [...asArray(spec.clusterIPs), spec.clusterIP].map(asString);
  const clusterIp = clusterIps.map((text) => family.parse(text)).find((ip) => ip !== undefined);
  if (clusterIp === undefined) {
    if (!clusterIps.some((text) => text !== "" && family.isOther(text)))
      onInvalid(`Service ${key} has no ${family.addressType} address in spec.clusterIPs and is ignored.`);
    return { service: key, ports: [] };
  }
  const common = {
    service: key,
    clusterIp,
    affinityMs: affinityMs(spec),
    internalPolicyLocal: spec.internalTrafficPolicy === "Local",
    ...readExternal(key, spec, asRecord(service.status), onInvalid, family),
    ...readScheduling(key, asRecord(metadata.annotations), onInvalid),
  };
  const ports: ServicePort[] = [];
  for (const [index, value] of asArray(spec.ports).entries()) {
    const read = readPort(namespace, name, asRecord(value));
    if (read === undefined)
      onInvalid(`Service ${key}: spec.ports[${index}] is not a TCP, UDP or SCTP port and is ignored.`);
    else if (ports.some((port) => port.key === read.key))
      onInvalid(`Service ${key}: spec.ports[${index}] has the name of another port and is ignored.`);
    else ports.push({ ...read, ...common });
  }
  return { service: key, ports };
}

function readPort(
  namespace: string,
  name: string,
  port: Readonly<Record<string, unknown>>,
): Pick<ServicePort, "key" | "name" | "protocol" | "port" | "nodePort"> | undefined {
  const protocol = PROTOCOL_NUMBERS.get(port.protocol ?? "TCP");
  const nodePort = port.nodePort ?? 0;
  if (protocol === undefined || !isPort(port.port)) return undefined;
  if (nodePort !== 0 && !isPort(nodePort)) return undefined;
  const portName = asString(port.name);
  return {
    key: servicePortKey(namespace, name, portName, protocol),
    name: servicePortName(namespace, name, portName),
    protocol,
    port: port.port,
    nodePort,
  };
}

function hasNoVirtualIp(spec: Readonly<Record<string, unknown>>): boolean {
  const clusterIp = asString(spec.clusterIP);
  return spec.type === "ExternalName" || clusterIp === "" || clusterIp === "None";
}

function affinityMs(spec: Readonly<Record<string, unknown>>): number {
  if (spec.sessionAffinity !== "ClientIP") return 0;
  const seconds = asRecord(asRecord(spec.sessionAffinityConfig).clientIP).timeoutSeconds;
  const valid = typeof seconds === "number" && seconds > 0 && seconds <= MAX_AFFINITY_SECONDS;
  return (valid ? seconds : DEFAULT_AFFINITY_SECONDS) * 1000;
}
