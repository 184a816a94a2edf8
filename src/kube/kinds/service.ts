/** Validation of Services (kubernetes pkg/apis/core/validation/validation.go, ValidateService). */
import {
  cidr,
  clusterIpAddress,
  dns1035Label,
  dnsLabel,
  dnsSubdomain,
  ipAddress,
  isIpv4,
  isIpv6,
  nonSpecialIp,
  portNumber,
} from "../names.js";
import type { Service, ServicePort } from "../objects.js";
import { SERVICE } from "../schemas/core.js";
import { type FieldError, fieldError } from "../status.js";
import { oneOf, PROTOCOLS, validatePortRef } from "./container.js";
import type { KindRules } from "./kind.js";
import { validateLabels } from "./meta.js";
import {
  carryOver,
  isExternallyReachable,
  joinClusterIps,
  needsClusterIp,
  needsHealthCheckNodePort,
  setServiceDefaults,
} from "./serviceDefaults.js";

const { required, invalid, duplicate, forbidden } = fieldError;
type Spec = NonNullable<Service["spec"]>;

const TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITIES = ["ClientIP", "None"];
const TRAFFIC_POLICIES = ["Cluster", "Local"];
const IP_FAMILIES = ["IPv4", "IPv6"];
const FAMILY_POLICIES = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const MAX_AFFINITY_SECONDS = 86400;
const IP_MODES = ["Proxy", "VIP"];
const NONE = "None";

export const SERVICE_RULES: KindRules<Service> = {
  schema: SERVICE,
  nameRule: dns1035Label,
  initialStatus: { loadBalancer: {} },
  setDefaults: setServiceDefaults,
  prepareCreate: joinClusterIps,
  prepareUpdate: carryOver,
  setStatusDefaults: ({ status }) => {
    for (const ingress of status?.loadBalancer?.ingress ?? []) if (ingress.ip) ingress.ipMode ??= "VIP";
  },
  validateStatus: validateLoadBalancerStatus,
  validate: ({ spec }) => (spec === undefined ? [required("spec")] : validateSpec(spec)),
  validateUpdate: ({ spec }, { spec: stored }) => (spec && stored ? validateFixed(spec, stored) : []),
};

function validateLoadBalancerStatus({ spec, status }: Service): FieldError[] {
  const { ingress = [] } = status?.loadBalancer ?? {};
  const at = "status.loadBalancer.ingress";
  if (ingress.length > 0 && spec?.type !== "LoadBalancer")
    return [forbidden(at, 'may only be used when `spec.type` is "LoadBalancer"')];
  return ingress.flatMap(({ ip, hostname, ipMode }, index) => [
    ...(ip ? ipAddress(ip).map((why) => invalid(`${at}[${index}].ip`, ip, why)) : []),
    ...(ip || !ipMode
      ? []
      : [forbidden(`${at}[${index}].ipMode`, "may not be specified when `ip` is not set")]),
    ...oneOf(`${at}[${index}].ipMode`, ipMode, IP_MODES),
    ...(hostname
      ? dnsSubdomain(hostname).map((why) => invalid(`${at}[${index}].hostname`, hostname, why))
      : []),
  ]);
}

function validateSpec(spec: Spec): FieldError[] {
  return [
    ...validatePorts(spec),
    ...validateLabels(spec.selector, "spec.selector"),
    ...oneOf("spec.sessionAffinity", spec.sessionAffinity, AFFINITIES),
    ...validateAffinity(spec),
    ...oneOf("spec.type", spec.type, TYPES),
    ...validateClusterIps(spec),
    ...validateFamilies(spec),
    ...validateIpFamilyMatch(spec),
    ...validateExternal(spec),
    ...validatePolicies(spec),
  ];
}

