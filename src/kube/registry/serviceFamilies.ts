/**
 * IP families of Services: what a Service gets of those that the cluster has (kubernetes
 * pkg/registry/core/service/storage/alloc.go, initIPFamilyFields).
 */
import type { Service } from "../objects.js";
import { type FieldError, fieldError } from "../status.js";
import { familyOf, type IpFamily } from "./serviceRange.js";

type Spec = NonNullable<Service["spec"]>;

const NONE = "None";
const POLICY = "spec.ipFamilyPolicy";

/**
 * Fills in `ipFamilyPolicy` and `ipFamilies`, in place; `configured` are the cluster's families, the default first.
 * Returns what cannot be had.
 */
export function fillFamilies(
  spec: Spec,
  stored: Spec | undefined,
  configured: readonly IpFamily[],
): FieldError[] {
  if (spec.type === "ExternalName" || isUnchangedPreference(spec, stored)) return [];
  const headlessByHand = spec.clusterIP === NONE && Object.keys(spec.selector ?? {}).length === 0;
  spec.ipFamilyPolicy ??= stored?.ipFamilyPolicy ?? (headlessByHand ? "RequireDualStack" : "SingleStack");
  if (stored && spec.ipFamilyPolicy === "SingleStack") release(spec, stored);
  const errors = [...checkPolicy(spec, stored), ...inferFromIps(spec, configured)];
  if (errors.length > 0) return errors;
  // Such a Service is a list of names that its user keeps; it may have any family.
  if (!headlessByHand) errors.push(...checkConfigured(spec, configured));
  if (errors.length > 0) return errors;
  if (!spec.ipFamilies?.length) spec.ipFamilies = [configured[0]!];
  const hasBoth = headlessByHand || configured.length === 2;
  if (spec.ipFamilyPolicy !== "SingleStack" && spec.ipFamilies.length === 1 && hasBoth)
    spec.ipFamilies = [...spec.ipFamilies, spec.ipFamilies[0] === "IPv4" ? "IPv6" : "IPv4"];
  return [];
}

/** A Service that prefers two families is not given or denied one because the cluster has changed. */
function isUnchangedPreference(spec: Spec, stored: Spec | undefined): boolean {
  const prefers = [spec, stored].every((one) => one?.ipFamilyPolicy === "PreferDualStack");
  return prefers && same(spec.clusterIPs, stored?.clusterIPs) && same(spec.ipFamilies, stored?.ipFamilies);
}

/** To ask for one family without touching the others' fields means to give up the second. */
function release(spec: Spec, stored: Spec): void {
  if (same(spec.clusterIPs, stored.clusterIPs) && spec.clusterIPs)
    spec.clusterIPs = spec.clusterIPs.slice(0, 1);
  if (same(spec.ipFamilies, stored.ipFamilies) && spec.ipFamilies)
    spec.ipFamilies = spec.ipFamilies.slice(0, 1);
}

function checkPolicy(
  { ipFamilyPolicy, clusterIPs = [], ipFamilies = [] }: Spec,
  stored?: Spec,
): FieldError[] {
  const refuse = (why: string) => [fieldError.invalid(POLICY, ipFamilyPolicy, why)];
  if (ipFamilyPolicy === "SingleStack") {
    const both = "must be 'RequireDualStack' or 'PreferDualStack' when multiple";
    return [
      ...(clusterIPs.length === 2 ? refuse(`${both} cluster IPs are specified`) : []),
      ...(ipFamilies.length === 2 ? refuse(`${both} IP families are specified`) : []),
    ];
  }
  const reduced = (now: readonly string[], before: readonly string[] = []) =>
    now.length > 0 && now.length < before.length;
  return [
    ...(reduced(clusterIPs, stored?.clusterIPs)
      ? refuse("must be 'SingleStack' to release the secondary cluster IP")
      : []),
    ...(reduced(ipFamilies, stored?.ipFamilies)
      ? refuse("must be 'SingleStack' to release the secondary IP family")
      : []),
  ];
}

function inferFromIps(spec: Spec, configured: readonly IpFamily[]): FieldError[] {
  const { clusterIPs = [] } = spec;
  if (clusterIPs[0] === NONE) return [];
  return clusterIPs.flatMap((ip, index) => {
    if (index < (spec.ipFamilies?.length ?? 0)) return [];
    const family = familyOf(ip);
    if (!configured.includes(family))
      return [
        fieldError.invalid(
          `spec.clusterIPs[${index}]`,
          clusterIPs,
          `${family} is not configured on this cluster`,
        ),
      ];
    spec.ipFamilies = [...(spec.ipFamilies ?? []), family];
    return [];
  });
}

function checkConfigured(
  { ipFamilyPolicy, ipFamilies = [] }: Spec,
  configured: readonly IpFamily[],
): FieldError[] {
  const dual = ipFamilyPolicy === "RequireDualStack" && configured.length < 2;
  const why = "this cluster is not configured for dual-stack services";
  return [
    ...(dual ? [fieldError.invalid(POLICY, ipFamilyPolicy, why)] : []),
    ...ipFamilies.flatMap((family, index) =>
      configured.some((one) => one === family)
        ? []
        : [fieldError.invalid(`spec.ipFamilies[${index}]`, family, "not configured on this cluster")],
    ),
  ];
}

function same(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
