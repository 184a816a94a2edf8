import type { AddressFamily, AddressRange } from "./family.js";
import { asArray, asRecord, asString, isPort } from "./read.js";
import type { InvalidHandler, ServicePort } from "./types.js";

type External = Pick<
  ServicePort,
  "externalIps" | "loadBalancerIps" | "sourceRanges" | "healthCheckNodePort" | "externalPolicyLocal"
>;

type Fields = Readonly<Record<string, unknown>>;

/** Holds no address that a packet may come from. */
const NOBODY: AddressRange = { address: 0, length: 32, contains: () => false };

/**
 * How a Service is reached from outside (pkg/proxy/serviceport.go `newBaseServiceInfo`): addresses and ranges of
 * the other family belong to its proxy and are passed over.
 */
export function readExternal(
  service: string,
  spec: Fields,
  status: Fields,
  onInvalid: InvalidHandler,
  family: AddressFamily,
): External {
  const externalIps = unique(
    asArray(spec.externalIPs).map((ip, i) =>
      readIp(ip, `Service ${service}: spec.externalIPs[${i}]`, onInvalid, family),
    ),
  );
  const isLocal = isExternal(spec.type, externalIps) && spec.externalTrafficPolicy === "Local";
  const { healthCheckNodePort } = spec;
  const hasHealthCheck = isLocal && spec.type === "LoadBalancer" && isPort(healthCheckNodePort);
  return {
    externalIps,
    loadBalancerIps: readIngress(service, status, onInvalid, family),
    sourceRanges: asArray(spec.loadBalancerSourceRanges)
      .map((range, i) =>
        readRange(range, `Service ${service}: spec.loadBalancerSourceRanges[${i}]`, onInvalid, family),
      )
      .filter((range) => range !== undefined),
    healthCheckNodePort: hasHealthCheck ? healthCheckNodePort : 0,
    externalPolicyLocal: isLocal,
  };
}

/** pkg/api/v1/service/util.go `ExternallyAccessible`. */
function isExternal(type: unknown, externalIps: readonly number[]): boolean {
  return type === "LoadBalancer" || type === "NodePort" || externalIps.length > 0;
}

/** A load balancer of `ipMode: Proxy` ends the connections itself; its address is not ours to catch (KEP-1860). */
function readIngress(
  service: string,
  status: Fields,
  onInvalid: InvalidHandler,
  family: AddressFamily,
): readonly number[] {
  const ingress = asArray(asRecord(status.loadBalancer).ingress).map(asRecord);
  return unique(
    ingress.map(({ ip, ipMode }, i) => {
      if (asString(ip) === "" || (ipMode ?? "VIP") !== "VIP") return undefined;
      return readIp(ip, `Service ${service}: status.loadBalancer.ingress[${i}].ip`, onInvalid, family);
    }),
  );
}

function readIp(
  value: unknown,
  where: string,
  onInvalid: InvalidHandler,
  family: AddressFamily,
): number | undefined {
  const text = asString(value);
  const ip = family.parse(text);
  if (ip === undefined && !family.isOther(text)) onInvalid(`${where} is not an IP address and is ignored.`);
  return ip;
}

/** Host bits may be set, as the API allows. A range that nobody can read must not open the Service to everybody. */
function readRange(
  value: unknown,
  where: string,
  onInvalid: InvalidHandler,
  family: AddressFamily,
): AddressRange | undefined {
  const text = asString(value).trim();
  if (family.isOther(text)) return undefined;
  const range = family.parseRange(text);
  if (range === undefined) onInvalid(`${where} is not a range such as 10.0.0.0/8 and admits nobody.`);
  return range ?? NOBODY;
}

function unique(ips: readonly (number | undefined)[]): readonly number[] {
  return [...new Set(ips)].filter((ip) => ip !== undefined);
}