function validatePorts(spec: Spec): FieldError[] {
  const { ports = [] } = spec;
  if (ports.length === 0 && needsClusterIp(spec) && spec.clusterIP !== NONE) return [required("spec.ports")];
  const seen = { names: new Set<string>(), ports: new Set<string>(), nodePorts: new Set<string>() };
  return ports.flatMap((port, index) => {
    const at = `spec.ports[${index}]`;
    const errors = [...validateName(port, at, ports.length > 1, seen.names), ...validateNumbers(port, at)];
    const place = `${port.protocol}/${port.port}`;
    if (seen.ports.has(place)) errors.push(duplicate(at, { protocol: port.protocol, port: port.port }));
    seen.ports.add(place);
    if (!port.nodePort) return errors;
    const nodePlace = `${port.protocol}/${port.nodePort}`;
    if (spec.type === "ClusterIP" || spec.type === "ExternalName")
      errors.push(forbidden(`${at}.nodePort`, `may not be used when \`type\` is '${spec.type}'`));
    else if (seen.nodePorts.has(nodePlace)) errors.push(duplicate(`${at}.nodePort`, port.nodePort));
    seen.nodePorts.add(nodePlace);
    return errors;
  });
}

function validateName({ name }: ServicePort, at: string, several: boolean, seen: Set<string>): FieldError[] {
  if (!name) return several ? [required(`${at}.name`)] : [];
  const errors = dnsLabel(name).map((why) => invalid(`${at}.name`, name, why));
  if (seen.has(name)) errors.push(duplicate(`${at}.name`, name));
  seen.add(name);
  return errors;
}

function validateNumbers({ port, protocol, targetPort }: ServicePort, at: string): FieldError[] {
  return [
    ...portNumber(port ?? 0).map((why) => invalid(`${at}.port`, port ?? 0, why)),
    ...oneOf(`${at}.protocol`, protocol, PROTOCOLS),
    // By default it is the port, and then a wrong one is told of once.
    ...(targetPort === undefined || targetPort === port
      ? []
      : validatePortRef(targetPort, `${at}.targetPort`)),
  ];
}

function validateAffinity({ sessionAffinity, sessionAffinityConfig }: Spec): FieldError[] {
  if (sessionAffinity !== "ClientIP") return [];
  const seconds = sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 0;
  if (seconds > 0 && seconds <= MAX_AFFINITY_SECONDS) return [];
  const why = `must be greater than 0 and less than ${MAX_AFFINITY_SECONDS}`;
  return [invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, why)];
}

function validateClusterIps(spec: Spec): FieldError[] {
  const { type, clusterIP, clusterIPs = [] } = spec;
  const field = "spec.clusterIPs";
  if (type === "ExternalName") {
    return clusterIPs.length === 0 && !clusterIP
      ? []
      : [forbidden(`${field}[0]`, "may not be set when `type` is 'ExternalName'")];
  }
  if (clusterIPs.length === 0) return [];
  if (clusterIPs[0] !== clusterIP) return [invalid(field, clusterIPs, "first value must match `clusterIP`")];
  if (clusterIP === NONE) return validateHeadless(spec);
  const errors = clusterIPs.flatMap((ip, index) =>
    clusterIpAddress(ip).map((why) => invalid(`${field}[${index}]`, ip, why)),
  );
  if (clusterIPs.length > 2) errors.push(invalid(field, clusterIPs, "may only hold up to 2 values"));
  if (errors.length > 0 || clusterIPs.length < 2) return errors;
  const oneEach = isIpv6(clusterIPs[0]!) !== isIpv6(clusterIPs[1]!);
  return oneEach ? [] : [invalid(field, clusterIPs, "may specify no more than one IP for each IP family")];
}

function validateHeadless({ type, clusterIPs = [] }: Spec): FieldError[] {
  if (clusterIPs.length > 1)
    return [invalid("spec.clusterIPs", clusterIPs, "'None' must be the first and only value")];
  return type === "ClusterIP"
    ? []
    : [invalid("spec.clusterIPs[0]", NONE, `may not be set to 'None' for ${type} services`)];
}

