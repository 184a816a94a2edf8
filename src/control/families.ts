/** IP families of Services and pods (kubernetes staging/src/k8s.io/endpointslice/utils.go, getAddressTypesForService). */
import type { Pod, Service } from "../kube/index.js";

export type Family = "IPv4" | "IPv6";

export function familyOf(ip: string): Family {
  return ip.includes(":") ? "IPv6" : "IPv4";
}

/** Families that the Service has, its primary one first. */
export function serviceFamilies({ spec }: Service): Family[] {
  const stated = (spec?.ipFamilies ?? []).filter((one): one is Family => one === "IPv4" || one === "IPv6");
  if (stated.length > 0) return stated;
  return [spec?.clusterIP && spec.clusterIP !== "None" ? familyOf(spec.clusterIP) : "IPv4"];
}

/** The pod's address of this family. */
export function podIpOf({ status }: Pod, family: Family): string | undefined {
  const ips = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP];
  return ips.find((ip) => ip && familyOf(ip) === family);
}
