/**
 * The cases of Kubernetes' end-to-end tests that Podwire is measured by: all sig-network Conformance cases of v1.35 and all
 * others of that group but those for one cloud (GCE firewalls, its L7 load balancer), by upstream's names. A test proves a
 * case by carrying that name in its title; several tests may prove one case, and then all must pass.
 */
import { API_GROUPS } from "./cases/api.js";
import { NETWORKING_GROUPS } from "./cases/networking.js";
import { POLICY_GROUPS } from "./cases/policy.js";
import { SERVICE_GROUPS } from "./cases/services.js";
import type { CaseDetails, CaseGroup } from "./cases/types.js";

export interface UpstreamCase extends CaseDetails {
  readonly group: string;
  /** Prefix and name as upstream prints them. */
  readonly fullName: string;
  readonly conformance: boolean;
  /** Among the 48 cases of group Services at v1.28. */
  readonly services: boolean;
}

const SERVICES = "[sig-network] Services";
/** Came after v1.28. */
const LATER = new Set([
  "should implement NodePort and HealthCheckNodePort correctly when ExternalTrafficPolicy changes",
]);

export const CASES: readonly UpstreamCase[] = [
  ...SERVICE_GROUPS,
  ...API_GROUPS,
  ...NETWORKING_GROUPS,
  ...POLICY_GROUPS,
].flatMap(toCases);

function toCases({ title, prefix, cases }: CaseGroup): UpstreamCase[] {
  return cases.map((entry) => {
    const details = typeof entry === "string" ? { name: entry } : entry;
    const names = [prefix, ...(details.formerly ?? [])];
    return {
      ...details,
      group: title,
      fullName: `${prefix} ${details.name}`,
      conformance: details.name.includes("[Conformance]"),
      services: names.some((name) => name.startsWith(SERVICES)) && !LATER.has(details.name),
    };
  });
}
