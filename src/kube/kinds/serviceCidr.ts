/** ServiceCIDRs and IPAddresses (kubernetes pkg/apis/networking/validation/validation.go). */
import { Address4, Address6 } from "ip-address";
import { cidr, dnsSubdomain, ipAddress } from "../names.js";
import type { IPAddress, ServiceCIDR } from "../objects.js";
import { IP_ADDRESS, SERVICE_CIDR } from "../schemas/networking.js";
import { type FieldError, fieldError } from "../status.js";
import type { KindRules } from "./kind.js";

const { required, invalid, tooMany } = fieldError;
const FIXED = "field is immutable";

/** New ones are ready at once: the allocator of ClusterIPs reads them with the next Service. */
export const SERVICE_CIDR_RULES: KindRules<ServiceCIDR> = {
  schema: SERVICE_CIDR,
  nameRule: dnsSubdomain,
  initialStatus: {
    conditions: [{ type: "Ready", status: "True", message: "Kubernetes Service CIDR is ready" }],
  },
  validate: ({ spec }) => validateCidrs(spec?.cidrs ?? []),
  validateUpdate: ({ spec }, { spec: stored }) =>
    JSON.stringify(spec?.cidrs) === JSON.stringify(stored?.cidrs)
      ? []
      : [invalid("spec.cidrs", spec?.cidrs ?? [], FIXED)],
};

function validateCidrs(cidrs: readonly string[]): FieldError[] {
  const field = "spec.cidrs";
  if (cidrs.length === 0) return [required(field, "at least one CIDR required")];
  if (cidrs.length > 2) return [tooMany(field, cidrs.length, 2)];
  const families = new Set(cidrs.map((one) => one.includes(":")));
  const why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
  if (families.size < cidrs.length) return [invalid(field, cidrs, why)];
  return cidrs.flatMap((one, index) => validateCidr(one, `${field}[${index}]`));
}

function validateCidr(text: string, field: string): FieldError[] {
  const errors = cidr(text).map((why) => invalid(field, text, why));
  if (errors.length > 0) return errors;
  const address = text.includes(":") ? new Address6(text) : new Address4(text);
  const network = `${address.startAddress().correctForm()}/${address.subnetMask}`;
  if (network !== text)
    return [
      invalid(field, text, `CIDR value is in an invalid format: must be in canonical form ("${network}")`),
    ];
  const room = (text.includes(":") ? 128 : 32) - address.subnetMask;
  return room >= 2 ? [] : [invalid(field, text, "must have at least 4 addresses")];
}

/** The name is the address, in its one canonical spelling. */
function addressName(name: string): string[] {
  const messages = ipAddress(name);
  if (messages.length > 0) return messages;
  const canonical = name.includes(":") ? new Address6(name).correctForm() : name;
  return canonical === name ? [] : [`must be in canonical form ("${canonical}")`];
}

export const IP_ADDRESS_RULES: KindRules<IPAddress> = {
  schema: IP_ADDRESS,
  nameRule: addressName,
  validate: ({ spec }) => {
    const at = "spec.parentRef";
    if (!spec?.parentRef) return [required(at)];
    return (["resource", "name"] as const).flatMap((field) =>
      spec.parentRef?.[field] ? [] : [required(`${at}.${field}`)],
    );
  },
  validateUpdate: ({ spec }, { spec: stored }) =>
    JSON.stringify(spec) === JSON.stringify(stored)
      ? []
      : [invalid("spec.parentRef", spec?.parentRef, FIXED)],
};
