import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import type { AddressFamily } from "./family.js";
import { asArray, asRecord, asString, isPort, PROTOCOL_NUMBERS } from "./read.js";
import type { Endpoint, InvalidHandler } from "./types.js";

/** What an endpoint is before it is joined with a port. */
type SliceAddress = Omit<Endpoint, "port" | "target"> & { readonly pod: string };

/** What one EndpointSlice says: every address serves every port. */
export interface SliceContent {
  readonly ports: readonly { readonly name: string; readonly protocol: number; readonly port: number }[];
  readonly addresses: readonly SliceAddress[];
}

/** Label that names the Service of a slice (discovery/v1 `LabelServiceName`). */
const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

/** Where a slice belongs: its Service as `namespace/name`; undefined when the slice does not say. */
export function sliceService(slice: EndpointSlice): { namespace: string; service: string } | undefined {
  const metadata = asRecord(slice.metadata);
  const namespace = asString(metadata.namespace);
  const service = asString(asRecord(metadata.labels)[SERVICE_NAME_LABEL]);
  return namespace === "" || service === "" ? undefined : { namespace, service };
}

/**
 * Reads a slice as kube-proxy does (pkg/proxy/endpointslicecache.go): missing ready and serving mean true, missing
 * terminating means false; ports without name or number are left out; only the first address of an endpoint counts.
 * A slice of another address family is empty.
 */
export function readSlice(
  slice: EndpointSlice,
  nodeName: string,
  onInvalid: InvalidHandler,
  family: AddressFamily,
): SliceContent {
  const ports: SliceContent["ports"][number][] = [];
  const addresses: SliceAddress[] = [];
  if (slice.addressType !== family.addressType) return { ports, addresses };
  const where = `EndpointSlice ${asString(asRecord(slice.metadata).namespace)}/${asString(asRecord(slice.metadata).name)}`;
  for (const [index, value] of asArray(slice.ports).entries()) {
    const { name, port, protocol: protocolName } = asRecord(value);
    const protocol = PROTOCOL_NUMBERS.get(protocolName ?? "TCP");
    if (typeof name !== "string" || !isPort(port) || protocol === undefined) {
      onInvalid(
        `${where}: ports[${index}] needs a name, a number and the protocol TCP, UDP or SCTP; it is ignored.`,
      );
    } else {
      ports.push({ name, protocol, port });
    }
  }
  for (const [index, value] of asArray(slice.endpoints).entries()) {
    const address = readAddress(asRecord(value), nodeName, family);
    if (address === undefined)
      onInvalid(
        `${where}: endpoints[${index}].addresses[0] is not an ${family.addressType} address; it is ignored.`,
      );
    else addresses.push(address);
  }
  return { ports, addresses };
}

/** One endpoint of the slice at one of its ports. */
export function endpointAt(address: SliceAddress, port: number, family: AddressFamily): Endpoint {
  const { pod, ...rest } = address;
  return { ...rest, port, target: pod === "" ? hostPort(family, address.ip, port) : pod };
}

function hostPort(family: AddressFamily, ip: number, port: number): string {
  const address = family.format(ip);
  return family.addressType === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

function readAddress(
  endpoint: Readonly<Record<string, unknown>>,
  proxyNode: string,
  family: AddressFamily,
): SliceAddress | undefined {
  const ip = family.parse(asString(asArray(endpoint.addresses)[0]));
  if (ip === undefined) return undefined;
  const conditions = asRecord(endpoint.conditions);
  const target = asRecord(endpoint.targetRef);
  const hints = asRecord(endpoint.hints);
  const nodeName = asString(endpoint.nodeName);
  return {
    ip,
    nodeName,
    isLocal: nodeName !== "" && nodeName === proxyNode,
    ready: conditions.ready !== false,
    serving: conditions.serving !== false,
    terminating: conditions.terminating === true,
    nodeHints: hintNames(hints.forNodes),
    zoneHints: hintNames(hints.forZones),
    pod: target.kind === "Pod" ? `${asString(target.namespace)}/${asString(target.name)}` : "",
  };
}

function hintNames(hints: unknown): readonly string[] {
  return asArray(hints)
    .map((hint) => asString(asRecord(hint).name))
    .filter((name) => name !== "");
}