function validateFamilies({ type, ipFamilies = [], ipFamilyPolicy }: Spec): FieldError[] {
  if (type === "ExternalName") {
    const why = "may not be set when `type` is 'ExternalName'";
    return [
      ...(ipFamilies.length > 0 ? [forbidden("spec.ipFamilies[0]", why)] : []),
      ...(ipFamilyPolicy ? [forbidden("spec.ipFamilyPolicy", why)] : []),
    ];
  }
  return [
    ...ipFamilies.flatMap((family, index) => {
      const field = `spec.ipFamilies[${index}]`;
      const repeated = ipFamilies.indexOf(family) < index;
      return [...oneOf(field, family, IP_FAMILIES), ...(repeated ? [duplicate(field, family)] : [])];
    }),
    ...oneOf("spec.ipFamilyPolicy", ipFamilyPolicy, FAMILY_POLICIES),
  ];
}

/** Each ClusterIP is of the family that stands at its place. */
function validateIpFamilyMatch({ clusterIP, clusterIPs = [], ipFamilies = [] }: Spec): FieldError[] {
  if (clusterIP === NONE) return [];
  return clusterIPs.flatMap((ip, index) => {
    const family = ipFamilies[index];
    if (family === undefined || (family === "IPv6") === isIpv6(ip)) return [];
    return [
      invalid(
        `spec.clusterIPs[${index}]`,
        ip,
        `expected an ${family} value as indicated by \`ipFamilies[${index}]\``,
      ),
    ];
  });
}

function validateExternal(spec: Spec): FieldError[] {
  const errors = (spec.externalIPs ?? []).flatMap((ip, index) => {
    const messages = ipAddress(ip);
    return (messages.length > 0 ? messages : nonSpecialIp(ip)).map((why) =>
      invalid(`spec.externalIPs[${index}]`, ip, why),
    );
  });
  if (spec.type === "ExternalName") {
    const name = (spec.externalName ?? "").replace(/\.$/, "");
    if (name === "") errors.push(required("spec.externalName"));
    else errors.push(...dnsSubdomain(name).map((why) => invalid("spec.externalName", name, why)));
  }
  if (spec.loadBalancerIP && !isIpv4(spec.loadBalancerIP))
    errors.push(
      ...ipAddress(spec.loadBalancerIP).map((why) =>
        invalid("spec.loadBalancerIP", spec.loadBalancerIP, why),
      ),
    );
  const ranges = (spec.loadBalancerSourceRanges ?? []).flatMap((range, index) =>
    cidr(range).map((why) => invalid(`spec.loadBalancerSourceRanges[${index}]`, range, why)),
  );
  return [...errors, ...ranges];
}

function validatePolicies(spec: Spec): FieldError[] {
  const errors = oneOf("spec.internalTrafficPolicy", spec.internalTrafficPolicy, TRAFFIC_POLICIES);
  const external = spec.externalTrafficPolicy;
  if (external !== undefined && !isExternallyReachable(spec)) {
    const why = "may only be set for externally-accessible services";
    errors.push(invalid("spec.externalTrafficPolicy", external, why));
  } else errors.push(...oneOf("spec.externalTrafficPolicy", external, TRAFFIC_POLICIES));
  if (spec.healthCheckNodePort && !needsHealthCheckNodePort(spec)) {
    const why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    errors.push(invalid("spec.healthCheckNodePort", spec.healthCheckNodePort, why));
  }
  return errors;
}

/** The first address and family stay; the second ones can only come and go. */
function validateFixed(spec: Spec, stored: Spec): FieldError[] {
  if (!needsClusterIp(spec) || !needsClusterIp(stored)) return [];
  return (["clusterIPs", "ipFamilies"] as const).flatMap((field) => {
    const [now = [], before = []]: (readonly string[] | undefined)[] = [spec[field], stored[field]];
    return [0, 1].flatMap((index) => {
      const fixed = before[index] !== undefined && now[index] !== undefined && now[index] !== before[index];
      return fixed ? [invalid(`spec.${field}[${index}]`, now, "may not change once set")] : [];
    });
  });
}
