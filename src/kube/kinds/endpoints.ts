/** Endpoints and EndpointSlices (kubernetes pkg/apis/core and pkg/apis/discovery: v1 defaults and validation). */
import { dnsLabel, dnsSubdomain, ipAddress, isIpv4, isIpv6, nonSpecialIp, portNumber } from "../names.js";
import type { Endpoint, EndpointSlice, Endpoints } from "../objects.js";
import { ENDPOINT_SLICE, ENDPOINTS } from "../schemas/core.js";
import { type FieldError, fieldError } from "../status.js";
import { oneOf, PROTOCOLS } from "./container.js";
import type { KindRules } from "./kind.js";

const { required, invalid, duplicate, notSupported, tooMany } = fieldError;
const ADDRESS_TYPES = ["FQDN", "IPv4", "IPv6"];
const MAX_ENDPOINTS = 1000;
const MAX_ADDRESSES = 100;

type Subset = NonNullable<Endpoints["subsets"]>[number];

export const ENDPOINTS_RULES: KindRules<Endpoints> = {
  schema: ENDPOINTS,
  nameRule: dnsSubdomain,
  setDefaults: ({ subsets = [] }) => {
    for (const port of subsets.flatMap((subset) => subset.ports ?? [])) port.protocol ??= "TCP";
  },
  validate: ({ subsets = [] }) =>
    subsets.flatMap((subset, index) => validateSubset(subset, `subsets[${index}]`)),
};

function validateSubset(subset: Subset, at: string): FieldError[] {
  const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
  const errors: FieldError[] = [];
  if (addresses.length === 0 && notReadyAddresses.length === 0)
    errors.push(required(at, "must specify `addresses` or `notReadyAddresses`"));
  for (const [field, list] of Object.entries({ addresses, notReadyAddresses })) {
    for (const [index, { ip = "" }] of list.entries())
      errors.push(...validateIp(ip, `${at}.${field}[${index}].ip`));
  }
  for (const [index, port] of ports.entries()) {
    const field = `${at}.ports[${index}]`;
    if (!port.name && ports.length > 1) errors.push(required(`${field}.name`));
    if (port.name) errors.push(...dnsLabel(port.name).map((why) => invalid(`${field}.name`, port.name, why)));
    errors.push(...portNumber(port.port ?? 0).map((why) => invalid(`${field}.port`, port.port ?? 0, why)));
    errors.push(...oneOf(`${field}.protocol`, port.protocol, PROTOCOLS));
  }
  return errors;
}

function validateIp(ip: string, field: string): FieldError[] {
  const messages = ipAddress(ip);
  return (messages.length > 0 ? messages : nonSpecialIp(ip)).map((why) => invalid(field, ip, why));
}

export const ENDPOINT_SLICE_RULES: KindRules<EndpointSlice> = {
  schema: ENDPOINT_SLICE,
  nameRule: dnsSubdomain,
  setDefaults: (slice) => {
    slice.endpoints ??= [];
    for (const port of slice.ports ?? []) {
      port.name ??= "";
      port.protocol ??= "TCP";
    }
  },
  validate: (slice) => {
    const { addressType, endpoints } = slice;
    if (!addressType) return [required("addressType")];
    return [
      ...(ADDRESS_TYPES.includes(addressType)
        ? []
        : [notSupported("addressType", addressType, ADDRESS_TYPES)]),
      ...(endpoints.length > MAX_ENDPOINTS ? [tooMany("endpoints", endpoints.length, MAX_ENDPOINTS)] : []),
      ...endpoints.flatMap((one, index) => validateEndpoint(one, addressType, `endpoints[${index}]`)),
      ...validateSlicePorts(slice),
    ];
  },
  validateUpdate: (slice, stored) =>
    slice.addressType === stored.addressType
      ? []
      : [invalid("addressType", slice.addressType, "field is immutable")],
};

function validateEndpoint({ addresses = [], hostname }: Endpoint, type: string, at: string): FieldError[] {
  const field = `${at}.addresses`;
  if (addresses.length === 0) return [required(field, "must contain at least 1 address")];
  if (addresses.length > MAX_ADDRESSES) return [tooMany(field, addresses.length, MAX_ADDRESSES)];
  return [
    ...addresses.flatMap((address, index) => validateAddress(address, type, `${field}[${index}]`)),
    ...(hostname ? dnsLabel(hostname).map((why) => invalid(`${at}.hostname`, hostname, why)) : []),
  ];
}

function validateAddress(address: string, type: string, field: string): FieldError[] {
  if (type === "FQDN") return dnsSubdomain(address).map((why) => invalid(field, address, why));
  const rightFamily = type === "IPv4" ? isIpv4(address) : isIpv6(address);
  if (!rightFamily) return [invalid(field, address, `must be a valid ${type} address`)];
  return nonSpecialIp(address).map((why) => invalid(field, address, why));
}

function validateSlicePorts({ ports = [] }: EndpointSlice): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap(({ name = "", port, protocol }, index) => {
    const at = `ports[${index}]`;
    const errors = name ? dnsLabel(name).map((why) => invalid(`${at}.name`, name, why)) : [];
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    if (port !== undefined) errors.push(...portNumber(port).map((why) => invalid(`${at}.port`, port, why)));
    return [...errors, ...oneOf(`${at}.protocol`, protocol, PROTOCOLS)];
  });
}
